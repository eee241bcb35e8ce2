//! Why one message is no row, gathered on the way out of the decoder.

use sql::change::{Reject, RejectReason};

use crate::format::RawMessage;

/// Result of a step of decoding. Boxed, because a fault is rare and every step returns one of these.
pub(super) type Step<T> = Result<T, Box<Fault>>;

/// Longest piece of a cell that a sentence shows.
const SHOWN: usize = 60;

/// What is wrong with a message.
#[derive(Debug)]
pub(super) struct Fault {
    reason: RejectReason,
    what: String,
    expected: Option<String>,
    /// Names from the innermost field outwards.
    path: Vec<String>,
    shown: Option<String>,
}

impl Fault {
    pub(super) fn new(reason: RejectReason, what: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            reason,
            what: what.into(),
            expected: None,
            path: Vec::new(),
            shown: None,
        })
    }

    /// The bytes at `at` are no JSON.
    pub(super) fn json(at: usize, expected: &str) -> Box<Self> {
        Self::new(
            RejectReason::Malformed,
            format!("broken JSON at byte {at}: expected {expected}"),
        )
    }

    /// The value has another type than its column.
    pub(super) fn mismatch(what: impl Into<String>, expected: impl Into<String>) -> Box<Self> {
        Self::new(RejectReason::TypeMismatch, what).expected(expected)
    }

    /// The column cannot hold the value.
    pub(super) fn range(what: impl Into<String>, expected: impl Into<String>) -> Box<Self> {
        Self::new(RejectReason::OutOfRange, what).expected(expected)
    }

    pub(super) fn expected(mut self: Box<Self>, expected: impl Into<String>) -> Box<Self> {
        self.expected = Some(expected.into());
        self
    }

    /// Names the field that the fault was found in, and shows its `value` if no inner field did.
    pub(super) fn in_field(mut self: Box<Self>, name: &str, value: &[u8]) -> Box<Self> {
        self.path.push(name.to_owned());
        if self.shown.is_none() && self.reason != RejectReason::Malformed {
            self.shown = Some(shown(value));
        }
        self
    }

    /// The whole sentence.
    pub(super) fn sentence(&self) -> String {
        let mut out = String::new();
        if !self.path.is_empty() {
            let path: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
            out.push_str(&format!("field `{}`: ", path.join(".")));
        }
        if let Some(shown) = &self.shown {
            out.push_str(shown);
            out.push(' ');
        }
        out.push_str(&self.what);
        if let Some(expected) = &self.expected {
            out.push_str("; expected ");
            out.push_str(expected);
        }
        out
    }

    /// The message as a reject.
    pub(super) fn into_reject(self, message: &RawMessage<'_>) -> Reject {
        Reject {
            record: message.to_record(),
            reason: self.reason,
            detail: self.sentence(),
            column: self.path.last().cloned(),
        }
    }
}

/// A value as a sentence shows it: cut after [`SHOWN`] bytes at a character.
pub(super) fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value.get(..SHOWN + 4).unwrap_or(value));
    if value.len() <= SHOWN {
        return text.into_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if out.len() + c.len_utf8() > SHOWN {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}
