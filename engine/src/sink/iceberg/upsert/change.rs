//! The key of a table, and the keys of a change with the table's types.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use iceberg::spec::TableMetadata;
use sql::change::NetChange;
use sql::{Error, Result};

use crate::lake::cast::Caster;
use crate::lake::keys::KeySet;

/// Field ids and types of the key's columns.
pub(super) fn key_fields(
    key: &[String],
    metadata: &TableMetadata,
    schema: &Schema,
) -> Result<Vec<(i32, DataType)>> {
    key.iter()
        .map(|name| {
            let id = metadata.current_schema().field_id_by_name(name);
            let field = schema.column_with_name(name);
            id.zip(field)
                .map(|(id, (_, field))| (id, field.data_type().clone()))
                .ok_or_else(|| Error::internal(format!("the table has no key column `{name}`")))
        })
        .collect()
}

/// `keys`, whose columns are the key's in its order, with the table's types.
pub(super) fn typed_keys(
    keys: &RecordBatch,
    key: &[String],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let fields = key.iter().filter_map(|name| {
        let (_, field) = schema.column_with_name(name)?;
        Some(field.as_ref().clone().with_nullable(true))
    });
    let fields = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let own = keys.schema();
    let names = own.fields().iter().map(|field| field.name());
    if !names.eq(key.iter()) {
        return Err(Error::internal("keys with other columns than the key's"));
    }
    Caster::try_new(keys.schema_ref(), &fields)?.cast(keys)
}

/// The keys of a change: those of its rows, then those of its deletes.
///
/// # Errors
/// [`sql::ErrorKind::Internal`] for columns that the table has not, and for a key that is there twice.
pub(super) fn keys_of(change: &NetChange, key: &[String], schema: &SchemaRef) -> Result<KeySet> {
    let rows = change.rows();
    let places = key
        .iter()
        .map(|name| {
            rows.schema()
                .index_of(name)
                .map_err(|error| Error::internal("rows without their key").source(error))
        })
        .collect::<Result<Vec<_>>>()?;
    let failed = |error| Error::internal("keys of two types").source(error);
    let written = typed_keys(&rows.project(&places).map_err(failed)?, key, schema)?;
    let deleted = typed_keys(change.deletes(), key, schema)?;
    let columns = written
        .columns()
        .iter()
        .zip(deleted.columns())
        .map(|(written, deleted)| concat(&[written.as_ref(), deleted.as_ref()]))
        .collect::<Result<Vec<ArrayRef>, _>>()
        .map_err(failed)?;
    let keys = RecordBatch::try_new(written.schema(), columns).map_err(failed)?;
    let keys = KeySet::try_new(&keys)?;
    if keys.has_repeats() {
        return Err(Error::internal("a net change has a key twice"));
    }
    Ok(keys)
}
