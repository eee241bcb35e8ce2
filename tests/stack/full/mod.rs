//! The full tier: what `scripts/test --full` adds. Each test begins with `full!()`.

mod avro;
mod catalog;
mod spark;
mod store;
mod turns;
