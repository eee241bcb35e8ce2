//! The pipelines of the run: for each table of both databases one that keeps re-sent events and one that drops them,
//! into Iceberg and Delta in turn, all in one folder and one process.

use std::fs;
use std::path::{Path, PathBuf};

use tests::judge::Resends;
use tests::python::Location;
use tests::workload::{Dialect, Table};

/// Both databases, in the order in which everything here has them.
pub(super) const DIALECTS: [Dialect; 2] = [Dialect::Postgres, Dialect::MariaDb];

/// A captured table.
#[derive(Debug, Clone)]
pub(super) struct Captured {
    /// Its columns and key.
    pub(super) table: Table,
    /// Where Debezium sends its changes.
    pub(super) topic: String,
}

/// What a pipeline writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Iceberg,
    Delta,
}

/// One pipeline.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// The pipeline's name, and the last part of its table's.
    pub(super) name: String,
    /// What it reads.
    pub(super) captured: Captured,
    /// What it does with re-sent events.
    pub(super) resends: Resends,
    format: Format,
    warehouse: PathBuf,
}

/// What pipelines do with events that a connector sends again.
const RESENDS: [Resends; 2] = [Resends::Keep, Resends::Drop];

/// The short name of a database.
pub(super) fn short(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "postgres",
        Dialect::MariaDb => "mariadb",
    }
}

/// The pipelines of `tables` in `warehouse`. A table has one of each format, and which one it is changes from table to
/// table.
pub(super) fn jobs(tables: &[Captured], warehouse: &Path) -> Vec<Job> {
    let formats = [Format::Iceberg, Format::Delta];
    let numbered = tables.iter().enumerate();
    numbered
        .flat_map(|(number, captured)| {
            RESENDS.iter().enumerate().map(move |(mode, resends)| Job {
                name: format!(
                    "{}_{}_{}",
                    short(captured.table.dialect),
                    captured.table.name,
                    word(*resends)
                ),
                captured: captured.clone(),
                resends: *resends,
                format: if captured.table.name == Table::oddities().name {
                    // It has a time of day, for which Delta has no type.
                    Format::Iceberg
                } else {
                    formats[(number + mode) % 2]
                },
                warehouse: warehouse.to_owned(),
            })
        })
        .collect()
}

/// As the pipeline file says it.
fn word(resends: Resends) -> &'static str {
    match resends {
        Resends::Keep => "keep",
        Resends::Drop => "drop",
    }
}

impl Job {
    /// What it does with re-sent events, as its file says it.
    pub(super) fn word(&self) -> &'static str {
        word(self.resends)
    }

    /// Where its table is.
    pub(super) fn target(&self) -> Location {
        match self.format {
            Format::Iceberg => Location::Iceberg {
                catalog: self.warehouse.join("catalog.db"),
                name: "iceberg".to_owned(),
                table: format!("truth.{}", self.name),
            },
            Format::Delta => Location::Delta(self.warehouse.join("delta").join(&self.name)),
        }
    }

    /// Where it sets records aside.
    pub(super) fn quarantine(&self) -> Location {
        Location::Delta(self.warehouse.join("_quarantine").join(&self.name))
    }

    /// Writes its file into `folder`.
    pub(super) fn write(&self, folder: &Path) {
        let file = folder.join(format!("{}.yaml", self.name));
        fs::write(file, self.yaml()).expect("a temporary folder is writable");
    }

    fn yaml(&self) -> String {
        let Captured { table, topic, .. } = &self.captured;
        let (name, source) = (&self.name, table.name);
        let image = if table.full_identity { "full" } else { "key" };
        format!(
            "pipeline:
  name: {name}
  trigger: {{ interval: 1s, adaptive: true }}
  batch: {{ max_records: 5000, max_bytes: 16MiB }}
  on_error: {{ policy: quarantine, table: {{ type: delta, path: \"${{WAREHOUSE}}/_quarantine/{name}\" }} }}
source:
  type: kafka
  name: {source}
  bootstrap_servers: ${{KAFKA_BROKERS}}
  topics: [\"{topic}\"]
  auto_offset_reset: earliest
  before_image: {image}
  resends: {}
{}transform: |
  SELECT *, _op, _topic, _partition, _offset, _unavailable_columns FROM {source}
sink:
{}  mode: append
",
            self.word(),
            self.columns(),
            self.sink(),
        )
    }

    /// Events without schemas have no types.
    fn columns(&self) -> String {
        let table = &self.captured.table;
        match table.dialect {
            Dialect::Postgres => format!("  columns: |\n    {}\n", table.declared()),
            Dialect::MariaDb => String::new(),
        }
    }

    fn sink(&self) -> String {
        let name = &self.name;
        match self.format {
            Format::Iceberg => format!(
                "  type: iceberg
  catalog: {{ type: sql, name: iceberg, uri: \"sqlite://${{WAREHOUSE}}/catalog.db\", warehouse: \"${{WAREHOUSE}}\" }}
  table: truth.{name}
"
            ),
            Format::Delta => format!("  type: delta\n  path: \"${{WAREHOUSE}}/delta/{name}\"\n"),
        }
    }
}
