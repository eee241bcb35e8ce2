//! `on_error.max_rate`: the share of rejects among the last messages.

use std::collections::VecDeque;

/// `max_rate` speaks of the last so many messages.
pub const WINDOW: u64 = 1_000;

/// Counts rejects over the last [`WINDOW`] messages, a batch at a time. A batch larger than the window is the window.
///
/// Fewer messages than the window are judged as if the rest of it were good: what then exceeds the rate would exceed
/// it whatever comes next.
#[derive(Debug)]
pub struct ErrorRate {
    max: f64,
    batches: VecDeque<(u64, u64)>,
    records: u64,
    rejects: u64,
}

impl ErrorRate {
    /// A rate of at most `max`, from 0 to 1.
    pub fn new(max: f64) -> Self {
        Self {
            max,
            batches: VecDeque::new(),
            records: 0,
            rejects: 0,
        }
    }

    /// Adds a batch. Returns the rejects and the messages that they are among, if they are too many: the window's, or
    /// fewer if so few were read.
    pub fn exceeded_by(&mut self, records: u64, rejects: u64) -> Option<(u64, u64)> {
        self.batches.push_back((records, rejects));
        self.records += records;
        self.rejects += rejects;
        while let Some((oldest, its_rejects)) = self.batches.front().copied() {
            if self.records - oldest < WINDOW {
                break;
            }
            self.batches.pop_front();
            self.records -= oldest;
            self.rejects -= its_rejects;
        }
        let among = self.records.max(WINDOW);
        (self.rejects as f64 > self.max * among as f64).then_some((self.rejects, self.records))
    }
}
