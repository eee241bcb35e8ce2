//! Real tables of both formats through the real binary: a table that a pipeline keeps by key, read by another pipeline, ends in a third
//! place with the same rows, as independent readers see them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::engine::{Engine, Outcome};
use tests::need;
use tests::python::{Location, Readers};
use tests::repository;

const RUN: Duration = Duration::from_secs(180);

/// A table of either format in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Delta,
    Iceberg,
}

impl Kind {
    /// Its place, in the words of a source or a sink.
    pub fn place(self, name: &str) -> String {
        match self {
            Self::Delta => format!("  type: delta\n  path: {name}\n"),
            Self::Iceberg => format!(
                "  type: iceberg\n  catalog: {{ type: sql, name: lake, uri: \"sqlite://catalog.db\", warehouse: wh }}\n  table: db.{name}\n"
            ),
        }
    }
}

/// A folder of pipelines and their tables.
pub struct Lake {
    folder: TempDir,
}

impl Lake {
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("engine-lake-").expect("a temporary folder");
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, yaml: &str) {
        let file = self.folder.path().join(format!("{name}.yaml"));
        fs::write(file, yaml).expect("a temporary folder is writable");
    }

    /// A pipeline `name` from captured messages into the table `name`.
    pub fn of_messages(&self, name: &str, kind: Kind, messages: &Path, source: &str, blocks: &str) {
        let yaml = format!(
            "pipeline: {{ name: {name} }}\nsource:\n  type: kafka\n  name: t\n  bootstrap_servers: file:{}\n  tables: [\"*\"]\n{source}{blocks}sink:\n{}  mode: upsert\n",
            messages.display(),
            kind.place(name)
        );
        self.write(name, &yaml);
    }

    /// A pipeline `name` from the table `from` into the table `name`.
    pub fn of_table(&self, name: &str, kind: Kind, from: (&str, Kind), source: &str, blocks: &str) {
        let (table, of) = from;
        let yaml = format!(
            "pipeline: {{ name: {name} }}\nsource:\n{}  name: t\n  poll_interval: 20ms\n{source}{blocks}sink:\n{}  mode: upsert\n",
            of.place(table),
            kind.place(name)
        );
        self.write(name, &yaml);
    }

    pub fn engine(&self, arguments: &[&str]) -> Engine {
        Engine::new(arguments.iter().copied()).current_dir(self.folder.path())
    }

    pub fn run(&self, name: &str, batch: usize) -> Outcome {
        let batch = format!("pipeline.batch.max_records={batch}");
        let file = format!("{name}.yaml");
        self.engine(&["run", "--once", &file, "--set", &batch])
            .run(RUN)
    }

    /// The rows of a table by the text of `key`, as two independent readers agree on them.
    pub fn rows(
        &self,
        readers: &Readers,
        name: &str,
        kind: Kind,
        key: &str,
    ) -> BTreeMap<String, Value> {
        let location = match kind {
            Kind::Delta => Location::Delta(self.folder.path().join(name)),
            Kind::Iceberg => Location::Iceberg {
                catalog: self.folder.path().join("catalog.db"),
                name: "lake".to_owned(),
                table: format!("db.{name}"),
            },
        };
        let [one, other] = location.readers().map(|reader| {
            let mut found = BTreeMap::new();
            for row in readers.read(reader, &location).rows {
                let before = found.insert(row[key].to_string(), row);
                assert!(before.is_none(), "a key is there twice in {name}");
            }
            found
        });
        assert_eq!(one, other, "two readers disagree on {name}");
        one
    }
}

fn fixture(name: &str) -> PathBuf {
    repository::path(&format!("tests/fixtures/{name}"))
}

/// A captured topic, and how it is read.
struct Topic {
    messages: &'static str,
    source: &'static str,
    blocks: &'static str,
    key: &'static str,
    rows: usize,
}

const TOPICS: [Topic; 4] = [
    Topic {
        messages: "customers.jsonl",
        source: "  topics: [postgres.public.customers]\n  columns: |
    customer_id BIGINT NOT NULL PRIMARY KEY, email TEXT, first_name TEXT, last_name TEXT, phone TEXT, city TEXT,
    state TEXT, country TEXT, tier TEXT, lifetime_value DECIMAL(12,2), created_at TIMESTAMPTZ, updated_at TIMESTAMP(6)\n",
        blocks: "",
        key: "customer_id",
        rows: 500,
    },
    Topic {
        messages: "orders.jsonl",
        source: "  topics: [cdc.postgres.public.orders]\n  columns: \"id BIGINT PRIMARY KEY, customer_id BIGINT, status TEXT, amount DECIMAL(10,2), placed_at TIMESTAMPTZ\"\n",
        blocks: "",
        key: "id",
        rows: 1,
    },
    Topic {
        messages: "docs.schema.jsonl",
        source: "  topics: [pgschema.public.docs]\n",
        blocks: "",
        key: "id",
        rows: 3,
    },
    Topic {
        messages: "all_types.schema.jsonl",
        source: "  topics: [pgschema.public.all_types]\n",
        // Delta has no time of day.
        blocks: "transform: \"SELECT * REPLACE (CAST(tm AS TEXT) AS tm) FROM t\"\n",
        key: "id",
        rows: 2,
    },
];

