//! The loop that turns changes into commits.
//!
//! [`pipeline::Pipeline`] is one pipeline; [`process`] is what happens to one batch; [`policy`] says which errors are tried
//! again and which exit code each has; [`observer`] tells the terminal, the log and the metrics of it all.

use std::future::Future;

use tokio::task::JoinHandle;

mod defaults;
pub mod error_rate;
pub mod observer;
pub mod pipeline;
pub mod policy;
pub mod process;
pub mod retry;
pub mod shutdown;

/// The one place that spawns tasks. Whoever holds the handle ends the task.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}
