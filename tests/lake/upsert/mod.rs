//! Tables that are kept equal to their source, key by key.

mod contract;
mod copied;
mod crash;
mod delta;
pub mod feed;
pub mod harness;
mod iceberg;
mod keys;
mod model;
pub mod races;
mod types;
