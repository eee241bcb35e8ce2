//! 128-bit hashes of rows: rows that are equal in all columns, null being equal to null, have the same one.
//!
//! It is MD5 of the row's encoding. That two different rows of a version meet by chance is out of the question (one in 10^20 for
//! 10^9 rows); who writes both rows on purpose can make them meet.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, ListArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use md5::{Digest as _, Md5};
use sql::{Error, Result};

/// Hashes rows of one schema.
pub(super) struct Hasher {
    converter: RowConverter,
    nested: bool,
}

impl Hasher {
    /// # Errors
    /// [`sql::ErrorKind::Config`] for a column of a type whose values cannot be compared.
    pub(super) fn try_new(schema: &Schema) -> Result<Self> {
        let nested = schema.fields().iter().any(|own| has_map(own.data_type()));
        let fields = schema.fields().iter();
        let fields = fields.map(|field| SortField::new(comparable_type(field.data_type())));
        let converter = RowConverter::new(fields.collect()).map_err(incomparable)?;
        Ok(Self { converter, nested })
    }

    /// The hash of each row.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] for rows of another schema.
    pub(super) fn hashes(&self, batch: &RecordBatch) -> Result<Vec<u128>> {
        if batch.num_columns() == 0 {
            return Ok(vec![0; batch.num_rows()]);
        }
        let rows = if self.nested {
            let columns = batch.columns().iter().map(comparable);
            let columns = columns.collect::<Result<Vec<_>, _>>();
            self.converter
                .convert_columns(&columns.map_err(incomparable)?)
        } else {
            self.converter.convert_columns(batch.columns())
        };
        let rows = rows.map_err(incomparable)?;
        let hash = |row: arrow::row::Row<'_>| u128::from_le_bytes(Md5::digest(row.as_ref()).into());
        Ok(rows.iter().map(hash).collect())
    }
}

fn incomparable(error: ArrowError) -> Error {
    Error::config("rows of the table cannot be compared").source(error)
}

fn has_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::List(item) => has_map(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_map(field.data_type())),
        _ => false,
    }
}

/// The type with lists of pairs for maps, which have no encoding.
fn comparable_type(data_type: &DataType) -> DataType {
    let field = |own: &Arc<Field>| {
        let inner = comparable_type(own.data_type());
        Arc::new(own.as_ref().clone().with_data_type(inner))
    };
    match data_type {
        DataType::Map(entries, _) => DataType::List(field(entries)),
        DataType::List(item) => DataType::List(field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

fn comparable(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !has_map(values.data_type()) {
        return Ok(Arc::clone(values));
    }
    let list = |item: &Arc<Field>, offsets, items: ArrayRef, nulls| {
        let item = item.as_ref().clone();
        let item = Arc::new(item.with_data_type(items.data_type().clone()));
        ListArray::try_new(item, offsets, items, nulls)
    };
    Ok(match values.data_type() {
        DataType::Map(entries, _) => {
            let map = values.as_map();
            let pairs: ArrayRef = Arc::new(map.entries().clone());
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(list(entries, offsets, comparable(&pairs)?, nulls)?)
        }
        DataType::List(item) => {
            let own = values.as_list::<i32>();
            let (offsets, nulls) = (own.offsets().clone(), own.nulls().cloned());
            Arc::new(list(item, offsets, comparable(own.values())?, nulls)?)
        }
        DataType::Struct(fields) => {
            let own = values.as_struct();
            let columns = own.columns().iter().map(comparable);
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let typed = fields.iter().zip(&columns).map(|(field, column)| {
                Arc::new(
                    field
                        .as_ref()
                        .clone()
                        .with_data_type(column.data_type().clone()),
                )
            });
            let fields: Fields = typed.collect();
            Arc::new(StructArray::try_new(fields, columns, own.nulls().cloned())?)
        }
        _ => Arc::clone(values),
    })
}
