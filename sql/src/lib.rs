//! What a change is, and how SQL sees it.
//!
//! - [`change`]: operations, positions, and the batch of decoded changes that travels through a pipeline.
//! - [`feed`]: the port through which changes come in.
//! - [`error`]: the one error type of the workspace, with the kinds that decide what happens next.
//!
//! Nothing in this crate does I/O.

pub mod change;
pub mod error;
pub mod feed;

pub use error::{Error, ErrorKind, Result};
