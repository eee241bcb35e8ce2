//! Sources: one contract for every log, and what is particular to each.

mod contract;
mod discovery;
mod kafka;
mod lake;
mod loss;
mod moves;
mod replay;
mod schema_change;
mod support;
mod text_decoder;
mod topics;
