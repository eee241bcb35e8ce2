//! The engine: everything that touches the world.

pub mod format;
pub mod lake;
pub mod quality;
pub mod run;
pub mod sink;
pub mod source;
pub mod spec;
pub mod telemetry;
pub mod transform;
