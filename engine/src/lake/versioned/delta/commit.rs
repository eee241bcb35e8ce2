//! One commit of the log: the actions that matter to those who read changes.

use std::collections::HashMap;

use deltalake::kernel::{Add, AddCDCFile, DeletionVectorDescriptor, Metadata, Protocol, Remove};
use serde::Deserialize;
use serde_json::{Map, Value};
use sql::versioned::{Size, Version};
use sql::{Error, Result};

/// A file that a commit adds or removes, or that holds its change feed.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    /// Relative to the table, or a URL; not encoded.
    pub(super) path: String,
    /// In bytes, if the log says it.
    pub(super) size: Option<u64>,
    /// By the names that the files have; `None` if the log does not say them.
    pub(super) partition: Option<HashMap<String, Option<String>>>,
    /// Whether it changes what rows the table has.
    pub(super) changes: bool,
    /// Rows in the file, deleted ones included, if the log says it.
    pub(super) rows: Option<u64>,
    /// Its deleted rows.
    pub(super) vector: Option<DeletionVectorDescriptor>,
}

/// A version's commit.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) number: i64,
    /// Microseconds since the epoch, if the commit says it.
    pub(super) micros: Option<i64>,
    pub(super) info: Map<String, Value>,
    pub(super) added: Vec<DataFile>,
    pub(super) removed: Vec<DataFile>,
    pub(super) feed: Vec<DataFile>,
    pub(super) metadata: Option<Metadata>,
    pub(super) protocol: Option<Protocol>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    add: Option<Add>,
    remove: Option<RemoveLine>,
    cdc: Option<AddCDCFile>,
    meta_data: Option<Metadata>,
    protocol: Option<Protocol>,
    commit_info: Option<Map<String, Value>>,
}

/// Spark says of removed files, too, what was in them.
#[derive(Deserialize)]
struct RemoveLine {
    #[serde(flatten)]
    remove: Remove,
    stats: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    num_records: Option<u64>,
}

impl Commit {
    /// Parses the text of a commit of the table `place`.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if it is no commit.
    pub(super) fn parse(number: i64, text: &[u8], place: &str) -> Result<Self> {
        let mut commit = Self {
            number,
            micros: None,
            info: Map::new(),
            added: Vec::new(),
            removed: Vec::new(),
            feed: Vec::new(),
            metadata: None,
            protocol: None,
        };
        for line in text.split(|byte| *byte == b'\n') {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let line: Line = serde_json::from_slice(line).map_err(|error| {
                Error::config(format!(
                    "the commit of version {number} cannot be understood"
                ))
                .at(place)
                .remedy("Repair the log of the Delta table, or read another range of versions.")
                .source(error)
            })?;
            commit.take(line);
        }
        let number = |name: &str| commit.info.get(name).and_then(Value::as_i64);
        let millis = number("inCommitTimestamp").or_else(|| number("timestamp"));
        commit.micros = millis.map(|millis| millis.saturating_mul(1_000));
        Ok(commit)
    }

    fn take(&mut self, line: Line) {
        self.added.extend(line.add.map(added));
        self.removed.extend(line.remove.map(removed));
        self.feed.extend(line.cdc.map(feed));
        self.metadata = line.meta_data.or(self.metadata.take());
        self.protocol = line.protocol.or(self.protocol.take());
        if let Some(info) = line.commit_info {
            self.info = info;
        }
    }

    /// Whether the commit changes rows.
    pub(super) fn changes_rows(&self) -> bool {
        let mut files = self.added.iter().chain(&self.removed);
        !self.feed.is_empty() || files.any(|file| file.changes)
    }

    /// In the words of who made it.
    pub(super) fn operation(&self) -> Option<&str> {
        self.info.get("operation").and_then(Value::as_str)
    }

    /// The commit as a version.
    pub(super) fn as_version(&self) -> Version {
        Version {
            number: self.number,
            committed_micros: self.micros.unwrap_or(0),
            operation: self.operation().unwrap_or("UNKNOWN").to_owned(),
            changes_rows: self.changes_rows(),
            size: self.size(),
        }
    }

    /// What the commit says of its size. A file whose deletion vector alone changed neither comes nor goes.
    pub(super) fn size(&self) -> Size {
        let mut size = Size {
            added_rows: Some(0),
            removed_rows: Some(0),
            ..Size::default()
        };
        let stays = |one: &DataFile, others: &[DataFile]| {
            others.iter().find(|other| other.path == one.path).cloned()
        };
        for file in &self.added {
            let Some(before) = stays(file, &self.removed) else {
                size.added_files += 1;
                size.added_rows = sum(size.added_rows, file.live_rows());
                continue;
            };
            let more = file.deleted_rows().checked_sub(before.deleted_rows());
            size.removed_rows = sum(size.removed_rows, more);
        }
        for file in &self.removed {
            if stays(file, &self.added).is_none() {
                size.removed_files += 1;
                size.removed_rows = sum(size.removed_rows, file.live_rows());
            }
        }
        let changed = |file: &&DataFile| file.changes;
        let read: Vec<_> = if self.feed.is_empty() {
            let added = self.added.iter().filter(changed);
            added.chain(self.removed.iter().filter(changed)).collect()
        } else {
            self.feed.iter().collect()
        };
        size.bytes = read.iter().map(|file| file.size.unwrap_or(0)).sum();
        size
    }
}

impl DataFile {
    /// Rows that its deletion vector takes out.
    pub(super) fn deleted_rows(&self) -> u64 {
        let vector = self.vector.as_ref();
        vector.map_or(0, |v| u64::try_from(v.cardinality).unwrap_or(0))
    }

    fn live_rows(&self) -> Option<u64> {
        self.rows?.checked_sub(self.deleted_rows())
    }
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a?.checked_add(b?)
}

/// An added file.
pub(super) fn added(add: Add) -> DataFile {
    DataFile {
        path: add.path,
        size: u64::try_from(add.size).ok(),
        partition: Some(add.partition_values),
        changes: add.data_change,
        rows: rows_of(add.stats.as_deref()),
        vector: add.deletion_vector,
    }
}

fn rows_of(statistics: Option<&str>) -> Option<u64> {
    let statistics: Statistics = serde_json::from_str(statistics?).ok()?;
    statistics.num_records
}

fn removed(RemoveLine { remove, stats }: RemoveLine) -> DataFile {
    DataFile {
        path: remove.path,
        size: remove.size.and_then(|size| u64::try_from(size).ok()),
        partition: remove.partition_values,
        changes: remove.data_change,
        rows: rows_of(stats.as_deref()),
        vector: remove.deletion_vector,
    }
}

fn feed(file: AddCDCFile) -> DataFile {
    DataFile {
        path: file.path,
        size: u64::try_from(file.size).ok(),
        partition: Some(file.partition_values),
        changes: true,
        rows: None,
        vector: None,
    }
}
