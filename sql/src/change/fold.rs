//! Folds a batch to what is left of it: one whole row for each living key, and the keys that are gone.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::row::{RowConverter, Rows, SortField};

use super::netting::{NetEvent, NetRow, Netted, Origin, net};
use super::{ChangeBatch, KeyedMeta, Op};
use crate::error::{Error, Result};

/// A batch, folded.
#[derive(Debug, Clone)]
pub struct Folded {
    /// The table is emptied first.
    pub truncate: bool,
    /// One row for each key that lives after the batch, with the batch's columns, in the order of their last events. Values
    /// that an event did not carry are those of earlier events; those of `missing` are null.
    pub rows: RecordBatch,
    /// For each of `rows` the batch's row that is its key's last event, ascending.
    pub events: Vec<usize>,
    /// Values that no event of the batch carries.
    pub missing: Vec<MissingValue>,
    /// The keys whose rows in the table have missing values, each once: the key columns in order.
    pub wanted: RecordBatch,
    /// The keys that are gone: the key columns in order.
    pub deletes: RecordBatch,
}

/// A value that is not in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingValue {
    /// Index in [`Folded::rows`].
    pub row: usize,
    /// Its column there.
    pub column: usize,
    /// The key in [`Folded::wanted`] under which the table has it; `None` if it is nowhere.
    pub from: Option<usize>,
}

/// Folds `batch`, whose rows have the columns `key` without nulls (but for truncates). Rows that `leave_out` says have
/// not happened.
///
/// # Errors
/// [`crate::ErrorKind::Internal`] if the batch was not decoded for a target that is kept by key.
pub fn fold(
    batch: &ChangeBatch,
    key: &[String],
    leave_out: &dyn Fn(usize) -> bool,
) -> Result<Folded> {
    let meta = batch.meta().keyed.as_ref();
    let meta = meta.ok_or_else(|| Error::internal("a batch was folded that has no keys"))?;
    let rows = batch.rows();
    let keys = Keys::try_new(rows, meta, key)?;
    let events = Events::new(meta, rows.num_rows());
    let kept: Vec<usize> = (0..rows.num_rows())
        .filter(|row| !leave_out(*row))
        .collect();
    let ops = &batch.meta().ops;
    let netted = net(kept.iter().map(|row| keys.event(*row, ops, &events)));
    let back = |event: usize| kept.get(event).copied().unwrap_or(usize::MAX);
    Fold {
        rows,
        keys: &keys,
        netted: &netted,
        back: &back,
    }
    .finish()
}

/// Encoded keys of the rows, and those that rows had before.
struct Keys {
    converter: RowConverter,
    rows: Rows,
    old: Rows,
    names: Vec<String>,
}

impl Keys {
    fn try_new(rows: &RecordBatch, meta: &KeyedMeta, key: &[String]) -> Result<Self> {
        let columns = columns(rows, key)?;
        let fields = columns
            .iter()
            .map(|c| SortField::new(c.data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(broken)?;
        let old = columns_of(&meta.old_keys, key)?;
        Ok(Self {
            rows: converter.convert_columns(&columns).map_err(broken)?,
            old: match old {
                Some(old) => converter.convert_columns(&old).map_err(broken)?,
                None => converter.empty_rows(0, 0),
            },
            converter,
            names: key.to_vec(),
        })
    }

    fn event<'a>(&'a self, row: usize, ops: &[Op], events: &'a Events<'_>) -> NetEvent<'a> {
        let op = ops.get(row).copied().unwrap_or(Op::Update);
        let old = events.arriving.get(&row);
        NetEvent {
            op,
            key: self.rows.row(row).data(),
            old_key: old.map(|index| self.old.row(*index).data()),
            moves: events.leaving.get(row).copied().unwrap_or(false),
            unavailable: events.unavailable.get(&row).map_or(&[], Vec::as_slice),
            again: events.meta.again(row),
        }
    }

    /// Encoded keys as columns again.
    fn decode(&self, encoded: &[&[u8]]) -> Result<RecordBatch> {
        let parser = self.converter.parser();
        let rows = encoded.iter().map(|key| parser.parse(key));
        let columns = self.converter.convert_rows(rows).map_err(broken)?;
        let named = self.names.iter().map(String::as_str).zip(columns);
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        for (name, column) in named {
            fields.push(arrow::datatypes::Field::new(
                name,
                column.data_type().clone(),
                true,
            ));
            arrays.push(column);
        }
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let options = RecordBatchOptions::new().with_row_count(Some(encoded.len()));
        RecordBatch::try_new_with_options(schema, arrays, &options).map_err(broken)
    }
}

