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
pub mod races;
mod types;
