//! The table functions of `engine sql`: what they are called, what they take, and where a statement calls them.
//!
//! A call is resolved *before* the statement is planned: its table is opened, its arguments are counted and checked, and
//! the call gives way to the name of a table that was registered for it. DataFusion's own way would lose the names of
//! arguments, and errors in them, without a word.

mod calls;
mod compare;
mod history;
mod net;

use std::ops::RangeInclusive;

pub use calls::{Call, calls, replace};
pub use compare::compare;
pub use history::history;
pub use net::net_changes_sql;

/// A table function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableFunction {
    /// `table_changes('t' [, from [, to]])`.
    TableChanges,
    /// `net_changes('t', from [, to [, 'key']])`.
    NetChanges,
    /// `snapshots('t')`.
    Snapshots,
    /// `history('t')`.
    History,
    /// `files('t' [, version])`.
    Files,
    /// `manifests('t')`.
    Manifests,
    /// `at('t', version)`.
    At,
    /// `compare('t', from, to)`.
    Compare,
    /// `positions('pipeline')`.
    Positions,
    /// `kafka('topic' [, from [, to | 'follow']])`.
    Kafka,
}

impl TableFunction {
    /// All of them, in the order in which help shows them.
    pub const ALL: [Self; 10] = [
        Self::TableChanges,
        Self::NetChanges,
        Self::At,
        Self::Snapshots,
        Self::History,
        Self::Files,
        Self::Manifests,
        Self::Compare,
        Self::Positions,
        Self::Kafka,
    ];

    /// The function that SQL calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::TableChanges => "table_changes",
            Self::NetChanges => "net_changes",
            Self::Snapshots => "snapshots",
            Self::History => "history",
            Self::Files => "files",
            Self::Manifests => "manifests",
            Self::At => "at",
            Self::Compare => "compare",
            Self::Positions => "positions",
            Self::Kafka => "kafka",
        }
    }

    /// How it is called.
    pub fn usage(self) -> &'static str {
        match self {
            Self::TableChanges => "table_changes('table' [, from [, to | 'follow']])",
            Self::NetChanges => "net_changes('table', from [, to [, 'key columns']])",
            Self::Snapshots => "snapshots('table')",
            Self::History => "history('table')",
            Self::Files => "files('table' [, version])",
            Self::Manifests => "manifests('table')",
            Self::At => "at('table', version)",
            Self::Compare => "compare('table', from, to)",
            Self::Positions => "positions('pipeline')",
            Self::Kafka => "kafka('topic' [, from [, to | 'follow']])",
        }
    }

    /// What it returns, in a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Self::TableChanges => {
                "the changes that the versions from … to made, both included: the row, _change_type, _commit_version, _commit_timestamp; with only `from` up to the newest version; without a range, or with 'follow', new versions as they come"
            }
            Self::NetChanges => {
                "what the versions from … to made of each key in the end: one row a key"
            }
            Self::Snapshots => "one row a version that can be read",
            Self::History => {
                "what was done to the table, newest first: operation, parameters, metrics"
            }
            Self::Files => "the files that are live at a version (the newest)",
            Self::Manifests => "the manifest files of an Iceberg table",
            Self::At => "the table as it was at a version or a time",
            Self::Compare => {
                "files, rows and bytes that came and went between two versions, by partition"
            }
            Self::Positions => "how far the pipeline's table says that its sources were read",
            Self::Kafka => {
                "the messages of a topic that a pipeline reads, decoded as the pipeline does: of each partition the offsets from … to, and no more than there are now; from -10: the last ten; with 'follow' new messages as they come"
            }
        }
    }

    /// How many arguments it takes.
    pub fn arguments(self) -> RangeInclusive<usize> {
        match self {
            Self::TableChanges | Self::Kafka => 1..=3,
            Self::NetChanges => 2..=4,
            Self::Files => 1..=2,
            Self::At => 2..=2,
            Self::Compare => 3..=3,
            Self::Snapshots | Self::History | Self::Manifests | Self::Positions => 1..=1,
        }
    }
}
