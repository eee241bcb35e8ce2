//! The columns of a table that is read while they change.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use sql::versioned::VersionedTable;
use sql::{Error, ErrorKind, Result};

use crate::spec::model::SchemaChange;
use crate::spec::nearest;

/// The key columns: those that are said, else the table's own.
///
/// # Errors
/// [`ErrorKind::Config`] for one that the table does not have, and for none where the target is kept by key.
pub(super) fn key(
    table: &dyn VersionedTable,
    said: &[String],
    needed: bool,
    at: &str,
) -> Result<Vec<String>> {
    let schema = table.schema();
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let key = if said.is_empty() {
        table.key()
    } else {
        said.to_vec()
    };
    if let Some(unknown) = key.iter().find(|name| names().all(|known| known != *name)) {
        let error = Error::config(format!(
            "{} has no column `{unknown}`, which is to identify its rows",
            table.name()
        ))
        .at(at)
        .expected("columns of the table");
        return Err(match nearest(unknown, names()) {
            Some(near) => error.remedy(format!("Did you mean `{near}`?")),
            None => error.remedy(format!(
                "Correct `source.key`; the table has {}.",
                names().collect::<Vec<_>>().join(", ")
            )),
        });
    }
    if key.is_empty() && needed {
        let example = names().next().unwrap_or("id");
        return Err(Error::config(format!(
            "the target is kept by key, but nothing says what identifies a row of {}",
            table.name()
        ))
        .at(at)
        .expected("key columns of the source: the table has none noted (Iceberg's identifier fields, or what an upsert pipeline notes)")
        .remedy(format!("Say them in the source: `key: [{example}]`.")));
    }
    Ok(key)
}

/// The row's columns after the table's have changed; `None` if they have not, or if changes are ignored. New columns come last, as
/// the table has them; one that is gone stays, and is null from now on.
///
/// # Errors
/// [`ErrorKind::Policy`] if the pipeline does not allow changes, and for a key column that is gone.
pub(super) fn change(
    table: &dyn VersionedTable,
    known: &SchemaRef,
    key: &[String],
    policy: SchemaChange,
) -> Result<Option<SchemaRef>> {
    let now = table.schema();
    let (mut told, mut fields): (Vec<String>, Vec<FieldRef>) = (Vec::new(), Vec::new());
    let (mut changes, mut gone) = (false, false);
    for field in known.fields() {
        match now.column_with_name(field.name()) {
            None => {
                gone = true;
                told.push(format!("`{}` is gone", field.name()));
                fields.push(Arc::clone(field));
            }
            Some((_, newer)) if newer.data_type() != field.data_type() => {
                changes = true;
                told.push(format!(
                    "`{}` was {} and is {}",
                    field.name(),
                    field.data_type(),
                    newer.data_type()
                ));
                fields.push(nullable(newer));
            }
            Some(_) => fields.push(Arc::clone(field)),
        }
    }
    for field in now.fields() {
        if known.column_with_name(field.name()).is_none() {
            changes = true;
            told.push(format!("`{}` {} is new", field.name(), field.data_type()));
            fields.push(nullable(field));
        }
    }
    if let Some(lost) = key.iter().find(|name| now.column_with_name(name).is_none()) {
        return Err(Error::new(
            ErrorKind::Policy,
            format!("the key column `{lost}` of {} is gone", table.name()),
        )
        .at(table.name())
        .expected("the columns that identify a row, for as long as the pipeline runs")
        .remedy("Give the source another `key` and write to a new table."));
    }
    match policy {
        SchemaChange::Ignore => Ok(None),
        SchemaChange::Evolve => Ok(changes.then(|| Arc::new(Schema::new(fields)))),
        SchemaChange::Fail if changes || gone => Err(Error::new(
            ErrorKind::Policy,
            format!("the schema changed: {}", told.join(", ")),
        )
        .at(table.name())
        .expected("the columns known at start, as `schema_change: fail` says")
        .remedy("Set `pipeline.schema_change: evolve` to follow the change, or `ignore` to keep the known columns.")),
        SchemaChange::Fail => Ok(None),
    }
}

fn nullable(field: &Field) -> FieldRef {
    Arc::new(Field::new(field.name(), field.data_type().clone(), true))
}
