//! The rows that differ between the files that a version removed and those that it added: what an update or a merge changed while
//! the table kept no feed. Rows are compared whole; a row that is in both as often has not changed.
//!
//! Memory: about 100 bytes for each different row of the removed files: two tables of its hash of 128 bits, and how often it is
//! there. Each file is read twice.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use futures::{StreamExt as _, TryStreamExt as _};
use sql::versioned::Rows;
use sql::{Error, Result};

use super::columns::Columns;
use super::place::Place;
use super::read::{Part, Reader};
use crate::lake::versioned::hash::Hasher;

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
    let hasher = Hasher::try_new(columns.schema()).map_err(|error| error.at(place.table()))?;
    let hasher = Arc::new(hasher);
    // The change type, which is the last column, is no part of a row.
    let row: Arc<[usize]> = (0..names.len()).collect();
    let hashes = move |batch: &RecordBatch| {
        let batch = batch.project(&row);
        let batch = batch.map_err(|error| Error::internal("cannot compare rows").source(error))?;
        hasher.hashes(&batch)
    };
    let mut before = Counts::new();
    let mut rows = reader.all(removed.clone());
    while let Some(batch) = rows.try_next().await? {
        for hash in hashes(&batch)? {
            *before.entry(hash).or_default() += 1;
        }
    }
    // How often each row is in both.
    let mut same = Counts::new();
    let mut rows = reader.all(added.clone());
    while let Some(batch) = rows.try_next().await? {
        for hash in hashes(&batch)? {
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
        let (hashes, chosen) = (hashes.clone(), chosen.clone());
        reader.all(parts).map(move |batch| {
            let batch = batch?;
            let kept: BooleanArray = hashes(&batch)?
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
