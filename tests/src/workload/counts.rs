//! What the workload did, by kind.

use std::collections::BTreeMap;
use std::fmt;

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names printed below say what each is")]
pub enum Kind {
    Insert,
    InsertSeveral,
    UpdateSome,
    UpdateAll,
    UpdateNothing,
    UpdateSeveral,
    BesideLarge,
    Delete,
    DeleteSeveral,
    KeyChange,
    KeyChangeBesideLarge,
    KeyChangeSeveral,
    KeySwap,
    KeyChain,
    DeleteAndInsert,
    Ephemeral,
    UpsertNew,
    UpsertOld,
    Duplicate,
    Savepoint,
    Rollback,
    Interleaved,
    Refused,
    Bulk,
    BulkUpdate,
    BulkDelete,
    Truncate,
    IncrementalSnapshot,
    Oddity,
    Commit,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 30] = [
        Self::Insert,
        Self::InsertSeveral,
        Self::UpdateSome,
        Self::UpdateAll,
        Self::UpdateNothing,
        Self::UpdateSeveral,
        Self::BesideLarge,
        Self::Delete,
        Self::DeleteSeveral,
        Self::KeyChange,
        Self::KeyChangeBesideLarge,
        Self::KeyChangeSeveral,
        Self::KeySwap,
        Self::KeyChain,
        Self::DeleteAndInsert,
        Self::Ephemeral,
        Self::UpsertNew,
        Self::UpsertOld,
        Self::Duplicate,
        Self::Savepoint,
        Self::Rollback,
        Self::Interleaved,
        Self::Refused,
        Self::Bulk,
        Self::BulkUpdate,
        Self::BulkDelete,
        Self::Truncate,
        Self::IncrementalSnapshot,
        Self::Oddity,
        Self::Commit,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::InsertSeveral => "insert of several rows",
            Self::UpdateSome => "update of some columns",
            Self::UpdateAll => "update of all columns",
            Self::UpdateNothing => "update that changes nothing",
            Self::UpdateSeveral => "update of several rows",
            Self::BesideLarge => "update beside large values",
            Self::Delete => "delete",
            Self::DeleteSeveral => "delete of several rows",
            Self::KeyChange => "key change",
            Self::KeyChangeBesideLarge => "key change beside large values",
            Self::KeyChangeSeveral => "key change of several rows",
            Self::KeySwap => "swap of two keys",
            Self::KeyChain => "chain of key changes",
            Self::DeleteAndInsert => "delete and insert of one key",
            Self::Ephemeral => "insert, update and delete of one key",
            Self::UpsertNew => "upsert of a new key",
            Self::UpsertOld => "upsert of a key that is there",
            Self::Duplicate => "equal rows without a key",
            Self::Savepoint => "rollback to a savepoint",
            Self::Rollback => "transaction rolled back",
            Self::Interleaved => "transaction beside others",
            Self::Refused => "transaction that the server refused",
            Self::Bulk => "row of a large transaction",
            Self::BulkUpdate => "update of a range",
            Self::BulkDelete => "delete of a range",
            Self::Truncate => "truncate",
            Self::IncrementalSnapshot => "incremental snapshot asked for",
            Self::Oddity => "value that no table can hold",
            Self::Commit => "transaction committed",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each kind of change was committed; of the transactions that were not, how many there were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    by_kind: BTreeMap<Kind, u64>,
}

impl Counts {
    /// How often that was done.
    pub fn of(&self, kind: Kind) -> u64 {
        self.by_kind.get(&kind).copied().unwrap_or(0)
    }

    /// Everything that was done.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u64)> {
        self.by_kind.iter().map(|(kind, count)| (*kind, *count))
    }

    pub(super) fn add(&mut self, kind: Kind, times: u64) {
        *self.by_kind.entry(kind).or_default() += times;
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (kind, times) in other.iter() {
            self.add(kind, times);
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, count)) in self.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{kind}: {count}")?;
        }
        Ok(())
    }
}
