//! The first halves of key changes, waiting for the second.
//!
//! Debezium sends a changed key as a delete of the old key and its tombstone, both with the header `__debezium.newkey`,
//! and then an insert of the new key: one after the other where the topic has one partition. (With several, the halves may
//! be in two of them, and nothing says when the other half comes.)

use std::collections::BTreeMap;

use sql::change::{Partition, RawRecord};

use crate::format::RawMessage;
use crate::format::debezium::NEW_KEY;

/// More than that belongs to no key change; it is let through.
const MAX_WAITING: usize = 1_000;

/// Records that wait, by partition.
#[derive(Debug, Default)]
pub(super) struct Moves(BTreeMap<Partition, Vec<RawRecord>>);

impl Moves {
    /// Keeps `message` if it is such a half.
    pub(super) fn wait(&mut self, message: &RawMessage<'_>) -> bool {
        let leaves = |(name, _): &(&str, Option<&[u8]>)| *name == NEW_KEY;
        if !message.headers.iter().any(leaves) {
            return false;
        }
        let waiting = self.0.entry(message.partition.clone()).or_default();
        if waiting.len() >= MAX_WAITING {
            return false;
        }
        waiting.push(message.to_record());
        true
    }

    /// Takes out what waits of a partition, in order.
    pub(super) fn take(&mut self, partition: &Partition) -> Vec<RawRecord> {
        if self.0.is_empty() {
            return Vec::new();
        }
        self.0.remove(partition).unwrap_or_default()
    }
}
