//! How data files are encoded.

use std::collections::HashSet;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use sql::{Error, Result};

/// Rows of a row group: what is held in memory while one is written, and what a search for keys leaves out or reads.
pub(crate) const GROUP_ROWS: usize = 128 * 1024;
/// Rows that are looked at, and the fewest that tell something.
const SAMPLE: usize = 8 * 1024;
const TOO_FEW: usize = 1024;

/// The settings of a file whose rows are like those of `sample`: zstd, small row groups, and a dictionary where values repeat.
///
/// A dictionary of values that are nearly all different costs a hash for each of them, and is given up when its page is full: a
/// file of such columns takes a fifth longer to write and is larger. Parts of structs, lists and maps have one in any case.
///
/// # Errors
/// None but bugs.
pub(crate) fn properties(sample: &RecordBatch) -> Result<WriterPropertiesBuilder> {
    let level = ZstdLevel::try_new(1)
        .map_err(|error| Error::internal("zstd has no level 1").source(error))?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS));
    let rows = sample.num_rows().min(SAMPLE);
    if rows < TOO_FEW {
        return Ok(properties);
    }
    for (field, column) in sample.schema_ref().fields().iter().zip(sample.columns()) {
        if all_different(&column.slice(0, rows))? {
            let path = ColumnPath::new(vec![field.name().clone()]);
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    Ok(properties)
}

/// Whether nine of ten values, or more, come once.
fn all_different(column: &ArrayRef) -> Result<bool> {
    let data_type = column.data_type();
    let values = column.len() - column.null_count();
    if data_type.is_nested() || *data_type == DataType::Boolean || values < TOO_FEW {
        return Ok(false);
    }
    let failed = |error| Error::internal("values cannot be told apart").source(error);
    let field = SortField::new(data_type.clone());
    let converter = RowConverter::new(vec![field]).map_err(failed)?;
    let rows = converter.convert_columns(std::slice::from_ref(column));
    let rows = rows.map_err(failed)?;
    let different: HashSet<_> = rows.iter().collect();
    Ok(different.len().saturating_mul(10) >= values.saturating_mul(9))
}
