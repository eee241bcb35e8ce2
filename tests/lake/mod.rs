//! Lake tables: the contract of the sinks, types, refusals, crashes, REST catalogs.

mod cast;
mod contract;
mod crash;
mod delta;
mod find;
mod harness;
mod iceberg;
mod maintain;
mod quarantine;
mod refusals;
mod rest;
mod types;
mod upsert;
mod versioned;
