//! A net change, made ready for a table: its rows with the table's columns, its keys as a set.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use sql::change::NetChange;
use sql::{Error, ErrorKind, Result};

use crate::lake::cast::Caster;
use crate::lake::keys::KeySet;
use crate::lake::same::Same;

/// The change. Key `k` of its set is that of row `k`, and beyond the rows that of a delete.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) truncate: bool,
    /// With the table's columns.
    pub(super) rows: RecordBatch,
    pub(super) keys: Arc<KeySet>,
    /// For each row the values of the partition columns; empty if there are none.
    partitions: Vec<Vec<ScalarValue>>,
    same: Same,
}

impl Change {
    /// # Errors
    /// [`ErrorKind::Internal`] for columns that the table has not and for a key that is there twice.
    pub(super) fn try_new(
        change: &NetChange,
        key: &[String],
        schema: &SchemaRef,
        partition_by: &[String],
    ) -> Result<Self> {
        // By the batch's own columns: the table may have got new ones since it was made.
        let rows = Caster::try_new(change.rows().schema_ref(), schema)?.cast(change.rows())?;
        let keys = keys(change, &rows, key)?;
        let set = KeySet::try_new(&keys)?;
        if set.has_repeats() {
            return Err(Error::internal("a net change has a key twice"));
        }
        let partitions = partitions(&rows, partition_by)?;
        // A key has no nulls, but the empty text becomes one.
        for (place, name) in partition_by.iter().enumerate() {
            let lost =
                |values: &Vec<ScalarValue>| values.get(place).is_some_and(ScalarValue::is_null);
            if key.contains(name) && partitions.iter().any(lost) {
                return Err(Error::new(
                    ErrorKind::Policy,
                    format!("the key column `{name}` is the empty text, which a Delta partition cannot tell from null"),
                )
                .remedy("Partition by another column, or leave such rows out in the SQL."));
            }
        }
        let same = Same::of(&rows)?;
        Ok(Self {
            truncate: change.truncate(),
            rows,
            keys: Arc::new(set),
            partitions,
            same,
        })
    }

    /// Whether a key is that of a row.
    pub(super) fn is_row(&self, key: u32) -> bool {
        (key as usize) < self.rows.num_rows()
    }

    /// The partition of a row; empty if the table has none.
    pub(super) fn partition(&self, key: u32) -> &[ScalarValue] {
        self.partitions.get(key as usize).map_or(&[], Vec::as_slice)
    }

    /// For each row of `old` whether it differs from the row `keys` of the change.
    pub(super) fn differs(&self, old: &RecordBatch, keys: &[u32]) -> Result<Vec<bool>> {
        self.same.differ(old, keys)
    }

    /// The rows of `keys`, in their order.
    pub(super) fn take(&self, keys: &[u32]) -> Result<RecordBatch> {
        let keys = arrow::array::UInt32Array::from(keys.to_vec());
        take_record_batch(&self.rows, &keys)
            .map_err(|error| Error::internal("cannot take rows").source(error))
    }
}

/// The keys of the rows, then those of the deletes, with the table's types.
fn keys(change: &NetChange, rows: &RecordBatch, key: &[String]) -> Result<RecordBatch> {
    let schema = rows.schema();
    let fields = key.iter().map(|name| {
        schema
            .column_with_name(name)
            .map(|(_, field)| field.as_ref().clone().with_nullable(true))
            .ok_or_else(|| Error::internal(format!("the table has no key column `{name}`")))
    });
    let fields = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
    let deletes = change.deletes();
    let same = deletes.num_columns() == key.len()
        && deletes
            .schema()
            .fields()
            .iter()
            .zip(key)
            .all(|(a, b)| a.name() == b);
    if !same {
        return Err(Error::internal("deletes with other columns than the key's"));
    }
    let deletes = Caster::try_new(deletes.schema_ref(), &fields)?.cast(deletes)?;
    let columns = key.iter().zip(deletes.columns()).map(|(name, deleted)| {
        let own = rows
            .column_by_name(name)
            .ok_or_else(|| Error::internal(format!("rows have no key column `{name}`")))?;
        concat(&[own.as_ref(), deleted.as_ref()])
            .map_err(|error| Error::internal("keys of two types").source(error))
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    RecordBatch::try_new(fields, columns)
        .map_err(|error| Error::internal("keys that are no batch").source(error))
}

fn partitions(rows: &RecordBatch, partition_by: &[String]) -> Result<Vec<Vec<ScalarValue>>> {
    if partition_by.is_empty() {
        return Ok(Vec::new());
    }
    (0..rows.num_rows())
        .map(|row| {
            let values = partition_by
                .iter()
                .filter_map(|name| rows.column_by_name(name));
            values
                .map(|column| {
                    let value = ScalarValue::try_from_array(column, row);
                    // As it will be read again.
                    Ok(
                        match value.map_err(|error| Error::internal("no value").source(error))? {
                            ScalarValue::Utf8(Some(text)) if text.is_empty() => {
                                ScalarValue::Utf8(None)
                            }
                            value => value,
                        },
                    )
                })
                .collect()
        })
        .collect()
}
