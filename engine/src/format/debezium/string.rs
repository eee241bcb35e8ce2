//! JSON strings: raw text, escapes, surrogate pairs.

use std::borrow::Cow;

use super::fault::{Fault, Step};
use sql::change::RejectReason;

/// A string between its quotes, as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonText<'a> {
    pub(super) raw: &'a [u8],
    /// Whether `raw` has escapes. Their grammar was checked by the scan; surrogates were not.
    pub(super) escaped: bool,
}

impl<'a> JsonText<'a> {
    /// Appends the string's bytes.
    #[inline]
    pub(super) fn decode_into(&self, out: &mut Vec<u8>) -> Step<()> {
        if self.escaped {
            unescape(self.raw, out)
        } else {
            out.extend_from_slice(self.raw);
            Ok(())
        }
    }

    /// The string's bytes, borrowed if they have no escapes.
    pub(super) fn decode<'b>(&self, scratch: &'b mut Vec<u8>) -> Step<&'b [u8]>
    where
        'a: 'b,
    {
        if !self.escaped {
            return Ok(self.raw);
        }
        scratch.clear();
        unescape(self.raw, scratch)?;
        Ok(scratch)
    }

    /// The string's text, for names and sentences.
    pub(super) fn text(&self) -> Step<Cow<'a, str>> {
        if !self.escaped {
            return Ok(String::from_utf8_lossy(self.raw));
        }
        let mut out = Vec::new();
        unescape(self.raw, &mut out)?;
        Ok(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
    }

    /// Whether the string is `bytes`.
    #[inline]
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        if !self.escaped {
            return self.raw == bytes;
        }
        let mut out = Vec::new();
        unescape(self.raw, &mut out).is_ok() && out == bytes
    }
}

fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Step<()> {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let simple = match escape.get(1) {
            Some(b'b') => Some(0x08),
            Some(b'f') => Some(0x0c),
            Some(b'n') => Some(b'\n'),
            Some(b'r') => Some(b'\r'),
            Some(b't') => Some(b'\t'),
            Some(b'u') => None,
            Some(other) => Some(*other),
            None => return Err(surrogate()),
        };
        let taken = if let Some(byte) = simple {
            out.push(byte);
            2
        } else {
            let (c, taken) = unicode(escape).ok_or_else(surrogate)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            taken
        };
        rest = escape.get(taken..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The character of `\uXXXX`, or of a pair of them, and how many bytes it took.
fn unicode(escape: &[u8]) -> Option<(char, usize)> {
    let first = hex(escape.get(2..6)?)?;
    if !(0xD800..0xE000).contains(&first) {
        return char::from_u32(first).map(|c| (c, 6));
    }
    let second = escape
        .get(6..8)
        .filter(|mark| *mark == b"\\u")
        .and(escape.get(8..12))
        .and_then(hex)?;
    if first >= 0xDC00 || !(0xDC00..0xE000).contains(&second) {
        return None;
    }
    let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    char::from_u32(code).map(|c| (c, 12))
}

fn hex(digits: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn surrogate() -> Box<Fault> {
    Fault::new(
        RejectReason::Malformed,
        "a string has half of a surrogate pair, which is no character",
    )
}
