//! The loop: what it does to batches, commits and positions when things go well and when they do not.

mod commands;
mod doubles;
mod evolution;
mod faults;
mod harness;
mod overlap;
mod policies;
mod process;
mod quiet;
