//! What is left of a batch when later changes of a key replace earlier ones.

use arrow::array::{Array, RecordBatch};

use crate::error::{Error, Result};

/// The net effect of a batch on a table with a key.
///
/// In this order: the table is emptied if [`NetChange::truncate`]; then each key of `rows` and `deletes` has exactly
/// the row that stands in `rows`, or none. Every key is there at most once in both together, so that `rows` and
/// `deletes` may be applied in any order.
#[derive(Debug, Clone, PartialEq)]
pub struct NetChange {
    truncate: bool,
    rows: RecordBatch,
    deletes: RecordBatch,
}

impl NetChange {
    /// `rows` have the sink's columns. `deletes` have the key columns only, in the order of the sink's key, which both
    /// must have without nulls. That each key is there once is the maker's promise: it is not looked at here.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Internal`] if `rows` lack a column of `deletes`, have it in another type, or if a key is null.
    pub fn try_new(truncate: bool, rows: RecordBatch, deletes: RecordBatch) -> Result<Self> {
        for (field, values) in deletes.schema().fields().iter().zip(deletes.columns()) {
            let name = field.name();
            let Some(column) = rows.column_by_name(name) else {
                return Err(Error::internal(format!("rows have no key column `{name}`")));
            };
            if column.data_type() != values.data_type() {
                return Err(Error::internal(format!(
                    "the key column `{name}` has type {} in rows and {} in deletes",
                    column.data_type(),
                    values.data_type()
                )));
            }
            if column.null_count() > 0 || values.null_count() > 0 {
                return Err(Error::internal(format!(
                    "the key column `{name}` has nulls"
                )));
            }
        }
        Ok(Self {
            truncate,
            rows,
            deletes,
        })
    }

    /// Whether the table is emptied first.
    pub fn truncate(&self) -> bool {
        self.truncate
    }

    /// The rows that must be there afterwards.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The keys that must not be there afterwards.
    pub fn deletes(&self) -> &RecordBatch {
        &self.deletes
    }

    /// Whether the table stays as it is.
    pub fn is_empty(&self) -> bool {
        !self.truncate && self.rows.num_rows() == 0 && self.deletes.num_rows() == 0
    }
}
