//! Pipelines made for a test: the shipped customers job with its own folder, input and names.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tests::capture;
use tests::engine::Engine;
use tests::python::{Location, Reader, Readers, Table};

use super::account;

/// Columns and SQL of the customers job.
const COLUMNS_AND_SQL: &str = "
  columns: |
    customer_id BIGINT NOT NULL, email TEXT, first_name TEXT, last_name TEXT, phone TEXT, city TEXT, state TEXT,
    country TEXT, tier TEXT, lifetime_value DECIMAL(12,2), created_at TIMESTAMPTZ, updated_at TIMESTAMP(6)
  key: [customer_id]
transform: |
  SELECT customer_id, email, concat_nonblank(' ', first_name, last_name) AS full_name,
         concat_nonblank(', ', city, state, country) AS location, tier, lifetime_value, created_at, updated_at,
         cdc_operation(_op) AS _cdc_operation, _ingested_at AS _ingestion_timestamp,
         'postgres_cdc' AS _source_system, _topic, _partition, _offset
  FROM customers
";

/// Both kinds of sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sink {
    /// An Iceberg table in a SQL catalog.
    Iceberg,
    /// A Delta table.
    Delta,
}

impl Sink {
    /// Both.
    pub(super) const BOTH: [Self; 2] = [Self::Iceberg, Self::Delta];

    fn yaml(self) -> &'static str {
        match self {
            Self::Iceberg => {
                "sink:
  type: iceberg
  catalog: { type: sql, name: iceberg, uri: \"sqlite://${WAREHOUSE}/catalog.db\", warehouse: \"${WAREHOUSE}\" }
  table: analytics.customers
  mode: append
"
            }
            Self::Delta => {
                "sink:
  type: delta
  path: \"${WAREHOUSE}/delta/customers\"
  mode: append
"
            }
        }
    }

    /// Where the customers job writes in `warehouse`.
    pub(super) fn location(self, warehouse: &Path) -> Location {
        match self {
            Self::Iceberg => Location::Iceberg {
                catalog: warehouse.join("catalog.db"),
                name: "iceberg".to_owned(),
                table: "analytics.customers".to_owned(),
            },
            Self::Delta => Location::Delta(warehouse.join("delta/customers")),
        }
    }
}

/// A pipeline file in a folder of its own, with an empty warehouse.
#[derive(Debug)]
pub(super) struct Pipeline {
    folder: TempDir,
    sink: Sink,
    bootstrap: String,
}

impl Pipeline {
    /// Reads `topic` from `bootstrap` (`host:port`, or `file:PATH`), with more lines for the source block.
    pub(super) fn new(sink: Sink, bootstrap: &str, topic: &str, source: &str) -> Self {
        let folder = TempDir::with_prefix("engine-pipeline-").expect("a temporary folder");
        let text = format!(
            "pipeline:
  name: customers
  trigger: {{ interval: 100ms, adaptive: false }}
  on_error: {{ policy: quarantine, table: {{ type: delta, path: \"${{WAREHOUSE}}/_quarantine/customers\" }} }}
source:
  type: kafka
  name: customers
  bootstrap_servers: ${{KAFKA_BROKERS}}
  topics: [{topic}]
  group_id: customers
  auto_offset_reset: earliest
  format: debezium_json
{source}{COLUMNS_AND_SQL}{}",
            sink.yaml()
        );
        fs::write(folder.path().join("customers.yaml"), text)
            .expect("a temporary folder is writable");
        Self {
            folder,
            sink,
            bootstrap: bootstrap.to_owned(),
        }
    }

    /// Reads the capture file of the same folder ([`Pipeline::capture`]).
    pub(super) fn replaying(sink: Sink, topic: &str) -> Self {
        let mut pipeline = Self::new(sink, "", topic, "");
        pipeline.bootstrap = format!("file:{}", pipeline.capture().display());
        pipeline
    }

    /// The capture file that a replaying pipeline reads.
    pub(super) fn capture(&self) -> PathBuf {
        self.folder.path().join("messages.jsonl")
    }

    /// The folder of the tables.
    pub(super) fn warehouse(&self) -> PathBuf {
        self.folder.path().join("warehouse")
    }

    /// The table that it writes.
    pub(super) fn target(&self) -> Location {
        self.sink.location(&self.warehouse())
    }

    /// `engine run` of it, in its own folder.
    pub(super) fn run(&self) -> Engine {
        Engine::new(["run", "customers.yaml"])
            .current_dir(self.folder.path())
            .env("WAREHOUSE", self.warehouse())
            .env("KAFKA_BROKERS", &self.bootstrap)
    }

    /// Rows in the table now; none if there is no table yet.
    pub(super) fn rows(&self, readers: &Readers) -> Vec<Value> {
        let target = self.target();
        if !target.exists() {
            return Vec::new();
        }
        readers.read(target.readers()[0], &target).rows
    }

    /// Records that were set aside.
    pub(super) fn rejects(&self, readers: &Readers) -> Vec<Value> {
        let quarantine = Location::Delta(self.warehouse().join("_quarantine/customers"));
        if !quarantine.exists() {
            return Vec::new();
        }
        readers.read(Reader::Deltalake, &quarantine).rows
    }

    /// Asserts that the table holds what the capture file says: by both readers, each row once and right, each
    /// offset accounted for. Returns the table.
    pub(super) fn assert_settled(&self, readers: &Readers) -> Table {
        let target = self.target();
        let [one, other] = target.readers().map(|reader| readers.read(reader, &target));
        let expected = readers.reference(&self.capture());
        for (name, table) in [("first reader", &one), ("second reader", &other)] {
            let rows = account::without_ingestion_time(table.rows.clone());
            account::assert_same_rows(name, &rows, &expected);
        }
        assert_eq!(one.version, other.version);
        let records = capture::read(&self.capture());
        account::assert_each_once(&records, &one.rows, &self.rejects(readers));
        one
    }
}
