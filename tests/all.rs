//! The one test binary.

mod decoder;
mod lake;
mod source;
mod spec;
mod stack;
mod telemetry;
mod transform;
mod udfs_suite;
