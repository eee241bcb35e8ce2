//! The port under a feed: partitions of raw records.

use std::time::Duration;

use sql::Result;
use sql::change::{Partition, Position};

use crate::format::RawMessage;

/// What a log holds of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermarks {
    /// Which partition.
    pub partition: Partition,
    /// The oldest offset that can still be read.
    pub low: i64,
    /// The offset after the last record that may be read (of committed transactions only).
    pub high: i64,
}

/// What [`RecordLog::poll`] hands over.
#[derive(Debug, Clone, Copy)]
pub enum LogEvent<'a> {
    /// A record. Offsets of a partition grow; gaps are legal (compaction, transaction markers). After an outage a
    /// record may come again.
    Record(&'a RawMessage<'a>),
    /// A partition is read to its end as of now: a record that comes later has `next` or a greater offset. Gaps and
    /// control records before the end are behind it.
    End {
        /// Which partition.
        partition: &'a Partition,
        /// The next offset.
        next: i64,
    },
    /// A partition that was not there at [`RecordLog::assign`]. It is read from `start`, its oldest record.
    Appeared {
        /// Which partition.
        partition: &'a Partition,
        /// Its oldest offset.
        start: i64,
    },
    /// The records from `next` on are gone while they were being read. An `Ok` answer goes on at the low watermark.
    Lost {
        /// The offset that was asked for.
        next: i64,
        /// What is there.
        watermarks: &'a Watermarks,
    },
}

/// The answer to a [`LogEvent`]. The event is taken in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Return from `poll` now.
    Stop,
    /// Go on, but nothing more is wanted of this partition.
    Leave,
    /// Both: nothing more is wanted of this partition, and return now.
    LeaveAndStop,
}

impl Flow {
    /// Whether to return from `poll` now.
    pub fn stops(self) -> bool {
        matches!(self, Self::Stop | Self::LeaveAndStop)
    }

    /// Whether nothing more is wanted of the partition.
    pub fn leaves(self) -> bool {
        matches!(self, Self::Leave | Self::LeaveAndStop)
    }

    /// The same answer, but return from `poll` now.
    #[must_use]
    pub fn and_stop(self) -> Self {
        if self.leaves() {
            Self::LeaveAndStop
        } else {
            Self::Stop
        }
    }
}

/// Partitions of raw records, read in offset order.
///
/// Call order: [`partitions`](Self::partitions) and [`assign`](Self::assign) at any time, the latter at least once before
/// [`poll`](Self::poll). Every call may block; the feed makes them on a thread that may. A log holds what its client
/// library prefetches and nothing else.
pub trait RecordLog: Send {
    /// Every partition of the configured topics with its watermarks, asked for now; sorted.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if a topic does not exist, [`sql::ErrorKind::Unavailable`] if the log does not answer,
    /// [`sql::ErrorKind::Denied`] if it refuses us.
    fn partitions(&mut self) -> Result<Vec<Watermarks>>;

    /// Reads these partitions from these offsets. Replaces what was assigned before.
    ///
    /// # Errors
    /// As [`partitions`](Self::partitions).
    fn assign(&mut self, start: &Position) -> Result<()>;

    /// Hands events to `take` until it answers [`Flow::Stop`] or nothing came for `timeout` (or a little less).
    /// A busy log returns after `timeout`, too. An outage is not an error: it is logged, and nothing comes.
    ///
    /// # Errors
    /// What `take` returned, and [`sql::ErrorKind::DataLoss`] or [`sql::ErrorKind::Config`] if the log itself is broken.
    fn poll(
        &mut self,
        timeout: Duration,
        take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>,
    ) -> Result<()>;

    /// Whether the configuration names `topic`, so that a table's position in it means that it must be there.
    fn requires(&self, topic: &str) -> bool;

    /// The end of a partition as last seen, without asking; `None` if it was never seen.
    fn end(&self, partition: &Partition) -> Option<i64>;

    /// Tells tools that watch lag where the table stands. Does not wait; failures are logged.
    fn commit(&mut self, position: &Position);
}
