//! Columns that grow by one value a row and can be cut back to any row.
//!
//! Plain vectors instead of Arrow's builders: those cannot forget the values of a message that turns out to be bad.
//! A value is pushed first and marked valid after it, so that a fault in between leaves a longer vector that
//! [`Column::truncate`] cuts.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, BooleanBufferBuilder, GenericByteArray, ListArray,
    MapArray, NullBufferBuilder, PrimitiveArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    BinaryType, ByteArrayType, DataType, Date32Type, Decimal128Type, FieldRef, Fields, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, Utf8Type,
};
use sql::{Error, Result};

/// A growing column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) data: Data,
    pub(super) validity: NullBufferBuilder,
}

/// The values of a column.
#[derive(Debug)]
pub(super) enum Data {
    Bool(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    Text(Bytes),
    Binary(Bytes),
    Date(Vec<i32>),
    TimeMillis(Vec<i32>),
    TimeMicros(Vec<i64>),
    Timestamp {
        values: Vec<i64>,
        zone: Option<Arc<str>>,
    },
    List {
        item: FieldRef,
        offsets: Vec<i32>,
        child: Box<Column>,
    },
    Map {
        entries: FieldRef,
        offsets: Vec<i32>,
        keys: Box<Column>,
        values: Box<Column>,
    },
    Struct {
        fields: Fields,
        children: Vec<Column>,
    },
}

/// Values of different lengths, end to end.
#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) ends: Vec<i32>,
    pub(super) values: Vec<u8>,
}

impl Bytes {
    fn new() -> Self {
        Self {
            ends: vec![0],
            values: Vec::new(),
        }
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len + 1);
        self.values.truncate(end(&self.ends));
    }
}

/// The last offset.
fn end(offsets: &[i32]) -> usize {
    offsets
        .last()
        .and_then(|end| usize::try_from(*end).ok())
        .unwrap_or(0)
}

/// Empties `values`, with room for as many again.
fn drain<T>(values: &mut Vec<T>) -> Vec<T> {
    let fresh = Vec::with_capacity(values.len());
    std::mem::replace(values, fresh)
}

fn drain_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let drained = drain(offsets);
    offsets.push(0);
    OffsetBuffer::new(ScalarBuffer::from(drained))
}

