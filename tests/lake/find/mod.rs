//! Keys looked up in Parquet files.

mod keys;
mod locate;
