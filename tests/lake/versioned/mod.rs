//! Tables that remember what changed: the contract, and each format's own.

pub mod contract;
mod delta;
mod delta_kept;
mod iceberg;
