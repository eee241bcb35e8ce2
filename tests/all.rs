//! The one test binary: each binary links the whole stack, so there is one.

mod cli;
mod decoder;
mod lake;
mod memory;
mod netting;
mod repl;
mod resends;
mod run;
mod slt;
mod source;
mod spec;
mod stack;
mod telemetry;
mod transform;
mod udfs_suite;
mod upsert;
