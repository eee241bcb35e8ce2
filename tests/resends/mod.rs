//! Events that a source sends again: recognised, dropped, counted; the window that survives restarts and crashes.

mod again;
mod captured;
mod connectors;
mod crash;
mod harness;
mod jumps;
mod property;
mod restart;
mod simulated;
mod speed;
mod windows;
