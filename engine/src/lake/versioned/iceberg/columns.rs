//! A data file's columns as the table's, by field id at every level: renamed, widened, and what a file lacks filled in.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, ListArray, MapArray, RecordBatch, RecordBatchOptions,
    StructArray, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit, TimestampNanosecondType,
};
use datafusion::common::ScalarValue;
use iceberg::arrow::type_to_arrow_type;
use iceberg::spec::{
    DEFAULT_SCHEMA_NAME_MAPPING, Literal, MappedField, NameMapping, NestedField, NestedFieldRef,
    PartitionSpec, PrimitiveLiteral, PrimitiveType, Struct, TableMetadata, Transform, Type,
};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use sql::change::utc_micros;
use sql::{Error, Result};

use crate::lake::compatible::castable;
use crate::lake::live::scalar;
use crate::lake::values::cast_values;

/// Columns of a table that are read from its files.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    fields: Vec<NestedFieldRef>,
    schema: SchemaRef,
    /// The names that stand for field ids in files without ids; none: the table's own names do.
    names: Arc<HashMap<i32, Vec<String>>>,
}

/// Values that all rows of a file have, by field id, each an array of one value.
pub(super) type Constants = Vec<(i32, ArrayRef)>;

impl Columns {
    /// The columns with the field ids `ids`, in that order. A column that the table has no longer is taken from its newest schema
    /// that has it.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for an id that is no column, or one of a type that Arrow lacks.
    pub(super) fn of(metadata: &TableMetadata, ids: &[i32]) -> Result<Self> {
        let mut schemas: Vec<_> = metadata.schemas_iter().collect();
        schemas.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
        schemas.insert(0, metadata.current_schema());
        let field = |id: &i32| {
            let mut found = schemas.iter().filter_map(|schema| {
                let mut fields = schema.as_struct().fields().iter();
                fields.find(|field| field.id == *id)
            });
            found.next().cloned().ok_or_else(|| {
                Error::config(format!("the Iceberg table has no column with the id {id}"))
            })
        };
        let fields = ids.iter().map(field).collect::<Result<Vec<_>>>()?;
        Self::new(metadata, fields)
    }

    /// # Errors
    /// [`sql::ErrorKind::Config`] for a column of a type that Arrow lacks.
    pub(super) fn new(metadata: &TableMetadata, fields: Vec<NestedFieldRef>) -> Result<Self> {
        let schema = Arc::new(engine_schema(&fields)?);
        Ok(Self {
            fields,
            schema,
            names: Arc::new(mapped_names(metadata)),
        })
    }

    /// The columns as the engine has them: all nullable.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A column's field id and type.
    pub(super) fn find(&self, name: &str) -> Option<(i32, &DataType)> {
        let at = self.fields.iter().position(|field| field.name == name)?;
        let id = self.fields.get(at)?.id;
        Some((id, self.schema.fields().get(at)?.data_type()))
    }

    /// Where a file with the columns `stored` has a column.
    pub(super) fn place(&self, stored: &Schema, name: &str) -> Option<usize> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        self.matching(stored).place(stored.fields(), field)
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.name.clone()).collect()
    }

    /// Those of the columns that `names` says, in its order.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for a name that none has.
    pub(super) fn select(&self, names: &[String]) -> Result<Self> {
        let field = |name: &String| {
            let found = self.fields.iter().find(|field| field.name == *name);
            found.cloned().ok_or_else(|| {
                let own: Vec<&str> = self.fields.iter().map(|f| f.name.as_str()).collect();
                Error::config(format!("the Iceberg table has no column `{name}`"))
                    .expected(format!("one of {}", own.join(", ")))
            })
        };
        let fields = names.iter().map(field).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            schema: Arc::new(engine_schema(&fields)?),
            fields,
            names: Arc::clone(&self.names),
        })
    }

    /// The places of the columns that a file with the columns `stored` has, ascending.
    pub(super) fn places(&self, stored: &Schema) -> Vec<usize> {
        let matching = self.matching(stored);
        let places = self.fields.iter();
        let mut places: Vec<usize> = places
            .filter_map(|field| matching.place(stored.fields(), field))
            .collect();
        places.sort_unstable();
        places
    }

    /// Rows of a file, which have those of its columns that [`Self::places`] says, as rows of the table.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for a file whose column has a type that the table's does not hold.
    pub(super) fn convert(
        &self,
        batch: &RecordBatch,
        constants: &Constants,
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let stored = batch.schema();
        let matching = self.matching(&stored);
        let mut columns = Vec::with_capacity(self.fields.len());
        for (field, target) in self.fields.iter().zip(self.schema.fields()) {
            let place = matching.place(stored.fields(), field);
            let constant = constants.iter().find(|(id, _)| *id == field.id);
            columns.push(match (place, constant) {
                (Some(place), _) => {
                    let own = stored.fields().get(place).zip(batch.columns().get(place));
                    let (own, values) =
                        own.ok_or_else(|| Error::internal("a column of a file was lost"))?;
                    let wanted = field.field_type.as_ref();
                    converted(values, own, wanted, target.data_type(), &matching)
                        .map_err(|why| refuse(&field.name, &why))?
                }
                (None, Some((_, value))) => repeated(value, target.data_type(), rows)?,
                (None, None) => absent(field, target.data_type(), rows)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| Error::internal("rows cannot be put together").source(error))
    }

    fn matching(&self, stored: &Schema) -> Matching<'_> {
        Matching {
            has_ids: stored.fields().iter().any(|field| id(field).is_some()),
            names: &self.names,
        }
    }
}

