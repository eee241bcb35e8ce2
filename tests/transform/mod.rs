//! The pipeline's SQL: planning, running, refusing.

mod changes;
mod codec;
mod errors;
mod feeds;
mod functions;
mod golden;
mod lookups;
mod reuse;
mod rows;
mod rules;
mod shapes;
mod wildcards;
