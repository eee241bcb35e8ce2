//! Letting a consumer go without waiting for a broker that is not there.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use tracing::debug;

use super::context::Context;

/// How long a stop waits for the broker to take what was said last.
const PATIENCE: Duration = Duration::from_secs(1);

/// A consumer whose end does not hold up a stop.
///
/// The library's own drop waits until the group's offsets that were sent last are answered, during an outage for a minute,
/// on a thread of the runtime. Nobody needs them: partitions are assigned by hand, so there is no group to leave, and the
/// table knows the position. So a thread waits in its place, and ends with the process at the latest.
pub(super) struct Closing(ManuallyDrop<BaseConsumer<Context>>);

impl Closing {
    /// Takes the consumer.
    pub(super) fn new(consumer: BaseConsumer<Context>) -> Self {
        Self(ManuallyDrop::new(consumer))
    }
}

impl Deref for Closing {
    type Target = BaseConsumer<Context>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Closing {
    #[expect(unsafe_code, reason = "the consumer goes to another thread")]
    fn drop(&mut self) {
        // SAFETY: taken once, here, and the field is not used afterwards.
        let consumer = unsafe { ManuallyDrop::take(&mut self.0) };
        let (closed, wait) = mpsc::channel::<()>();
        let closing = thread::Builder::new()
            .name("kafka-closing".to_owned())
            .spawn(move || {
                drop(consumer);
                drop(closed);
            });
        if closing.is_ok() {
            // Nothing is ever sent: this waits for the sender's end.
            if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                debug!(
                    "the broker does not answer the group's last offsets; nobody waits for that"
                );
            }
        }
    }
}