impl Column {
    /// An empty column of `data_type`.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for a type that no Debezium value is decoded to.
    pub(super) fn try_new(data_type: &DataType) -> Result<Self> {
        let data = match data_type {
            DataType::Boolean => Data::Bool(Vec::new()),
            DataType::Int8 => Data::Int8(Vec::new()),
            DataType::Int16 => Data::Int16(Vec::new()),
            DataType::Int32 => Data::Int32(Vec::new()),
            DataType::Int64 => Data::Int64(Vec::new()),
            DataType::Float32 => Data::Float32(Vec::new()),
            DataType::Float64 => Data::Float64(Vec::new()),
            DataType::Decimal128(precision, scale) => Data::Decimal {
                values: Vec::new(),
                precision: *precision,
                scale: *scale,
            },
            DataType::Utf8 => Data::Text(Bytes::new()),
            DataType::Binary => Data::Binary(Bytes::new()),
            DataType::Date32 => Data::Date(Vec::new()),
            DataType::Time32(TimeUnit::Millisecond) => Data::TimeMillis(Vec::new()),
            DataType::Time64(TimeUnit::Microsecond) => Data::TimeMicros(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Data::Timestamp {
                values: Vec::new(),
                zone: zone.clone(),
            },
            // A part that may not be null would fail the whole batch when one is.
            DataType::List(item) if !item.is_nullable() => return Err(unsupported(data_type)),
            DataType::Struct(fields) if fields.iter().any(|field| !field.is_nullable()) => {
                return Err(unsupported(data_type));
            }
            DataType::List(item) => Data::List {
                item: Arc::clone(item),
                offsets: vec![0],
                child: Box::new(Self::try_new(item.data_type())?),
            },
            DataType::Map(entries, _) => Self::try_new_map(entries)?,
            DataType::Struct(fields) => Data::Struct {
                fields: fields.clone(),
                children: fields
                    .iter()
                    .map(|field| Self::try_new(field.data_type()))
                    .collect::<Result<_>>()?,
            },
            other => return Err(unsupported(other)),
        };
        Ok(Self {
            data,
            validity: NullBufferBuilder::new(1024),
        })
    }

    fn try_new_map(entries: &FieldRef) -> Result<Data> {
        match entries.data_type() {
            DataType::Struct(fields)
                if fields.len() == 2 && fields.iter().skip(1).all(|value| value.is_nullable()) =>
            {
                let mut columns = fields.iter().map(|field| Self::try_new(field.data_type()));
                match (columns.next(), columns.next()) {
                    (Some(keys), Some(values)) => Ok(Data::Map {
                        entries: Arc::clone(entries),
                        offsets: vec![0],
                        keys: Box::new(keys?),
                        values: Box::new(values?),
                    }),
                    _ => Err(unsupported(entries.data_type())),
                }
            }
            other => Err(unsupported(other)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.validity.len()
    }

    /// Adds a null.
    pub(super) fn append_null(&mut self) {
        match &mut self.data {
            Data::Bool(values) => values.push(false),
            Data::Int8(values) => values.push(0),
            Data::Int16(values) => values.push(0),
            Data::Int32(values) | Data::Date(values) | Data::TimeMillis(values) => values.push(0),
            Data::Int64(values) | Data::TimeMicros(values) | Data::Timestamp { values, .. } => {
                values.push(0);
            }
            Data::Float32(values) => values.push(0.0),
            Data::Float64(values) => values.push(0.0),
            Data::Decimal { values, .. } => values.push(0),
            Data::Text(Bytes { ends, .. })
            | Data::Binary(Bytes { ends, .. })
            | Data::List { offsets: ends, .. }
            | Data::Map { offsets: ends, .. } => ends.push(ends.last().copied().unwrap_or(0)),
            Data::Struct { children, .. } => children.iter_mut().for_each(Self::append_null),
        }
        self.validity.append_null();
    }

    /// Forgets everything after the first `len` values, finished or not.
    pub(super) fn truncate(&mut self, len: usize) {
        match &mut self.data {
            Data::Bool(values) => values.truncate(len),
            Data::Int8(values) => values.truncate(len),
            Data::Int16(values) => values.truncate(len),
            Data::Int32(values) | Data::Date(values) | Data::TimeMillis(values) => {
                values.truncate(len);
            }
            Data::Int64(values) | Data::TimeMicros(values) | Data::Timestamp { values, .. } => {
                values.truncate(len);
            }
            Data::Float32(values) => values.truncate(len),
            Data::Float64(values) => values.truncate(len),
            Data::Decimal { values, .. } => values.truncate(len),
            Data::Text(bytes) | Data::Binary(bytes) => bytes.truncate(len),
            Data::List { offsets, child, .. } => {
                offsets.truncate(len + 1);
                child.truncate(end(offsets));
            }
            Data::Map {
                offsets,
                keys,
                values,
                ..
            } => {
                offsets.truncate(len + 1);
                keys.truncate(end(offsets));
                values.truncate(end(offsets));
            }
            Data::Struct { children, .. } => {
                children.iter_mut().for_each(|child| child.truncate(len));
            }
        }
        self.validity.truncate(len);
    }

    /// Takes the values out as an array; the column is empty afterwards.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] if the values do not fit together.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let len = self.validity.len();
        let nulls = std::mem::replace(&mut self.validity, NullBufferBuilder::new(len)).build();
        let array: ArrayRef = match &mut self.data {
            Data::Bool(values) => {
                let mut bits = BooleanBufferBuilder::new(values.len());
                bits.append_slice(&drain(values));
                Arc::new(BooleanArray::new(bits.build(), nulls))
            }
            Data::Int8(values) => Arc::new(primitive::<Int8Type>(values, nulls)?),
            Data::Int16(values) => Arc::new(primitive::<Int16Type>(values, nulls)?),
            Data::Int32(values) => Arc::new(primitive::<Int32Type>(values, nulls)?),
            Data::Int64(values) => Arc::new(primitive::<Int64Type>(values, nulls)?),
            Data::Float32(values) => Arc::new(primitive::<Float32Type>(values, nulls)?),
            Data::Float64(values) => Arc::new(primitive::<Float64Type>(values, nulls)?),
            Data::Decimal {
                values,
                precision,
                scale,
            } => Arc::new(
                primitive::<Decimal128Type>(values, nulls)?
                    .with_precision_and_scale(*precision, *scale)
                    .map_err(bug)?,
            ),
            Data::Text(bytes) => Arc::new(variable::<Utf8Type>(bytes, nulls)?),
            Data::Binary(bytes) => Arc::new(variable::<BinaryType>(bytes, nulls)?),
            Data::Date(values) => Arc::new(primitive::<Date32Type>(values, nulls)?),
            Data::TimeMillis(values) => {
                Arc::new(primitive::<Time32MillisecondType>(values, nulls)?)
            }
            Data::TimeMicros(values) => {
                Arc::new(primitive::<Time64MicrosecondType>(values, nulls)?)
            }
            Data::Timestamp { values, zone } => Arc::new(
                primitive::<TimestampMicrosecondType>(values, nulls)?
                    .with_timezone_opt(zone.clone()),
            ),
            Data::List {
                item,
                offsets,
                child,
            } => Arc::new(
                ListArray::try_new(
                    Arc::clone(item),
                    drain_offsets(offsets),
                    child.finish()?,
                    nulls,
                )
                .map_err(bug)?,
            ),
            Data::Map {
                entries,
                offsets,
                keys,
                values,
            } => {
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(unsupported(entries.data_type()));
                };
                let columns = vec![keys.finish()?, values.finish()?];
                let pairs = StructArray::try_new(fields.clone(), columns, None).map_err(bug)?;
                Arc::new(
                    MapArray::try_new(
                        Arc::clone(entries),
                        drain_offsets(offsets),
                        pairs,
                        nulls,
                        false,
                    )
                    .map_err(bug)?,
                )
            }
            Data::Struct { fields, children } => {
                let columns = children
                    .iter_mut()
                    .map(Self::finish)
                    .collect::<Result<Vec<_>>>()?;
                Arc::new(
                    StructArray::try_new_with_length(fields.clone(), columns, nulls, len)
                        .map_err(bug)?,
                )
            }
        };
        Ok(array)
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>> {
    PrimitiveArray::try_new(drain(values).into(), nulls).map_err(bug)
}

fn variable<T: ByteArrayType<Offset = i32>>(
    bytes: &mut Bytes,
    nulls: Option<NullBuffer>,
) -> Result<GenericByteArray<T>> {
    let offsets = drain_offsets(&mut bytes.ends);
    GenericByteArray::try_new(offsets, drain(&mut bytes.values).into(), nulls).map_err(bug)
}

fn unsupported(data_type: &DataType) -> Error {
    Error::config(format!("no column can be decoded to {data_type}")).expected(
        "a boolean, integer, float, decimal of at most 38 digits, text, binary, date, time, timestamp in \
         microseconds, or an array, map or struct of these whose parts may be null",
    )
}

/// The columns' invariants are ours, so a breach of them is a bug.
pub(super) fn bug(error: arrow::error::ArrowError) -> Error {
    Error::internal("decoded columns do not fit together").source(error)
}
