//! Spark and the engine write to the same tables, in turn and at the same time: nothing is lost.
//!
//! The engine keeps a table by key from a captured topic, part by part. In between Spark changes rows that the topic will touch
//! again and rows that it will not, deletes, inserts keys that the topic will insert, compacts, expires. After each turn the table
//! is what both have done in this order.

mod delta;
mod iceberg;
mod model;
mod race;
mod refused;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tests::capture::{self, Record};
use tests::engine::{Engine, Outcome};
use tests::judge::{Line, Replay, Resends, Subject};
use tests::python::{Location, Readers};
use tests::repository;
use tests::spark::{Session, View};

use model::{COLUMNS, Rows, Step, assert_rows};

const RUN: Duration = Duration::from_secs(300);
const TOPIC: &str = "postgres.public.customers";
/// Spark's own keys begin here; the topic has none of them.
const OWN: i64 = 1_000_000;

const DECLARED: [(&str, &str); 12] = [
    ("customer_id", "BIGINT NOT NULL PRIMARY KEY"),
    ("email", "TEXT"),
    ("first_name", "TEXT"),
    ("last_name", "TEXT"),
    ("phone", "TEXT"),
    ("city", "TEXT"),
    ("state", "TEXT"),
    ("country", "TEXT"),
    ("tier", "TEXT"),
    ("lifetime_value", "DECIMAL(12,2)"),
    ("created_at", "TIMESTAMPTZ"),
    ("updated_at", "TIMESTAMP(6)"),
];

/// Both formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Delta,
    Iceberg,
}

/// The captured topic, and what the replayer says of it.
struct Topic {
    records: Vec<Record>,
    lines: Vec<Line>,
}

impl Topic {
    fn new(readers: &Readers) -> Self {
        let records = capture::read(&repository::path("tests/fixtures/customers.jsonl"));
        let owned = |(name, declared): (&str, &str)| (name.to_owned(), declared.to_owned());
        let subject = Subject {
            topic: TOPIC.to_owned(),
            columns: Some(DECLARED.map(owned).into()),
            key: vec!["customer_id".to_owned()],
            before_image_full: false,
        };
        let replay = Replay::of(readers, &subject, &records, Resends::Drop);
        Self {
            records,
            lines: replay.log.into_values().collect(),
        }
    }

    /// Keys that the topic inserts only after its first `part` records, in that order.
    fn to_come(&self, part: usize) -> Vec<i64> {
        let inserts = self.lines[part..].iter();
        let inserts = inserts.filter(|line| line.op.as_deref() == Some("c"));
        inserts
            .filter_map(|line| line.row.as_ref().map(model::key))
            .collect()
    }
}

/// A pipeline that keeps a table by key from a capture file that grows.
struct Job<'a> {
    topic: &'a Topic,
    folder: TempDir,
    table: Location,
    /// Records that are in the capture file.
    fed: usize,
    /// What the table must hold.
    rows: Rows,
    checks: usize,
}

impl<'a> Job<'a> {
    /// `sink` is further lines of the sink's block.
    fn new(topic: &'a Topic, format: Format, sink: &str) -> Self {
        let folder = TempDir::with_prefix("engine-turns-").expect("a temporary folder");
        let declared = DECLARED.map(|(name, declared)| format!("{name} {declared}"));
        let into = match format {
            Format::Delta => "  type: delta\n  path: out\n".to_owned(),
            Format::Iceberg => format!(
                "  type: iceberg\n  catalog: {{ type: sql, name: lake, uri: \"sqlite://catalog.db\", warehouse: \"{}\" }}\n  table: db.t\n",
                folder.path().display()
            ),
        };
        let yaml = format!(
            "pipeline: {{ name: turns, trigger: {{ interval: 10ms, adaptive: false }} }}\nsource:\n  type: kafka\n  \
             name: customers\n  bootstrap_servers: file:messages.jsonl\n  topics: [{TOPIC}]\n  columns: |\n    {}\n\
             transform: SELECT {} FROM customers\nsink:\n{into}  mode: upsert\n{sink}",
            declared.join(", "),
            COLUMNS.join(", "),
        );
        fs::write(folder.path().join("p.yaml"), yaml).expect("a temporary folder is writable");
        let table = match format {
            Format::Delta => Location::Delta(folder.path().join("out")),
            Format::Iceberg => Location::Iceberg {
                catalog: folder.path().join("catalog.db"),
                name: "lake".to_owned(),
                table: "db.t".to_owned(),
            },
        };
        Self {
            topic,
            folder,
            table,
            fed: 0,
            rows: Rows::new(),
            checks: 0,
        }
    }

    fn capture(&self) -> PathBuf {
        self.folder.path().join("messages.jsonl")
    }

    /// Lets the capture file grow to the topic's first `part` records.
    fn feed(&mut self, part: usize) {
        let lines = capture::lines(TOPIC, &self.topic.records[self.fed..part]);
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.capture())
            .expect("a temporary folder is writable");
        file.write_all(lines.as_bytes()).expect("a file");
        model::take(&mut self.rows, &self.topic.lines[self.fed..part]);
        self.fed = part;
    }

    /// The engine, which commits every `batch` records.
    fn engine(&self, batch: usize, more: &[&str]) -> Engine {
        let batch = format!("pipeline.batch.max_records={batch}");
        Engine::new(["run", "p.yaml", "--set", &batch])
            .args(more)
            .current_dir(self.folder.path())
    }

    fn run(&self, batch: usize) -> Outcome {
        self.engine(batch, &["--once"]).run(RUN)
    }

    /// The engine's turn: it takes the topic up to its first `part` records, in several commits.
    fn engine_turn(&mut self, part: usize) {
        self.feed(part);
        self.run(70).expect_code(0);
    }

    /// Spark's turn.
    fn spark_turn(&mut self, spark: &mut Session, steps: &[Step]) {
        for step in steps {
            spark.run(&self.table, &step.sql());
            step.apply(&mut self.rows);
        }
    }

    /// Asserts that the table is what it must be, for its two readers and for Spark.
    fn check(&mut self, when: &str, readers: &Readers, spark: &mut Session) {
        for _ in 0..3 {
            self.check_once(when, readers, spark);
        }
    }

    /// The same for one of the three, by turns.
    fn check_once(&mut self, when: &str, readers: &Readers, spark: &mut Session) {
        let [one, other] = self.table.readers();
        let (who, table) = match self.checks % 3 {
            0 => (format!("{one:?}"), readers.read(one, &self.table)),
            1 => (format!("{other:?}"), readers.read(other, &self.table)),
            _ => ("Spark".to_owned(), spark.read(&View::table(&self.table))),
        };
        assert_rows(&format!("{when}, {who}"), &table, &self.rows);
        self.checks += 1;
    }
}
