//! Random traffic for a database whose changes are captured: seeded, so that a failure can be replayed.
//!
//! The tables are [`tables()`].

mod mariadb_tables;
mod postgres_tables;
mod random;
mod tables;

pub use random::Random;
pub use tables::{
    Column, Dialect, MARIADB_DATABASE, POSTGRES_SCHEMA, Table, Values, table, tables,
};
