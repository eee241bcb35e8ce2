//! What a feed and its pipeline tell each other while a batch is being read.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::change::Position;

/// A line to a feed that is busy with [`super::ChangeFeed::next`]: a quiet topic keeps a feed there for hours, and both
/// sides have something to say meanwhile. All clones are one.
#[derive(Debug, Clone)]
pub struct Pulse {
    committed: Arc<Mutex<Option<Position>>>,
    lag: watch::Sender<Option<u64>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            committed: Arc::default(),
            lag: watch::Sender::new(None),
        }
    }
}

impl Pulse {
    /// The sink committed everything up to `position`. As [`super::ChangeFeed::ack`]; only the last one counts.
    pub fn ack(&self, position: Position) {
        *self.slot() = Some(position);
    }

    /// For the feed: what was acknowledged since the last look.
    pub fn take_ack(&self) -> Option<Position> {
        self.slot().take()
    }

    /// For the feed, while it waits with nothing pending: records between it and the ends of its partitions.
    pub fn idle(&self, lag: Option<u64>) {
        self.lag.send_if_modified(|known| {
            let changed = *known != lag;
            *known = lag;
            changed
        });
    }

    /// For the feed: it has something to return, so that the next [`Pulse::idle`] is news again.
    pub fn busy(&self) {
        self.lag.send_replace(None);
    }

    /// Hears of every [`Pulse::idle`] that says something new; `None` while the feed is busy.
    pub fn lag(&self) -> watch::Receiver<Option<u64>> {
        self.lag.subscribe()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Position>> {
        // A position is replaced whole: a panic elsewhere leaves none half written.
        self.committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
