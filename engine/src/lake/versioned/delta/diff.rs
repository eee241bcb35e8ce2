//! The rows that differ between the files that a version removed and those that it added: what an update or a merge changed while
//! the table kept no feed. Rows are compared whole; a row that is in both as often has not changed.
//!
//! Memory: about 100 bytes for each different row of the removed files: two tables of its hash of 128 bits, and how often it is
//! there. Each file is read twice.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, ListArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::row::{RowConverter, SortField};
use futures::{StreamExt as _, TryStreamExt as _};
use sql::versioned::Rows;
use sql::{Error, Result};
use twox_hash::XxHash64;

use super::columns::Columns;
use super::place::Place;
use super::read::{Part, Reader};

/// How often a row is there, by its hash.
type Counts = HashMap<u128, u32>;

/// The rows of `removed` that are not in `added`, then those of `added` that are not in `removed`, with the columns `wanted`.
///
/// # Errors
/// Of reading; [`sql::ErrorKind::Config`] for columns that cannot be compared.
pub(super) async fn changes(
    place: &Place,
    columns: &Arc<Columns>,
    wanted: &[String],
    removed: Vec<Part>,
    added: Vec<Part>,
) -> Result<Rows> {
    let names = columns.schema().fields().iter();
    let names: Vec<_> = names.map(|field| field.name().clone()).collect();
    let reader = Reader::try_new(place, columns, &names, true)?;
    let hasher = Arc::new(Hasher::try_new(columns.schema(), place)?);
    let mut before = Counts::new();
    let mut rows = reader.all(removed.clone());
    while let Some(batch) = rows.try_next().await? {
        for hash in hasher.hashes(&batch)? {
            *before.entry(hash).or_default() += 1;
        }
    }
    // How often each row is in both.
    let mut same = Counts::new();
    let mut rows = reader.all(added.clone());
    while let Some(batch) = rows.try_next().await? {
        for hash in hasher.hashes(&batch)? {
            if let Some(left) = before.get_mut(&hash).filter(|left| **left > 0) {
                *left -= 1;
                *same.entry(hash).or_default() += 1;
            }
        }
    }
    drop(before);
    let mut chosen = Vec::with_capacity(wanted.len() + 1);
    for name in wanted {
        let place = names.iter().position(|other| other == name);
        chosen.push(place.ok_or_else(|| Error::internal(format!("no column `{name}`")))?);
    }
    chosen.push(names.len());
    let differing = |parts: Vec<Part>, mut same: Counts| {
        let (hasher, chosen) = (Arc::clone(&hasher), chosen.clone());
        reader.all(parts).map(move |batch| {
            let batch = batch?;
            let kept: BooleanArray = hasher
                .hashes(&batch)?
                .into_iter()
                .map(|hash| match same.get_mut(&hash).filter(|left| **left > 0) {
                    Some(left) => {
                        *left -= 1;
                        Some(false)
                    }
                    None => Some(true),
                })
                .collect();
            filter_record_batch(&batch, &kept)
                .and_then(|batch| batch.project(&chosen))
                .map_err(|error| Error::internal("cannot choose rows").source(error))
        })
    };
    let deleted = differing(removed, same.clone());
    let rows = deleted.chain(differing(added, same));
    Ok(rows
        .try_filter(|batch| std::future::ready(batch.num_rows() > 0))
        .boxed())
}

/// Makes rows comparable.
struct Hasher {
    converter: RowConverter,
    columns: usize,
}

impl Hasher {
    fn try_new(schema: &SchemaRef, place: &Place) -> Result<Self> {
        let fields = schema.fields().iter();
        let fields: Vec<_> = fields
            .map(|field| SortField::new(comparable_type(field.data_type())))
            .collect();
        let columns = fields.len();
        let converter = RowConverter::new(fields).map_err(|error| {
            Error::config(
                "rows of the Delta table cannot be compared: a column has maps inside of others",
            )
            .at(place.table())
            .remedy("Turn on delta.enableChangeDataFeed, and read the versions since then.")
            .source(error)
        })?;
        Ok(Self { converter, columns })
    }

    /// The hashes of the rows, of all columns but the change type, which is the last.
    fn hashes(&self, batch: &RecordBatch) -> Result<Vec<u128>> {
        let columns = batch.columns().iter().take(self.columns);
        let columns: Vec<_> = columns.map(comparable).collect::<Result<_>>()?;
        let rows = self.converter.convert_columns(&columns);
        let rows = rows.map_err(|e| Error::internal("cannot compare rows").source(e))?;
        let hash = |bytes: &[u8]| {
            let half = |seed| u128::from(XxHash64::oneshot(seed, bytes));
            half(0) << 64 | half(1)
        };
        Ok(rows.iter().map(|row| hash(row.as_ref())).collect())
    }
}

/// Maps are compared as lists of their entries.
fn comparable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Map(entries, _) => DataType::List(Arc::new(Field::new(
            "item",
            entries.data_type().clone(),
            true,
        ))),
        other => other.clone(),
    }
}

fn comparable(values: &ArrayRef) -> Result<ArrayRef> {
    let DataType::List(item) = comparable_type(values.data_type()) else {
        return Ok(Arc::clone(values));
    };
    let Some(map) = values.as_map_opt() else {
        return Ok(Arc::clone(values));
    };
    let entries: ArrayRef = Arc::new(map.entries().clone());
    let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
    let list = ListArray::try_new(item, offsets, entries, nulls)
        .map_err(|error| Error::internal("a map that is no list").source(error))?;
    Ok(Arc::new(list))
}
