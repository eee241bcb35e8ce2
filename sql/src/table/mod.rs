//! A source as a table.
//!
//! One kind of plan node, [`SourceExec`], reads both a pipeline's micro-batch and a feed at the prompt. It holds plain
//! data (name, schema, projection) and finds the live rows or the live feed at execution, in the session's [`Slots`],
//! under the source's name. So a plan can be kept, run again, printed, and sent as bytes ([`SourceCodec`]).
//!
//! [`ChangesExec`] does the same for the changes of a table that remembers them.

mod at_once;
mod changes;
mod codec;
mod endless;
mod exec;
mod narrow;
mod provider;
mod slots;

pub use at_once::AtOnce;
pub use changes::{ChangesExec, ChangesTable, Range};
pub use codec::SourceCodec;
pub use endless::RefuseEndless;
pub use exec::{Ends, SourceExec};
pub use provider::{FeedTable, SlotTable};
pub use slots::{OpenFeed, Slots};

/// The hidden column that carries a row's index through a pipeline's SQL; `UInt64`.
pub const ROW: &str = "__row";
