//! Whether an existing table has the shape that a pipeline writes.

use arrow::datatypes::Schema;
use sql::{Error, Result};

use super::compatible::castable;
use crate::spec::model::PartitionField;

/// How an existing table's missing columns are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An error: the table is not what the pipeline writes.
    Refuse,
    /// They are added before the first write.
    Add,
    /// They will be added by [`crate::sink::Sink::evolve`], before the first write.
    Later,
}

/// Checks that rows of `target` (what the SQL returns, mapped to the format's types) fit into `table`.
///
/// Columns that only the table has are filled with null, so they must be nullable.
///
/// # Errors
/// [`sql::ErrorKind::Config`] naming each column that differs, both types, and what to do.
pub(crate) fn check_shape(
    target: &Schema,
    table: &Schema,
    missing: Missing,
    place: &str,
) -> Result<()> {
    let mut differences = Vec::new();
    for field in target.fields() {
        match table.column_with_name(field.name()) {
            Some((_, there)) => {
                if let Err(why) = castable(field.data_type(), there.data_type()) {
                    differences.push(format!(
                        "`{}` is {} in the table and {} in the SQL ({why})",
                        field.name(),
                        there.data_type(),
                        field.data_type()
                    ));
                }
            }
            None if missing != Missing::Refuse => {}
            None => differences.push(format!(
                "`{}` ({}) is not in the table",
                field.name(),
                field.data_type()
            )),
        }
    }
    for field in table.fields() {
        if !field.is_nullable() && target.index_of(field.name()).is_err() {
            differences.push(format!(
                "`{}` ({}) is required by the table and not in the SQL",
                field.name(),
                field.data_type()
            ));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::config(format!(
        "the table exists and has another shape than the SQL returns: {}",
        differences.join("; ")
    ))
    .at(place)
    .remedy(
        "CAST or rename the columns in the SQL, add missing columns to the table, or write to another table.",
    ))
}

/// The columns of `target` that `table` lacks.
///
/// # Errors
/// [`sql::ErrorKind::Config`] if a column that both have would change its type.
pub(crate) fn added_columns(target: &Schema, table: &Schema, place: &str) -> Result<Schema> {
    for field in target.fields() {
        if let Some((_, there)) = table.column_with_name(field.name())
            && let Err(why) = castable(field.data_type(), there.data_type())
        {
            return Err(Error::config(format!(
                "column `{}` is {} in the table and would become {}: {why}",
                field.name(),
                there.data_type(),
                field.data_type()
            ))
            .at(place)
            .expected("only new columns: a column's type never changes")
            .remedy("CAST the column in the SQL to the table's type, or write to another table."));
        }
    }
    let lower = |name: &str| name.to_lowercase();
    let added = target
        .fields()
        .iter()
        .filter(|field| table.index_of(field.name()).is_err());
    let mut fields = Vec::new();
    for field in added {
        if let Some(there) = table
            .fields()
            .iter()
            .find(|there| lower(there.name()) == lower(field.name()))
        {
            return Err(Error::config(format!(
                "the new column `{}` differs only in case from the table's `{}`",
                field.name(),
                there.name()
            ))
            .at(place)
            .remedy("Rename it with AS in the SELECT list."));
        }
        fields.push(field.as_ref().clone().with_nullable(true));
    }
    Ok(Schema::new(fields))
}

/// `partition_by` names a column that the target does not have.
pub(crate) fn no_partition_column(field: &PartitionField) -> Error {
    Error::config(format!(
        "`partition_by` names the column `{}`, which the SQL does not return",
        field.column
    ))
    .at(&field.at)
    .remedy("Add it to the SELECT list, or partition by another column.")
}

/// Refuses an existing table that is partitioned otherwise than the pipeline says.
pub(crate) fn same_partitions(there: &[String], wanted: &[String], place: &str) -> Result<()> {
    if there == wanted {
        return Ok(());
    }
    let shown = |names: &[String]| {
        if names.is_empty() {
            "not partitioned".to_owned()
        } else {
            format!("partitioned by {}", names.join(", "))
        }
    };
    Err(Error::config(format!(
        "the table exists and is {}, but the pipeline says {}",
        shown(there),
        wanted.join(", ")
    ))
    .at(place)
    .remedy("Make `sink.partition_by` equal to the table's partitions, leave it out, or write to another table."))
}
