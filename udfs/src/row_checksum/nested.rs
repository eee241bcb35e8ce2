//! Cells of lists, maps and structs: their size, then the cells inside, chained.

use std::ops::Range;

use arrow::array::{Array, AsArray, OffsetSizeTrait};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::cell::{CellHash, cells, hash, no_kind};

const LIST: u64 = 12;
const STRUCT: u64 = 13;
const MAP: u64 = 14;

pub(super) fn nested(array: &dyn Array) -> Result<CellHash<'_>> {
    match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let offsets = lists.value_offsets();
            list(lists.values(), move |row| between(offsets, row))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            let offsets = lists.value_offsets();
            list(lists.values(), move |row| between(offsets, row))
        }
        DataType::ListView(_) => {
            let lists = array.as_list_view::<i32>();
            list(lists.values(), move |row| {
                sized(lists.value_offset(row), lists.value_size(row))
            })
        }
        DataType::LargeListView(_) => {
            let lists = array.as_list_view::<i64>();
            list(lists.values(), move |row| {
                sized(lists.value_offset(row), lists.value_size(row))
            })
        }
        DataType::FixedSizeList(_, _) => {
            let lists = array.as_fixed_size_list();
            list(lists.values(), move |row| {
                sized(lists.value_offset(row), lists.value_length())
            })
        }
        DataType::Map(_, _) => map(array),
        DataType::Struct(_) => structure(array),
        _ => no_kind(array),
    }
}

fn between<O: OffsetSizeTrait>(offsets: &[O], row: usize) -> Range<usize> {
    match offsets.get(row..row + 2) {
        Some([start, end]) => start.as_usize()..end.as_usize(),
        _ => 0..0,
    }
}

fn sized<O: OffsetSizeTrait>(start: O, size: O) -> Range<usize> {
    start.as_usize()..start.as_usize() + size.as_usize()
}

fn list<'a>(
    values: &'a dyn Array,
    range: impl Fn(usize) -> Range<usize> + 'a,
) -> Result<CellHash<'a>> {
    let value = cells(values)?;
    Ok(Box::new(move |row, before| {
        let range = range(row);
        let start = sizes(before, LIST, range.len());
        range.fold(start, |before, element| value(element, before))
    }))
}

fn map(array: &dyn Array) -> Result<CellHash<'_>> {
    let maps = array.as_map();
    let (key, value) = (cells(maps.keys())?, cells(maps.values())?);
    let offsets = maps.value_offsets();
    Ok(Box::new(move |row, before| {
        let range = between(offsets, row);
        let start = sizes(before, MAP, range.len());
        range.fold(start, |before, entry| value(entry, key(entry, before)))
    }))
}

fn structure(array: &dyn Array) -> Result<CellHash<'_>> {
    let columns = array.as_struct().columns();
    let fields = columns
        .iter()
        .map(|column| cells(column))
        .collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move |row, before| {
        let start = sizes(before, STRUCT, fields.len());
        fields
            .iter()
            .fold(start, |before, field| field(row, before))
    }))
}

fn sizes(before: u64, tag: u64, size: usize) -> u64 {
    // No platform has a size that 64 bits do not hold.
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    hash(before, tag, &size.to_le_bytes())
}
