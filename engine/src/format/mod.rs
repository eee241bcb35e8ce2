//! Decoders: bytes of records into typed columns.

pub mod debezium;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use sql::change::{BatchCounts, Partition, RawRecord, Reject, Remembered, RowMeta};
use sql::{Error, Result};

/// One record of a log, borrowed from whatever fetched it. Valid until the next fetch.
#[derive(Debug, Clone, Copy)]
pub struct RawMessage<'a> {
    /// Where it was read.
    pub partition: &'a Partition,
    /// Its offset there.
    pub offset: i64,
    /// The record's own timestamp, milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The key; `None` is a null key, which is not the same as an empty one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order; names may repeat.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl RawMessage<'_> {
    /// Bytes of key, value and headers: what batch limits count.
    pub fn size(&self) -> usize {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + len(*value))
            .sum();
        len(self.key) + len(self.value) + headers
    }

    /// A copy that outlives the fetch: for the quarantine, and for a record that must wait.
    pub fn to_record(&self) -> RawRecord {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        RawRecord {
            partition: self.partition.clone(),
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: owned(self.key),
            value: owned(self.value),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), owned(*value)))
                .collect(),
        }
    }
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// A row was added.
    Row,
    /// The record was set aside with a reason.
    Reject,
    /// A null value with a key.
    Tombstone,
    /// A record that is never a row: heartbeat, transaction marker, schema change, notification, message.
    Control,
    /// An event that the source sent again, or the tombstone of such a delete: dropped.
    Resend,
    /// **Not taken.** The record needs these columns (row and metadata). Finish the batch, call
    /// [`Decoder::adopt`] and [`Decoder::project`], then push the record again.
    NewSchema(SchemaRef),
}

/// A decoded batch, without its span.
#[derive(Debug)]
pub struct Decoded {
    /// The projected columns.
    pub rows: RecordBatch,
    /// What stands beside each row.
    pub meta: RowMeta,
    /// Records set aside, in the order they were pushed.
    pub rejects: Vec<Reject>,
    /// What was pushed.
    pub counts: BatchCounts,
}

/// Turns records into columns, one record at a time, a batch at a time.
///
/// A bad record is a reject, never an error: it leaves no trace in the columns. Columns grow by one value for each
/// [`Pushed::Row`] and by none otherwise. The decoder holds the rows of one batch.
pub trait Decoder: Send {
    /// Row and metadata columns, all nullable; `None` until declared or seen in a record.
    fn schema(&self) -> Option<SchemaRef>;

    /// Uses `schema`, as returned by [`Pushed::NewSchema`], from now on. Only between batches.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] while rows are pending.
    fn adopt(&mut self, schema: SchemaRef) -> Result<()>;

    /// The defaults of row columns, as SQL writes them, as far as records tell.
    fn defaults(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Decodes only these columns, in this order. Only between batches.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] for a column that the schema does not have, or while rows are pending.
    fn project(&mut self, columns: &[String]) -> Result<()>;

    /// The columns that the record needs, if it would be answered with [`Pushed::NewSchema`]. Takes nothing.
    ///
    /// # Errors
    /// As [`Decoder::push`].
    fn needs(&mut self, message: &RawMessage<'_>) -> Result<Option<SchemaRef>>;

    /// Takes one record.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Policy`] if the pipeline must stop here: a schema change that is not allowed, changed key columns.
    fn push(&mut self, message: &RawMessage<'_>) -> Result<Pushed>;

    /// From now on drops events that the source sends again: those found among `known` and what is pushed after it, at most
    /// the last `window` of each partition.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] for a format whose records do not tell.
    fn drop_resends(&mut self, known: Remembered, window: usize) -> Result<()> {
        let _ = (known, window);
        Err(Error::internal(
            "the records of this format do not tell where they come from",
        ))
    }

    /// What the records since the last call add to what is remembered; `None` if nothing is. To be called with
    /// [`Decoder::finish`].
    fn take_remembered(&mut self) -> Option<Remembered> {
        None
    }

    /// The key columns, in order, as configured or as the first message told; empty if they are not known.
    fn key(&self) -> &[String] {
        &[]
    }

    /// Rows pending.
    fn len(&self) -> usize;

    /// Whether no row is pending.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the batch. `ingested_at_micros` becomes `_ingested_at` of all its rows.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] if the columns do not fit together.
    fn finish(&mut self, ingested_at_micros: i64) -> Result<Decoded>;
}
