//! Which Arrow types can become which without losing anything that is not checked value by value.

use arrow::datatypes::{DataType, Fields};

/// Whether every value of `from` either becomes exactly itself in `to` or is found by a check while casting.
///
/// # Errors
/// A half-sentence that says why not.
pub(super) fn castable(from: &DataType, to: &DataType) -> Result<(), String> {
    use DataType::{
        Boolean, Date32, Date64, Dictionary, FixedSizeBinary, Float16, Float32, Float64, Map, Null,
        Struct, Time64, Timestamp,
    };
    if from == to || from == &Null {
        return Ok(());
    }
    match (from, to) {
        (Dictionary(_, values), _) => castable(values, to),
        _ if is_text(from) && is_text(to) => Ok(()),
        (FixedSizeBinary(_), FixedSizeBinary(_)) => Err("its length is another".to_owned()),
        (_, FixedSizeBinary(_)) => Err("its values may have another length".to_owned()),
        _ if is_binary(from) && is_binary(to) => Ok(()),
        (Float16, Float32 | Float64) | (Float32, Float64) | (Date64, Date32) => Ok(()),
        (Timestamp(_, a), Timestamp(_, b)) => match (a, b) {
            (Some(_), None) => Err("it has a time zone and the column has none".to_owned()),
            (None, Some(_)) => Err("it has no time zone and the column has one".to_owned()),
            _ => Ok(()),
        },
        (DataType::Time32(_) | Time64(_), Time64(_)) => Ok(()),
        (Struct(a), Struct(b)) => structs(a, b),
        (Map(a, _), Map(b, _)) => match (a.data_type(), b.data_type()) {
            (Struct(a), Struct(b)) => pairs(a, b),
            _ => Err("it is no map of keys to values".to_owned()),
        },
        (Boolean, _) | (_, Boolean) => mismatch(),
        _ => match (item(from), item(to)) {
            (Some(a), Some(b)) => castable(a, b).map_err(|why| format!("in its elements, {why}")),
            (None, None) => numbers(from, to),
            _ => mismatch(),
        },
    }
}

fn mismatch() -> Result<(), String> {
    Err("the types do not fit".to_owned())
}

fn structs(from: &Fields, to: &Fields) -> Result<(), String> {
    for field in from {
        let Some((_, target)) = to.find(field.name()) else {
            return Err(format!("its field `{}` is not there", field.name()));
        };
        castable(field.data_type(), target.data_type())
            .map_err(|why| format!("in its field `{}`, {why}", field.name()))?;
    }
    let missing = to
        .iter()
        .find(|target| !target.is_nullable() && from.find(target.name()).is_none());
    match missing {
        Some(field) => Err(format!("it lacks the required field `{}`", field.name())),
        None => Ok(()),
    }
}

/// Entries of maps go by place: their names differ between writers.
fn pairs(from: &Fields, to: &Fields) -> Result<(), String> {
    if from.len() != 2 || to.len() != 2 {
        return Err("it is no map of keys to values".to_owned());
    }
    from.iter()
        .zip(to)
        .try_for_each(|(a, b)| castable(a.data_type(), b.data_type()))
}

fn numbers(from: &DataType, to: &DataType) -> Result<(), String> {
    if let Some((precision, scale)) = decimal(to) {
        // Between decimals every value is checked for its digits and its scale.
        if decimal(from).is_some() {
            return Ok(());
        }
        let Some(bits) = integer_bits(from) else {
            return mismatch();
        };
        let digits = i16::from(precision) - i16::from(scale);
        return if digits >= integer_digits(bits) {
            Ok(())
        } else {
            Err(format!("its values may have more than {digits} digits"))
        };
    }
    match (integer_bits(from), integer_bits(to), to) {
        (Some(a), Some(b), _) if a <= b => Ok(()),
        (Some(_), Some(_), _) => Err("its values may be too large".to_owned()),
        (Some(bits), None, DataType::Float64) if bits <= 53 => Ok(()),
        (Some(bits), None, DataType::Float32) if bits <= 24 => Ok(()),
        (Some(_), None, DataType::Float64 | DataType::Float32) => {
            Err("its values may have more digits".to_owned())
        }
        _ => mismatch(),
    }
}

/// Bits of magnitude. A target is never unsigned.
fn integer_bits(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Int8 => Some(7),
        DataType::UInt8 => Some(8),
        DataType::Int16 => Some(15),
        DataType::UInt16 => Some(16),
        DataType::Int32 => Some(31),
        DataType::UInt32 => Some(32),
        DataType::Int64 => Some(63),
        DataType::UInt64 => Some(64),
        _ => None,
    }
}

fn integer_digits(bits: u8) -> i16 {
    match bits {
        0..=8 => 3,
        9..=16 => 5,
        17..=32 => 10,
        33..=63 => 19,
        _ => 20,
    }
}

fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((*p, *s)),
        _ => None,
    }
}

/// The element type of a list of any layout.
pub(super) fn item(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}
