//! Dates, times and timestamps into Arrow's units, exactly or not at all.
//!
//! A local timestamp never gets a zone and an instant never loses one. What is finer than a microsecond is
//! refused, unless the column was declared `TIMESTAMP(9)`: that says that nanoseconds are dropped.
//! Years are 0001 to 9999, which every table format holds and no infinity of a database falls into.

use super::fault::{Fault, Step};
use super::iso::{self, MAX_DAYS, MIN_DAYS, Moment, NANOS_PER_DAY};
use super::number;
use super::read::Scratch;
use super::scan::Cursor;
use super::structured;
use super::wire::{Scalar, Unit};

const MICROS_PER_DAY: i64 = 86_400_000_000;

fn mismatch<T>(scalar: Scalar, what: &str) -> Step<T> {
    Err(Fault::mismatch(what, scalar.expects()))
}

/// Reads ISO text; `what` is for the error.
fn text(
    scalar: Scalar,
    what: &str,
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<Moment> {
    match cursor.string()? {
        Some(text) => iso::parse(text.decode(&mut scratch.text)?, scalar.expects()),
        None => mismatch(scalar, what),
    }
}

/// Whether a number comes next, and which.
fn integer(cursor: &mut Cursor<'_>) -> Step<Option<i64>> {
    cursor.number()?.map(number::parse).transpose()
}

/// Days since the epoch.
pub(super) fn date(scalar: Scalar, cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Step<i32> {
    let days = match scalar {
        Scalar::StructuredDate => structured::read(cursor, scratch)?.days()?,
        Scalar::Date | Scalar::AnyDate | Scalar::IsoDate => match integer(cursor)? {
            Some(days) if !matches!(scalar, Scalar::IsoDate) => days,
            None if !matches!(scalar, Scalar::Date) => {
                match text(scalar, "is no date", cursor, scratch)? {
                    Moment {
                        days: Some(days),
                        nanos: None,
                        ..
                    } => days,
                    _ => return mismatch(scalar, "is no date"),
                }
            }
            _ => return mismatch(scalar, "is no date"),
        },
        _ => return Err(Fault::mismatch("is no date", "a date for a date column")),
    };
    if !(MIN_DAYS..=MAX_DAYS).contains(&days) {
        return Err(iso::out_of_years());
    }
    number::narrow(days)
}

/// Nanoseconds since midnight.
fn time_nanos(scalar: Scalar, cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Step<i64> {
    let unit = match scalar {
        Scalar::Time(unit) | Scalar::TimeSpan(unit) | Scalar::AnyTime(unit) => Some(unit),
        Scalar::IsoTime | Scalar::ZonedTime => None,
        Scalar::StructuredTime => return structured::read(cursor, scratch)?.nanos(),
        _ => return Err(Fault::mismatch("is no time", "a time for a time column")),
    };
    let of_day = |nanos: Option<i64>| {
        nanos
            .filter(|nanos| (0..NANOS_PER_DAY).contains(nanos))
            .ok_or_else(|| {
                Fault::range(
                    "is no time of a day",
                    "00:00:00 to 23:59:59.999999; declare the column BIGINT to keep such values",
                )
            })
    };
    match (unit, integer(cursor)?) {
        (Some(unit), Some(value)) => of_day(value.checked_mul(nanos_of(unit))),
        (Some(_), None) if !matches!(scalar, Scalar::AnyTime(_)) => mismatch(scalar, "is no time"),
        (_, None) => match text(scalar, "is no time", cursor, scratch)? {
            Moment {
                days: None,
                nanos: Some(nanos),
                offset,
            } => {
                let zoned = matches!(scalar, Scalar::ZonedTime);
                let offset = offset.filter(|_| zoned).unwrap_or(0);
                Ok((nanos - offset * 1_000_000_000).rem_euclid(NANOS_PER_DAY))
            }
            _ => mismatch(scalar, "is no time"),
        },
        (None, Some(_)) => mismatch(scalar, "is no time"),
    }
}

fn nanos_of(unit: Unit) -> i64 {
    match unit {
        Unit::Milli => 1_000_000,
        Unit::Micro => 1_000,
        Unit::Nano => 1,
    }
}

fn divided(nanos: i64, by: i64) -> Step<i64> {
    if nanos % by == 0 {
        return Ok(nanos / by);
    }
    Err(Fault::range(
        "is finer than the column",
        if by == 1_000 {
            "whole microseconds"
        } else {
            "whole milliseconds"
        },
    ))
}

/// Microseconds since midnight.
pub(super) fn time_micros(
    scalar: Scalar,
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<i64> {
    divided(time_nanos(scalar, cursor, scratch)?, 1_000)
}

/// Milliseconds since midnight.
pub(super) fn time_millis(
    scalar: Scalar,
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<i32> {
    number::narrow(divided(time_nanos(scalar, cursor, scratch)?, 1_000_000)?)
}

/// Microseconds of a local wall clock.
pub(super) fn local(scalar: Scalar, cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Step<i64> {
    match scalar {
        Scalar::Timestamp(unit) => match integer(cursor)? {
            Some(value) => epoch(value, unit, false),
            None => mismatch(scalar, "is no timestamp"),
        },
        Scalar::AnyTimestamp { unit, floor } => match integer(cursor)? {
            Some(value) => epoch(value, unit, floor),
            None => local_text(scalar, floor, cursor, scratch),
        },
        Scalar::IsoTimestamp => local_text(scalar, false, cursor, scratch),
        Scalar::StructuredTimestamp => {
            let parts = structured::read(cursor, scratch)?;
            joined(parts.days()?, parts.nanos()?, 0, false)
        }
        Scalar::Instant | Scalar::StructuredInstant => Err(Fault::mismatch(
            "is an instant, the column is a wall clock without zone",
            "the column declared TIMESTAMPTZ",
        )),
        _ => Err(Fault::mismatch(
            "is no timestamp",
            "a timestamp for a timestamp column",
        )),
    }
}

fn local_text(
    scalar: Scalar,
    floor: bool,
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<i64> {
    let moment = text(scalar, "is no timestamp", cursor, scratch)?;
    match moment {
        // `Z` is how Debezium decorates local times; any other zone is one.
        Moment {
            days: Some(days),
            nanos: Some(nanos),
            offset: None | Some(0),
        } => joined(days, nanos, 0, floor),
        Moment {
            offset: Some(_), ..
        } => Err(Fault::mismatch(
            "has a zone, the column has none",
            "the column declared TIMESTAMPTZ",
        )),
        _ => mismatch(scalar, "is no timestamp"),
    }
}

/// Microseconds of an instant.
pub(super) fn instant(scalar: Scalar, cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Step<i64> {
    match scalar {
        Scalar::Instant => match text(scalar, "is no timestamp with zone", cursor, scratch)? {
            Moment {
                days: Some(days),
                nanos: Some(nanos),
                offset: Some(offset),
            } => joined(days, nanos, offset, false),
            _ => mismatch(scalar, "is no timestamp with zone"),
        },
        Scalar::StructuredInstant => {
            let parts = structured::read(cursor, scratch)?;
            joined(parts.days()?, parts.nanos()?, parts.offset()?, false)
        }
        Scalar::Timestamp(_)
        | Scalar::AnyTimestamp { .. }
        | Scalar::IsoTimestamp
        | Scalar::StructuredTimestamp => Err(Fault::mismatch(
            "is a wall clock without zone, the column is an instant",
            "the column declared TIMESTAMP(6)",
        )),
        _ => Err(Fault::mismatch(
            "is no timestamp with zone",
            "an ISO 8601 string with zone for a timestamp with zone",
        )),
    }
}

/// A number of `unit`s since the epoch.
fn epoch(value: i64, unit: Unit, floor: bool) -> Step<i64> {
    let micros = match unit {
        Unit::Milli => value.checked_mul(1_000).ok_or_else(iso::out_of_years)?,
        Unit::Micro => value,
        // The extremes stand for infinity.
        Unit::Nano if value == i64::MAX || value == i64::MIN => return Err(iso::out_of_years()),
        Unit::Nano if floor => value.div_euclid(1_000),
        Unit::Nano => divided_nanos(value)?,
    };
    in_years(micros)
}

fn divided_nanos(value: i64) -> Step<i64> {
    divided(value, 1_000).map_err(|_| finer())
}

fn finer() -> Box<Fault> {
    Fault::range(
        "is finer than the column",
        "whole microseconds; declare the column TIMESTAMP(9) to drop nanoseconds",
    )
}

fn joined(days: i64, nanos: i64, offset: i64, floor: bool) -> Step<i64> {
    if nanos % 1_000 != 0 && !floor {
        return Err(finer());
    }
    in_years(days * MICROS_PER_DAY + nanos / 1_000 - offset * 1_000_000)
}

fn in_years(micros: i64) -> Step<i64> {
    if (MIN_DAYS * MICROS_PER_DAY..(MAX_DAYS + 1) * MICROS_PER_DAY).contains(&micros) {
        Ok(micros)
    } else {
        Err(iso::out_of_years())
    }
}
