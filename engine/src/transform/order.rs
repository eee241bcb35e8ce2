//! Output rows back in the order of their source rows.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{concat, concat_batches, take, take_record_batch};
use arrow::datatypes::{SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use sql::{Error, Result};

use super::Transformed;

/// Takes the last column, the row's index, off the batches, and sorts the rows by it. Rows of one source row keep
/// the order in which they came. Batches that are in order already are not copied.
pub(super) fn in_source_order(
    batches: Vec<RecordBatch>,
    output: &SchemaRef,
) -> Result<Transformed> {
    let mut rows = Vec::with_capacity(batches.len());
    let mut indices = Vec::with_capacity(batches.len());
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        let (index, columns) = batch
            .columns()
            .split_last()
            .ok_or_else(|| Error::internal("a batch came without its rows' indices"))?;
        if index.data_type() != &arrow::datatypes::DataType::UInt64 || index.null_count() > 0 {
            return Err(Error::internal("an output row lost its source row"));
        }
        indices.push(Arc::clone(index));
        rows.push(RecordBatch::try_new(Arc::clone(output), columns.to_vec()).map_err(broken)?);
    }
    if indices.is_empty() {
        return Ok(Transformed {
            rows,
            source_rows: UInt64Array::from_iter_values([]),
        });
    }
    let parts: Vec<&dyn Array> = indices.iter().map(AsRef::as_ref).collect();
    let index = concat(&parts).map_err(broken)?;
    let source_rows = index.as_primitive::<UInt64Type>();
    if source_rows.values().is_sorted() {
        return Ok(Transformed {
            rows,
            source_rows: source_rows.clone(),
        });
    }
    let count = u32::try_from(source_rows.len())
        .map_err(|e| Error::internal("a batch has more rows than can be sorted").source(e))?;
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by_key(|row| source_rows.values().get(*row as usize).copied());
    let order = UInt32Array::from(order);
    let all = concat_batches(output, &rows).map_err(broken)?;
    let sorted = take(source_rows, &order, None).map_err(broken)?;
    Ok(Transformed {
        rows: vec![take_record_batch(&all, &order).map_err(broken)?],
        source_rows: sorted.as_primitive::<UInt64Type>().clone(),
    })
}

fn broken(error: ArrowError) -> Error {
    Error::internal("the query's output does not have the plan's columns").source(error)
}
