//! Columns that came with a default.
//!
//! The source gave the default to the rows that it had, without an event. A target that is kept by key has null there until
//! somebody fills it: to write every file of a table anew is not done unasked.

use std::collections::BTreeMap;

use sql::Result;

use crate::lake::iceberg;
use crate::spec::model::{SinkSpec, SinkTarget};
use crate::transform::Transform;

/// Warns of each of `added`, columns that an existing target just got, that is a source column with a default.
///
/// # Errors
/// [`sql::ErrorKind::Internal`] if the plan's columns cannot be told.
pub(super) fn warn(
    sink: &SinkSpec,
    added: &[String],
    defaults: &BTreeMap<String, String>,
    transform: &Transform,
) -> Result<()> {
    if added.is_empty() || defaults.is_empty() {
        return Ok(());
    }
    let table = match &sink.target {
        SinkTarget::Delta(table) => format!("delta.`{}`", table.path),
        SinkTarget::Iceberg(table) => iceberg::shown(table),
    };
    let lineage = transform.lineage()?;
    let outputs = transform.output_schema().fields().iter();
    for (field, origin) in outputs.zip(&lineage.output) {
        let column = field.name();
        let default = origin.plain.as_ref().and_then(|plain| defaults.get(plain));
        if let Some(default) = default.filter(|_| added.contains(column)) {
            tracing::warn!(
                table,
                column,
                default,
                cure = format!("UPDATE {table} SET {column} = {default} WHERE {column} IS NULL"),
                "a column came with a default, which the source's older rows have and the table's have not"
            );
        }
    }
    Ok(())
}
