//! The partitions of an Iceberg table that rows fall into, and the folders that files of a partition lie in.
//!
//! The library's own way is not taken for two reasons. Its `day` puts the last second of a day before 1970 into the next day, its
//! `hour` wraps around, and years that its calendar does not know become null: readers that skip partitions would miss the rows.
//! And it writes each value into a path: that panics for times that its calendar does not know and for fractions of seconds before
//! 1970, and takes any text for a folder's name. Here times are counted with integers, a value that the library could not write is
//! an error before it gets there, and a folder is named only for plain text. The manifest says what partition a file is of.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use chrono::DateTime;
use iceberg::arrow::arrow_primitive_to_literal;
use iceberg::arrow::record_batch_projector::RecordBatchProjector;
use iceberg::spec::{
    Literal, PartitionKey, PartitionSpec, PartitionSpecRef, PrimitiveLiteral, PrimitiveType,
    SchemaRef, Struct, TableMetadata, Transform, Type,
};
use iceberg::transform::create_transform_function;
use iceberg::writer::file_writer::location_generator::{
    DefaultLocationGenerator, LocationGenerator,
};
use sql::{Error, ErrorKind, Result};

use super::iceberg::iceberg_error;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// Longest path of a partition that is made folders of.
const PATH: usize = 200;

/// Finds the partitions of rows under one partition spec.
#[derive(Debug)]
pub(crate) struct Partitions {
    schema: SchemaRef,
    spec: PartitionSpecRef,
    /// Nothing for a spec without fields.
    sources: Option<RecordBatchProjector>,
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    column: String,
    transform: Transform,
    /// The type of its values.
    of: Type,
}

impl Partitions {
    /// # Errors
    /// [`ErrorKind::Config`] for a spec whose columns are not in the schema or have no such transform.
    pub(crate) fn try_new(
        schema: &SchemaRef,
        spec: &PartitionSpecRef,
        place: &str,
    ) -> Result<Self> {
        let failed = |error| iceberg_error("find the partitions of rows", place, error);
        let mut fields = Vec::with_capacity(spec.fields().len());
        for field in spec.fields() {
            let source = schema.field_by_id(field.source_id).ok_or_else(|| {
                Error::config(format!(
                    "the table is partitioned by `{}`, whose column is not there",
                    field.name
                ))
                .at(place)
            })?;
            fields.push(Field {
                column: source.name.clone(),
                transform: field.transform,
                of: field
                    .transform
                    .result_type(&source.field_type)
                    .map_err(failed)?,
            });
        }
        let ids: Vec<i32> = spec.fields().iter().map(|field| field.source_id).collect();
        let sources = if ids.is_empty() {
            None
        } else {
            let projector = RecordBatchProjector::from_iceberg_schema(Arc::clone(schema), &ids);
            Some(projector.map_err(failed)?)
        };
        Ok(Self {
            schema: Arc::clone(schema),
            spec: Arc::clone(spec),
            sources,
            fields,
        })
    }

    /// For each row of `batch`, which has the columns of the schema, its partition.
    ///
    /// # Errors
    /// [`ErrorKind::Policy`] naming column and row, if a value has no partition that can be written.
    pub(crate) fn of(&self, batch: &RecordBatch) -> Result<Vec<Struct>> {
        let Some(sources) = &self.sources else {
            return Ok(vec![Struct::empty(); batch.num_rows()]);
        };
        let columns = sources
            .project_column(batch.columns())
            .map_err(|error| Error::internal("rows without their partition").source(error))?;
        let mut values = Vec::with_capacity(columns.len());
        for (field, column) in self.fields.iter().zip(&columns) {
            values.push(field.values(column)?.into_iter());
        }
        Ok((0..batch.num_rows())
            .map(|_| Struct::from_iter(values.iter_mut().map(|values| values.next().flatten())))
            .collect())
    }

    /// The rows of each partition, in their order.
    ///
    /// # Errors
    /// As [`Partitions::of`].
    pub(crate) fn split(&self, batch: &RecordBatch) -> Result<Vec<(PartitionKey, RecordBatch)>> {
        let mut places: HashMap<Struct, usize> = HashMap::new();
        let mut groups: Vec<(Struct, Vec<u32>)> = Vec::new();
        for (row, partition) in (0_u32..).zip(self.of(batch)?) {
            let place = *places.entry(partition.clone()).or_insert(groups.len());
            match groups.get_mut(place) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((partition, vec![row])),
            }
        }
        let group = |(partition, rows): (Struct, Vec<u32>)| {
            let rows = take_record_batch(batch, &UInt32Array::from(rows))
                .map_err(|error| Error::internal("cannot take rows").source(error))?;
            let spec = self.spec.as_ref().clone();
            let key = PartitionKey::new(spec, Arc::clone(&self.schema), partition);
            Ok((key, rows))
        };
        groups.into_iter().map(group).collect()
    }
}

impl Field {
    fn values(&self, column: &ArrayRef) -> Result<Vec<Option<Literal>>> {
        let values = match self.times(column)? {
            Some(values) => values,
            None => {
                let failed = |error| Error::internal("a value without a partition").source(error);
                let values = create_transform_function(&self.transform)
                    .and_then(|transform| transform.transform(Arc::clone(column)))
                    .map_err(failed)?;
                arrow_primitive_to_literal(&values, &self.of).map_err(failed)?
            }
        };
        let unfit =
            |value: &Option<Literal>| value.as_ref().is_some_and(|v| !is_plain(v, &self.of));
        match values.iter().position(unfit) {
            Some(row) => Err(self.misfit(row)),
            None => Ok(values),
        }
    }

