//! Exact decimals: base64 of big-endian two's complement, decimal text, JSON numbers, variable scales.
//!
//! Nothing is rounded: a value that a column cannot hold exactly is a reject.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fault::{Fault, Step};
use super::number;
use super::read::Scratch;
use super::scan::Cursor;
use super::string::JsonText;
use super::wire::Scalar;
use crate::spec::model::DecimalHandling;

/// The fields of a decimal with its scale.
pub(super) const NAMES: [&str; 2] = ["scale", "value"];
/// More digits, or zeros for a scale, than any database has: a broken or hostile message.
const MAX_DIGITS: usize = 150_000;
/// As many bytes as those digits need.
const MAX_BYTES: usize = 64 * 1024;

/// An exact number: `digits` × 10^-`scale`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exact {
    Small {
        unscaled: i128,
        scale: i32,
    },
    /// Too big for 128 bits. `digits` has no leading zero.
    Big {
        negative: bool,
        digits: String,
        scale: i32,
    },
}

/// Reads a decimal. `column_scale` is the scale of base64 that has no schema.
pub(super) fn read(
    scalar: Scalar,
    column_scale: Option<i8>,
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<Exact> {
    let expected = scalar.expects();
    let integer = matches!(scalar, Scalar::Int(_));
    let schema_scale = match scalar {
        Scalar::Decimal { scale, .. } => Some(scale),
        Scalar::AnyDecimal(DecimalHandling::Auto | DecimalHandling::Precise) => {
            column_scale.map(i32::from)
        }
        _ => None,
    };
    let text_allowed = matches!(
        scalar,
        Scalar::Text | Scalar::AnyDecimal(DecimalHandling::Auto | DecimalHandling::Text)
    );
    match cursor.peek() {
        Some(b'"') if text_allowed || schema_scale.is_some() => {
            let Some(text) = cursor.string()? else {
                return Err(Fault::mismatch("is no decimal", expected));
            };
            let text: &[u8] = text.decode(&mut scratch.text)?;
            if matches!(scalar, Scalar::AnyDecimal(DecimalHandling::Auto)) {
                ambiguous(text, column_scale)?;
            }
            if let Some(scale) = schema_scale
                && unbase64(text, &mut scratch.bytes)
            {
                return from_bytes(&scratch.bytes, scale);
            }
            if text_allowed {
                return from_string(text, expected);
            }
            Err(Fault::mismatch("is no base64", expected))
        }
        Some(b'-' | b'0'..=b'9') if !matches!(scalar, Scalar::Text) && numeric(scalar) => {
            let raw = cursor.number()?.unwrap_or_default();
            if integer {
                return Ok(Exact::Small {
                    unscaled: i128::from(number::parse(raw)?),
                    scale: 0,
                });
            }
            from_text(raw).ok_or_else(|| Fault::mismatch("is no decimal", expected))
        }
        Some(b'{') if matches!(scalar, Scalar::VariableDecimal | Scalar::AnyDecimal(_)) => {
            variable(cursor, scratch)
        }
        _ => Err(Fault::mismatch("is no decimal", expected)),
    }
}

/// Whether a value of this kind may be a JSON number.
fn numeric(scalar: Scalar) -> bool {
    matches!(
        scalar,
        Scalar::Int(_)
            | Scalar::Float32
            | Scalar::Float64
            | Scalar::Decimal { .. }
            | Scalar::AnyDecimal(_)
            | Scalar::VariableDecimal
    )
}

/// Without a schema, `"1234"` is a decimal string as well as base64. Text of a scaled column has a point, which
/// base64 never has; text of a whole number may not be told apart.
fn ambiguous(text: &[u8], scale: Option<i8>) -> Step<()> {
    let both = scale.unwrap_or(0) <= 0
        && !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.iter().all(u8::is_ascii_digit);
    if both {
        return Err(Fault::mismatch(
            "is a decimal string and base64 at the same time",
            "`decimal_handling: precise` or `string` in the source, as the connector's decimal.handling.mode is; or messages with schemas",
        ));
    }
    Ok(())
}

/// Decodes base64 into `out`; false if it is none.
pub(super) fn unbase64(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    STANDARD.decode_vec(text, out).is_ok()
}

/// Decimal text that came as a string, as `decimal.handling.mode=string` sends it.
fn from_string(text: &[u8], expected: &str) -> Step<Exact> {
    let special = [
        "NaN",
        "NAN",
        "Infinity",
        "-Infinity",
        "POSITIVE_INFINITY",
        "NEGATIVE_INFINITY",
    ];
    if special.iter().any(|word| word.as_bytes() == text) {
        return Err(Fault::range("is no finite number", "a finite decimal"));
    }
    from_text(text).ok_or_else(|| Fault::mismatch("is no base64 and no decimal", expected))
}

/// `[-+]digits[.digits][e[-+]digits]`.
fn from_text(text: &[u8]) -> Option<Exact> {
    let text = std::str::from_utf8(text).ok()?;
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole.len() + fraction.len();
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if digits == 0 || digits > MAX_DIGITS || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    Some(from_digits(negative, &format!("{whole}{fraction}"), scale))
}

fn from_digits(negative: bool, digits: &str, scale: i32) -> Exact {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Exact::Small { unscaled: 0, scale };
    }
    match digits.parse::<i128>() {
        Ok(value) => Exact::Small {
            unscaled: if negative { -value } else { value },
            scale,
        },
        Err(_) => Exact::Big {
            negative,
            digits: digits.to_owned(),
            scale,
        },
    }
}

