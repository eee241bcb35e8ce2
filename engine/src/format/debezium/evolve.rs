//! What a message's schema does to the columns known so far: nothing, or it widens them. Never narrower.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};

/// A column whose two types have no common wider one.
#[derive(Debug)]
pub(super) struct Conflict {
    pub(super) column: String,
    pub(super) have: DataType,
    pub(super) sent: DataType,
}

/// The known columns, widened where a message needs it, and the new ones after them.
pub(super) fn union(known: &Fields, sent: &[FieldRef]) -> Result<Fields, Conflict> {
    let mut fields: Vec<FieldRef> = known.iter().cloned().collect();
    for field in sent {
        match fields.iter_mut().find(|have| have.name() == field.name()) {
            None => fields.push(Arc::clone(field)),
            Some(have) if have.data_type() == field.data_type() => {}
            Some(have) => {
                let wide = widest(have.data_type(), field.data_type()).ok_or_else(|| Conflict {
                    column: field.name().clone(),
                    have: have.data_type().clone(),
                    sent: field.data_type().clone(),
                })?;
                *have = Arc::new(have.as_ref().clone().with_data_type(wide));
            }
        }
    }
    Ok(Fields::from(fields))
}

/// How wide a type is among those that hold whole numbers.
fn rank(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Boolean => Some(0),
        DataType::Int8 => Some(1),
        DataType::Int16 => Some(2),
        DataType::Int32 => Some(3),
        DataType::Int64 => Some(4),
        _ => None,
    }
}

/// The narrowest type that holds every value of both, as far as tables can be widened to it.
fn widest(a: &DataType, b: &DataType) -> Option<DataType> {
    if a == b {
        return Some(a.clone());
    }
    if let (Some(left), Some(right)) = (rank(a), rank(b)) {
        return Some(if left >= right { a } else { b }.clone());
    }
    match (a, b) {
        (DataType::Float32 | DataType::Float64, DataType::Float32 | DataType::Float64) => {
            Some(DataType::Float64)
        }
        (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) => {
            let scale = (*s1).max(*s2);
            let whole = (i16::from(*p1) - i16::from(*s1)).max(i16::from(*p2) - i16::from(*s2));
            let precision = u8::try_from(whole + i16::from(scale)).ok()?;
            (precision <= 38).then_some(DataType::Decimal128(precision, scale))
        }
        (DataType::List(left), DataType::List(right)) => {
            Some(DataType::List(widest_field(left, right)?))
        }
        (DataType::Map(left, sorted), DataType::Map(right, _)) => {
            Some(DataType::Map(widest_field(left, right)?, *sorted))
        }
        (DataType::Struct(left), DataType::Struct(right)) => {
            let sent: Vec<FieldRef> = right.iter().cloned().collect();
            union(left, &sent).ok().map(DataType::Struct)
        }
        _ => None,
    }
}

fn widest_field(left: &FieldRef, right: &FieldRef) -> Option<FieldRef> {
    let wide = widest(left.data_type(), right.data_type())?;
    let field: Field = left.as_ref().clone();
    Some(Arc::new(field.with_data_type(wide)))
}
