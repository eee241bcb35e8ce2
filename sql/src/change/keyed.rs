//! What a target that is kept by key needs to know beside the rows.

use arrow::array::RecordBatch;

/// Keys, key changes and values that were not sent, of one batch. Rows are named by their index, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyedMeta {
    /// Rows that are tombstones: a null value with a key. Their operation is a delete; they say it once more, or alone.
    pub tombstones: Vec<u32>,
    /// Deletes and tombstones of a row that lives on under another key (header `__debezium.newkey`).
    pub leaving: Vec<u32>,
    /// Rows that had another key before (header `__debezium.oldkey`): index `i` has the key of row `i` of `old_keys`.
    pub arriving: Vec<u32>,
    /// The key columns of `arriving`; null where the header could not be read.
    pub old_keys: RecordBatch,
    /// Row, and index of the batch's column, of each value that the source did not send because it had not changed.
    pub unavailable: Vec<(u32, u32)>,
    /// Events that may have been applied before, and are applied again because the source went back: the target is ahead
    /// of them. The row, and a number that changes within the batch when the source goes back once more. Tombstones are
    /// not among them.
    pub again: Vec<(u32, u32)>,
}

impl KeyedMeta {
    /// Where the event of this row may have been applied before: which time it is that the source went back.
    pub fn again(&self, row: usize) -> Option<u32> {
        let row = u32::try_from(row).ok()?;
        let found = self.again.binary_search_by_key(&row, |(row, _)| *row);
        self.again.get(found.ok()?).map(|(_, pass)| *pass)
    }
}
