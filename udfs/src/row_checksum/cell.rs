//! The hash of a cell: what kinds of values there are and which bytes stand for a value.
//!
//! A value's bytes depend on what it is, not on how Arrow holds it, so that a column read from Parquet, from JSON and
//! from a database hash alike. All numbers are little-endian.
//!
//! | tag | kind | bytes |
//! |---|---|---|
//! | 0 | null | none |
//! | 1 | boolean | 0 or 1 |
//! | 2 | integer, decimal | an integer of 64 bits: these; else the scale after removing trailing zeros, and the unscaled value in 128 bits, or in 256 where it needs them. `1`, `1.0` and `1.00` are equal |
//! | 3 | float | the bits as a double; `-0.0` is `0.0`, every NaN is one. Never equal to an integer or a decimal |
//! | 4 | text | UTF-8 |
//! | 5 | binary | as it is |
//! | 6 | date | days since the epoch, 64 bits |
//! | 7 | time of day | nanoseconds, 64 bits |
//! | 8 | timestamp without zone | nanoseconds since the epoch, 128 bits |
//! | 9 | timestamp with zone | the same; the zone's name does not matter, it is the same instant |
//! | 10 | duration | nanoseconds, 128 bits |
//! | 11 | interval | months, days (32 bits each), nanoseconds (64) |
//! | 12 | list | the length in 64 bits; the elements' hashes are chained on |
//! | 13 | struct | the number of fields in 64 bits; the fields' hashes are chained on, names do not matter |
//! | 14 | map | the number of entries in 64 bits; keys and values are chained on in the order they are held |

use arrow::array::types::{
    ArrowPrimitiveType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, i256};
use datafusion::common::{Result, internal_err};
use twox_hash::XxHash64;

use super::nested::nested;
use super::temporal::temporal;

const NULL: u64 = 0;
const BOOLEAN: u64 = 1;
const EXACT: u64 = 2;
const FLOAT: u64 = 3;
const TEXT: u64 = 4;
const BINARY: u64 = 5;

/// The hash after the cell of a row, given the row's number and the hash before the cell.
pub(super) type CellHash<'a> = Box<dyn Fn(usize, u64) -> u64 + 'a>;

/// The hash of every row of `columns`, which are equally long.
///
/// # Errors
/// If a column's type has no kind in the table above.
pub fn row_hashes(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let mut rows = vec![0; columns.first().map_or(0, |column| column.len())];
    for column in columns {
        let cell = cells(column)?;
        for (row, hash) in rows.iter_mut().enumerate() {
            *hash = cell(row, *hash);
        }
    }
    Ok(rows)
}

/// The part of `data_type` that has no kind in the table above, if there is one.
pub(crate) fn unsupported(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Union(_, _) | DataType::RunEndEncoded(_, _) => Some(data_type),
        DataType::Dictionary(_, values) => unsupported(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => unsupported(item.data_type()),
        DataType::Struct(fields) => fields.iter().find_map(|f| unsupported(f.data_type())),
        _ => None,
    }
}

pub(super) fn hash(before: u64, tag: u64, bytes: &[u8]) -> u64 {
    XxHash64::oneshot(before.wrapping_add(tag), bytes)
}

pub(super) fn cells(array: &dyn Array) -> Result<CellHash<'_>> {
    let value: CellHash<'_> = match array.data_type() {
        DataType::Null => Box::new(|_, before| hash(before, NULL, &[])),
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(move |row, before| hash(before, BOOLEAN, &[u8::from(values.value(row))]))
        }
        DataType::Dictionary(_, _) => dictionary(array)?,
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => text(array)?,
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::FixedSizeList(_, _)
        | DataType::Map(_, _)
        | DataType::Struct(_) => nested(array)?,
        data_type if data_type.is_temporal() => temporal(array)?,
        _ => number(array)?,
    };
    if array.null_count() == 0 {
        return Ok(value);
    }
    Ok(Box::new(move |row, before| {
        if array.is_null(row) {
            hash(before, NULL, &[])
        } else {
            value(row, before)
        }
    }))
}

pub(super) fn no_kind(array: &dyn Array) -> Result<CellHash<'_>> {
    internal_err!("row_checksum was called with {}", array.data_type())
}

/// Cells of a primitive type whose values become `bytes`.
pub(super) fn primitive<'a, T, B>(
    array: &'a dyn Array,
    tag: u64,
    bytes: impl Fn(T::Native) -> B + 'a,
) -> Result<CellHash<'a>>
where
    T: ArrowPrimitiveType,
    B: AsRef<[u8]>,
{
    let values = array.as_primitive::<T>();
    Ok(Box::new(move |row, before| {
        hash(before, tag, bytes(values.value(row)).as_ref())
    }))
}

