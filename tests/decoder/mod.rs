//! The Debezium JSON decoder, through the public `Decoder` trait alone.

mod all_types;
mod cases;
mod damage;
mod deletes;
mod encoder;
mod evolution;
mod fixtures;
mod flattened;
pub(crate) mod harness;
mod metadata;
mod rejects;
mod resemblance;
mod roundtrip;
mod shapes;
mod tables;
mod types;
mod unavailable;
