//! Cells of dates, times and intervals, in one unit each.

use arrow::array::Array;
use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::Result;

use super::cell::{CellHash, no_kind, primitive};

const DATE: u64 = 6;
const TIME: u64 = 7;
const LOCAL_TIMESTAMP: u64 = 8;
const INSTANT: u64 = 9;
const DURATION: u64 = 10;
const INTERVAL: u64 = 11;

const MILLIS_A_DAY: i64 = 86_400_000;
const NANOS_A_MICRO: i64 = 1_000;
const NANOS_A_MILLI: i64 = 1_000_000;
const NANOS_A_SECOND: i64 = 1_000_000_000;

pub(super) fn temporal(array: &dyn Array) -> Result<CellHash<'_>> {
    match array.data_type() {
        DataType::Date32 => {
            primitive::<Date32Type, _>(array, DATE, |days| i64::from(days).to_le_bytes())
        }
        DataType::Date64 => primitive::<Date64Type, _>(array, DATE, |millis| {
            millis.div_euclid(MILLIS_A_DAY).to_le_bytes()
        }),
        DataType::Time32(TimeUnit::Second) => time::<Time32SecondType>(array, NANOS_A_SECOND),
        DataType::Time32(TimeUnit::Millisecond) => {
            time::<Time32MillisecondType>(array, NANOS_A_MILLI)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            time::<Time64MicrosecondType>(array, NANOS_A_MICRO)
        }
        DataType::Time64(TimeUnit::Nanosecond) => time::<Time64NanosecondType>(array, 1),
        DataType::Timestamp(unit, zone) => {
            let tag = if zone.is_some() {
                INSTANT
            } else {
                LOCAL_TIMESTAMP
            };
            match unit {
                TimeUnit::Second => nanos::<TimestampSecondType>(array, tag, NANOS_A_SECOND),
                TimeUnit::Millisecond => {
                    nanos::<TimestampMillisecondType>(array, tag, NANOS_A_MILLI)
                }
                TimeUnit::Microsecond => {
                    nanos::<TimestampMicrosecondType>(array, tag, NANOS_A_MICRO)
                }
                TimeUnit::Nanosecond => nanos::<TimestampNanosecondType>(array, tag, 1),
            }
        }
        DataType::Duration(unit) => match unit {
            TimeUnit::Second => nanos::<DurationSecondType>(array, DURATION, NANOS_A_SECOND),
            TimeUnit::Millisecond => {
                nanos::<DurationMillisecondType>(array, DURATION, NANOS_A_MILLI)
            }
            TimeUnit::Microsecond => {
                nanos::<DurationMicrosecondType>(array, DURATION, NANOS_A_MICRO)
            }
            TimeUnit::Nanosecond => nanos::<DurationNanosecondType>(array, DURATION, 1),
        },
        DataType::Interval(unit) => interval(array, *unit),
        _ => no_kind(array),
    }
}

/// A time of day: at most 24 hours, so nanoseconds fit 64 bits.
fn time<T>(array: &dyn Array, nanos: i64) -> Result<CellHash<'_>>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    primitive::<T, _>(array, TIME, move |value| {
        value.into().wrapping_mul(nanos).to_le_bytes()
    })
}

/// A time far away may have more nanoseconds than 64 bits hold.
fn nanos<T>(array: &dyn Array, tag: u64, nanos: i64) -> Result<CellHash<'_>>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    primitive::<T, _>(array, tag, move |value| {
        (i128::from(value) * i128::from(nanos)).to_le_bytes()
    })
}

fn interval(array: &dyn Array, unit: IntervalUnit) -> Result<CellHash<'_>> {
    match unit {
        IntervalUnit::YearMonth => {
            primitive::<IntervalYearMonthType, _>(array, INTERVAL, |months| bytes(months, 0, 0))
        }
        IntervalUnit::DayTime => primitive::<IntervalDayTimeType, _>(array, INTERVAL, |value| {
            let nanos = i64::from(value.milliseconds) * NANOS_A_MILLI;
            bytes(0, value.days, nanos)
        }),
        IntervalUnit::MonthDayNano => {
            primitive::<IntervalMonthDayNanoType, _>(array, INTERVAL, |value| {
                bytes(value.months, value.days, value.nanoseconds)
            })
        }
    }
}

fn bytes(months: i32, days: i32, nanos: i64) -> [u8; 16] {
    let mut bytes = [0; 16];
    let parts = months.to_le_bytes().into_iter();
    let parts = parts.chain(days.to_le_bytes()).chain(nanos.to_le_bytes());
    for (to, from) in bytes.iter_mut().zip(parts) {
        *to = from;
    }
    bytes
}
