//! Where rows go: tables that hold their own source positions.
//!
//! | place | sink | where the positions are |
//! |---|---|---|
//! | [`delta`] | appends to a Delta table, or keeps the rows of keys | `txn` actions `<pipeline>/<topic>/<partition>` |
//! | [`iceberg`] | appends to an Iceberg table | snapshot summary and table properties `engine.<pipeline>.pos.<topic>.<partition>` |
//! | [`memory`] | a double of both for tests | beside the rows |
//!
//! All follow one protocol: read the stored positions; if they are not where the batch starts, the batch has landed
//! already or another engine owns the table; write the files once; commit by comparing and swapping **on the very
//! state whose positions were checked**; after any error read again and compare before anything is retried.
//!
//! [`quarantine`] holds the records that became no rows, [`sidecar`] small files beside a table. [`failpoint`] is for
//! crash tests.

pub mod backfill;
pub mod delta;
pub mod failpoint;
pub mod iceberg;
pub mod memory;
mod protocol;
pub mod quarantine;
pub mod sidecar;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sql::change::{NetChange, Position, Span};
use sql::{Error, Result};

use self::backfill::Backfill;
pub use self::sidecar::Sidecar;
use crate::lake;
use crate::lake::schema::{TableFormat, target_schema};
pub use crate::lake::shape::Missing;
use crate::maintain::{Policy, Report};
use crate::spec::model::{Mode, SinkSpec, SinkTarget};

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The table's version after it: Delta's version, Iceberg's sequence number.
    pub version: i64,
    /// Rows added; of an upsert, rows that are new or have changed.
    pub rows: u64,
    /// Data files added.
    pub files: u64,
    /// Bytes of data files added.
    pub bytes: u64,
    /// Attempts lost to other writers of the same table.
    pub conflicts: u64,
    /// True if an earlier attempt of this very batch had landed although its answer was lost.
    pub already_landed: bool,
}

/// A table that rows are appended to, exactly once.
///
/// `write` commits the rows **and** the span's positions in one atomic commit, or neither. A sink may be called again
/// with the same span after an error; it finds out by itself whether the first attempt landed. One `write` is in
/// flight at a time; the sink holds one batch's files in memory, never the table's state.
#[async_trait]
pub trait Sink: Send {
    /// The target's columns as the sink's rows must have them: names, order and types of [`Sink::write`]'s batches.
    fn schema(&self) -> SchemaRef;

    /// The positions that the table holds for this pipeline, read back from the table itself.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Unavailable`] and its like, from the table's storage or catalog.
    async fn progress(&mut self) -> Result<Position>;

    /// Appends `rows` and moves the positions along `span`. Each batch has the schema of [`Sink::schema`], as it is or as it
    /// was earlier: columns that came since are null. `rows` may be empty. An empty span with no rows does nothing; rows
    /// need a span. Rows keep their order within a file.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Fenced`] if the stored positions are not the span's start, or are its end although no attempt of
    /// this sink can have brought them there: another engine runs the pipeline.
    async fn write(&mut self, rows: &[RecordBatch], span: &Span) -> Result<Receipt>;

    /// Adds the nullable columns that `schema` has and the table does not, in a commit of their own, and from now on
    /// takes batches of the resulting [`Sink::schema`].
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if a column's type would change.
    async fn evolve(&mut self, schema: &SchemaRef) -> Result<()>;

    /// Files beside the table, for what must be found again with its positions; `None` if there is no such place.
    fn sidecar(&self) -> Option<Arc<dyn Sidecar>> {
        None
    }

    /// One pass of maintenance ([`crate::maintain`]): rows, positions and change feeds stay as they are. Never called while
    /// [`Sink::write`] is in flight; other processes may write and maintain the same table.
    ///
    /// # Errors
    /// From the table's storage or catalog. Whatever was done until then is whole, and the table is as right as before.
    async fn maintain(&mut self, policy: &Policy) -> Result<Report> {
        let _nothing_to_keep = policy;
        Ok(Report::default())
    }
}

/// Rows of a table found by their keys.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The rows that were found, with the columns of [`Sink::schema`], in no particular order.
    pub rows: RecordBatch,
    /// For each asked key its row in `rows`; `None` if the table has no row with that key.
    pub found: Vec<Option<usize>>,
}

/// A table that is kept equal to its source, key by key, exactly once.
///
/// The key was given when the sink was opened. A table that holds a key twice (another writer put it there) loses all its rows
/// of that key when the key is written or deleted.
#[async_trait]
pub trait UpsertSink: Sink {
    /// The names of the key columns, in order.
    fn key(&self) -> &[String];

    /// The rows of these keys as the table has them now: `keys` has the key columns in order, without nulls.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Unavailable`] and its like, from the table's storage or catalog.
    async fn fetch(&mut self, keys: &RecordBatch) -> Result<Fetched>;

    /// Notes in the table the values of columns that are about to be added: see [`backfill`].
    ///
    /// # Errors
    /// As [`Sink::evolve`].
    async fn note_backfill(&mut self, values: &Backfill) -> Result<()>;

