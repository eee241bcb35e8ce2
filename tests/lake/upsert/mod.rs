//! Tables that are kept equal to their source, key by key.

mod contract;
mod copied;
pub mod crash;
mod delta;
pub mod feed;
pub mod harness;
pub(crate) mod iceberg;
mod keys;
mod model;
mod paths;
pub mod races;
mod taken_up;
mod types;