/// How a file's columns are found.
struct Matching<'a> {
    has_ids: bool,
    names: &'a HashMap<i32, Vec<String>>,
}

impl Matching<'_> {
    fn place(&self, stored: &Fields, wanted: &NestedField) -> Option<usize> {
        if self.has_ids {
            return stored.iter().position(|field| id(field) == Some(wanted.id));
        }
        if self.names.is_empty() {
            return stored.iter().position(|field| *field.name() == wanted.name);
        }
        let names = self.names.get(&wanted.id)?;
        stored.iter().position(|field| names.contains(field.name()))
    }
}

fn id(field: &Field) -> Option<i32> {
    field
        .metadata()
        .get(PARQUET_FIELD_ID_META_KEY)?
        .parse()
        .ok()
}

fn refuse(name: &str, why: &str) -> Error {
    Error::config(format!(
        "the column `{name}` of a data file does not fit the table's: {why}"
    ))
    .remedy("Rewrite the file with the table's types, with the tool that wrote it.")
}

/// The columns as the engine has them: all nullable, instants in its spelling of UTC.
fn engine_schema(fields: &[NestedFieldRef]) -> Result<Schema> {
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let own = type_to_arrow_type(&field.field_type).map_err(|error| {
            Error::config(format!(
                "the column `{}` of the Iceberg table has a type that the engine does not read",
                field.name
            ))
            .source(error)
        })?;
        columns.push(Field::new(&field.name, engine_type(&own), true));
    }
    Ok(Schema::new(columns))
}

fn engine_type(own: &DataType) -> DataType {
    let field = |field: &FieldRef, nullable| {
        Arc::new(Field::new(
            field.name(),
            engine_type(field.data_type()),
            nullable,
        ))
    };
    match own {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => utc_micros(),
        DataType::List(item) => DataType::List(field(item, true)),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|own| field(own, true)).collect())
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(pair) = entries.data_type() else {
                return own.clone();
            };
            // Keys are never null.
            let pair = pair.iter().enumerate();
            let pair = pair.map(|(at, own)| field(own, at > 0)).collect();
            let entries = Field::new(entries.name(), DataType::Struct(pair), false);
            DataType::Map(Arc::new(entries), *sorted)
        }
        other => other.clone(),
    }
}

fn converted(
    values: &ArrayRef,
    stored: &Field,
    wanted: &Type,
    target: &DataType,
    matching: &Matching<'_>,
) -> Result<ArrayRef, String> {
    let failed = |error: arrow::error::ArrowError| error.to_string();
    match (wanted, stored.data_type(), target) {
        (Type::Struct(own), DataType::Struct(fields), DataType::Struct(to)) => {
            let values = values.as_struct();
            let mut columns = Vec::with_capacity(to.len());
            for (field, to) in own.fields().iter().zip(to) {
                let place = matching.place(fields, field);
                columns.push(
                    match place.and_then(|at| fields.get(at).zip(values.columns().get(at))) {
                        Some((stored, values)) => {
                            converted(values, stored, &field.field_type, to.data_type(), matching)?
                        }
                        None => absent(field, to.data_type(), values.len())
                            .map_err(|error| error.message().to_owned())?,
                    },
                );
            }
            let nulls = values.nulls().cloned();
            let built = StructArray::try_new_with_length(to.clone(), columns, nulls, values.len());
            Ok(Arc::new(built.map_err(failed)?))
        }
        (Type::List(own), DataType::List(item), DataType::List(to)) => {
            let list = values.as_list::<i32>();
            let element = &own.element_field.field_type;
            let items = converted(list.values(), item, element, to.data_type(), matching)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            let built = ListArray::try_new(Arc::clone(to), offsets, items, nulls);
            Ok(Arc::new(built.map_err(failed)?))
        }
        (Type::Map(own), DataType::Map(entries, _), DataType::Map(to, sorted)) => {
            let map = values.as_map();
            let (DataType::Struct(from), DataType::Struct(pair)) =
                (entries.data_type(), to.data_type())
            else {
                return Err("it is no map of keys to values".to_owned());
            };
            let ([key, value], [to_key, to_value]) = (from.as_ref(), pair.as_ref()) else {
                return Err("it is no map of keys to values".to_owned());
            };
            let (key_type, value_type) = (&own.key_field.field_type, &own.value_field.field_type);
            let keys = converted(map.keys(), key, key_type, to_key.data_type(), matching)?;
            let of = to_value.data_type();
            let values = converted(map.values(), value, value_type, of, matching)?;
            let built = StructArray::try_new(pair.clone(), vec![keys, values], None);
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let built = built.and_then(|pairs| {
                MapArray::try_new(Arc::clone(to), offsets, pairs, nulls, *sorted)
            });
            Ok(Arc::new(built.map_err(failed)?))
        }
        (_, DataType::Timestamp(TimeUnit::Nanosecond, None), DataType::Timestamp(_, Some(_))) => {
            // INT96, which old writers use for instants, says nothing of zones.
            let values = values.as_primitive::<TimestampNanosecondType>();
            let values: ArrayRef = Arc::new(values.clone().with_timezone("UTC"));
            cast_values(&values, target).map_err(|misfit| misfit.why)
        }
        (_, from, _) => {
            castable(from, target)?;
            cast_values(values, target).map_err(|misfit| misfit.why)
        }
    }
}

