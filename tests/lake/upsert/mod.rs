//! Tables that are kept equal to their source, key by key.

mod bench;
mod contract;
mod copied;
mod crash;
mod delta;
mod feed;
mod harness;
mod iceberg;
mod keys;
mod model;
mod races;
mod types;
