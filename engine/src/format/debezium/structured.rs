//! Debezium's structured temporal types: `{"year":2024,"month":2,"day":29,…,"specialValue":null}`.
//!
//! Fractions are `nanos` or, in later versions, `picoseconds`. A special value (infinity), a part that is null or
//! a date that does not exist (MySQL's zero dates) is out of range.

use super::fault::{Fault, Step};
use super::iso;
use super::number;
use super::read::Scratch;
use super::scan::Cursor;

pub(super) const NAMES: [&str; 10] = [
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "nanos",
    "picoseconds",
    "offsetSeconds",
    "specialValue",
];
const SPECIAL: usize = 9;

/// The parts that were sent and not null.
#[derive(Debug, Default)]
pub(super) struct Parts([Option<i64>; SPECIAL]);

/// Reads the object.
pub(super) fn read(cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Step<Parts> {
    if cursor.peek() != Some(b'{') {
        return Err(Fault::mismatch(
            "is no struct",
            "an object of calendar parts",
        ));
    }
    let mut parts = Parts::default();
    scratch.calendar.walk(cursor, |slot, cursor| {
        if cursor.null()? {
            return Ok(());
        }
        if slot == SPECIAL {
            cursor.value()?;
            return Err(iso::out_of_years());
        }
        let Some(raw) = cursor.number()? else {
            return Err(Fault::mismatch("has a part that is no integer", "integers"));
        };
        if let Some(part) = parts.0.get_mut(slot) {
            *part = Some(number::parse(raw)?);
        }
        Ok(())
    })?;
    Ok(parts)
}

impl Parts {
    fn part(&self, slot: usize) -> Option<i64> {
        self.0.get(slot).copied().flatten()
    }

    /// Days since the epoch.
    pub(super) fn days(&self) -> Step<i64> {
        let parts = (self.part(0), self.part(1), self.part(2));
        let (Some(year), Some(month), Some(day)) = parts else {
            return Err(incomplete());
        };
        let wrong = |_| incomplete();
        iso::days(
            i32::try_from(year).map_err(|_| iso::out_of_years())?,
            u32::try_from(month).map_err(wrong)?,
            u32::try_from(day).map_err(wrong)?,
        )
    }

    /// Nanoseconds since midnight.
    pub(super) fn nanos(&self) -> Step<i64> {
        let parts = (self.part(3), self.part(4), self.part(5));
        let (Some(hour), Some(minute), Some(second)) = parts else {
            return Err(incomplete());
        };
        let picos = self.part(7).unwrap_or(0);
        if picos % 1_000 != 0 {
            return Err(Fault::range(
                "is finer than the column",
                "whole microseconds",
            ));
        }
        let nanos = self.part(6).unwrap_or(0).checked_add(picos / 1_000);
        match nanos {
            Some(nanos)
                if (0..24).contains(&hour)
                    && (0..60).contains(&minute)
                    && (0..60).contains(&second)
                    && (0..1_000_000_000).contains(&nanos) =>
            {
                Ok((hour * 3600 + minute * 60 + second) * 1_000_000_000 + nanos)
            }
            _ => Err(Fault::range(
                "is no time of a day",
                "00:00:00 to 23:59:59.999999",
            )),
        }
    }

    /// Seconds east of UTC.
    pub(super) fn offset(&self) -> Step<i64> {
        self.part(8)
            .filter(|offset| (-18 * 3600..=18 * 3600).contains(offset))
            .ok_or_else(incomplete)
    }
}

fn incomplete() -> Box<Fault> {
    Fault::range(
        "lacks a part, or has an impossible one",
        "a date or time that exists",
    )
}
