//! What the databases do meanwhile: a thread for each, one random transaction after the other.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tests::wait;
use tests::workload::Workload;

/// Between two steps of a workload. The machine also runs the services and, unoptimized, the engine.
const PAUSE: Duration = Duration::from_millis(100);
/// The large transaction comes as step number so many, and again after as many more.
const BULK_EVERY: u64 = 400;

/// The traffic of one database, on a thread of its own.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Workload>>,
}

impl Traffic {
    /// Begins, with a transaction of `bulk` rows now and then.
    pub(super) fn begin(mut workload: Workload, bulk: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut steps = 0;
            while !stopped.load(Ordering::Relaxed) {
                workload.step();
                steps += 1;
                if steps % BULK_EVERY == BULK_EVERY / 4 {
                    workload.bulk(bulk);
                }
                wait::until(PAUSE, || stopped.load(Ordering::Relaxed).then_some(()));
            }
            workload
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Why it ended, if it did by itself: a database refused what it must not refuse.
    pub(super) fn failure(&mut self) -> Option<String> {
        let thread = self.thread.take_if(|thread| thread.is_finished())?;
        match thread.join() {
            Ok(_) => Some("ended before it was told to".to_owned()),
            Err(panic) => Some(words(panic.as_ref())),
        }
    }

    /// Ends after the transaction at hand; the workload as it is now.
    pub(super) fn end(mut self) -> Workload {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        match thread.join() {
            Ok(workload) => workload,
            Err(panic) => panic!("the traffic failed: {}", words(panic.as_ref())),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
