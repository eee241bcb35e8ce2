//! The feed over a record log.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sql::change::{ChangeBatch, Position, Remembered};
use sql::feed::{BatchLimit, ChangeFeed, Pulse};
use sql::{Error, Result};
use std::collections::BTreeMap;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::reader::Reader;
use super::records::RecordLog;
use crate::format::Decoder;
use crate::spec::model::{OffsetReset, SchemaChange};

/// How a [`TopicFeed`] behaves.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// Stop at the ends that the partitions had at `seek`.
    pub bounded: bool,
    /// Bounded: the last offset to read of each partition, where it has more.
    pub until: Option<i64>,
    /// What a changed schema does.
    pub schema_change: SchemaChange,
    /// Where a partition starts that the table holds no position for.
    pub auto_offset_reset: OffsetReset,
    /// Whether records lost by retention are an error.
    pub fail_on_data_loss: bool,
    /// The target is kept by key: both halves of a key change come in one batch, where they are in one partition.
    pub keyed: bool,
    /// Told to stop.
    pub stop: CancellationToken,
    /// Microseconds since the epoch: `_ingested_at` of a batch.
    pub clock: fn() -> i64,
}

/// Decoded batches of a log's records, with contiguous spans.
///
/// Fetching and decoding run on a thread that may block, so that `next` overlaps with whatever else its task awaits.
/// Records that were read before are dropped and counted. A record that needs another schema ends its batch; it is kept,
/// and is the first of the batch after [`ChangeFeed::project`]. An error that comes after records is returned after them.
///
/// A future of `seek`, `project` or `next` that is dropped before it is done takes the feed with it.
pub struct TopicFeed {
    /// Away while a blocking thread works with it.
    reader: Option<Box<Reader>>,
    schema: SchemaRef,
    key: Vec<String>,
    pulse: Pulse,
    /// Ends the blocking thread of a call that was dropped.
    _reading: DropGuard,
}

impl TopicFeed {
    /// A feed of `log` through `decoder`, which must know its schema.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] if it does not.
    pub fn new(
        log: Box<dyn RecordLog>,
        decoder: Box<dyn Decoder>,
        mut options: FeedOptions,
    ) -> Result<Self> {
        let schema = decoder
            .schema()
            .ok_or_else(|| Error::internal("a feed was made before its schema was known"))?;
        let key = decoder.key().to_vec();
        options.stop = options.stop.child_token();
        let reading = options.stop.clone().drop_guard();
        let pulse = Pulse::default();
        Ok(Self {
            reader: Some(Box::new(Reader::new(log, decoder, options, pulse.clone()))),
            schema,
            key,
            pulse,
            _reading: reading,
        })
    }

    async fn blocking<T, F>(&mut self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Reader) -> Result<T> + Send + 'static,
    {
        let mut reader = self.reader.take().ok_or_else(lost)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut reader);
            (reader, result)
        });
        let (reader, result) = done.await.map_err(|error| {
            Error::internal("the thread that reads the source died").source(error)
        })?;
        self.reader = Some(reader);
        result
    }
}

fn lost() -> Error {
    Error::internal("a source was used after a call to it was dropped or died")
}

#[async_trait]
impl ChangeFeed for TopicFeed {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn key(&self) -> &[String] {
        &self.key
    }

    fn defaults(&self) -> BTreeMap<String, String> {
        let reader = self.reader.as_ref();
        reader.map(|reader| reader.defaults()).unwrap_or_default()
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        let reader = self.reader.as_mut().ok_or_else(lost)?;
        reader.project(columns)
    }

    fn drop_resends(&mut self, known: Remembered, window: usize) -> Result<()> {
        let reader = self.reader.as_mut().ok_or_else(lost)?;
        reader.drop_resends(known, window)
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        let position = position.clone();
        self.blocking(move |reader| reader.seek(&position)).await
    }

    async fn next(&mut self, limit: &BatchLimit) -> Result<Option<ChangeBatch>> {
        let limit = *limit;
        let batch = self.blocking(move |reader| reader.next(&limit)).await?;
        if let Some(schema) = self.reader.as_ref().and_then(|reader| reader.schema()) {
            self.schema = schema;
        }
        Ok(batch)
    }

    async fn ack(&mut self, position: &Position) -> Result<()> {
        if let Some(reader) = &mut self.reader {
            reader.ack(position);
        }
        Ok(())
    }

    fn lag(&self) -> Option<u64> {
        self.reader.as_ref().and_then(|reader| reader.lag())
    }

    fn pulse(&self) -> Option<Pulse> {
        Some(self.pulse.clone())
    }
}
