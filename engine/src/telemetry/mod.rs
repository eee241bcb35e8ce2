//! What a running pipeline tells: metrics, health, logs, and one line on the terminal.
//!
//! The loop makes one [`BatchReport`] a committed batch and hands it to everybody: [`Metrics`] counts it, `log` makes
//! one event of it, [`Progress`] one line. Nothing else in the engine touches a counter, so what a number means stands
//! in one place.

pub mod http;
pub mod logs;
mod metrics;
pub mod names;
mod progress;
mod report;
mod totals;

pub use http::{Health, PipelineHealth, Servers, serve};
pub use metrics::Metrics;
pub use progress::Progress;
pub use report::{BatchReport, OpCounts, PipelineNames, SourceTimes, StageTimes};
pub use totals::Totals;
pub(crate) use totals::{bytes, counted, grouped, joined};