/// Big-endian two's complement, of any length; none at all is zero.
fn from_bytes(bytes: &[u8], scale: i32) -> Step<Exact> {
    if bytes.len() > MAX_BYTES {
        return Err(Fault::range(
            "has too many digits",
            "a decimal of a database",
        ));
    }
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xFF } else { 0x00 };
    let start = bytes.iter().position(|byte| *byte != fill);
    let significant = start.map_or(&[][..], |start| bytes.get(start..).unwrap_or_default());
    let room = 16usize.checked_sub(significant.len());
    let sign_kept = significant
        .first()
        .is_none_or(|byte| (byte & 0x80 != 0) == negative);
    if let Some(room) = room
        && (room > 0 || sign_kept)
    {
        let mut wide = [fill; 16];
        for (to, from) in wide.iter_mut().skip(room).zip(significant) {
            *to = *from;
        }
        return Ok(Exact::Small {
            unscaled: i128::from_be_bytes(wide),
            scale,
        });
    }
    Ok(from_digits(negative, &magnitude(bytes, negative), scale))
}

/// The digits of the absolute value: repeated division by 10^9.
fn magnitude(bytes: &[u8], negative: bool) -> String {
    let mut limbs: Vec<u32> = bytes
        .rchunks(4)
        .rev()
        .map(|chunk| {
            chunk
                .iter()
                .fold(0, |limb, byte| (limb << 8) | u32::from(*byte))
        })
        .collect();
    if negative {
        // The first limb may be short: extend its sign before negating.
        let short = bytes.len() % 4;
        if let Some(first) = limbs.first_mut().filter(|_| short != 0) {
            *first |= u32::MAX << (8 * short);
        }
        let mut carry = true;
        for limb in limbs.iter_mut().rev() {
            let (value, overflow) = (!*limb).overflowing_add(u32::from(carry));
            (*limb, carry) = (value, overflow);
        }
    }
    let mut groups = Vec::new();
    let mut head = 0;
    while head < limbs.len() {
        let mut remainder = 0u64;
        for limb in limbs.iter_mut().skip(head) {
            let value = (remainder << 32) | u64::from(*limb);
            *limb = u32::try_from(value / 1_000_000_000).unwrap_or(u32::MAX);
            remainder = value % 1_000_000_000;
        }
        groups.push(remainder);
        while limbs.get(head) == Some(&0) {
            head += 1;
        }
    }
    groups
        .iter()
        .rev()
        .map(|group| format!("{group:09}"))
        .collect()
}

