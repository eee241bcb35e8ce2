//! What a change is, and how SQL sees it.
//!
//! - [`change`]: operations, positions, and the batch of decoded changes that travels through a pipeline.
//! - [`feed`]: the port through which changes come in.
//! - [`session`]: the one place where a SQL session is made.
//! - [`table`]: a source as a table: the slot that a pipeline's SQL reads, and the feed that never ends.
//! - [`plan`]: SQL text into a plan that carries each row's identity; errors that point into the user's file.
//! - [`function`]: SQL macros.
//! - [`repl`]: the prompt, without a terminal: where statements end, backslash commands, completion.
//! - [`versioned`]: the port to tables that remember what changed.
//! - [`error`]: the one error type of the workspace, with the kinds that decide what happens next.
//!
//! Nothing in this crate does I/O.

pub mod change;
pub mod error;
pub mod feed;
pub mod function;
pub mod plan;
pub mod repl;
pub mod session;
pub mod table;
pub mod versioned;

pub use error::{Error, ErrorKind, Result};
