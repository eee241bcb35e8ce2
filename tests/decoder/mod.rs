//! The Debezium JSON decoder, through the public `Decoder` trait alone.

mod damage;
mod deletes;
mod encoder;
mod evolution;
mod fixtures;
mod harness;
mod metadata;
mod rejects;
mod roundtrip;
mod shapes;
mod types;
mod unavailable;
