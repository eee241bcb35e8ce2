//! The port to tables that remember what changed: Delta tables and Iceberg tables.
//!
//! A version is a number that grows along the table's history: a Delta version, an Iceberg sequence number. The changes *of* a
//! version are what its commit made of the version before it. A range of versions has both its ends.
//!
//! Change rows have the row's columns that were asked for, then [`CHANGE_TYPE`](crate::change::CHANGE_TYPE). Within a
//! version both images of an update stand next to each other, the one before first; a row that a version deletes comes before
//! one that it inserts under the same key. Reading a version again gives the same rows in the same order, as long as its files
//! are there: a place in it can be a row's number.

mod memory;

use std::fmt;
use std::sync::Arc;

pub use memory::MemoryTable;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use futures::stream::BoxStream;

use crate::change::utc_micros;
use crate::error::Result;

/// Change rows, or plain rows, as they are read.
pub type Rows = BoxStream<'static, Result<RecordBatch>>;

/// A version of a table, as its log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub number: i64,
    /// When it was committed, microseconds since the epoch.
    pub committed_micros: i64,
    /// What made it, in the format's words: `WRITE`, `MERGE`, `append`, `overwrite` …
    pub operation: String,
    /// Whether it changed rows at all: compaction and new metadata do not.
    pub changes_rows: bool,
    /// What is known of its size without reading a data file.
    pub size: Size,
}

/// What a version added and removed, as far as its log says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Data files added.
    pub added_files: u64,
    /// Data files removed.
    pub removed_files: u64,
    /// Rows in the added data files. Rewritten rows are among them.
    pub added_rows: Option<u64>,
    /// Rows in the removed data files, and rows that deletes took out of files that stay.
    pub removed_rows: Option<u64>,
    /// Bytes of what reading the changes opens, at most.
    pub bytes: u64,
}

/// The versions whose changes can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readable {
    /// The oldest version whose changes are still there.
    pub first: i64,
    /// The newest version.
    pub last: i64,
}

/// What is wanted of change rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The row's columns, by name, in order; none at all is legal.
    pub columns: Vec<String>,
    /// Only changes of these types, by Delta's words; `None` is all of them. A table may return others, too.
    pub change_types: Option<Vec<String>>,
}

/// A table whose versions and changes can be read. Cheap to clone behind its `Arc`; handles are shared by queries.
#[async_trait]
pub trait VersionedTable: fmt::Debug + Send + Sync {
    /// What messages call it: a path, or `catalog.namespace.table`.
    fn name(&self) -> &str;

    /// `delta` or `iceberg`.
    fn format(&self) -> &'static str;

    /// The row's columns at the newest version that was seen, all nullable, with the types of the engine
    /// (instants are [`utc_micros`](crate::change::utc_micros)). Rows of older versions are read into them: by field id or
    /// name, widened, null where they had no such column.
    fn schema(&self) -> SchemaRef;

    /// The columns that identify a row, if the table says so (Iceberg's identifier fields; what an upsert pipeline noted).
    fn key(&self) -> Vec<String>;

    /// Looks for newer versions, and says which versions' changes can be read now.
    ///
    /// # Errors
    /// Of the storage or catalog; [`crate::ErrorKind::Config`] if the table is gone.
    async fn refresh(&self) -> Result<Readable>;

    /// The versions `from..=to` of the current history, in order. Versions may be missing in between: other branches' (Iceberg).
    /// An end beyond the newest version is the newest version.
    ///
    /// # Errors
    /// [`crate::ErrorKind::DataLoss`] if `from` is older than what can be read, or not of this history: the message says which range
    /// is.
    async fn versions(&self, from: i64, to: i64) -> Result<Vec<Version>>;

    /// The newest version that was committed at `micros` since the epoch or before; `None` if all are younger.
    ///
    /// # Errors
    /// Of the storage.
    async fn version_at(&self, micros: i64) -> Result<Option<i64>>;

    /// The changes that the version `number` made.
    ///
    /// # Errors
    /// As [`Self::versions`]; [`crate::ErrorKind::Config`] if they cannot be known exactly, with the way out.
    async fn changes(&self, number: i64, wanted: &Wanted) -> Result<Rows>;

    /// All rows of the version `number`, with `columns`, in an order that is the same each time.
    ///
    /// # Errors
    /// As [`Self::versions`].
    async fn rows(&self, number: i64, columns: &[String]) -> Result<Rows>;

    /// The table as it was at the version `number`, for SQL.
    ///
    /// # Errors
    /// As [`Self::versions`].
    async fn at(&self, number: i64) -> Result<Arc<dyn TableProvider>>;

    /// One row a version that can be read as a table: see [`snapshots_schema`].
    ///
    /// # Errors
    /// Of the storage.
    async fn snapshots(&self) -> Result<RecordBatch>;

    /// The files that are live at the version `number` (default: the newest): see [`files_schema`].
    ///
    /// # Errors
    /// As [`Self::versions`].
    async fn files(&self, number: Option<i64>) -> Result<RecordBatch>;
}

/// The columns of `snapshots('t')`, for every format.
///
/// | column | type | meaning |
/// |---|---|---|
/// | `version` | Int64 | Delta version, Iceberg sequence number |
/// | `snapshot_id` `parent_id` | Int64 | Iceberg only |
/// | `committed_at` | Timestamp(µs, UTC) | |
/// | `operation` | Utf8 | in the format's words |
/// | `is_current` | Boolean | whether it is the table now |
/// | `added_files` `removed_files` `added_rows` `removed_rows` | Int64 | what its log says; null if it does not |
/// | `total_files` `total_rows` `total_bytes` | Int64 | Iceberg's summary; null if it is not there |
/// | `summary` | Utf8 | the rest, as JSON: Iceberg's summary, Delta's `commitInfo` |
pub fn snapshots_schema() -> SchemaRef {
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("version", DataType::Int64, false),
        long("snapshot_id"),
        long("parent_id"),
        Field::new("committed_at", utc_micros(), true),
        text("operation"),
        Field::new("is_current", DataType::Boolean, false),
        long("added_files"),
        long("removed_files"),
        long("added_rows"),
        long("removed_rows"),
        long("total_files"),
        long("total_rows"),
        long("total_bytes"),
        text("summary"),
    ]))
}

/// The columns of `files('t')`, for every format.
///
/// | column | type | meaning |
/// |---|---|---|
/// | `path` | Utf8 | as the table's log has it |
/// | `content` | Utf8 | `data`, `position_deletes`, `equality_deletes`, `deletion_vector` |
/// | `partition` | Utf8 | partition values as JSON; null for a table without partitions |
/// | `rows` `bytes` | Int64 | null if the log does not say |
/// | `version` | Int64 | the version that added it; null if the log does not say |
/// | `deleted_rows` | Int64 | rows of a data file that deletes take out; null if not known without reading |
/// | `spec_id` | Int32 | Iceberg's partition spec |
pub fn files_schema() -> SchemaRef {
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("content", DataType::Utf8, false),
        text("partition"),
        long("rows"),
        long("bytes"),
        long("version"),
        long("deleted_rows"),
        Field::new("spec_id", DataType::Int32, true),
    ]))
}
