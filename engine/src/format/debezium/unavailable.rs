//! Values that the source did not send: unchanged TOAST columns of PostgreSQL, blobs that a MySQL row image left out.
//!
//! Debezium writes a placeholder in the type of the column. Only an update can carry one, and the insert half of a
//! key change; everywhere else the same text is a value like any other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::fault::Step;
use super::number;
use super::scan::Cursor;
use super::wire::{Scalar, Wire};

/// The placeholder in every form that it takes.
#[derive(Debug)]
pub(super) struct Placeholder {
    bytes: Vec<u8>,
    /// The bytes as text: Java replaces what is no UTF-8.
    text: Vec<u8>,
    base64: Vec<u8>,
    uuid: Vec<u8>,
    /// `{"placeholder":"placeholder"}`, how a hstore column says it.
    hstore: Vec<u8>,
}

impl Placeholder {
    /// From the text of `unavailable.value.placeholder`, which may be `hex:` and hexadecimal bytes; `None` if there
    /// are no bytes in it.
    pub(super) fn new(text: &str) -> Option<Self> {
        let bytes = match text.strip_prefix("hex:") {
            Some(pairs) => unhex(pairs)?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let quoted = serde_json::Value::from(text.as_ref()).to_string();
        Some(Self {
            base64: STANDARD.encode(&bytes).into_bytes(),
            uuid: uuid(&bytes).into_bytes(),
            hstore: format!("{{{quoted}:{quoted}}}").into_bytes(),
            text: text.into_owned().into_bytes(),
            bytes,
        })
    }

    /// Whether the value at `cursor`, written as `wire` says, is the placeholder. Takes nothing.
    #[inline]
    pub(super) fn is_at(&self, wire: &Wire, mut cursor: Cursor<'_>) -> Step<bool> {
        match cursor.peek() {
            Some(b'"') => {
                if !self.may_start(cursor.after_quote()) {
                    return Ok(false);
                }
                let Some(text) = cursor.string()? else {
                    return Ok(false);
                };
                let json = matches!(wire, Wire::Scalar(Scalar::Json | Scalar::Text));
                let binary = matches!(wire, Wire::Scalar(Scalar::Bytes));
                Ok(text.is(&self.text)
                    || (binary && text.is(&self.base64))
                    || (json && text.is(&self.hstore)))
            }
            Some(b'[') => match wire {
                Wire::List(item) => self.is_array(item, &mut cursor),
                Wire::Map(..) => self.is_pair(&mut cursor),
                _ => Ok(false),
            },
            Some(b'{') if matches!(wire, Wire::Map(..)) => self.is_object(&mut cursor),
            _ => Ok(false),
        }
    }

    /// Whether a string that starts with `byte` can be any form of the placeholder: most are told apart here.
    fn may_start(&self, byte: Option<u8>) -> bool {
        byte == self.text.first().copied()
            || byte == self.base64.first().copied()
            || matches!(byte, Some(b'\\' | b'{'))
    }

    fn is_array(&self, item: &Wire, cursor: &mut Cursor<'_>) -> Step<bool> {
        cursor.expect(b'[')?;
        if let Some(text) = cursor.string()? {
            let binary = matches!(item, Wire::Scalar(Scalar::Bytes));
            let found = if binary {
                text.is(&self.base64) || text.is(&self.text)
            } else {
                text.is(&self.text) || text.is(&self.uuid)
            };
            return Ok(found && cursor.eat(b']'));
        }
        // Numbers are the placeholder's bytes, one by one; Java's bytes have signs.
        for (i, byte) in self.bytes.iter().enumerate() {
            if i > 0 && !cursor.eat(b',') {
                return Ok(false);
            }
            let value = cursor.number()?.map(number::parse);
            let signed = i64::from(byte.cast_signed());
            if !matches!(value, Some(Ok(value)) if value == i64::from(*byte) || value == signed) {
                return Ok(false);
            }
        }
        Ok(cursor.eat(b']'))
    }

    fn is_object(&self, cursor: &mut Cursor<'_>) -> Step<bool> {
        cursor.expect(b'{')?;
        Ok(self.is_here(cursor)? && cursor.eat(b':') && self.is_here(cursor)? && cursor.eat(b'}'))
    }

    fn is_pair(&self, cursor: &mut Cursor<'_>) -> Step<bool> {
        cursor.expect(b'[')?;
        Ok(cursor.eat(b'[')
            && self.is_here(cursor)?
            && cursor.eat(b',')
            && self.is_here(cursor)?
            && cursor.eat(b']')
            && cursor.eat(b']'))
    }

    fn is_here(&self, cursor: &mut Cursor<'_>) -> Step<bool> {
        Ok(cursor.string()?.is_some_and(|text| text.is(&self.text)))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    pairs
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// The name-based UUID (version 3) of `bytes`, as Java's `nameUUIDFromBytes` makes it.
fn uuid(bytes: &[u8]) -> String {
    let mut digest: [u8; 16] = Md5::digest(bytes).into();
    digest[6] = (digest[6] & 0x0f) | 0x30;
    digest[8] = (digest[8] & 0x3f) | 0x80;
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let dashes = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    let parts: Vec<&str> = dashes
        .iter()
        .filter_map(|(from, to)| hex.get(*from..*to))
        .collect();
    parts.join("-")
}
