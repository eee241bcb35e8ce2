//! Rows that went and rows that came under the same key, side by side.
//!
//! Memory: the rows that came and differ, with the columns that were asked for, and some 60 bytes a key.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use futures::{StreamExt as _, TryStreamExt as _};
use sql::change::CHANGE_TYPE;
use sql::versioned::Rows;
use sql::{Error, Result};

use crate::lake::versioned::hash::Hasher;

pub(super) const INSERT: &str = "insert";
pub(super) const DELETE: &str = "delete";
const BEFORE: &str = "update_preimage";
const AFTER: &str = "update_postimage";

/// `rows` with [`CHANGE_TYPE`] behind them.
pub(super) fn tagged(rows: Rows, change: &'static str) -> Rows {
    rows.map(move |batch| {
        let batch = batch?;
        let changes = vec![change; batch.num_rows()];
        with_changes(&batch, &changes)
    })
    .boxed()
}

/// The columns with [`CHANGE_TYPE`] behind them.
pub(super) fn change_schema(schema: &Schema) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
}

fn with_changes(batch: &RecordBatch, changes: &[&'static str]) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns.push(Arc::new(StringArray::from(changes.to_vec())));
    RecordBatch::try_new(change_schema(&batch.schema()), columns).map_err(failed)
}

fn failed(error: ArrowError) -> Error {
    Error::internal("changes cannot be put together").source(error)
}

/// The rows that came, by their keys.
pub(super) struct Pairing {
    new: Vec<RecordBatch>,
    /// Batch and row of each, in order; they leave when they are paired.
    by_key: HashMap<u128, VecDeque<(usize, usize)>>,
    /// How many rows that went have the key and are still to come.
    old: HashMap<u128, usize>,
    used: Vec<Vec<bool>>,
    hasher: Hasher,
    /// The key's places.
    key: Vec<usize>,
    /// How many columns were asked for: those behind are of the key alone.
    wanted: usize,
}

impl Pairing {
    /// `new` are the rows that came; the columns at the places `key` are their keys, and the first `wanted` columns are kept.
    ///
    /// # Errors
    /// As [`Hasher::try_new`].
    pub(super) fn try_new(
        schema: &Schema,
        new: Vec<RecordBatch>,
        key: Vec<usize>,
        wanted: usize,
    ) -> Result<Self> {
        let hasher = Hasher::try_new(&schema.project(&key).map_err(failed)?)?;
        let used = new
            .iter()
            .map(|batch| vec![false; batch.num_rows()])
            .collect();
        let mut own = Self {
            new: Vec::new(),
            by_key: HashMap::new(),
            old: HashMap::new(),
            used,
            hasher,
            key,
            wanted,
        };
        for (at, batch) in new.iter().enumerate() {
            for (row, hash) in own.keys(batch)?.into_iter().enumerate() {
                own.by_key.entry(hash).or_default().push_back((at, row));
            }
            own.new.push(own.plain(batch)?);
        }
        Ok(own)
    }

    fn keys(&self, batch: &RecordBatch) -> Result<Vec<u128>> {
        self.hasher
            .hashes(&batch.project(&self.key).map_err(failed)?)
    }

    fn plain(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let places: Vec<usize> = (0..self.wanted).collect();
        batch.project(&places).map_err(failed)
    }

    /// Counts the rows that went, of which only the key's columns are there.
    pub(super) async fn count(&mut self, mut keys: Rows) -> Result<()> {
        while let Some(batch) = keys.try_next().await? {
            for hash in self.hasher.hashes(&batch)? {
                if self.by_key.contains_key(&hash) {
                    *self.old.entry(hash).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// The changes: `old`, the rows that went, each with the one that came for it behind it; then the others that came.
    pub(super) fn changes(self, old: Rows) -> Rows {
        let paired = futures::stream::try_unfold((self, Some(old)), |(mut own, old)| async move {
            let Some(mut old) = old else {
                return Ok(None);
            };
            match old.try_next().await? {
                Some(batch) => {
                    let paired = own.pair(&batch)?;
                    Ok(Some((vec![paired], (own, Some(old)))))
                }
                None => {
                    let rest = own.rest()?;
                    Ok(Some((rest, (own, None))))
                }
            }
        });
        paired
            .map_ok(|batches| futures::stream::iter(batches.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    fn pair(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys = self.keys(batch)?;
        let own = self.plain(batch)?;
        let mut batches: Vec<&RecordBatch> = vec![&own];
        let mut slots: HashMap<usize, usize> = HashMap::new();
        let (mut order, mut changes) = (Vec::new(), Vec::new());
        for (row, hash) in keys.into_iter().enumerate() {
            let Some((at, of)) = partner(&mut self.by_key, &mut self.old, hash) else {
                order.push((0, row));
                changes.push(DELETE);
                continue;
            };
            let other = self
                .new
                .get(at)
                .ok_or_else(|| Error::internal("a row was lost"))?;
            let slot = *slots.entry(at).or_insert_with(|| {
                batches.push(other);
                batches.len() - 1
            });
            if let Some(used) = self.used.get_mut(at).and_then(|used| used.get_mut(of)) {
                *used = true;
            }
            order.extend([(0, row), (slot, of)]);
            changes.extend([BEFORE, AFTER]);
        }
        if self.wanted == 0 {
            return bare(&changes);
        }
        let rows = interleave_record_batch(&batches, &order).map_err(failed)?;
        with_changes(&rows, &changes)
    }

    /// The rows that came and have no partner.
    fn rest(&mut self) -> Result<Vec<RecordBatch>> {
        let mut rest = Vec::new();
        for (batch, used) in self.new.iter().zip(&self.used) {
            let left: BooleanArray = used.iter().map(|used| Some(!used)).collect();
            let rows = filter_record_batch(batch, &left).map_err(failed)?;
            if left.true_count() > 0 {
                rest.push(with_changes(&rows, &vec![INSERT; left.true_count()])?);
            }
        }
        Ok(rest)
    }
}

fn bare(changes: &[&'static str]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(changes.to_vec()))];
    RecordBatch::try_new(change_schema(&Schema::empty()), columns).map_err(failed)
}

/// The row that came for one that went. Where a key stands more than once, its last rows are partners: what is only deleted comes
/// before what is there afterwards.
fn partner(
    new: &mut HashMap<u128, VecDeque<(usize, usize)>>,
    old: &mut HashMap<u128, usize>,
    hash: u128,
) -> Option<(usize, usize)> {
    let waiting = new.get_mut(&hash)?;
    let left = old.get_mut(&hash)?;
    let enough = *left <= waiting.len();
    *left = left.saturating_sub(1);
    if enough { waiting.pop_front() } else { None }
}
