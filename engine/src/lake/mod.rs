//! Delta tables and Iceberg catalogs: what a table of either format can hold, opening, creating and reading them.
//!
//! - [`schema`]: the columns that a target table gets from the columns that SQL returns.
//! - [`cast`]: the one strict cast between the two.
//! - [`delta`], [`iceberg`], [`catalog`]: open, create, check, read.
//! - [`keys`], [`locate`]: the rows of given keys, found in Parquet files.
//! - [`noted_key`]: the key that an upsert notes in a table, for those who read its changes.
//! - `partition_values`: the partitions that rows fall into, and the folders of their files.
//! - [`versioned`]: the versions of a table, and what changed in each.
//! - [`storage`]: errors of file systems and object stores as errors that say what to do.

pub mod cast;
pub mod catalog;
mod compatible;
pub mod delta;
pub(crate) mod encoding;
pub mod iceberg;
pub mod keys;
pub(crate) mod listing;
pub(crate) mod live;
pub mod locate;
pub mod noted_key;
pub(crate) mod partition_values;
pub mod partitions;
pub(crate) mod pieces;
pub(crate) mod same;
pub mod schema;
pub mod shape;
pub mod storage;
mod values;
pub mod versioned;
