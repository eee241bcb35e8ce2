//! Tables that are kept equal to their source, key by key.

mod bench;
mod contract;
mod copied;
mod crash;
mod delta;
pub(crate) mod feed;
pub(crate) mod harness;
pub(crate) mod iceberg;
mod keys;
mod model;
mod races;
mod types;
