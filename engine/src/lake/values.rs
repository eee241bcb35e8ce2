//! Casting arrays, strictly: a value that would change is found, with its row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StructArray,
    new_null_array,
};
use arrow::compute::kernels::nullif::nullif;
use arrow::compute::{CastOptions, cast_with_options, is_null};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, FieldRef, Fields, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;

use super::compatible::item;

/// A value that does not fit.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Its row, where it is known.
    pub(super) row: Option<usize>,
    /// A half-sentence.
    pub(super) why: String,
    /// What to do about it.
    pub(super) remedy: &'static str,
}

const CAST: &str = "Make the value fit in the SQL: round, filter or CAST it.";

impl From<ArrowError> for Misfit {
    fn from(error: ArrowError) -> Self {
        // The message may show the value, which is bounded: it failed to become a number or a time.
        let mut why = error.to_string();
        if why.len() > 120 {
            why = "it cannot be converted".to_owned();
        }
        Self {
            row: None,
            why,
            remedy: CAST,
        }
    }
}

/// Casts `values`, whose type is castable to `to`.
pub(super) fn cast_values(values: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    let from = values.data_type();
    if from == to {
        return Ok(Arc::clone(values));
    }
    match (from, to) {
        (DataType::Null, _) => Ok(new_null_array(to, values.len())),
        (DataType::Dictionary(_, inner), _) => cast_values(&strict(values, inner)?, to),
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let fields_of = cast_struct(values.as_struct(), fields)?;
            Ok(Arc::new(fields_of))
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            cast_map(values.as_map(), entries, *sorted)
        }
        (_, DataType::List(element)) if item(from).is_some() => cast_list(values, element),
        (DataType::Timestamp(unit, _), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            cast_timestamp(values, *unit, zone.as_ref())
        }
        (DataType::Time64(TimeUnit::Nanosecond), DataType::Time64(TimeUnit::Microsecond)) => {
            let micros = divide::<Time64NanosecondType, Time64MicrosecondType>(values, 1_000)?;
            Ok(Arc::new(micros))
        }
        (DataType::Date64, DataType::Date32) => cast_date(values),
        (_, DataType::Decimal128(_, _)) => cast_decimal(values, to),
        _ => strict(values, to),
    }
}

/// Arrow's cast, in which a value that cannot be converted is an error with its row, never a null.
fn strict(values: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    let options = |safe| CastOptions {
        safe,
        ..CastOptions::default()
    };
    cast_with_options(values, to, &options(false)).map_err(|error| {
        let mut misfit = Misfit::from(error);
        if let Ok(lossy) = cast_with_options(values, to, &options(true)) {
            misfit.row = (0..values.len()).find(|row| values.is_valid(*row) && lossy.is_null(*row));
        }
        misfit
    })
}

/// Divides every value by `by`; a remainder is a misfit.
fn divide<A, B>(values: &ArrayRef, by: i64) -> Result<PrimitiveArray<B>, Misfit>
where
    A: ArrowPrimitiveType<Native = i64>,
    B: ArrowPrimitiveType<Native = i64>,
{
    let values = values.as_primitive::<A>();
    let odd = values
        .iter()
        .position(|value| value.is_some_and(|value| value % by != 0));
    if let Some(row) = odd {
        return Err(Misfit {
            row: Some(row),
            why: "it has digits below the microsecond".to_owned(),
            remedy: "Cut it in the SQL: date_trunc('microsecond', …).",
        });
    }
    Ok(values.unary(|value| value / by))
}

fn cast_timestamp(
    values: &ArrayRef,
    unit: TimeUnit,
    zone: Option<&Arc<str>>,
) -> Result<ArrayRef, Misfit> {
    // The zone is set aside: it names the instant, it does not move it, but a cast between zones might.
    let micros = match unit {
        TimeUnit::Nanosecond => {
            divide::<TimestampNanosecondType, TimestampMicrosecondType>(values, 1_000)?
        }
        TimeUnit::Microsecond => values.as_primitive::<TimestampMicrosecondType>().clone(),
        TimeUnit::Second | TimeUnit::Millisecond => {
            let naive = naive(values, unit)?;
            strict(&naive, &DataType::Timestamp(TimeUnit::Microsecond, None))?
                .as_primitive::<TimestampMicrosecondType>()
                .clone()
        }
    };
    Ok(Arc::new(micros.with_timezone_opt(zone.cloned())))
}