/// A topic into a table of one format, from there into one of the other, and from there into one of the first again: in batches of
/// `batch`, whose last run has nothing left to do.
fn round_trip(first: Kind, second: Kind, topic: &Topic, batch: usize) {
    let readers = need!(Readers::ready());
    let lake = Lake::new();
    let source = format!("  key: [{}]\n", topic.key);
    lake.of_messages(
        "one",
        first,
        &fixture(topic.messages),
        topic.source,
        topic.blocks,
    );
    lake.of_table("two", second, ("one", first), &source, "");
    lake.of_table(
        "three",
        first,
        ("two", second),
        &format!("{source}  start: earliest\n"),
        "",
    );
    lake.run("one", 97).expect_code(0);
    for name in ["two", "three"] {
        lake.run(name, batch).expect_code(0);
        let again = lake.run(name, batch).expect_code(0);
        again.expect_words(&["nothing to do"]);
    }
    let expected = lake.rows(&readers, "one", first, topic.key);
    assert!(expected.len() >= topic.rows, "{} rows", expected.len());
    let shown = format!("{} in batches of {batch}", topic.messages);
    assert_eq!(
        lake.rows(&readers, "two", second, topic.key),
        expected,
        "{shown}"
    );
    assert_eq!(
        lake.rows(&readers, "three", first, topic.key),
        expected,
        "{shown}"
    );
}

#[test]
fn captured_topics_go_from_delta_to_iceberg_and_back() {
    for (topic, batch) in TOPICS.iter().zip([100, 7, 2, 50_000]) {
        round_trip(Kind::Delta, Kind::Iceberg, topic, batch);
    }
}

#[test]
fn captured_topics_go_from_iceberg_to_delta_and_back() {
    for (topic, batch) in TOPICS.iter().zip([50_000, 3, 1, 1]) {
        round_trip(Kind::Iceberg, Kind::Delta, topic, batch);
    }
}

/// A column that comes to the source's table comes to the target, whether it comes between two runs or within one, and so does the
/// default that the rows got in it.
#[test]
fn a_new_column_goes_from_table_to_table() {
    let readers = need!(Readers::ready());
    for (first, second) in [(Kind::Delta, Kind::Iceberg), (Kind::Iceberg, Kind::Delta)] {
        for between_runs in [true, false] {
            let lake = Lake::new();
            let messages = lake.path().join("messages.jsonl");
            let [old, new] = crate::upsert::defaults::events();
            lake.of_messages(
                "one",
                first,
                &messages,
                "  topics: [pg.public.t]\n  resends: keep\n",
                "",
            );
            lake.of_table("two", second, ("one", first), "  key: [id]\n", "");
            if between_runs {
                fs::write(&messages, format!("{old}\n")).expect("a temporary folder");
                for name in ["one", "two"] {
                    lake.run(name, 1).expect_code(0);
                }
            }
            fs::write(&messages, format!("{old}\n{new}\n")).expect("a temporary folder");
            for name in ["one", "two"] {
                lake.run(name, 1).expect_code(0);
            }
            let rows = lake.rows(&readers, "two", second, "id");
            assert_eq!(rows, lake.rows(&readers, "one", first, "id"));
            assert_eq!((&rows["1"]["x"], &rows["2"]["x"]), (&5.into(), &7.into()));
        }
    }
}

/// A Delta table without a change feed is read by comparing its versions, if the pipeline says so.
#[test]
fn a_table_without_a_feed_is_compared() {
    let readers = need!(Readers::ready());
    let lake = Lake::new();
    let topic = &TOPICS[0];
    let key = format!("  key: [{}]\n", topic.key);
    let source = topic.source;
    let place = "  type: delta\n  path: one\n  table_properties: { delta.enableChangeDataFeed: \"false\" }\n";
    let yaml = format!(
        "pipeline: {{ name: one }}\nsource:\n  type: kafka\n  name: t\n  bootstrap_servers: file:{}\n{source}sink:\n{place}  mode: upsert\n",
        fixture(topic.messages).display(),
    );
    lake.write("one", &yaml);
    lake.run("one", 200).expect_code(0);
    lake.of_table(
        "two",
        Kind::Iceberg,
        ("one", Kind::Delta),
        &format!("{key}  start: earliest\n"),
        "",
    );
    let refused = lake.run("two", 100);
    refused
        .expect_code(2)
        .expect_words(&["delta.enableChangeDataFeed", "on_missing_feed: diff"]);
    let source = format!("{key}  start: earliest\n  on_missing_feed: diff\n");
    lake.of_table("two", Kind::Iceberg, ("one", Kind::Delta), &source, "");
    lake.run("two", 100).expect_code(0);
    let rows = lake.rows(&readers, "two", Kind::Iceberg, topic.key);
    assert_eq!(rows, lake.rows(&readers, "one", Kind::Delta, topic.key));
}
