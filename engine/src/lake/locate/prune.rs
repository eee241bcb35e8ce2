//! What of a file need not be read: row groups and pages that can hold none of the keys.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader as _;
use parquet::basic::Type;
use parquet::bloom_filter::Sbbf;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use sql::Result;

use super::open::Counted;
use crate::lake::keys::KeySet;

/// With more keys than this in a row group's range its bloom filters are not asked: one of them would be found anyway.
const BLOOM_KEYS: usize = 128;
/// What a page takes in the index of a column's pages, at most: its place, its length, its first row.
const PAGE_ENTRY: usize = 16;

/// A key column as a file has it.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// Which column of the key it is.
    pub(super) column: usize,
    /// Its place among the file's columns.
    pub(super) leaf: usize,
    /// Its name in the file.
    pub(super) name: String,
}

/// A row group that may hold keys.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) index: usize,
    pub(super) rows: usize,
    /// The column of the key that leaves the fewest keys, and its keys as a range of their order.
    pub(super) tightest: (usize, Range<usize>),
}

/// The row groups whose statistics allow a key.
pub(super) fn row_groups(
    keys: &KeySet,
    leaves: &[Leaf],
    metadata: &ArrowReaderMetadata,
) -> Result<Vec<Group>> {
    let file = metadata.metadata();
    let mut groups: Vec<Option<Group>> = (0..file.num_row_groups())
        .map(|index| {
            let rows = usize::try_from(file.row_group(index).num_rows()).unwrap_or(0);
            Some(Group {
                index,
                rows,
                tightest: (0, 0..keys.len()),
            })
        })
        .collect();
    for leaf in leaves {
        let Some((mins, maxs)) = group_bounds(leaf, metadata) else {
            continue;
        };
        let ranges = keys.between(leaf.column, &mins, &maxs)?;
        for (slot, range) in groups.iter_mut().zip(ranges) {
            let Some(group) = slot else {
                continue;
            };
            if !has_order(file.row_group(group.index), leaf.leaf) {
                continue;
            }
            if range.is_empty() {
                *slot = None;
            } else if range.len() < group.tightest.1.len() {
                group.tightest = (leaf.column, range);
            }
        }
    }
    Ok(groups.into_iter().flatten().collect())
}

/// `None` if there are no statistics that can be understood.
fn group_bounds(leaf: &Leaf, metadata: &ArrowReaderMetadata) -> Option<(ArrayRef, ArrayRef)> {
    let file = metadata.metadata();
    let converter =
        StatisticsConverter::try_new(&leaf.name, metadata.schema(), metadata.parquet_schema());
    let converter = converter.ok()?;
    let mins = converter.row_group_mins(file.row_groups()).ok()?;
    let maxs = converter.row_group_maxes(file.row_groups()).ok()?;
    Some((mins, maxs))
}

/// Old writers compared bytes as signed ones, and nobody agreed on the order of 96-bit timestamps.
fn has_order(group: &RowGroupMetaData, leaf: usize) -> bool {
    let column = group.column(leaf);
    let bytes = matches!(
        column.column_type(),
        Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY
    );
    let old = column
        .statistics()
        .is_some_and(parquet::file::statistics::Statistics::is_min_max_deprecated);
    column.column_type() != Type::INT96 && !(bytes && old)
}

/// Leaves out row groups whose bloom filters know none of the keys.
pub(super) async fn by_bloom_filters(
    reader: &mut Counted,
    keys: &KeySet,
    leaves: &[Leaf],
    file: &ParquetMetaData,
    groups: Vec<Group>,
) -> ParquetResult<Vec<Group>> {
    let mut kept = Vec::with_capacity(groups.len());
    for group in groups {
        let (column, range) = &group.tightest;
        let candidates = keys
            .sorted(*column)
            .and_then(|keys| keys.get(range.clone()));
        let few = candidates.filter(|candidates| candidates.len() <= BLOOM_KEYS);
        let known = match few {
            Some(candidates) => {
                may_know(
                    reader,
                    keys,
                    leaves,
                    file.row_group(group.index),
                    candidates,
                )
                .await?
            }
            None => true,
        };
        if known {
            kept.push(group);
        }
    }
    Ok(kept)
}