/// What is known of the rows beside their keys, by row.
struct Events<'a> {
    leaving: Vec<bool>,
    arriving: HashMap<usize, usize>,
    unavailable: HashMap<usize, Vec<u32>>,
    meta: &'a KeyedMeta,
}

impl<'a> Events<'a> {
    fn new(meta: &'a KeyedMeta, rows: usize) -> Self {
        let mut leaving = vec![false; rows];
        for row in &meta.leaving {
            if let Some(leaves) = leaving.get_mut(*row as usize) {
                *leaves = true;
            }
        }
        let arriving = meta.arriving.iter().enumerate();
        let mut unavailable: HashMap<usize, Vec<u32>> = HashMap::new();
        for (row, column) in &meta.unavailable {
            unavailable.entry(*row as usize).or_default().push(*column);
        }
        Self {
            leaving,
            arriving: arriving
                .map(|(index, row)| (*row as usize, index))
                .collect(),
            unavailable,
            meta,
        }
    }
}

struct Fold<'a> {
    rows: &'a RecordBatch,
    keys: &'a Keys,
    netted: &'a Netted<'a>,
    /// The batch's row of an event.
    back: &'a dyn Fn(usize) -> usize,
}

impl<'a> Fold<'a> {
    fn finish(&self) -> Result<Folded> {
        let living = &self.netted.rows;
        let events: Vec<usize> = living.iter().map(|row| (self.back)(row.event)).collect();
        let (missing, wanted) = self.missing(living);
        let last = UInt32Array::from_iter_values(events.iter().map(|row| index(*row)));
        let columns = self.rows.columns().iter().enumerate();
        let columns = columns
            .map(|(column, values)| self.column(column, values, living, &last))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(events.len()));
        let rows = RecordBatch::try_new_with_options(self.rows.schema(), columns, &options);
        let gone = self.netted.deletes.iter().map(|event| (self.back)(*event));
        let gone: Vec<&[u8]> = gone.map(|row| self.keys.rows.row(row).data()).collect();
        Ok(Folded {
            truncate: self.netted.truncate,
            rows: rows.map_err(broken)?,
            events,
            missing,
            wanted: self.keys.decode(&wanted)?,
            deletes: self.keys.decode(&gone)?,
        })
    }

    /// One column of the living rows: each value from its row's last event, or from the earlier one that carries it.
    fn column(
        &self,
        column: usize,
        values: &ArrayRef,
        living: &[NetRow<'_>],
        last: &UInt32Array,
    ) -> Result<ArrayRef> {
        if living.iter().all(|row| elsewhere(row, column).is_none()) {
            return take(values, last, None).map_err(broken);
        }
        let null = arrow::array::new_null_array(values.data_type(), 1);
        let from = living.iter().map(|row| match elsewhere(row, column) {
            None => (0, (self.back)(row.event)),
            Some(Origin::Event(event)) => (0, (self.back)(event)),
            Some(Origin::Table(_) | Origin::Unknown) => (1, 0),
        });
        let from: Vec<(usize, usize)> = from.collect();
        interleave(&[values.as_ref(), null.as_ref()], &from).map_err(broken)
    }

    fn missing(&self, living: &[NetRow<'a>]) -> (Vec<MissingValue>, Vec<&'a [u8]>) {
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut wanted = Vec::new();
        let mut missing = Vec::new();
        for (row, living) in living.iter().enumerate() {
            for fill in &living.fills {
                let from = match fill.from {
                    Origin::Event(_) => continue,
                    Origin::Unknown => None,
                    Origin::Table(key) => Some(*places.entry(key).or_insert_with(|| {
                        wanted.push(key);
                        wanted.len() - 1
                    })),
                };
                let column = fill.column as usize;
                missing.push(MissingValue { row, column, from });
            }
        }
        (missing, wanted)
    }
}

/// Where the row's value of `column` is, if not in its last event.
fn elsewhere<'a>(row: &NetRow<'a>, column: usize) -> Option<Origin<'a>> {
    let fill = row.fills.iter().find(|fill| fill.column as usize == column);
    fill.map(|fill| fill.from)
}

fn columns(rows: &RecordBatch, key: &[String]) -> Result<Vec<ArrayRef>> {
    let column = |name: &String| {
        rows.column_by_name(name)
            .map(Arc::clone)
            .ok_or_else(|| Error::internal(format!("the key column `{name}` was not decoded")))
    };
    key.iter().map(column).collect()
}

/// The old keys; `None` if there are none, and their columns are not known.
fn columns_of(old: &RecordBatch, key: &[String]) -> Result<Option<Vec<ArrayRef>>> {
    if old.num_rows() == 0 {
        return Ok(None);
    }
    columns(old, key).map(Some)
}

/// Batches have fewer rows than that.
fn index(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal("a batch cannot be folded by its key").source(error)
}
