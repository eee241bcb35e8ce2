//! Text and binary columns.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use super::column::Bytes;
use super::decimal;
use super::fault::{Fault, Step};
use super::read::{Scratch, close};
use super::scan::Cursor;
use super::wire::Scalar;

/// Reads a value to a text column.
#[inline]
pub(super) fn string(
    scalar: Scalar,
    out: &mut Bytes,
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<()> {
    match scalar {
        Scalar::Decimal { .. } | Scalar::VariableDecimal => {
            let exact = decimal::read(scalar, None, cursor, scratch)?.to_text()?;
            out.values.extend_from_slice(exact.as_bytes());
            return close(out);
        }
        Scalar::StructuredDate
        | Scalar::StructuredTime
        | Scalar::StructuredTimestamp
        | Scalar::StructuredInstant => return raw(out, cursor.value()?),
        // A NUMERIC without precision that was declared TEXT, so that every digit is kept.
        Scalar::Text if cursor.peek() == Some(b'{') => {
            let exact = decimal::read(Scalar::VariableDecimal, None, cursor, scratch);
            let exact = exact.map_err(|_| no_string())?.to_text()?;
            out.values.extend_from_slice(exact.as_bytes());
            return close(out);
        }
        _ => {}
    }
    // What is a string on the wire is text for a column that was declared so.
    match cursor.string()? {
        Some(text) if !matches!(scalar, Scalar::Bytes) => {
            text.decode_into(&mut out.values)?;
            close(out)
        }
        None if matches!(scalar, Scalar::Json) => raw(out, cursor.value()?),
        _ => Err(no_string()),
    }
}

fn no_string() -> Box<Fault> {
    Fault::mismatch("is no string", "a JSON string for a text column")
}

/// Keeps a value as it is written.
pub(super) fn raw(out: &mut Bytes, value: &[u8]) -> Step<()> {
    out.values.extend_from_slice(value);
    close(out)
}

/// Whether text is what `binary.handling.mode=hex` writes.
fn is_hexadecimal(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len().is_multiple_of(2)
        && text
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Decodes the base64 of `binary.handling.mode=base64-url-safe` into `out`; false if it is none.
fn unbase64_url(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    URL_SAFE.decode_vec(text, out).is_ok()
}

/// Reads base64 to a binary column.
pub(super) fn binary(
    scalar: Scalar,
    out: &mut Bytes,
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<()> {
    let wanted = || Fault::mismatch("is no base64", "base64 for a binary column");
    if !matches!(scalar, Scalar::Bytes | Scalar::Text) {
        return Err(wanted());
    }
    let text = cursor.string()?.ok_or_else(wanted)?;
    let text = text.decode(&mut scratch.text)?;
    let known = if matches!(scalar, Scalar::Text) {
        // The connector's binary.handling.mode says how the string is written, and the string does not.
        if is_hexadecimal(text) {
            return Err(Fault::mismatch(
                "may be hexadecimal as well as base64",
                "binary.handling.mode=bytes or base64 in the connector, or the column declared TEXT",
            ));
        }
        decimal::unbase64(text, &mut scratch.bytes) || unbase64_url(text, &mut scratch.bytes)
    } else {
        decimal::unbase64(text, &mut scratch.bytes)
    };
    if !known {
        return Err(wanted());
    }
    out.values.extend_from_slice(&scratch.bytes);
    close(out)
}
