//! The one strict cast between what SQL returns and what a table stores.
//!
//! Arrow's own cast loses silently: nanoseconds are cut off, decimals are rounded, a naive timestamp is taken as
//! local time. Here a pair of types that could lose something without a check is refused when the cast is planned, and
//! a value that does not fit stops the cast with its column and row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use sql::{Error, ErrorKind, Result};

use super::compatible::castable;
use super::values::{Misfit, cast_values};

/// A planned cast from one schema to another, by column name.
#[derive(Debug, Clone)]
pub struct Caster {
    to: SchemaRef,
    /// For each target column the source column; `None` where it is filled with nulls.
    from: Vec<Option<usize>>,
}

impl Caster {
    /// Plans the cast. Columns that `from` lacks become null; names are compared exactly.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the column and both types, if a value could be changed without notice, if `from` has
    /// a column that `to` has not, or if it lacks one that `to` requires.
    pub fn try_new(from: &Schema, to: &Schema) -> Result<Self> {
        if let Some(extra) = from
            .fields()
            .iter()
            .find(|field| to.index_of(field.name()).is_err())
        {
            return Err(Error::config(format!(
                "the table has no column `{}` of type {}",
                extra.name(),
                extra.data_type()
            ))
            .remedy("Add the column to the table, or leave it out of the SELECT list."));
        }
        let columns = to
            .fields()
            .iter()
            .map(|target| match from.column_with_name(target.name()) {
                Some((index, source)) => {
                    check_pair(source, target)?;
                    Ok(Some(index))
                }
                None if target.is_nullable() => Ok(None),
                None => Err(Error::config(format!(
                    "the table requires a value for column `{}` of type {}, and the SQL does not return it",
                    target.name(),
                    target.data_type()
                ))
                .remedy("Add the column to the SELECT list, or make it nullable in the table.")),
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            to: Arc::new(to.clone()),
            from: columns,
        })
    }

    /// The schema of the batches that [`Caster::cast`] returns.
    pub fn schema(&self) -> &SchemaRef {
        &self.to
    }

    /// Casts a batch of the source schema.
    ///
    /// # Errors
    /// [`ErrorKind::Policy`] naming the column and the row (counted from 0 in the batch), if a value does not fit:
    /// sub-microsecond digits, too many digits of a decimal, a null in a required column.
    pub fn cast(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self
            .to
            .fields()
            .iter()
            .zip(&self.from)
            .map(|(target, source)| match source {
                Some(index) => cast_column(batch, *index, target),
                None => Ok(new_null_array(target.data_type(), batch.num_rows())),
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.to), columns, &options).map_err(
            |error| Error::internal("cast columns do not make a batch of the table").source(error),
        )
    }
}

fn check_pair(source: &Field, target: &Field) -> Result<()> {
    castable(source.data_type(), target.data_type()).map_err(|why| {
        Error::config(format!(
            "column `{}` is {} in the SQL and {} in the table: {why}",
            target.name(),
            source.data_type(),
            target.data_type()
        ))
        .remedy("CAST it in the SELECT list to the table's type, or write to another table.")
    })
}

fn cast_column(batch: &RecordBatch, index: usize, target: &Field) -> Result<ArrayRef> {
    let Some(values) = batch.columns().get(index) else {
        return Err(Error::internal(format!(
            "the batch has no column {index} for `{}`",
            target.name()
        )));
    };
    let values = cast_values(values, target.data_type())
        .map_err(|misfit| misfit_error(&misfit, values.as_ref(), target))?;
    if !target.is_nullable()
        && let Some(row) = (0..values.len()).find(|row| values.is_null(*row))
    {
        return Err(Error::new(
            ErrorKind::Policy,
            "a null does not fit into a required column",
        )
        .at(format!("column `{}`, row {row}", target.name()))
        .remedy("Filter such rows in the SQL, or make the column nullable in the table."));
    }
    Ok(values)
}

fn misfit_error(misfit: &Misfit, values: &dyn Array, target: &Field) -> Error {
    let at = match misfit.row {
        Some(row) => format!("column `{}`, row {row}", target.name()),
        None => format!("column `{}`", target.name()),
    };
    Error::new(
        ErrorKind::Policy,
        format!(
            "a value of type {} does not fit into {}: {}",
            values.data_type(),
            target.data_type(),
            misfit.why
        ),
    )
    .at(at)
    .remedy(misfit.remedy)
}