fn number(array: &dyn Array) -> Result<CellHash<'_>> {
    match array.data_type() {
        DataType::Int8 => integer::<Int8Type>(array),
        DataType::Int16 => integer::<Int16Type>(array),
        DataType::Int32 => integer::<Int32Type>(array),
        DataType::Int64 => integer::<Int64Type>(array),
        DataType::UInt8 => integer::<UInt8Type>(array),
        DataType::UInt16 => integer::<UInt16Type>(array),
        DataType::UInt32 => integer::<UInt32Type>(array),
        DataType::UInt64 => primitive::<UInt64Type, _>(array, EXACT, |v| exact(i128::from(v), 0)),
        DataType::Decimal32(_, scale) => decimal::<Decimal32Type>(array, *scale),
        DataType::Decimal64(_, scale) => decimal::<Decimal64Type>(array, *scale),
        DataType::Decimal128(_, scale) => decimal::<Decimal128Type>(array, *scale),
        DataType::Decimal256(_, scale) => {
            let scale = *scale;
            primitive::<Decimal256Type, _>(array, EXACT, move |v| wide_exact(v, scale))
        }
        DataType::Float16 => primitive::<Float16Type, _>(array, FLOAT, |v| double(v.to_f64())),
        DataType::Float32 => primitive::<Float32Type, _>(array, FLOAT, |v| double(f64::from(v))),
        DataType::Float64 => primitive::<Float64Type, _>(array, FLOAT, double),
        _ => no_kind(array),
    }
}

fn integer<T>(array: &dyn Array) -> Result<CellHash<'_>>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    primitive::<T, _>(array, EXACT, |value| value.into().to_le_bytes())
}

fn decimal<T>(array: &dyn Array, scale: i8) -> Result<CellHash<'_>>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    primitive::<T, _>(array, EXACT, move |value| exact(value.into(), scale))
}

/// Bytes of an exact number. Their length tells the three forms apart.
struct Exact {
    bytes: [u8; 33],
    len: usize,
}

impl Exact {
    fn new(scale: Option<i8>, unscaled: &[u8]) -> Self {
        let mut exact = Self {
            bytes: [0; 33],
            len: 0,
        };
        let scale = scale.map(i8::to_le_bytes).into_iter().flatten();
        for (to, from) in exact
            .bytes
            .iter_mut()
            .zip(scale.chain(unscaled.iter().copied()))
        {
            *to = from;
            exact.len += 1;
        }
        exact
    }
}

impl AsRef<[u8]> for Exact {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

fn exact(mut unscaled: i128, mut scale: i8) -> Exact {
    if scale < 0 {
        return wide_exact(i256::from_i128(unscaled), scale);
    }
    while scale > 0 && unscaled % 10 == 0 {
        unscaled /= 10;
        scale -= 1;
    }
    match i64::try_from(unscaled) {
        Ok(unscaled) if scale == 0 => Exact::new(None, &unscaled.to_le_bytes()),
        _ => Exact::new(Some(scale), &unscaled.to_le_bytes()),
    }
}

/// As [`exact`], for what may need 256 bits. A negative scale is multiplied out; where that overflows, no other
/// type holds the number either, and trailing zeros go into the scale instead.
fn wide_exact(mut unscaled: i256, mut scale: i8) -> Exact {
    let ten = i256::from_i128(10);
    while scale < 0 {
        match unscaled.checked_mul(ten) {
            Some(larger) => (unscaled, scale) = (larger, scale + 1),
            None => break,
        }
    }
    while scale > 0 && unscaled.wrapping_rem(ten) == i256::ZERO {
        (unscaled, scale) = (unscaled.wrapping_div(ten), scale - 1);
    }
    match unscaled.to_i128() {
        Some(narrow) if scale >= 0 => exact(narrow, scale),
        _ => Exact::new(Some(scale), &unscaled.to_le_bytes()),
    }
}

fn double(value: f64) -> [u8; 8] {
    let one_form = if value.is_nan() {
        f64::NAN
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    one_form.to_bits().to_le_bytes()
}

fn text(array: &dyn Array) -> Result<CellHash<'_>> {
    Ok(match array.data_type() {
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            Box::new(move |row, before| hash(before, TEXT, values.value(row).as_bytes()))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            Box::new(move |row, before| hash(before, TEXT, values.value(row).as_bytes()))
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            Box::new(move |row, before| hash(before, TEXT, values.value(row).as_bytes()))
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            Box::new(move |row, before| hash(before, BINARY, values.value(row)))
        }
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>();
            Box::new(move |row, before| hash(before, BINARY, values.value(row)))
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            Box::new(move |row, before| hash(before, BINARY, values.value(row)))
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            Box::new(move |row, before| hash(before, BINARY, values.value(row)))
        }
        _ => return no_kind(array),
    })
}

/// Hashes the values that the keys point to: a dictionary is only a way to hold a column.
fn dictionary(array: &dyn Array) -> Result<CellHash<'_>> {
    let dictionary = array.as_any_dictionary();
    if dictionary.values().is_empty() {
        // Every key is null then, and `normalized_keys` would panic.
        return Ok(Box::new(|_, before| hash(before, NULL, &[])));
    }
    let value = cells(dictionary.values())?;
    let keys = dictionary.normalized_keys();
    Ok(Box::new(move |row, before| match keys.get(row) {
        Some(key) => value(*key, before),
        None => hash(before, NULL, &[]),
    }))
}
