//! ISO 8601 text to days, nanoseconds and offsets. Strict: every character must be accounted for.

use chrono::NaiveDate;

use super::fault::{Fault, Step};

/// Days from 0001-01-01 to 1970-01-01, and to the day after 9999-12-31: what every table format can hold.
pub(super) const MIN_DAYS: i64 = -719_162;
pub(super) const MAX_DAYS: i64 = 2_932_896;

/// Days of chrono's common era before 1970-01-01.
const EPOCH_FROM_CE: i32 = 719_163;

pub(super) const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// What the text said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// Days since the epoch, if there was a date.
    pub(super) days: Option<i64>,
    /// Since midnight, if there was a time.
    pub(super) nanos: Option<i64>,
    /// Seconds east of UTC, if there was a zone.
    pub(super) offset: Option<i64>,
}

/// Days since the epoch of a calendar date.
pub(super) fn days(year: i32, month: u32, day: u32) -> Step<i64> {
    if !(1..=9999).contains(&year) {
        return Err(out_of_years());
    }
    NaiveDate::from_ymd_opt(year, month, day)
        .map(|date| i64::from(chrono::Datelike::num_days_from_ce(&date) - EPOCH_FROM_CE))
        .ok_or_else(|| Fault::range("is no date of the calendar", "a date that exists"))
}

/// The value is outside of the years that every table format can hold.
pub(super) fn out_of_years() -> Box<Fault> {
    Fault::range(
        "is outside of the years 0001 to 9999",
        "a finite date; declare the column BIGINT (numbers) or TEXT (strings) to keep such values",
    )
}

/// Parses `[date][T][time][zone]`. `expected` is for the error.
pub(super) fn parse(text: &[u8], expected: &str) -> Step<Moment> {
    if matches!(
        text,
        b"infinity" | b"-infinity" | b"POSITIVE_INFINITY" | b"NEGATIVE_INFINITY"
    ) {
        return Err(out_of_years());
    }
    let wrong = || Fault::mismatch("is no ISO 8601 text of this kind", expected);
    let mut reader = Reader { rest: text };
    let mut moment = Moment::default();
    if let Some((year, month, day)) = reader.date().ok_or_else(wrong)? {
        moment.days = Some(days(year, month, day)?);
    }
    let separated = reader.any(b"Tt ");
    if (moment.days.is_none() || separated) && !reader.rest.is_empty() {
        moment.nanos = Some(reader.time().ok_or_else(wrong)??);
    } else if separated {
        return Err(wrong());
    }
    moment.offset = reader.zone().ok_or_else(wrong)?;
    if !reader.rest.is_empty() {
        return Err(wrong());
    }
    Ok(moment)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn any(&mut self, bytes: &[u8]) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if bytes.contains(first) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Exactly `len` digits.
    fn digits(&mut self, len: usize) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(len)?;
        let mut value = 0u32;
        for byte in digits {
            if !byte.is_ascii_digit() {
                return None;
            }
            value = value.checked_mul(10)?.checked_add(u32::from(byte - b'0'))?;
        }
        self.rest = rest;
        Some(value)
    }

    /// A date, if the text starts with one: four or more digits, or a sign, then a dash.
    fn date(&mut self) -> Option<Option<(i32, u32, u32)>> {
        let unsigned = self
            .rest
            .strip_prefix(b"-")
            .or(self.rest.strip_prefix(b"+"));
        let digits = unsigned.unwrap_or(self.rest);
        let len = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if len < 4 || digits.get(len) != Some(&b'-') {
            return if unsigned.is_some() { None } else { Some(None) };
        }
        let negative = self.rest.starts_with(b"-");
        self.rest = digits;
        let year = i32::try_from(self.digits(len)?).ok()?;
        let month = self.dashed()?;
        let day = self.dashed()?;
        Some(Some((if negative { -year } else { year }, month, day)))
    }

    fn dashed(&mut self) -> Option<u32> {
        self.any(b"-").then(|| self.digits(2)).flatten()
    }

    /// `HH:MM[:SS[.f]]` with up to nine digits.
    fn time(&mut self) -> Option<Step<i64>> {
        let hour = self.digits(2)?;
        let minute = self.any(b":").then(|| self.digits(2)).flatten()?;
        let mut second = 0;
        let mut nanos = 0i64;
        if self.any(b":") {
            second = self.digits(2)?;
            if self.any(b".,") {
                nanos = self.fraction()?;
            }
        }
        if hour > 23 || minute > 59 || second > 59 {
            return Some(Err(Fault::range(
                "is no time of a day",
                "00:00:00 to 23:59:59.999999",
            )));
        }
        let seconds = i64::from(hour * 3600 + minute * 60 + second);
        Some(Ok(seconds * 1_000_000_000 + nanos))
    }

    fn fraction(&mut self) -> Option<i64> {
        let len = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if !(1..=9).contains(&len) {
            return None;
        }
        let value = i64::from(self.digits(len)?);
        let missing = u32::try_from(9 - len).ok()?;
        Some(value * 10i64.pow(missing))
    }

    /// `Z` or `±HH[:MM[:SS]]`; none is fine.
    fn zone(&mut self) -> Option<Option<i64>> {
        if self.any(b"Zz") {
            return Some(Some(0));
        }
        let negative = self.rest.starts_with(b"-");
        if !self.any(b"+-") {
            return Some(None);
        }
        let hours = self.digits(2)?;
        let mut seconds = i64::from(hours) * 3600;
        for unit in [60, 1] {
            let colon = self.any(b":");
            if !colon && !self.rest.first().is_some_and(u8::is_ascii_digit) {
                break;
            }
            let part = self.digits(2).filter(|part| *part < 60)?;
            seconds += i64::from(part) * unit;
        }
        if seconds > 18 * 3600 {
            return None;
        }
        Some(Some(if negative { -seconds } else { seconds }))
    }
}
