//! The prompt of `engine sql`, without a terminal: what is typed becomes statements and commands, and half a word becomes
//! the words that it may mean.
//!
//! - [`Typed`] takes lines and gives [`Step`]s: statements that end with `;`, and backslash commands.
//! - [`Command`] is a backslash command; its table is also the help.
//! - [`complete()`] is the TAB key: it knows [`Names`], and asks for the columns of the relations that a statement names.
//!
//! Strings, quoted names and comments are found by the parser's own tokenizer, so that both always agree where a statement
//! ends. Nothing here reads, prints or waits.

mod command;
mod complete;
mod relations;
mod split;
mod typed;

pub use command::{Command, command_names, help};
pub use complete::{Completion, Names, complete};
pub use relations::Relation;
pub use split::{Next, next};
pub use typed::{Statement, Step, Typed};
