//! `mode: upsert` through the real binary: whatever the batches and restarts, the target is the source's table.

pub mod defaults;
mod feed;
mod fixtures;
mod policies;
mod unsent;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::engine::{Engine, Outcome};
use tests::python::{Location, Readers};
use tests::repository;

const RUN: Duration = Duration::from_secs(120);

const ICEBERG: &str = "  type: iceberg\n  catalog: { type: sql, name: lake, uri: \"sqlite://catalog.db\", warehouse: wh }\n  table: db.t\n";
const COPIED_ICEBERG: &str = "  type: iceberg\n  catalog: { type: sql, name: lake, uri: \"sqlite://catalog.db\", warehouse: wh }\n  table: db.t\n  write_mode: copy_on_write\n";

/// Both formats, and both ways to change Iceberg's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Delta,
    Iceberg,
    CopiedIceberg,
}

impl Format {
    const ALL: [Self; 3] = [Self::Delta, Self::Iceberg, Self::CopiedIceberg];

    fn yaml(self) -> &'static str {
        match self {
            Self::Delta => "  type: delta\n  path: out\n",
            Self::Iceberg => ICEBERG,
            Self::CopiedIceberg => COPIED_ICEBERG,
        }
    }
}

/// A pipeline from captured messages into a table that is kept by key.
struct Pipeline {
    folder: TempDir,
    format: Format,
}

impl Pipeline {
    /// `source` and `sink` are further lines of their blocks; an empty `sql` is none.
    fn new(messages: &str, topic: &str, source: &str, sql: &str, sink: &str) -> Self {
        Self::into_format(Format::Delta, messages, topic, source, sql, sink)
    }

    /// As [`Pipeline::new`], into a table of either format.
    fn into_format(
        format: Format,
        messages: &str,
        topic: &str,
        source: &str,
        sql: &str,
        sink: &str,
    ) -> Self {
        let folder = TempDir::with_prefix("engine-upsert-").expect("a temporary folder");
        let messages = repository::path(&format!("tests/fixtures/{messages}"));
        let transform = match sql {
            "" => String::new(),
            sql => format!("transform: |\n  {sql}\n"),
        };
        let yaml = format!(
            "pipeline: {{ name: p }}\nsource:\n  type: kafka\n  name: t\n  bootstrap_servers: file:{}\n  topics: [{topic}]\n  tables: [\"*\"]\n{source}{transform}sink:\n{}  mode: upsert\n{sink}",
            messages.display(),
            format.yaml()
        );
        fs::write(folder.path().join("p.yaml"), yaml).expect("a temporary folder is writable");
        Self { folder, format }
    }

    fn engine(&self, arguments: &[&str]) -> Engine {
        Engine::new(arguments.iter().copied()).current_dir(self.folder.path())
    }

    fn run(&self, batch: usize) -> Outcome {
        let batch = format!("pipeline.batch.max_records={batch}");
        self.engine(&["run", "--once", "p.yaml", "--set", &batch])
            .run(RUN)
    }

    fn table(&self) -> Location {
        let folder = self.folder.path();
        match self.format {
            Format::Delta => Location::Delta(folder.join("out")),
            Format::Iceberg | Format::CopiedIceberg => Location::Iceberg {
                catalog: folder.join("catalog.db"),
                name: "lake".to_owned(),
                table: "db.t".to_owned(),
            },
        }
    }

    /// The table's rows by the text of `key`, as two independent readers agree on them.
    fn rows(&self, readers: &Readers, key: &str) -> BTreeMap<String, Value> {
        let location = self.table();
        let [one, other] = location
            .readers()
            .map(|reader| by_key(readers.read(reader, &location).rows, key));
        assert_eq!(one, other, "two readers disagree");
        one
    }
}

fn by_key(rows: Vec<Value>, key: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for row in rows {
        let id = row[key].to_string();
        assert!(found.insert(id, row).is_none(), "a key is there twice");
    }
    found
}
