//! The feed over a table's changes: its contract, on a table in memory; real tables of both formats in [`replicate`].

mod contract;
mod keyed;
mod loss;
mod replicate;
mod rows;
mod support;
mod workload;
