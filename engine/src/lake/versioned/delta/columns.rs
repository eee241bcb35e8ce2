//! The table's columns as its files have them: under other names, or found by an id, if the table maps its columns.
//!
//! A column is the same column while its physical name stays: renamed columns are found in old files, and a column that was dropped
//! and added again is not taken for the old one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, ListArray, MapArray, StructArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use sql::{Error, Result};

use crate::lake::compatible::castable;
use crate::lake::values::cast_values;

const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";
const ID: &str = "delta.columnMapping.id";

/// By what files name the columns: `delta.columnMapping.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// As the table does.
    Logical,
    /// By names of their own.
    Physical,
    /// By field ids; if a file has none, as [`Naming::Physical`].
    Id,
}

/// The columns of a table.
#[derive(Debug)]
pub(super) struct Columns {
    schema: SchemaRef,
    columns: Vec<Column>,
    naming: Naming,
}

/// A column, or a field of a nested one.
#[derive(Debug)]
pub(super) struct Column {
    /// As the engine has it.
    field: FieldRef,
    physical: String,
    id: Option<String>,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    None,
    Struct(Vec<Column>),
    List(Box<Column>),
    Map(Box<Column>, Box<Column>),
}

impl Columns {
    /// `schema` has the table's metadata of its fields.
    pub(super) fn new(schema: &Schema, naming: Naming) -> Self {
        let columns: Vec<_> = (schema.fields().iter())
            .map(|field| Column::new(field, naming, true))
            .collect();
        let fields: Fields = columns.iter().map(|c| Arc::clone(&c.field)).collect();
        Self {
            schema: Arc::new(Schema::new(fields)),
            columns,
            naming,
        }
    }

    /// The columns as the engine has them.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A column by its name.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.field.name() == name)
    }

    /// The name of the column that files call `physical`.
    pub(super) fn logical(&self, physical: &str) -> Option<&str> {
        let column = self.columns.iter().find(|c| c.physical == physical)?;
        Some(column.field.name())
    }

    pub(super) fn naming(&self) -> Naming {
        self.naming
    }

    /// Whether one of these columns is one of `others`, too.
    pub(super) fn share(&self, others: &Self) -> bool {
        let there = |column: &Column| others.columns.iter().any(|o| o.physical == column.physical);
        self.columns.iter().any(there)
    }
}

impl Column {
    fn new(field: &Field, naming: Naming, nullable: bool) -> Self {
        let text = |key: &str| field.metadata().get(key).cloned();
        let physical = match naming {
            Naming::Logical => None,
            Naming::Physical | Naming::Id => text(PHYSICAL_NAME),
        };
        let (data_type, parts) = parts_of(field.data_type(), naming);
        Self {
            field: Arc::new(Field::new(field.name(), data_type, nullable)),
            physical: physical.unwrap_or_else(|| field.name().clone()),
            id: text(ID),
            parts,
        }
    }

    pub(super) fn field(&self) -> &FieldRef {
        &self.field
    }

    /// What files call it.
    pub(super) fn physical(&self) -> &str {
        &self.physical
    }

    /// Where it is among the columns of a file, or among the fields of a nested column of it.
    pub(super) fn find(&self, fields: &Fields, naming: Naming) -> Option<usize> {
        if naming == Naming::Id
            && let Some(id) = &self.id
            && fields.iter().any(|field| id_of(field).is_some())
        {
            return fields.iter().position(|field| id_of(field) == Some(id));
        }
        let exact = fields.iter().position(|f| *f.name() == self.physical);
        exact.or_else(|| {
            let mut alike = fields.iter().enumerate();
            let alike = alike.find(|(_, f)| f.name().eq_ignore_ascii_case(&self.physical));
            alike.map(|(at, _)| at)
        })
    }

