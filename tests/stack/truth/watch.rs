//! Looks at a run while it is under way: fails it early, keeps the connectors going, measures memory, tells the minute.

use std::time::{Duration, Instant};

use tests::process;

use super::schedule::Dealt;
use super::stage::Stage;
use super::traffic::Traffic;

const MEMORY_EVERY: Duration = Duration::from_secs(5);
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The services of a run stay below this, in bytes, so that it fits a small machine.
pub(super) const MOST_MEMORY: u64 = 8 << 30;

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Watch {
    /// The most memory that the services held together, in bytes.
    pub(super) services: u64,
    memory: Instant,
    told: Instant,
}

impl Watch {
    /// Begins.
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self {
            services: 0,
            memory: now,
            told: now,
        }
    }

    /// One look.
    ///
    /// # Panics
    /// If the engine or the traffic has failed.
    pub(super) fn look(&mut self, stage: &mut Stage, traffic: &mut [Traffic], dealt: &Dealt) {
        if let Some(failure) = stage.unit.failure() {
            panic!("{failure}");
        }
        for one in traffic {
            if let Some(failure) = one.failure() {
                panic!("the traffic failed: {failure}");
            }
        }
        stage.tend_connectors();
        if due(&mut self.memory, MEMORY_EVERY) {
            let services = process::memory_of_children(stage.unit.id());
            self.services = self.services.max(services);
        }
        if due(&mut self.told, TELL_EVERY) {
            self.tell(stage, dealt);
        }
    }

    /// That the services fitted.
    ///
    /// # Panics
    /// If they did not.
    pub(super) fn assert_small(&self) {
        let services = self.services;
        assert!(services < MOST_MEMORY, "the services held {services} bytes");
    }

    fn tell(&self, stage: &Stage, dealt: &Dealt) {
        let commits = stage.commits();
        let (starts, peak, p50, p99) = stage.unit.lives(|lives| {
            let quantile = |share| lives.freshness.quantile(share).unwrap_or(0.0);
            (
                lives.starts,
                lives.peak_memory,
                quantile(0.5),
                quantile(0.99),
            )
        });
        stage.say(&format!(
            "minute: {} faults, {starts} starts of the engine, {commits} commits, freshness p50 {p50:.1} s p99 {p99:.1} s, \
             engine at most {} MiB, services at most {} MiB",
            dealt.values().sum::<u64>(),
            peak >> 20,
            self.services >> 20
        ));
    }
}

fn due(last: &mut Instant, every: Duration) -> bool {
    let due = last.elapsed() >= every;
    if due {
        *last = Instant::now();
    }
    due
}