async fn may_know(
    reader: &mut Counted,
    keys: &KeySet,
    leaves: &[Leaf],
    group: &RowGroupMetaData,
    candidates: &[u32],
) -> ParquetResult<bool> {
    let mut left = candidates.to_vec();
    for leaf in leaves {
        let column = group.column(leaf.leaf);
        let (Some(offset), Some(length)) =
            (column.bloom_filter_offset(), column.bloom_filter_length())
        else {
            continue;
        };
        let values = keys.keys().column(leaf.column);
        if !is_hashed(values.data_type(), column.column_type()) {
            continue;
        }
        let start = u64::try_from(offset).map_err(|e| ParquetError::External(Box::new(e)))?;
        let length = u64::try_from(length).map_err(|e| ParquetError::External(Box::new(e)))?;
        let bytes = reader.get_bytes(start..start + length).await?;
        let filter = Sbbf::from_bytes(&bytes)?;
        left.retain(|key| knows(&filter, values, column.column_type(), *key as usize));
        if left.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether values of a key type are hashed by a file column of this physical type as they are.
fn is_hashed(key: &DataType, stored: Type) -> bool {
    matches!(
        (key, stored),
        (DataType::Int32 | DataType::Date32, Type::INT32)
            | (DataType::Int64, Type::INT32 | Type::INT64)
            | (
                DataType::Utf8 | DataType::Binary | DataType::LargeBinary,
                Type::BYTE_ARRAY
            )
    )
}

fn knows(filter: &Sbbf, values: &ArrayRef, stored: Type, key: usize) -> bool {
    match values.data_type() {
        DataType::Int32 => filter.check(&values.as_primitive::<Int32Type>().value(key)),
        DataType::Date32 => filter.check(&values.as_primitive::<Date32Type>().value(key)),
        DataType::Int64 => {
            let value = values.as_primitive::<Int64Type>().value(key);
            match stored {
                // The column was promoted since the file was written.
                Type::INT32 => i32::try_from(value).is_ok_and(|value| filter.check(&value)),
                _ => filter.check(&value),
            }
        }
        DataType::Utf8 => filter.check(values.as_string::<i32>().value(key)),
        DataType::Binary => filter.check(values.as_binary::<i32>().value(key)),
        DataType::LargeBinary => filter.check(values.as_binary::<i64>().value(key)),
        _ => true,
    }
}

/// Whether so few keys are left that whole pages of these row groups have none.
pub(super) fn pages_may_help(groups: &[Group], leaves: &[Leaf], file: &ParquetMetaData) -> bool {
    let Some(leaf) = leaves.first() else {
        return false;
    };
    let pages = groups.iter().map(|group| {
        let column = file.row_group(group.index).column(leaf.leaf);
        column.column_index_offset()?;
        let bytes = usize::try_from(column.offset_index_length()?).ok()?;
        Some(bytes / PAGE_ENTRY)
    });
    let pages: Option<usize> = pages.sum();
    let keys: usize = groups.iter().map(|group| group.tightest.1.len()).sum();
    pages.is_some_and(|pages| keys < pages)
}

/// The rows of `groups`, in their order, whose pages may hold a key. `None`: all.
pub(super) fn pages(
    keys: &KeySet,
    leaves: &[Leaf],
    metadata: &ArrowReaderMetadata,
    groups: &[Group],
) -> Result<Option<RowSelection>> {
    let mut selection: Option<RowSelection> = None;
    for leaf in leaves {
        let mut kept: Vec<Range<usize>> = Vec::new();
        let mut start = 0;
        for group in groups {
            match page_ranges(keys, leaf, metadata, group)? {
                Some(ranges) => {
                    kept.extend(ranges.into_iter().map(|r| start + r.start..start + r.end));
                }
                None => kept.push(start..start + group.rows),
            }
            start += group.rows;
        }
        let own = RowSelection::from_consecutive_ranges(kept.into_iter(), start);
        selection = Some(match selection {
            Some(others) => others.intersection(&own),
            None => own,
        });
    }
    Ok(selection)
}

/// The rows of one row group whose pages of one column may hold a key. `None` if that is not known.
fn page_ranges(
    keys: &KeySet,
    leaf: &Leaf,
    metadata: &ArrowReaderMetadata,
    group: &Group,
) -> Result<Option<Vec<Range<usize>>>> {
    let file = metadata.metadata();
    let bounds = || {
        let (columns, offsets) = (file.column_index()?, file.offset_index()?);
        let locations = offsets.get(group.index)?.get(leaf.leaf)?.page_locations();
        columns.get(group.index)?.get(leaf.leaf)?;
        let converter =
            StatisticsConverter::try_new(&leaf.name, metadata.schema(), metadata.parquet_schema())
                .ok()?;
        let mins = converter.data_page_mins(columns, offsets, [&group.index]);
        let maxs = converter.data_page_maxes(columns, offsets, [&group.index]);
        let starts: Option<Vec<usize>> = locations
            .iter()
            .map(|page| usize::try_from(page.first_row_index).ok())
            .collect();
        Some((mins.ok()?, maxs.ok()?, starts?))
    };
    let Some((mins, maxs, starts)) = bounds() else {
        return Ok(None);
    };
    if mins.len() != starts.len()
        || maxs.len() != starts.len()
        || !has_order(file.row_group(group.index), leaf.leaf)
    {
        return Ok(None);
    }
    let ends = starts.iter().skip(1).copied().chain([group.rows]);
    let ranges = keys.between(leaf.column, &mins, &maxs)?;
    Ok(Some(
        starts
            .iter()
            .copied()
            .zip(ends)
            .zip(ranges)
            .filter(|(_, keys)| !keys.is_empty())
            .map(|((start, end), _)| start..end)
            .collect(),
    ))
}
