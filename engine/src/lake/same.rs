//! Whether a row is still what it was.

use arrow::array::{Array as _, RecordBatch};
use arrow::row::{RowConverter, Rows, SortField};
use sql::{Error, Result};

/// Rows that others are compared with. Memory: the rows once more, in an encoding.
#[derive(Debug)]
pub(crate) struct Same {
    rows: RecordBatch,
    encoded: Option<(RowConverter, Rows)>,
}

impl Same {
    /// # Errors
    /// [`sql::ErrorKind::Internal`] for columns of types that cannot be compared.
    pub(crate) fn of(rows: &RecordBatch) -> Result<Self> {
        let schema = rows.schema();
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| SortField::new(field.data_type().clone()))
            .collect();
        let encoded = if RowConverter::supports_fields(&fields) {
            let converter = RowConverter::new(fields).map_err(incomparable)?;
            let encoded = converter.convert_columns(rows.columns());
            Some((converter, encoded.map_err(incomparable)?))
        } else {
            None
        };
        Ok(Self {
            rows: rows.clone(),
            encoded,
        })
    }

    /// For each row of `old`, which has the same columns, whether it differs from the row of that number in `with`.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] for other columns.
    pub(crate) fn differ(&self, old: &RecordBatch, with: &[u32]) -> Result<Vec<bool>> {
        match &self.encoded {
            Some((converter, rows)) => {
                let old = converter
                    .convert_columns(old.columns())
                    .map_err(incomparable)?;
                let pairs = old.iter().zip(with);
                Ok(pairs
                    .map(|(old, row)| old != rows.row(*row as usize))
                    .collect())
            }
            // Some type has no encoding.
            None => {
                let differs = |(at, row): (usize, &u32)| {
                    let columns = old.columns().iter().zip(self.rows.columns());
                    columns.into_iter().any(|(old, new)| {
                        old.slice(at, 1).to_data() != new.slice(*row as usize, 1).to_data()
                    })
                };
                Ok(with.iter().enumerate().map(differs).collect())
            }
        }
    }
}

fn incomparable(error: arrow::error::ArrowError) -> Error {
    Error::internal("rows cannot be compared").source(error)
}