/// `{"scale":2,"value":"base64"}`.
fn variable(cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Step<Exact> {
    let mut scale: Option<i64> = None;
    let mut value: Option<JsonText<'_>> = None;
    scratch.decimal.walk(cursor, |slot, cursor| {
        if slot == 0 {
            scale = cursor.number()?.map(number::parse).transpose()?;
        } else {
            value = cursor.string()?;
        }
        if (slot == 0 && scale.is_none()) || (slot == 1 && value.is_none()) {
            return Err(no_variable());
        }
        Ok(())
    })?;
    let (Some(scale), Some(value)) = (scale, value) else {
        return Err(no_variable());
    };
    let scale = i32::try_from(scale).map_err(|_| no_variable())?;
    if !unbase64(value.decode(&mut scratch.text)?, &mut scratch.bytes) {
        return Err(no_variable());
    }
    from_bytes(&scratch.bytes, scale)
}

fn no_variable() -> Box<Fault> {
    Fault::mismatch(
        "is no decimal",
        "an object with an integer `scale` and a base64 `value`",
    )
}

impl Exact {
    /// The unscaled value of a column of `precision` digits with `scale`.
    pub(super) fn to_fixed(&self, precision: u8, scale: i8) -> Step<i128> {
        let overflow = || {
            Fault::range(
                "does not fit the column",
                format!("at most {precision} digits, {scale} of them after the point"),
            )
        };
        let (unscaled, from) = match self {
            Self::Small { unscaled, scale } => (*unscaled, *scale),
            Self::Big {
                negative,
                digits,
                scale,
            } => {
                let kept = digits.trim_end_matches('0');
                let zeros = i32::try_from(digits.len() - kept.len()).map_err(|_| overflow())?;
                let value: i128 = kept.parse().map_err(|_| overflow())?;
                let from = scale.checked_sub(zeros).ok_or_else(overflow)?;
                (if *negative { -value } else { value }, from)
            }
        };
        if unscaled == 0 {
            return Ok(0);
        }
        let shift = i64::from(scale) - i64::from(from);
        let power = u32::try_from(shift.unsigned_abs())
            .ok()
            .and_then(|shift| 10i128.checked_pow(shift));
        let value = match (power, shift >= 0) {
            (Some(power), true) => unscaled.checked_mul(power).ok_or_else(overflow)?,
            (Some(power), false) if unscaled % power == 0 => unscaled / power,
            (None, true) => return Err(overflow()),
            (_, false) => {
                return Err(Fault::range(
                    "has more digits after the point than the column",
                    format!("at most {scale} digits after the point"),
                ));
            }
        };
        let limit = 10u128
            .checked_pow(u32::from(precision))
            .unwrap_or(u128::MAX);
        if value.unsigned_abs() >= limit {
            return Err(overflow());
        }
        Ok(value)
    }

    /// The number as plain digits, with the zeros that its scale asks for.
    pub(super) fn to_text(&self) -> Step<String> {
        let (negative, digits, scale) = match self {
            Self::Small { unscaled, scale } => {
                (*unscaled < 0, unscaled.unsigned_abs().to_string(), *scale)
            }
            Self::Big {
                negative,
                digits,
                scale,
            } => (*negative, digits.clone(), *scale),
        };
        let size = usize::try_from(scale.unsigned_abs()).unwrap_or(usize::MAX);
        if size > MAX_DIGITS {
            return Err(Fault::range(
                "has too many digits",
                "a decimal of a database",
            ));
        }
        let sign = if negative { "-" } else { "" };
        if scale <= 0 {
            let zeros = if digits == "0" { 0 } else { size };
            return Ok(format!("{sign}{digits}{}", "0".repeat(zeros)));
        }
        let padded = format!("{digits:0>width$}", width = size + 1);
        let (whole, fraction) = padded.split_at(padded.len() - size);
        Ok(format!("{sign}{whole}.{fraction}"))
    }
}
