//! Random traffic for a database whose changes are captured: seeded, so that a failure can be replayed.
//!
//! [`Workload::step`] runs one transaction, or several side by side, over the [`tables()`]; the same seed gives the same
//! statements. [`Table::rows`] is what the database holds then, in the spelling in which `readers/canonical.py` prints the
//! table that was made of its changes.
//!
//! ```ignore
//! let mut traffic = Workload::new(Dialect::Postgres, seed, server.clone());
//! traffic.create();
//! traffic.snapshot_rows(50);
//! worker.capture_postgres(&server, "shop", &include_list(Dialect::Postgres), &options);
//! for _ in 0..300 {
//!     traffic.step();
//! }
//! ```

mod counts;
mod mariadb_tables;
mod model;
mod postgres_tables;
mod random;
mod signals;
mod tables;
mod traffic;
mod transaction;
mod values;

pub use counts::{Counts, Kind};
pub use model::{Key, Model};
pub use random::Random;
pub use signals::{SIGNALS, connector_options, include_list};
pub use tables::{
    Column, Dialect, MARIADB_DATABASE, POSTGRES_SCHEMA, Table, Values, table, tables,
};
pub use traffic::{Options, Workload};
