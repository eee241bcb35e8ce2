//! What the log says of the values in new data files.
//!
//! The library keeps the bounds of decimals as floating-point numbers. Of a decimal with more digits than those hold, the
//! bound is another number: readers that trust it miss rows, and where it has become too large for the column, the log
//! cannot be read any more. Such bounds are left out; then nobody knows, and everybody looks.

use arrow::datatypes::{DataType, Fields};
use deltalake::kernel::Add;
use serde_json::{Map, Value};
use sql::{Error, Result};

/// Digits of a decimal that survive in the floating-point numbers of statistics.
pub(super) const EXACT_DIGITS: u8 = 15;

/// Leaves out the bounds of `files` that are not those of their decimals; `columns` are those of the files.
///
/// # Errors
/// [`sql::ErrorKind::Internal`] for statistics that are no JSON.
pub(super) fn without_inexact_bounds(files: &mut [Add], columns: &Fields) -> Result<()> {
    if !has_inexact(columns) {
        return Ok(());
    }
    for file in files {
        let Some(stats) = &mut file.stats else {
            continue;
        };
        let broken = |error| Error::internal("statistics of a file are no JSON").source(error);
        let mut parsed: Map<String, Value> = serde_json::from_str(stats).map_err(broken)?;
        for bounds in ["minValues", "maxValues"] {
            if let Some(Value::Object(bounds)) = parsed.get_mut(bounds) {
                leave_out(bounds, columns);
            }
        }
        *stats = serde_json::to_string(&parsed).map_err(broken)?;
    }
    Ok(())
}

fn has_inexact(columns: &Fields) -> bool {
    let inexact = |data_type: &DataType| match data_type {
        DataType::Struct(parts) => has_inexact(parts),
        other => is_inexact(other),
    };
    columns.iter().any(|column| inexact(column.data_type()))
}

fn is_inexact(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(digits, _) if *digits > EXACT_DIGITS)
}

fn leave_out(bounds: &mut Map<String, Value>, columns: &Fields) {
    for column in columns {
        match (column.data_type(), bounds.get_mut(column.name())) {
            (DataType::Struct(parts), Some(Value::Object(bounds))) => leave_out(bounds, parts),
            (data_type, Some(_)) if is_inexact(data_type) => drop(bounds.remove(column.name())),
            _ => {}
        }
    }
}
