//! Booleans, integers and floats. An integer never passes through a float.

use super::decimal;
use super::fault::{Fault, Step};
use super::read::Scratch;
use super::scan::Cursor;
use super::wire::Scalar;

/// The value has a type that no column of this kind takes.
fn mismatch<T>(what: &str, scalar: Scalar, column: &str) -> Step<T> {
    Err(Fault::mismatch(
        what,
        format!("{} for {column}", scalar.expects()),
    ))
}

/// Reads a boolean: `true`, `false`, or 0 and 1 where the source stores booleans as numbers.
pub(super) fn boolean(scalar: Scalar, cursor: &mut Cursor<'_>) -> Step<bool> {
    if matches!(scalar, Scalar::Bool | Scalar::Int(_)) {
        if let Some(value) = cursor.boolean()? {
            return Ok(value);
        }
        match cursor.number()? {
            Some(b"0") => return Ok(false),
            Some(b"1") => return Ok(true),
            _ => {}
        }
    }
    Err(Fault::mismatch("is no boolean", "true, false, 0 or 1"))
}

/// Reads an integer. Temporal numbers are taken as they are, for columns declared BIGINT.
#[inline]
pub(super) fn integer(scalar: Scalar, cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Step<i64> {
    match scalar {
        Scalar::Int(_)
        | Scalar::Date
        | Scalar::Time(_)
        | Scalar::TimeSpan(_)
        | Scalar::Timestamp(_) => match cursor.number()? {
            Some(raw) => parse(raw),
            None => Err(Fault::mismatch("is no integer", "a JSON integer")),
        },
        Scalar::Bool => match cursor.boolean()? {
            Some(value) => Ok(i64::from(value)),
            None => Err(Fault::mismatch("is no boolean", "true or false")),
        },
        Scalar::Decimal { .. } | Scalar::VariableDecimal => {
            let exact = decimal::read(scalar, None, cursor, scratch)?.to_fixed(38, 0)?;
            i64::try_from(exact)
                .map_err(|_| Fault::range("does not fit the column", "an integer of 64 bits"))
        }
        _ => mismatch("is no integer", scalar, "an integer column"),
    }
}

/// An integer's text to its value; a fraction or an exponent is no integer.
#[inline]
pub(super) fn parse(raw: &[u8]) -> Step<i64> {
    let (negative, digits) = match raw.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, raw),
    };
    // Up to 18 digits always fit.
    if digits.len() <= 18
        && let Some(value) = small(digits)
    {
        return Ok(if negative { -value } else { value });
    }
    let mut value = 0i64;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return Err(Fault::mismatch("is no integer", "a JSON integer"));
        }
        // Negative, because the smallest integer has no positive twin.
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_sub(i64::from(byte - b'0')))
            .ok_or_else(|| too_big(digits))?;
    }
    if negative {
        return Ok(value);
    }
    value.checked_neg().ok_or_else(|| too_big(digits))
}

/// The value of at most 18 digits, eight at a time; `None` if they are no digits.
#[inline]
fn small(digits: &[u8]) -> Option<i64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (chunks, rest) = digits.as_chunks::<8>();
    let mut value = 0i64;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk) ^ (ONES * u64::from(b'0'));
        if (word.wrapping_add(ONES * 0x76) | word) & (ONES * 0x80) != 0 {
            return None;
        }
        // Neighbours are joined to pairs, pairs to fours, fours to eight digits; the first one is the lowest byte.
        let pairs = (word * 10 + (word >> 8)) & 0x00FF_00FF_00FF_00FF;
        let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
        let eight = (fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF;
        value = value * 100_000_000 + i64::try_from(eight).ok()?;
    }
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(value)
}

fn too_big(digits: &[u8]) -> Box<Fault> {
    if digits.iter().all(u8::is_ascii_digit) {
        Fault::range("does not fit the column", "an integer of 64 bits")
    } else {
        Fault::mismatch("is no integer", "a JSON integer")
    }
}

/// An integer of fewer bits.
#[inline]
pub(super) fn narrow<T: TryFrom<i64>>(value: i64) -> Step<T> {
    T::try_from(value).map_err(|_| {
        Fault::range(
            "does not fit the column",
            format!("an integer of {} bits", size_of::<T>() * 8),
        )
    })
}

/// A float that arrives as a string, because JSON numbers cannot say it.
fn special(cursor: &mut Cursor<'_>) -> Step<Option<f64>> {
    Ok(match cursor.string()? {
        Some(text) if text.is(b"NaN") => Some(f64::NAN),
        Some(text) if text.is(b"Infinity") => Some(f64::INFINITY),
        Some(text) if text.is(b"-Infinity") => Some(f64::NEG_INFINITY),
        _ => None,
    })
}

fn number_text<'a>(scalar: Scalar, cursor: &mut Cursor<'a>) -> Step<Option<&'a str>> {
    if !matches!(scalar, Scalar::Float32 | Scalar::Float64 | Scalar::Int(_)) {
        return mismatch("is no number", scalar, "a float column");
    }
    let raw = cursor.number()?;
    Ok(raw.and_then(|raw| std::str::from_utf8(raw).ok()))
}

pub(super) fn float64(scalar: Scalar, cursor: &mut Cursor<'_>) -> Step<f64> {
    let Some(text) = number_text(scalar, cursor)? else {
        return special(cursor)?.ok_or_else(no_float);
    };
    if matches!(scalar, Scalar::Float32) {
        // The text is the shortest that is nearest to the source's float, which is the value that it has.
        let value: f32 = text.parse().map_err(|_| no_float())?;
        finite(value.is_finite())?;
        return Ok(f64::from(value));
    }
    let value: f64 = text.parse().map_err(|_| no_float())?;
    finite(value.is_finite())?;
    if matches!(scalar, Scalar::Int(_)) {
        exact(text, value)?;
    }
    Ok(value)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "NaN, infinities, and what is compared afterwards"
)]
pub(super) fn float32(scalar: Scalar, cursor: &mut Cursor<'_>) -> Step<f32> {
    let Some(text) = number_text(scalar, cursor)? else {
        return special(cursor)?
            .map(|value| value as f32)
            .ok_or_else(no_float);
    };
    if matches!(scalar, Scalar::Float64) {
        let double: f64 = text.parse().map_err(|_| no_float())?;
        let value = double as f32;
        finite(double.is_finite() && value.is_finite())?;
        if f64::from(value).to_bits() != double.to_bits() {
            return Err(Fault::range(
                "has more digits than the column keeps",
                "a number that 32 bits hold exactly; declare the column DOUBLE",
            ));
        }
        return Ok(value);
    }
    // Parsed as what it is: rounding to 64 bits first would round twice.
    let value: f32 = text.parse().map_err(|_| no_float())?;
    finite(value.is_finite())?;
    if matches!(scalar, Scalar::Int(_)) {
        exact(text, f64::from(value))?;
    }
    Ok(value)
}

fn finite(finite: bool) -> Step<()> {
    if finite {
        Ok(())
    } else {
        Err(Fault::range("does not fit the column", "a smaller number"))
    }
}

/// An integer of the source keeps its value or is refused.
fn exact(text: &str, value: f64) -> Step<()> {
    if format!("{value:.0}") == text || text == "-0" {
        Ok(())
    } else {
        Err(Fault::range(
            "has more digits than a float keeps",
            "an integer that the column holds exactly; declare the column BIGINT",
        ))
    }
}

fn no_float() -> Box<Fault> {
    Fault::mismatch("is no number", Scalar::Float64.expects())
}
