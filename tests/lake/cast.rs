//! The strict cast: what could lose something is refused when planned, what does lose something when run.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date64Array, Decimal128Array, Int64Array, ListArray, RecordBatch,
    TimestampNanosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema, TimeUnit};
use engine::lake::cast::Caster;
use proptest::prelude::*;
use sql::{Error, ErrorKind};

fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn schema(data_type: DataType) -> Schema {
    Schema::new(vec![Field::new("c", data_type, true)])
}

fn planned(from: DataType, to: DataType) -> sql::Result<Caster> {
    Caster::try_new(&schema(from), &schema(to))
}

fn cast(column: ArrayRef, to: DataType) -> sql::Result<ArrayRef> {
    let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
    let cast = Caster::try_new(&batch.schema(), &schema(to))?.cast(&batch)?;
    Ok(Arc::clone(cast.column(0)))
}

fn place(error: &Error) -> (ErrorKind, &str) {
    (error.kind(), error.place().unwrap_or_default())
}

#[test]
fn pairs_that_could_lose_something_are_refused() {
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let cases = [
        (
            DataType::Int64,
            DataType::Int32,
            "its values may be too large",
        ),
        (
            DataType::UInt64,
            DataType::Int64,
            "its values may be too large",
        ),
        (
            DataType::Int64,
            DataType::Float64,
            "its values may have more digits",
        ),
        (
            DataType::Int64,
            DataType::Decimal128(12, 2),
            "its values may have more than 10 digits",
        ),
        (DataType::Float64, DataType::Float32, "the types do not fit"),
        (
            DataType::Float64,
            DataType::Decimal128(12, 2),
            "the types do not fit",
        ),
        (DataType::Utf8, DataType::Int64, "the types do not fit"),
        (DataType::Int64, DataType::Utf8, "the types do not fit"),
        (DataType::Binary, DataType::Utf8, "the types do not fit"),
        (DataType::Boolean, DataType::Int32, "the types do not fit"),
        (
            micros(),
            utc(TimeUnit::Microsecond),
            "it has no time zone and the column has one",
        ),
        (
            utc(TimeUnit::Nanosecond),
            micros(),
            "it has a time zone and the column has none",
        ),
        (DataType::Date32, micros(), "the types do not fit"),
    ];
    for (from, to, why) in cases {
        let error = planned(from.clone(), to.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.message(),
            format!("column `c` is {from} in the SQL and {to} in the table: {why}")
        );
    }
}

#[test]
fn digits_below_the_microsecond_stop_the_cast_with_their_row() {
    let fine = TimestampNanosecondArray::from(vec![Some(1_000), None, Some(-7_000)]);
    assert_eq!(cast(Arc::new(fine), micros()).unwrap().null_count(), 1);
    let odd = TimestampNanosecondArray::from(vec![Some(1_000), None, Some(1_001)]);
    let error = cast(Arc::new(odd), micros()).unwrap_err();
    assert_eq!(place(&error), (ErrorKind::Policy, "column `c`, row 2"));
    assert_eq!(
        error.message(),
        "a value of type Timestamp(ns) does not fit into Timestamp(µs): it has digits below the microsecond"
    );
}

#[test]
fn the_row_of_a_value_in_a_list_is_the_lists() {
    let values = TimestampNanosecondArray::from(vec![1_000, 2_000, 3_001]);
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = OffsetBuffer::new(vec![0, 2, 2, 3].into());
    let lists = ListArray::try_new(field, offsets, Arc::new(values), None).unwrap();
    let to = DataType::List(Arc::new(Field::new("element", micros(), true)));
    let error = cast(Arc::new(lists), to).unwrap_err();
    assert_eq!(place(&error), (ErrorKind::Policy, "column `c`, row 2"));
}

