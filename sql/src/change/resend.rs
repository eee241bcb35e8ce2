//! Events that a source sends again, and what has to be remembered to know them.
//!
//! A connector that dies goes on from where it last said it was: events that were in the topic already come a second
//! time, with the same position in their source. What a batch adds to the memory of the source positions travels with
//! the batch ([`super::ChangeBatch::remembered`]) and is made durable before the batch's commit.

use std::collections::BTreeMap;
use std::fmt;

use super::position::Partition;

/// A place in the order in which a source sends its changes to one partition: it only grows, except where events are
/// sent again. Marks are compared only if they come from the same log of the same source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// PostgreSQL: the commit before this transaction, and the change itself.
    Lsn {
        /// LSN of the last commit before the change's transaction.
        commit: u64,
        /// LSN of the change.
        lsn: u64,
    },
    /// MySQL and MariaDB.
    Binlog {
        /// The number at the end of the binlog file's name.
        file: u64,
        /// The event's position in the file.
        position: u64,
        /// The row's number in the event.
        row: u64,
    },
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lsn { commit, lsn } => write!(f, "LSN {lsn} after commit {commit}"),
            Self::Binlog {
                file,
                position,
                row,
            } => write!(f, "binlog {file} position {position} row {row}"),
        }
    }
}

/// The source's positions went back, and not because of events that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jump {
    /// Where the event was read.
    pub partition: Partition,
    /// Its offset there.
    pub offset: i64,
    /// The highest mark before it.
    pub from: Mark,
    /// Its own mark.
    pub to: Mark,
    /// Whether everything from there on is applied again, known or not: so it is where the target is kept by key.
    pub again: bool,
}

/// A stretch of the source that came before and comes once more: from a [`Jump`] to where the source had been by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// The hash of the log.
    pub log: u64,
    /// The highest mark before the jump.
    pub until: Mark,
    /// The latest commit time before the jump, microseconds since the epoch: what was committed later is new. `None` if
    /// no event told its time.
    pub latest_micros: Option<i64>,
}

/// The last delete, while a tombstone may follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastDelete {
    /// Hash of the Kafka key.
    pub key: u128,
    /// Whether it was sent again.
    pub resend: bool,
}

/// The last events that share one position in their source, counted by identity: a source can change equal rows at
/// one position, and then their number tells them apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SamePlace {
    /// Hash of the connector's run; 0 if the events do not tell.
    pub run: u64,
    /// Hash of the position.
    pub place: u64,
    /// How often each identity came.
    pub counts: BTreeMap<u128, u32>,
}

/// What is known of the end of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tail {
    /// The highest mark of each log of each source, by the log's hash.
    pub marks: BTreeMap<u64, Mark>,
    /// The last delete.
    pub last_delete: Option<LastDelete>,
    /// The last position's events.
    pub same_place: SamePlace,
    /// How many more identities are remembered beside a whole window: after a [`Jump`], events from before the window
    /// must not push out those that may follow them.
    pub grace: u64,
    /// The latest commit time of an event, microseconds since the epoch.
    pub latest_micros: Option<i64>,
    /// The stretch that is being applied again, where the target is kept by key.
    pub again: Option<Again>,
}

impl Tail {
    /// How many identities are remembered where the window is `window`.
    pub fn capacity(&self, window: usize) -> usize {
        if self.grace > 0 {
            window.saturating_mul(2)
        } else {
            window
        }
    }
}

/// What is remembered of one partition, or what a batch adds to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recollection {
    /// 128-bit hashes of source positions, the oldest first.
    pub identities: Vec<u128>,
    /// How it ends.
    pub tail: Tail,
    /// Events of the batch whose source positions went back.
    pub jumps: Vec<Jump>,
    /// Whether what was remembered before is forgotten: `identities` are all that there are. So it is after a jump
    /// where the target is kept by key.
    pub anew: bool,
    /// Events of the batch that may have been applied before, and were applied again.
    pub again: u64,
}

/// What is remembered of each partition, or what a batch adds to it. Partitions without an event are not in it.
pub type Remembered = BTreeMap<Partition, Recollection>;
