//! The loop: what it does to batches, commits and positions when things go well and when they do not.

mod commands;
pub(crate) mod doubles;
mod evolution;
mod faults;
mod folder;
mod harness;
mod job;
mod kafka;
mod maintenance;
mod overlap;
mod policies;
mod process;
mod quiet;
