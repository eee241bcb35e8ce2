//! The batch of decoded changes that travels from a feed through SQL to a sink.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::keyed::KeyedMeta;
use super::op::Op;
use super::position::{Partition, Span};
use super::resend::Remembered;
use crate::error::{Error, Result};

/// One record as it came from the log, kept for the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Where it was read.
    pub partition: Partition,
    /// Its offset there.
    pub offset: i64,
    /// The record's own timestamp, milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The record's key, as sent.
    pub key: Option<Vec<u8>>,
    /// The record's value, as sent.
    pub value: Option<Vec<u8>>,
    /// The record's headers, in order; names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Why a record is no row. Few and stable: these are metric labels and what users filter quarantine by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// The bytes are not what the format says (bad JSON, bad UTF-8, truncated, a foreign framing).
    Malformed,
    /// Well-formed, but no shape that the format knows (no envelope, an unknown `op`).
    UnknownShape,
    /// A field's JSON or schema type is not the column's.
    TypeMismatch,
    /// The value has the right type but the column cannot hold it (overflow, infinity, a date out of range).
    OutOfRange,
    /// A key column is missing or null where a key is needed.
    MissingKey,
    /// The message's schema cannot be read or contradicts itself.
    BadSchema,
    /// A rule of the pipeline set the row aside.
    Rule,
    /// A value was not sent because it had not changed, and it is nowhere else.
    Unavailable,
}

impl RejectReason {
    /// The stable name: metric label and quarantine column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownShape => "unknown_shape",
            Self::TypeMismatch => "type_mismatch",
            Self::OutOfRange => "out_of_range",
            Self::MissingKey => "missing_key",
            Self::BadSchema => "bad_schema",
            Self::Rule => "rule",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A record that is set aside, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The record as it came.
    pub record: RawRecord,
    /// The class of the reason.
    pub reason: RejectReason,
    /// The row's column, if one is to blame.
    pub column: Option<String>,
    /// What is wrong, as a sentence for a person. Never holds a cell's value longer than 80 characters.
    pub detail: String,
}

/// What stands beside each row of a batch: index `i` belongs to row `i`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowMeta {
    /// The operation.
    pub ops: Vec<Op>,
    /// Index into [`RowMeta::partitions`].
    pub partition: Vec<u32>,
    /// The record's offset.
    pub offsets: Vec<i64>,
    /// The partitions that the batch's rows came from.
    pub partitions: Vec<Partition>,
    /// When the source committed the change, microseconds since the epoch; `i64::MIN` where unknown.
    pub commit_micros: Vec<i64>,
    /// The raw records, kept only when the pipeline may still set rows aside (`rules` with `quarantine`).
    pub raw: Option<Vec<RawRecord>>,
    /// Only where the target is kept by key.
    pub keyed: Option<KeyedMeta>,
}

/// What was read for a batch, counted. Sums of everything but `bytes` and `records` equal `records`
/// except that `rows` are counted by operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// Records read, of any kind.
    pub records: u64,
    /// Bytes of keys, values and headers read.
    pub bytes: u64,
    /// Null value with a key. Where the target is kept by key they are rows, too ([`KeyedMeta::tombstones`]).
    pub tombstones: u64,
    /// Heartbeats, transaction markers, schema changes, notifications, messages, null key with null value.
    pub control: u64,
    /// Events that the source sent again, and the tombstones that follow deletes among them. Dropped.
    pub resends: u64,
}

/// Decoded changes and what they cover.
///
/// `rows` has the projected columns of `schema`; `meta` stands beside the rows. Every record in `span` is
/// exactly one of: a row, a reject, a tombstone, a control record, an event sent again; where the target is kept by key, a
/// tombstone is also a row.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    rows: RecordBatch,
    meta: RowMeta,
    rejects: Vec<Reject>,
    span: Span,
    counts: BatchCounts,
    next_schema: Option<SchemaRef>,
    decode_time: Option<Duration>,
    remembered: Option<Remembered>,
    version: Option<i64>,
}

impl ChangeBatch {
    /// The only constructor.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Internal`] if the row metadata is not as long as the rows, or if rows, rejects, tombstones,
    /// control records and events sent again do not add up to the records read.
    pub fn try_new(
        rows: RecordBatch,
        meta: RowMeta,
        rejects: Vec<Reject>,
        span: Span,
        counts: BatchCounts,
    ) -> Result<Self> {
        let n = rows.num_rows();
        let lengths = [
            meta.ops.len(),
            meta.partition.len(),
            meta.offsets.len(),
            meta.commit_micros.len(),
        ];
        if lengths.iter().any(|len| *len != n)
            || meta.raw.as_ref().is_some_and(|raw| raw.len() != n)
        {
            return Err(Error::internal(format!(
                "a batch of {n} rows has metadata of {lengths:?} rows"
            )));
        }
        let both = meta
            .keyed
            .as_ref()
            .map_or(0, |keyed| keyed.tombstones.len());
        let explained = (n - both.min(n)) as u64
            + rejects.len() as u64
            + counts.tombstones
            + counts.control
            + counts.resends;
        if explained != counts.records {
            return Err(Error::internal(format!(
                "{} records were read, but {explained} are accounted for",
                counts.records
            )));
        }
        Ok(Self {
            rows,
            meta,
            rejects,
            span,
            counts,
            next_schema: None,
            decode_time: None,
            remembered: None,
            version: None,
        })
    }

    /// Says up to which version of its table a lake feed has read.
    #[must_use]
    pub fn up_to_version(mut self, version: Option<i64>) -> Self {
        self.version = version;
        self
    }

    /// Up to which version of its table a lake feed has read; `None` of any other feed, and before the first version is done.
    pub fn version(&self) -> Option<i64> {
        self.version
    }

    /// Marks the batch as the last one of its schema: the record after it needs `schema`. The feed decodes
    /// nothing more until it was told the new projection.
    #[must_use]
    pub fn before_schema_change(mut self, schema: SchemaRef) -> Self {
        self.next_schema = Some(schema);
        self
    }

    /// Says how long decoding the batch took.
    #[must_use]
    pub fn decoded_in(mut self, time: Duration) -> Self {
        self.decode_time = Some(time);
        self
    }

    /// Says what the batch adds to the memory of source positions.
    #[must_use]
    pub fn remembering(mut self, remembered: Option<Remembered>) -> Self {
        self.remembered = remembered;
        self
    }

    /// What the batch adds to the memory of source positions; `None` if nothing is remembered.
    pub fn remembered(&self) -> Option<&Remembered> {
        self.remembered.as_ref()
    }

    /// How long decoding took, if the feed measured it.
    pub fn decode_time(&self) -> Option<Duration> {
        self.decode_time
    }

    /// The decoded rows, projected.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// What stands beside each row.
    pub fn meta(&self) -> &RowMeta {
        &self.meta
    }

    /// Records set aside, in order of their partitions' offsets.
    pub fn rejects(&self) -> &[Reject] {
        &self.rejects
    }

    /// What the batch covers.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// What was read.
    pub fn counts(&self) -> &BatchCounts {
        &self.counts
    }

    /// The feed's new schema, if the record after this batch needs another one.
    pub fn next_schema(&self) -> Option<&SchemaRef> {
        self.next_schema.as_ref()
    }
}