    /// Gives the rows that are there the values that were noted, where they have null, and takes the note away. Returns how many
    /// rows got one. Files are written anew, which the table's change feed tells. Nothing to do if nothing was noted.
    ///
    /// # Errors
    /// As [`Sink::write`]; the note then stays.
    async fn backfill(&mut self) -> Result<u64>;

    /// Applies `change` and moves the positions along `span`, in one commit. A change that is empty moves the positions
    /// all the same. What the table has of the keys is looked up in the very state that the commit is based on.
    ///
    /// # Errors
    /// As [`Sink::write`].
    async fn upsert(&mut self, change: &NetChange, span: &Span) -> Result<Receipt>;
}

/// Where a pipeline writes, by its mode.
pub enum Target {
    /// `mode: append`.
    Append(Box<dyn Sink>),
    /// `mode: upsert`.
    Upsert(Box<dyn UpsertSink>),
}

impl Target {
    /// What both kinds do.
    pub fn sink(&self) -> &dyn Sink {
        match self {
            Self::Append(sink) => sink.as_ref(),
            Self::Upsert(sink) => sink.as_ref(),
        }
    }

    /// What both kinds do.
    pub fn sink_mut(&mut self) -> &mut dyn Sink {
        match self {
            Self::Append(sink) => sink.as_mut(),
            Self::Upsert(sink) => sink.as_mut(),
        }
    }
}

impl From<Box<dyn Sink>> for Target {
    fn from(sink: Box<dyn Sink>) -> Self {
        Self::Append(sink)
    }
}

/// Opens the target of `spec` for `pipeline`, whose SQL returns `output`; creates it if it is not there. An existing
/// table must have all columns of `output`.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for types that the format cannot hold and for a table of another shape, other partitions, or
/// with features that the engine would break; [`sql::ErrorKind::Storage`] if it cannot be written there.
pub async fn open(spec: &SinkSpec, pipeline: &str, output: &Schema) -> Result<Box<dyn Sink>> {
    open_with(spec, pipeline, output, Missing::Refuse).await
}

/// As [`open`], but with [`Missing::Add`] an existing table that lacks columns of `output` gets them.
///
/// # Errors
/// As [`open`].
pub async fn open_with(
    spec: &SinkSpec,
    pipeline: &str,
    output: &Schema,
    missing: Missing,
) -> Result<Box<dyn Sink>> {
    Ok(match &spec.target {
        SinkTarget::Delta(table) => {
            let target = target_schema(output, TableFormat::Delta)?;
            let partition_by = delta::partition_columns(&spec.partition_by, &target)?;
            let sink = delta::DeltaSink::open(table, pipeline, &target, &partition_by, missing);
            Box::new(sink.await?)
        }
        SinkTarget::Iceberg(table) => {
            let target = target_schema(output, TableFormat::Iceberg)?;
            let sink =
                iceberg::IcebergSink::open(table, pipeline, &target, &spec.partition_by, missing);
            Box::new(sink.await?)
        }
    })
}

/// Opens the target of `spec` for a pipeline that keeps it by `key`: columns of `output`. As [`open_with`] for the rest.
///
/// # Errors
/// As [`open`]; [`sql::ErrorKind::Config`] also for a key that the format cannot be searched by.
pub async fn open_upsert(
    spec: &SinkSpec,
    pipeline: &str,
    output: &Schema,
    key: &[String],
    missing: Missing,
) -> Result<Box<dyn UpsertSink>> {
    match &spec.target {
        SinkTarget::Delta(table) => {
            let target = target_schema(output, TableFormat::Delta)?;
            let partition_by = delta::partition_columns(&spec.partition_by, &target)?;
            let sink =
                delta::DeltaUpsert::open(table, pipeline, &target, &partition_by, key, missing);
            Ok(Box::new(sink.await?))
        }
        SinkTarget::Iceberg(table) => {
            let target = target_schema(output, TableFormat::Iceberg)?;
            let fields = &spec.partition_by;
            let sink = iceberg::IcebergUpsert::open(table, pipeline, &target, fields, key, missing);
            let Mode::Upsert { write_mode, .. } = spec.mode else {
                return Err(Error::internal(
                    "an upsert into a table that is appended to",
                ));
            };
            Ok(Box::new(sink.await?.with(write_mode)))
        }
    }
}

/// The table of `spec` as it is, for maintaining it: nothing is created, and its columns are its own. `key` are the columns that
/// its rows are kept by, if that is known. `None` if there is no table.
///
/// # Errors
/// As [`open`].
pub async fn open_existing(
    spec: &SinkSpec,
    pipeline: &str,
    key: &[String],
) -> Result<Option<Box<dyn Sink>>> {
    match &spec.target {
        SinkTarget::Delta(table) => {
            let Some(columns) = lake::delta::existing_columns(table).await? else {
                return Ok(None);
            };
            let sink = delta::DeltaSink::existing(table, pipeline, &columns, key);
            Ok(Some(Box::new(sink.await?)))
        }
        SinkTarget::Iceberg(table) => {
            let sink = iceberg::IcebergSink::existing(table, pipeline, key).await?;
            Ok(sink.map(|sink| Box::new(sink) as Box<dyn Sink>))
        }
    }
}
