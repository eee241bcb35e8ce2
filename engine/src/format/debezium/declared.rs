//! Declared columns: how values are written when no schema says so.

use arrow::datatypes::{DataType, Fields, TimeUnit};
use sql::{Error, Result};

use super::column::Column;
use super::wire::{Scalar, StructWire, Unit, Wire, WireField};
use crate::spec::model::{DecimalHandling, DeclaredColumn, DeclaredType};

/// The wire field of a declared column.
///
/// # Errors
/// [`sql::ErrorKind::Config`] if the column's Arrow type is not one that its SQL type is decoded to.
pub(super) fn field(column: &DeclaredColumn, decimals: DecimalHandling) -> Result<WireField> {
    let data_type = column.field.data_type();
    let at = |error: Error| error.at(format!("columns: {}", column.field.name()));
    Column::try_new(data_type).map_err(at)?;
    let unfit = || {
        Error::config(format!(
            "a column declared as {:?} cannot have the type {data_type}",
            column.encoding
        ))
    };
    let wire = wire(column.encoding, data_type, decimals)
        .ok_or_else(unfit)
        .map_err(at)?;
    Ok(WireField {
        name: column.field.name().clone(),
        wire,
    })
}

fn wire(encoding: DeclaredType, data_type: &DataType, decimals: DecimalHandling) -> Option<Wire> {
    let scalar = match encoding {
        DeclaredType::Json => Scalar::Json,
        DeclaredType::Timestamp { precision } => Scalar::AnyTimestamp {
            unit: match precision {
                0..=3 => Unit::Milli,
                4..=6 => Unit::Micro,
                _ => Unit::Nano,
            },
            floor: precision > 6,
        },
        _ => {
            return fits(encoding, data_type)
                .then(|| by_type(data_type, decimals))
                .flatten();
        }
    };
    fits(encoding, data_type).then_some(Wire::Scalar(scalar))
}

/// Whether the Arrow type is one that the SQL type is decoded to.
fn fits(encoding: DeclaredType, data_type: &DataType) -> bool {
    match encoding {
        DeclaredType::Boolean => matches!(data_type, DataType::Boolean),
        DeclaredType::Integer => data_type.is_signed_integer(),
        DeclaredType::Float => matches!(data_type, DataType::Float32 | DataType::Float64),
        DeclaredType::Decimal => matches!(data_type, DataType::Decimal128(..)),
        // Structs and maps have no SQL type of their own: their parts are read by their Arrow types.
        DeclaredType::Text | DeclaredType::Json | DeclaredType::Uuid => matches!(
            data_type,
            DataType::Utf8 | DataType::Struct(_) | DataType::Map(..)
        ),
        DeclaredType::Binary => matches!(data_type, DataType::Binary),
        DeclaredType::Date => matches!(data_type, DataType::Date32),
        DeclaredType::Time => matches!(data_type, DataType::Time32(_) | DataType::Time64(_)),
        DeclaredType::Timestamp { .. } => matches!(data_type, DataType::Timestamp(_, None)),
        DeclaredType::TimestampTz => matches!(data_type, DataType::Timestamp(_, Some(_))),
        DeclaredType::List => matches!(data_type, DataType::List(_)),
    }
}

/// The wire fields of columns that were learned from messages, for a part of a message that has no schema of its own.
pub(super) fn learned(row: &Fields, decimals: DecimalHandling) -> Vec<WireField> {
    let fields = row.iter().filter_map(|field| {
        Some(WireField {
            name: field.name().clone(),
            wire: by_type(field.data_type(), decimals)?,
        })
    });
    fields.collect()
}

/// How a value of an Arrow type is written when nothing else is said.
fn by_type(data_type: &DataType, decimals: DecimalHandling) -> Option<Wire> {
    Some(Wire::Scalar(match data_type {
        DataType::Boolean => Scalar::Bool,
        DataType::Int8 => Scalar::Int(8),
        DataType::Int16 => Scalar::Int(16),
        DataType::Int32 => Scalar::Int(32),
        DataType::Int64 => Scalar::Int(64),
        DataType::Float32 => Scalar::Float32,
        DataType::Float64 => Scalar::Float64,
        DataType::Decimal128(..) => Scalar::AnyDecimal(decimals),
        DataType::Utf8 => Scalar::Text,
        DataType::Binary => Scalar::Bytes,
        DataType::Date32 => Scalar::AnyDate,
        DataType::Time32(TimeUnit::Millisecond) => Scalar::AnyTime(Unit::Milli),
        DataType::Time64(TimeUnit::Microsecond) => Scalar::AnyTime(Unit::Micro),
        DataType::Timestamp(_, None) => Scalar::AnyTimestamp {
            unit: Unit::Micro,
            floor: false,
        },
        DataType::Timestamp(_, Some(_)) => Scalar::Instant,
        DataType::List(item) => {
            return Some(Wire::List(Box::new(by_type(item.data_type(), decimals)?)));
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return None;
            };
            let mut parts = fields
                .iter()
                .map(|field| by_type(field.data_type(), decimals));
            let (key, value) = (parts.next()??, parts.next()??);
            return Some(Wire::Map(Box::new(key), Box::new(value)));
        }
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| {
                    Some(WireField {
                        name: field.name().clone(),
                        wire: by_type(field.data_type(), decimals)?,
                    })
                })
                .collect::<Option<Vec<_>>>()?;
            return Some(Wire::Struct(StructWire::new(fields)));
        }
        _ => return None,
    }))
}