fn naive(values: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef, Misfit> {
    let data = values
        .to_data()
        .into_builder()
        .data_type(DataType::Timestamp(unit, None))
        .build()?;
    Ok(arrow::array::make_array(data))
}

fn cast_date(values: &ArrayRef) -> Result<ArrayRef, Misfit> {
    const DAY: i64 = 86_400_000;
    let values = values.as_primitive::<Date64Type>();
    let days = values
        .iter()
        .enumerate()
        .map(|(row, value)| {
            value
                .map(|value| {
                    i32::try_from(value / DAY)
                        .ok()
                        .filter(|_| value % DAY == 0)
                        .ok_or_else(|| Misfit {
                            row: Some(row),
                            why: "it is no whole day".to_owned(),
                            remedy: CAST,
                        })
                })
                .transpose()
        })
        .collect::<Result<PrimitiveArray<Date32Type>, Misfit>>()?;
    Ok(Arc::new(days))
}

fn cast_decimal(values: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    let cast = strict(values, to)?;
    // Overflow is reported; but Arrow rounds when the scale shrinks, and the way back shows it.
    let scale = |data_type: &DataType| match data_type {
        DataType::Decimal32(_, s)
        | DataType::Decimal64(_, s)
        | DataType::Decimal128(_, s)
        | DataType::Decimal256(_, s) => *s,
        _ => 0,
    };
    if scale(values.data_type()) <= scale(to) {
        return Ok(cast);
    }
    let back = strict(&cast, values.data_type())?;
    let same = |row: &usize| values.slice(*row, 1).to_data() == back.slice(*row, 1).to_data();
    let changed = if values.to_data() == back.to_data() {
        None
    } else {
        (0..values.len()).find(|row| !same(row))
    };
    match changed {
        None => Ok(cast),
        Some(row) => Err(Misfit {
            row: Some(row),
            why: "it has more digits after the point".to_owned(),
            remedy: CAST,
        }),
    }
}

fn cast_list(values: &ArrayRef, element: &FieldRef) -> Result<ArrayRef, Misfit> {
    let inner = item(values.data_type()).cloned().unwrap_or(DataType::Null);
    let plain = DataType::List(Arc::new(arrow::datatypes::Field::new("item", inner, true)));
    let lists = match values.data_type() {
        DataType::List(_) => Arc::clone(values),
        _ => strict(values, &plain)?,
    };
    let lists = lists.as_list::<i32>();
    let elements = cast_values(lists.values(), element.data_type())
        .map_err(|misfit| outer_row(misfit, lists.value_offsets()))?;
    let list = ListArray::try_new(
        Arc::clone(element),
        lists.offsets().clone(),
        elements,
        lists.nulls().cloned(),
    )?;
    Ok(Arc::new(list))
}

fn cast_map(maps: &MapArray, entries: &FieldRef, sorted: bool) -> Result<ArrayRef, Misfit> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::SchemaError("a map has no entries".to_owned()).into());
    };
    let columns = maps
        .entries()
        .columns()
        .iter()
        .zip(fields)
        .map(|(column, field)| cast_values(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|misfit| outer_row(misfit, maps.value_offsets()))?;
    let map = MapArray::try_new(
        Arc::clone(entries),
        maps.offsets().clone(),
        StructArray::try_new(fields.clone(), columns, None)?,
        maps.nulls().cloned(),
        sorted,
    )?;
    Ok(Arc::new(map))
}

/// The row of the list or map that holds the value at a row of its elements.
fn outer_row(mut misfit: Misfit, offsets: &[i32]) -> Misfit {
    misfit.row = misfit.row.map(|inner| {
        offsets
            .partition_point(|offset| usize::try_from(*offset).is_ok_and(|o| o <= inner))
            .saturating_sub(1)
    });
    misfit
}

fn cast_struct(values: &StructArray, fields: &Fields) -> Result<StructArray, Misfit> {
    // What a child holds under a null parent is nobody's value: it must not stop the cast.
    let hidden: Option<BooleanArray> = (values.null_count() > 0)
        .then(|| is_null(values))
        .transpose()?;
    let columns = fields
        .iter()
        .map(|field| {
            let Some(column) = values.column_by_name(field.name()) else {
                return Ok(new_null_array(field.data_type(), values.len()));
            };
            let column = match &hidden {
                Some(hidden) if field.is_nullable() => nullif(column.as_ref(), hidden)?,
                _ => Arc::clone(column),
            };
            cast_values(&column, field.data_type())
        })
        .collect::<Result<Vec<_>, Misfit>>()?;
    Ok(StructArray::try_new(
        fields.clone(),
        columns,
        values.nulls().cloned(),
    )?)
}
