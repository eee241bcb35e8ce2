//! The port through which changes come in.

mod memory;
mod pulse;

pub use memory::MemoryFeed;
pub use pulse::Pulse;

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::change::{ChangeBatch, Position, Remembered};
use crate::error::{Error, Result};

/// When a batch ends: at the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimit {
    /// Records read, of any kind.
    pub max_records: usize,
    /// Bytes of keys, values and headers read.
    pub max_bytes: usize,
    /// Time since the batch's first record, for a feed that has caught up. One that is behind fills the batch up.
    pub max_wait: Duration,
}

/// An ordered source of changes with positions.
///
/// Call order: `schema` and `project` at any time between batches, `seek` once before the first `next`, then `next`
/// again and again. A feed holds at most one batch of `limit` in memory, and what its client library prefetches.
#[async_trait]
pub trait ChangeFeed: Send {
    /// Every column that SQL may name: the row's own columns first, then the metadata columns. All nullable.
    fn schema(&self) -> SchemaRef;

    /// The row's columns that identify it, in order; none if that is not known.
    fn key(&self) -> &[String] {
        &[]
    }

    /// The defaults of the row's columns in the source, as SQL writes them, as far as they are known.
    fn defaults(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Decode only these columns from now on; batches have them in this order.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Internal`] for a column that [`ChangeFeed::schema`] does not have.
    fn project(&mut self, columns: &[String]) -> Result<()>;

    /// Start after `position`. Partitions that it does not have start where the feed's configuration says.
    ///
    /// # Errors
    /// [`crate::ErrorKind::DataLoss`] if records that the position asks for are gone and the configuration minds.
    async fn seek(&mut self, position: &Position) -> Result<()>;

    /// The next batch, or `None` when a bounded feed is drained or the feed was told to stop with nothing pending.
    /// An unbounded feed waits until there is something to return. What a batch covers is contiguous with the batch
    /// before it, partition by partition. Not cancel-safe.
    async fn next(&mut self, limit: &BatchLimit) -> Result<Option<ChangeBatch>>;

    /// The sink committed everything up to `position`. Only tells tools that watch lag; never decides where to start.
    async fn ack(&mut self, position: &Position) -> Result<()>;

    /// Records between the feed's position and the ends of its partitions as last seen; `None` if not known.
    fn lag(&self) -> Option<u64>;

    /// From now on drops events that the source sends again: those found among `known` and what comes after it, at most
    /// the last `window` of each partition. Before the first `next`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Internal`] for a feed whose events are never sent again.
    fn drop_resends(&mut self, known: Remembered, window: usize) -> Result<()> {
        let _ = (known, window);
        Err(Error::internal(
            "this source does not send events again, so there is nothing to remember",
        ))
    }

    /// The line that is open while [`ChangeFeed::next`] is under way, if the feed has one.
    fn pulse(&self) -> Option<Pulse> {
        None
    }
}