    /// The values of transforms of time; `None` for other transforms.
    fn times(&self, column: &ArrayRef) -> Result<Option<Vec<Option<Literal>>>> {
        let of_day: fn(i64) -> i64 = match self.transform {
            Transform::Year => |day| months(day).div_euclid(12),
            Transform::Month => months,
            Transform::Day | Transform::Hour => |day| day,
            _ => return Ok(None),
        };
        let micros = match column.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => true,
            DataType::Date32 if self.transform != Transform::Hour => false,
            _ => return Err(Error::internal("a time of another unit in a partition")),
        };
        let number = |row: usize| -> i64 {
            if !micros {
                return of_day(column.as_primitive::<Date32Type>().value(row).into());
            }
            let time = column.as_primitive::<TimestampMicrosecondType>().value(row);
            if self.transform == Transform::Hour {
                return time.div_euclid(HOUR);
            }
            of_day(time.div_euclid(DAY))
        };
        let value = |row: usize| {
            if column.is_null(row) {
                return Ok(None);
            }
            let number = i32::try_from(number(row)).map_err(|_| self.misfit(row))?;
            Ok(Some(Literal::int(number)))
        };
        (0..column.len())
            .map(value)
            .collect::<Result<_>>()
            .map(Some)
    }

    fn misfit(&self, row: usize) -> Error {
        Error::new(
            ErrorKind::Policy,
            format!("a value has no partition under `{}`", self.transform),
        )
        .at(format!("column `{}`, row {row}", self.column))
        .expected("times that have one: up to the year 262000, and under `identity` whole seconds before 1970")
        .remedy("Leave such rows out in the SQL, or partition by another transform: `year` has the widest range.")
    }
}

/// Months since January 1970 of a day since the epoch, in the calendar without beginning.
fn months(day: i64) -> i64 {
    // Years begin in March here, so that the leap day is a year's last.
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    (era * 400 + year - 1970) * 12 + march + 2
}

/// Whether the library can write the value as text without a panic.
fn is_plain(value: &Literal, of: &Type) -> bool {
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    let Type::Primitive(of) = of else {
        return false;
    };
    let Literal::Primitive(value) = value else {
        return false;
    };
    let seconds = |micros: i64| DateTime::from_timestamp(micros.div_euclid(1_000_000), 0);
    match (of, value) {
        (T::Date, L::Int(days)) => DateTime::from_timestamp(i64::from(*days) * 86_400, 0).is_some(),
        (T::Time, L::Long(micros)) => (0..DAY).contains(micros),
        (T::Timestamp, L::Long(micros)) => DateTime::from_timestamp_micros(*micros).is_some(),
        (T::Timestamptz, L::Long(micros)) => {
            (*micros >= 0 || micros % 1_000_000 == 0) && seconds(*micros).is_some()
        }
        (T::TimestampNs | T::TimestamptzNs, _) => false,
        (T::Boolean, L::Boolean(_))
        | (T::Int, L::Int(_))
        | (T::Long, L::Long(_))
        | (T::Float, L::Float(_))
        | (T::Double, L::Double(_))
        | (T::String, L::String(_))
        | (T::Uuid, L::UInt128(_))
        | (T::Fixed(_) | T::Binary, L::Binary(_))
        | (T::Decimal { .. }, L::Int128(_)) => true,
        _ => false,
    }
}

/// Whether the library can write this partition's values as text without a panic.
pub(crate) fn is_writable(
    spec: &PartitionSpec,
    schema: &iceberg::spec::Schema,
    partition: &Struct,
) -> bool {
    spec.fields().len() == partition.fields().len()
        && spec
            .fields()
            .iter()
            .zip(partition.iter())
            .all(|(field, value)| {
                let source = schema.field_by_id(field.source_id);
                let of =
                    source.and_then(|source| field.transform.result_type(&source.field_type).ok());
                of.is_some_and(|of| value.is_none_or(|value| is_plain(value, &of)))
            })
}

/// Where the files of a table lie: in folders named for their partition, if its values are plain text.
#[derive(Debug, Clone)]
pub(crate) struct Locations {
    folder: DefaultLocationGenerator,
}

impl Locations {
    /// # Errors
    /// Of the library.
    pub(crate) fn try_new(metadata: &TableMetadata) -> iceberg::Result<Self> {
        Ok(Self {
            folder: DefaultLocationGenerator::new(metadata)?,
        })
    }
}

impl LocationGenerator for Locations {
    fn generate_location(&self, partition: Option<&PartitionKey>, name: &str) -> String {
        let partition = partition.filter(|key| {
            is_writable(key.spec(), key.schema(), key.data())
                && is_path(&key.to_path(), key.spec().fields().len())
        });
        self.folder.generate_location(partition, name)
    }
}

/// Whether a path is so many folders whose names need no encoding.
fn is_path(path: &str, folders: usize) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.=/".contains(c);
    path.len() <= PATH && path.chars().all(plain) && path.split('/').count() == folders
}