#[test]
fn decimals_are_neither_rounded_nor_cut() {
    let decimals = |values: Vec<i128>, p, s| -> ArrayRef {
        let values = Decimal128Array::from(values);
        Arc::new(values.with_precision_and_scale(p, s).unwrap())
    };
    let narrower = cast(
        decimals(vec![1_200, -300], 30, 3),
        DataType::Decimal128(12, 2),
    )
    .unwrap();
    assert_eq!(
        narrower.as_primitive::<Decimal128Type>().values(),
        &[120, -30]
    );
    let rounded = cast(
        decimals(vec![1_200, 1_205], 30, 3),
        DataType::Decimal128(12, 2),
    );
    assert_eq!(
        place(&rounded.unwrap_err()),
        (ErrorKind::Policy, "column `c`, row 1")
    );
    let large = cast(
        decimals(vec![1, 1_000_000], 10, 0),
        DataType::Decimal128(6, 2),
    );
    assert_eq!(
        place(&large.unwrap_err()),
        (ErrorKind::Policy, "column `c`, row 1")
    );
}

#[test]
fn a_date_with_a_time_of_day_is_no_date() {
    let error = cast(Arc::new(Date64Array::from(vec![0, 1])), DataType::Date32).unwrap_err();
    assert_eq!(place(&error), (ErrorKind::Policy, "column `c`, row 1"));
}

#[test]
fn missing_columns_are_null_and_extra_ones_an_error() {
    let from = schema(DataType::Int64);
    let to = Schema::new(vec![
        Field::new("new", DataType::Utf8, true),
        Field::new("c", DataType::Int64, true),
    ]);
    let batch = RecordBatch::try_new(
        Arc::new(from.clone()),
        vec![Arc::new(Int64Array::from(vec![1, 2]))],
    )
    .unwrap();
    let cast = Caster::try_new(&from, &to).unwrap().cast(&batch).unwrap();
    assert_eq!(cast.column(0).null_count(), 2);
    let error = Caster::try_new(&to, &from).unwrap_err();
    assert_eq!(
        error.message(),
        "the table has no column `new` of type Utf8"
    );
    let required = Schema::new(vec![Field::new("new", DataType::Utf8, false)]);
    let error = Caster::try_new(&Schema::empty(), &required).unwrap_err();
    assert_eq!(
        error.message(),
        "the table requires a value for column `new` of type Utf8, and the SQL does not return it"
    );
}

#[test]
fn a_null_in_a_required_column_stops_the_cast() {
    let from = schema(DataType::Int64);
    let to = Schema::new(vec![Field::new("c", DataType::Int64, false)]);
    let values = Int64Array::from(vec![Some(1), None]);
    let batch = RecordBatch::try_new(Arc::new(from.clone()), vec![Arc::new(values)]).unwrap();
    let error = Caster::try_new(&from, &to)
        .unwrap()
        .cast(&batch)
        .unwrap_err();
    assert_eq!(place(&error), (ErrorKind::Policy, "column `c`, row 1"));
}

proptest! {
    #[test]
    fn a_timestamp_either_keeps_its_instant_or_stops(nanos in any::<i64>()) {
        let values = TimestampNanosecondArray::from(vec![nanos]);
        match cast(Arc::new(values), micros()) {
            Ok(micros) => {
                let micros = micros.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(0);
                prop_assert_eq!(micros.checked_mul(1_000), Some(nanos));
            }
            Err(_) => prop_assert_ne!(nanos % 1_000, 0),
        }
    }

    #[test]
    fn a_decimal_either_keeps_its_value_or_stops(unscaled in -9_999_999_i128..=9_999_999) {
        let values = Decimal128Array::from(vec![unscaled]).with_precision_and_scale(7, 3).unwrap();
        let fits = unscaled % 10 == 0 && (unscaled / 10).abs() <= 99_999;
        let cast = cast(Arc::new(values), DataType::Decimal128(5, 2));
        prop_assert_eq!(cast.is_ok(), fits);
        if let Ok(cast) = cast {
            prop_assert_eq!(cast.as_primitive::<Decimal128Type>().value(0) * 10, unscaled);
        }
    }
}