    /// The column of a file as this one: with the table's names, and its type.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if its type is no narrower one.
    pub(super) fn take(&self, values: &ArrayRef, naming: Naming, file: &str) -> Result<ArrayRef> {
        let wrong = |why: String| {
            Error::config(format!(
                "column `{}` is {} in a file of the Delta table and {} in the table: {why}",
                self.field.name(),
                values.data_type(),
                self.field.data_type()
            ))
            .at(file)
            .remedy("The table was overwritten with other columns; read the versions since then.")
        };
        let named = self.named(values, naming);
        let named =
            named.map_err(|error| wrong("its parts do not fit".to_owned()).source(error))?;
        castable(named.data_type(), self.field.data_type()).map_err(wrong)?;
        cast_values(&named, self.field.data_type()).map_err(|misfit| wrong(misfit.why))
    }

    /// The same values under the table's names.
    fn named(&self, values: &ArrayRef, naming: Naming) -> Result<ArrayRef, ArrowError> {
        match (&self.parts, values.data_type()) {
            (Parts::Struct(columns), DataType::Struct(fields)) => {
                let values = values.as_struct();
                let child = |column: &Column| match column.find(fields, naming) {
                    Some(at) => column.named(values.column(at), naming),
                    None => Ok(new_null_array(column.field.data_type(), values.len())),
                };
                let children: Vec<_> = columns.iter().map(child).collect::<Result<_, _>>()?;
                let fields = columns.iter().zip(&children);
                let fields: Fields = fields
                    .map(|(c, array)| Field::new(c.field.name(), array.data_type().clone(), true))
                    .collect();
                let nulls = values.nulls().cloned();
                let renamed =
                    StructArray::try_new_with_length(fields, children, nulls, values.len())?;
                Ok(Arc::new(renamed))
            }
            (Parts::List(column), DataType::List(element)) => {
                let values = values.as_list::<i32>();
                let inner = column.named(values.values(), naming)?;
                let element = Field::new(element.name(), inner.data_type().clone(), true);
                let (offsets, nulls) = (values.offsets().clone(), values.nulls().cloned());
                let list = ListArray::try_new(Arc::new(element), offsets, inner, nulls)?;
                Ok(Arc::new(list))
            }
            (Parts::Map(key, value), DataType::Map(entries, sorted)) => {
                let map = values.as_map();
                let keys = key.named(map.keys(), naming)?;
                let items = value.named(map.values(), naming)?;
                let fields = Fields::from(vec![
                    Field::new("key", keys.data_type().clone(), false),
                    Field::new("value", items.data_type().clone(), true),
                ]);
                let pairs = StructArray::try_new(fields.clone(), vec![keys, items], None)?;
                let entries = Field::new(entries.name(), DataType::Struct(fields), false);
                let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
                let map = MapArray::try_new(Arc::new(entries), offsets, pairs, nulls, *sorted)?;
                Ok(Arc::new(map))
            }
            _ => Ok(Arc::clone(values)),
        }
    }
}

fn id_of(field: &Field) -> Option<&String> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)
}

/// The type without metadata, nullable at every depth but for the keys of maps, and the columns that it is made of.
fn parts_of(data_type: &DataType, naming: Naming) -> (DataType, Parts) {
    match data_type {
        DataType::Struct(fields) => {
            let columns: Vec<_> = (fields.iter())
                .map(|field| Column::new(field, naming, true))
                .collect();
            let fields = columns.iter().map(|c| Arc::clone(&c.field)).collect();
            (DataType::Struct(fields), Parts::Struct(columns))
        }
        DataType::List(element) => {
            let column = Column::new(element, naming, true);
            let element = Arc::clone(&column.field);
            (DataType::List(element), Parts::List(Box::new(column)))
        }
        DataType::Map(entries, sorted) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let mut columns = fields.iter().enumerate();
                let mut next = || {
                    let (at, field) = columns.next()?;
                    Some(Column::new(field, naming, at > 0))
                };
                let (Some(key), Some(value)) = (next(), next()) else {
                    return (data_type.clone(), Parts::None);
                };
                let fields = [&key, &value].map(|column| Arc::clone(&column.field));
                let fields = Fields::from(fields.to_vec());
                let entries = Field::new(entries.name(), DataType::Struct(fields), false);
                let map = DataType::Map(Arc::new(entries), *sorted);
                (map, Parts::Map(Box::new(key), Box::new(value)))
            }
            _ => (data_type.clone(), Parts::None),
        },
        other => (other.clone(), Parts::None),
    }
}
