//! Iceberg tables in a REST catalog: Apache's own server, and a proxy before it that spoils answers.
//!
//! That every sink does there what it does elsewhere is in the contracts (`contract::rest`, `upsert::contract::rest`).

mod crash;
mod faults;
mod refusals;