/// A column that a file lacks: what the table says rows from before it have, or null.
fn absent(field: &NestedField, target: &DataType, rows: usize) -> Result<ArrayRef> {
    let Some(default) = &field.initial_default else {
        return Ok(new_null_array(target, rows));
    };
    let value = one_value(default, &field.field_type).ok_or_else(|| {
        Error::config(format!(
            "the default of the column `{}` is of a type that the engine does not read",
            field.name
        ))
    })?;
    repeated(&value, target, rows)
}

fn repeated(value: &ArrayRef, target: &DataType, rows: usize) -> Result<ArrayRef> {
    let failed = |error| Error::internal("a value cannot be repeated").source(error);
    let value = arrow::compute::cast(value, target).map_err(failed)?;
    take(&value, &UInt32Array::from(vec![0; rows]), None).map_err(failed)
}

/// A value as an array of one. `None` for types that cannot be.
pub(super) fn one_value(literal: &Literal, of: &Type) -> Option<ArrayRef> {
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    let Type::Primitive(of) = of else {
        return None;
    };
    let literal = literal.as_primitive_literal()?;
    let value = match (&literal, of) {
        (L::Float(value), T::Float) => ScalarValue::Float32(Some(value.0)),
        (L::Double(value), T::Double) => ScalarValue::Float64(Some(value.0)),
        // Written before the column was widened.
        (L::Int(value), T::Long) => ScalarValue::Int64(Some(i64::from(*value))),
        (L::Float(value), T::Double) => ScalarValue::Float64(Some(f64::from(value.0))),
        (L::UInt128(value), T::Uuid) => {
            ScalarValue::FixedSizeBinary(16, Some(value.to_be_bytes().to_vec()))
        }
        (L::Binary(value), T::Fixed(length)) => {
            ScalarValue::FixedSizeBinary(i32::try_from(*length).ok()?, Some(value.clone()))
        }
        _ => scalar(&literal, of)?,
    };
    value.to_array().ok()
}

/// The columns whose value the partition of a file is: those that rows need not have.
pub(super) fn constants(
    metadata: &TableMetadata,
    spec: &PartitionSpec,
    partition: &Struct,
) -> Constants {
    let values = spec.fields().iter().zip(partition.iter());
    let identity = values.filter(|(field, _)| field.transform == Transform::Identity);
    identity
        .filter_map(|(field, value)| {
            let mut schemas =
                std::iter::once(metadata.current_schema()).chain(metadata.schemas_iter());
            let source = schemas.find_map(|schema| schema.field_by_id(field.source_id))?;
            let array = match value {
                Some(value) => one_value(value, &source.field_type)?,
                None => new_null_array(&type_to_arrow_type(&source.field_type).ok()?, 1),
            };
            Some((field.source_id, array))
        })
        .collect()
}

/// What the table says of files whose columns have no ids.
fn mapped_names(metadata: &TableMetadata) -> HashMap<i32, Vec<String>> {
    fn collect(fields: &[Arc<MappedField>], names: &mut HashMap<i32, Vec<String>>) {
        for field in fields {
            if let Some(id) = field.field_id() {
                names.insert(id, field.names().to_vec());
            }
            collect(field.fields(), names);
        }
    }
    let mut names = HashMap::new();
    let mapping = metadata.properties().get(DEFAULT_SCHEMA_NAME_MAPPING);
    let mapping = mapping.and_then(|text| serde_json::from_str::<NameMapping>(text).ok());
    for field in mapping.iter().flat_map(NameMapping::fields) {
        names.extend(field.field_id().map(|id| (id, field.names().to_vec())));
        collect(field.fields(), &mut names);
    }
    names
}
