//! Tables that are kept equal to their source, key by key.

mod contract;
mod copied;
pub mod crash;
mod delta;
mod feed;
pub mod harness;
mod iceberg;
mod keys;
mod model;
mod races;
mod types;
