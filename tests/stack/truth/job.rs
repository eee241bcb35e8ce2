//! The pipelines of the run: for each table of both databases one that appends and keeps re-sent events, one that appends
//! and drops them, and for each table with a key one that is kept by it, into Iceberg and Delta in turn, all in one folder
//! and one process.

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

/// How a pipeline writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `mode: append`, and what it does with re-sent events.
    Append(Resends),
    /// `mode: upsert`.
    Upsert,
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
    /// How it writes.
    pub(super) way: Way,
    /// What it writes.
    pub(super) format: Format,
    warehouse: PathBuf,
}

/// What pipelines that append do with events that a connector sends again.
const RESENDS: [Resends; 2] = [Resends::Keep, Resends::Drop];
const FORMATS: [Format; 2] = [Format::Iceberg, Format::Delta];
/// Tables that are kept by key in both formats: keys of one column and of two, and large values that are not sent.
const IN_BOTH: [&str; 2] = ["docs", "order_items"];

/// The short name of a database.
pub(super) fn short(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "postgres",
        Dialect::MariaDb => "mariadb",
    }
}

/// The pipelines of `tables` in `warehouse`. Of those that append, a table has one of each format, and which one it is
/// changes from table to table; so it does for those that are kept by key.
pub(super) fn jobs(tables: &[Captured], warehouse: &Path) -> Vec<Job> {
    let appends = tables.iter().enumerate().flat_map(|(number, captured)| {
        RESENDS.iter().enumerate().map(move |(mode, resends)| {
            // It has a time of day, for which Delta has no type.
            let format = if is_odd(captured) {
                Format::Iceberg
            } else {
                FORMATS[(number + mode) % 2]
            };
            let way = Way::Append(*resends);
            Job::new(captured, way, format, word(way), warehouse)
        })
    });
    let upserts = DIALECTS
        .into_iter()
        .enumerate()
        .flat_map(|(first, dialect)| {
            // What no lake type can hold makes rows that differ, and without a key there is nothing to keep a table by.
            let keyed = tables.iter().filter(move |captured| {
                let table = &captured.table;
                table.dialect == dialect && !table.key.is_empty() && !is_odd(captured)
            });
            keyed.enumerate().flat_map(move |(number, captured)| {
                let formats = if IN_BOTH.contains(&captured.table.name) {
                    &FORMATS[..]
                } else {
                    &FORMATS[(number + first) % 2..][..1]
                };
                formats.iter().map(move |format| {
                    let name = match format {
                        Format::Iceberg => "upsert_iceberg",
                        Format::Delta => "upsert_delta",
                    };
                    Job::new(captured, Way::Upsert, *format, name, warehouse)
                })
            })
        });
    appends.chain(upserts).collect()
}

/// Whether a table has values that no lake type can hold.
pub(super) fn is_odd(captured: &Captured) -> bool {
    captured.table.name == Table::oddities().name
}

/// In a word.
fn word(way: Way) -> &'static str {
    match way {
        Way::Append(Resends::Keep) => "keep",
        Way::Append(Resends::Drop) => "drop",
        Way::Upsert => "upsert",
    }
}

impl Job {
    fn new(captured: &Captured, way: Way, format: Format, name: &str, warehouse: &Path) -> Self {
        Self {
            name: format!(
                "{}_{}_{name}",
                short(captured.table.dialect),
                captured.table.name
            ),
            captured: captured.clone(),
            way,
            format,
            warehouse: warehouse.to_owned(),
        }
    }

    /// How it writes, in a word.
    pub(super) fn word(&self) -> &'static str {
        word(self.way)
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
  trigger: {{ interval: {}, adaptive: true }}
  batch: {{ max_records: 5000, max_bytes: 16MiB }}
  on_error: {{ policy: quarantine, table: {{ type: delta, path: \"${{WAREHOUSE}}/_quarantine/{name}\" }} }}
source:
  type: kafka
  name: {source}
  bootstrap_servers: ${{KAFKA_BROKERS}}
  topics: [\"{topic}\"]
  auto_offset_reset: earliest
  before_image: {image}
{}{}{}sink:
{}{}",
            self.interval(),
            self.resends(),
            self.columns(),
            self.transform(),
            self.sink(),
            self.mode(),
        )
    }

    /// A commit to a table that is kept by key rewrites files, or makes deletes that readers read.
    fn interval(&self) -> &'static str {
        match self.way {
            Way::Append(_) => "1s",
            Way::Upsert => "3s",
        }
    }

    /// A table that is kept by key drops them by itself.
    fn resends(&self) -> String {
        match self.way {
            Way::Append(_) => format!("  resends: {}\n", self.word()),
            Way::Upsert => String::new(),
        }
    }

    fn transform(&self) -> String {
        let source = self.captured.table.name;
        match self.way {
            Way::Append(_) => format!(
                "transform: |
  SELECT *, _op, _topic, _partition, _offset, _unavailable_columns FROM {source}
"
            ),
            Way::Upsert => String::new(),
        }
    }

    fn mode(&self) -> &'static str {
        match self.way {
            Way::Append(_) => "  mode: append\n",
            Way::Upsert => "  mode: upsert\n  truncate: apply\n",
        }
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
