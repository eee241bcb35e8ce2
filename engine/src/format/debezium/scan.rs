//! A strict walk over JSON text: no tree, no copies.
//!
//! Everything that is stepped over is checked against the grammar (RFC 8259), so a message that decodes is JSON.
//! UTF-8 is checked once per message by the caller.

use super::fault::{Fault, Step};
use super::pattern::Pattern;
use super::string::JsonText;

/// Deepest nesting that is followed; `serde_json` has the same limit.
const MAX_DEPTH: usize = 128;

/// A place in JSON text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A cursor over the same text that stands at `at`.
    pub(super) fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text between `start` and here.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte that is no white space, not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// The first byte of the string whose quote is here.
    #[inline]
    pub(super) fn after_quote(&self) -> Option<u8> {
        self.rest().get(1).copied()
    }

    /// Takes `wanted` if it comes next.
    #[inline]
    pub(super) fn eat(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    #[inline]
    pub(super) fn expect(&mut self, wanted: u8) -> Step<()> {
        if self.eat(wanted) {
            Ok(())
        } else {
            Err(self.not(&[wanted]))
        }
    }

    /// None of these bytes comes next.
    #[cold]
    fn not(&self, wanted: &[u8]) -> Box<Fault> {
        let wanted: Vec<String> = wanted
            .iter()
            .map(|byte| format!("`{}`", char::from(*byte)))
            .collect();
        Fault::json(self.at, &wanted.join(" or "))
    }

    /// Takes `word` if the text goes on with exactly these bytes.
    #[inline]
    fn take(&mut self, word: &[u8]) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes `pattern` if the text goes on with it.
    #[inline]
    pub(super) fn take_pattern(&mut self, pattern: &Pattern) -> bool {
        let found = pattern.starts(self.rest());
        if found {
            self.at += pattern.len();
        }
        found
    }

    /// Takes `member`, a key with its value, if the text goes on with it and the value ends there.
    #[inline]
    pub(super) fn take_member(&mut self, member: &Pattern) -> bool {
        let rest = self.rest();
        let found = member.starts(rest) && matches!(rest.get(member.len()), Some(b',' | b'}'));
        if found {
            self.at += member.len();
        }
        found
    }

    /// Takes a `null`.
    #[inline]
    pub(super) fn null(&mut self) -> Step<bool> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.literal(b"null").map(|()| true)
    }

    /// Takes `true` or `false`; `None` if neither comes next.
    pub(super) fn boolean(&mut self) -> Step<Option<bool>> {
        match self.peek() {
            Some(b't') => self.literal(b"true").map(|()| Some(true)),
            Some(b'f') => self.literal(b"false").map(|()| Some(false)),
            _ => Ok(None),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Step<()> {
        if self.take(word) {
            Ok(())
        } else {
            Err(Fault::json(self.at, "a JSON value"))
        }
    }

    /// Takes a string; `None` if something else comes next.
    #[inline]
    pub(super) fn string(&mut self) -> Step<Option<JsonText<'a>>> {
        if !self.eat(b'"') {
            return Ok(None);
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_prefix(self.rest());
            match self.byte() {
                Some(b'"') => {
                    let raw = self.since(start);
                    self.at += 1;
                    return Ok(Some(JsonText { raw, escaped }));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(Fault::json(self.at, "no control character in a string")),
                None => return Err(Fault::json(self.at, "the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Step<()> {
        let rest = self.rest();
        let len = match rest.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u')
                if rest
                    .get(2..6)
                    .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) =>
            {
                6
            }
            _ => return Err(Fault::json(self.at, "an escape sequence")),
        };
        self.at += len;
        Ok(())
    }

    /// Takes a number, as it is written; `None` if something else comes next.
    #[inline]
    pub(super) fn number(&mut self) -> Step<Option<&'a [u8]>> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Ok(None);
        }
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'0'..=b'9' | b'.')) {
            return Err(Fault::json(self.at, "the end of a number"));
        }
        Ok(Some(self.since(start)))
    }

    #[inline]
    fn digits(&mut self) -> Step<()> {
        let len = digit_prefix(self.rest());
        if len == 0 {
            return Err(Fault::json(self.at, "a digit"));
        }
        self.at += len;
        Ok(())
    }

    /// Steps over one value of any kind and returns its text.
    #[inline]
    pub(super) fn value(&mut self) -> Step<&'a [u8]> {
        self.peek();
        let start = self.at;
        self.skip(0)?;
        Ok(self.since(start))
    }

    fn skip(&mut self, depth: usize) -> Step<()> {
        if depth > MAX_DEPTH {
            return Err(Fault::json(self.at, "less nesting"));
        }
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => self.skip_members(depth),
            Some(b'[') => self.skip_items(depth),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            _ => Err(Fault::json(self.at, "a JSON value")),
        }
    }

    fn skip_members(&mut self, depth: usize) -> Step<()> {
        self.at += 1;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            if self.string()?.is_none() {
                return Err(Fault::json(self.at, "a key"));
            }
            self.expect(b':')?;
            self.skip(depth + 1)?;
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn skip_items(&mut self, depth: usize) -> Step<()> {
        self.at += 1;
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            self.skip(depth + 1)?;
            if !self.more(b']')? {
                return Ok(());
            }
        }
    }

    /// After a member or an item: whether another one follows (`,`) or the container ends (`close`).
    #[inline]
    pub(super) fn more(&mut self, close: u8) -> Step<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.not(&[b',', close])),
        }
    }

    /// Only white space may follow.
    pub(super) fn end(&mut self) -> Step<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Fault::json(self.at, "nothing after the document")),
        }
    }
}

/// How many bytes at the start of `bytes` are digits.
#[inline]
fn digit_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut len = 0;
    while let Some(chunk) = bytes.get(len..).and_then(<[u8]>::first_chunk::<8>) {
        // Digits become 0 to 9; what is more reaches the high bit, by itself or with what is added.
        let word = u64::from_le_bytes(*chunk) ^ (ONES * u64::from(b'0'));
        let other = (word.wrapping_add(ONES * 0x76) | word) & (ONES * 0x80);
        if other != 0 {
            // A carry can mark bytes above the first real one, never below it.
            return len + (other.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    let tail = bytes.get(len..).unwrap_or_default();
    len + tail.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// How many bytes at the start of `bytes` are neither a quote, a backslash nor a control character.
/// Eight at a time; the high bits of `hit` mark the bytes that end the run.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (chunks, _) = bytes.as_chunks::<8>();
    for (i, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let quotes = zero_bytes(word ^ (ONES * u64::from(b'"')));
        let slashes = zero_bytes(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let hit = quotes | slashes | controls;
        if hit != 0 {
            // A borrow can mark bytes above the first real hit, never below it.
            return i * 8 + (hit.trailing_zeros() / 8) as usize;
        }
    }
    let done = chunks.len() * 8;
    let tail = bytes.get(done..).unwrap_or_default();
    done + tail
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
        .unwrap_or(tail.len())
}
