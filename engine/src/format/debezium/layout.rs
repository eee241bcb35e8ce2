//! Objects by prediction: a converter writes the fields of one schema in one order every time.
//!
//! A [`Layout`] remembers for each key which one came after it. Each key is compared with the one expected next; a
//! miss goes the general way (white space, escapes, any order) and is what is expected from then on. A key that
//! nobody wants is remembered with its value: what stays the same from message to message, as the source's name
//! does, is stepped over in one comparison.

use std::borrow::Cow;
use std::collections::HashMap;

use super::fault::{Fault, Step};
use super::pattern::Pattern;
use super::scan::Cursor;
use sql::change::RejectReason;

/// How many keys that nobody wants are remembered, against messages that make keys up.
const MAX_UNWANTED: usize = 512;
/// How often the value of an unwanted key may change before it is no longer remembered.
const MAX_CHANGES: u8 = 8;
/// The longest key and value that are remembered together.
const MAX_SAME: usize = 128;

/// The keys of one kind of object.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    entries: Vec<Entry>,
    /// Where each name is in `entries`, for keys that come unexpected.
    places: HashMap<Box<str>, usize>,
    /// The entry of the key that comes first.
    first: usize,
    unwanted: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    /// `"name":`, as a converter writes it.
    quoted: Pattern,
    slot: Option<usize>,
    /// The entry of the key that comes after this one.
    next: usize,
    /// The key and the value that it had last, if nobody wants it.
    same: Pattern,
    changes: u8,
}

impl Layout {
    /// Wants these names; the first has slot 0.
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut layout = Self::default();
        for (slot, name) in names.into_iter().enumerate() {
            layout.add(name, Some(slot));
        }
        layout
    }

    fn add(&mut self, name: &str, slot: Option<usize>) -> usize {
        let at = self.entries.len();
        let mut quoted = Pattern::default();
        quoted.set(&[serde_json::Value::from(name).to_string().as_bytes(), b":"]);
        self.entries.push(Entry {
            quoted,
            slot,
            next: at + 1,
            same: Pattern::default(),
            changes: 0,
        });
        self.places.insert(name.into(), at);
        at
    }

    /// Walks an object: `field` is called for each wanted key with its slot and must take the value.
    ///
    /// # Errors
    /// Broken JSON, a wanted key that comes twice, or what `field` returns.
    #[inline]
    pub(super) fn walk<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        mut field: impl FnMut(usize, &mut Cursor<'a>) -> Step<()>,
    ) -> Step<Seen> {
        cursor.expect(b'{')?;
        let mut seen = Seen::default();
        if cursor.eat(b'}') {
            return Ok(seen);
        }
        let mut expected = self.first;
        let mut last = None;
        loop {
            seen.members += 1;
            let entry = match self.entries.get_mut(expected) {
                Some(entry) if entry.same.len() > 0 && cursor.take_member(&entry.same) => {
                    last = Some(expected);
                    expected = entry.next;
                    if !cursor.more(b'}')? {
                        return Ok(seen);
                    }
                    continue;
                }
                Some(entry) if cursor.take_pattern(&entry.quoted) => Some(entry),
                _ => match self.find(cursor, last)? {
                    Some(found) => {
                        expected = found;
                        self.entries.get_mut(found)
                    }
                    None => None,
                },
            };
            match entry {
                Some(entry) => {
                    last = Some(expected);
                    expected = entry.next;
                    match entry.slot {
                        Some(slot) => {
                            if !seen.insert(slot) {
                                return Err(self.twice(slot));
                            }
                            field(slot, cursor)?;
                        }
                        None => {
                            let value = cursor.value()?;
                            entry.remember(value);
                        }
                    }
                }
                None => {
                    cursor.value()?;
                }
            }
            if !cursor.more(b'}')? {
                return Ok(seen);
            }
        }
    }

    /// Takes a key and its colon the general way; it is what is expected after `last` from now on.
    #[cold]
    fn find(&mut self, cursor: &mut Cursor<'_>, last: Option<usize>) -> Step<Option<usize>> {
        let Some(key) = cursor.string()? else {
            return Err(Fault::json(cursor.at(), "a key"));
        };
        cursor.expect(b':')?;
        let name: Cow<'_, str> = key.text()?;
        let at = match self.places.get(name.as_ref()) {
            Some(at) => *at,
            None if self.unwanted >= MAX_UNWANTED => return Ok(None),
            None => {
                self.unwanted += 1;
                self.add(&name, None)
            }
        };
        match last.and_then(|last| self.entries.get_mut(last)) {
            Some(entry) => entry.next = at,
            None => self.first = at,
        }
        Ok(Some(at))
    }

    #[cold]
    fn twice(&self, slot: usize) -> Box<Fault> {
        let wanted = |at: &usize| self.entries.get(*at).is_some_and(|e| e.slot == Some(slot));
        let name = self.places.iter().find(|(_, at)| wanted(at));
        Fault::new(
            RejectReason::Malformed,
            format!(
                "the key `{}` comes twice in one object",
                name.map_or("", |(name, _)| name)
            ),
        )
    }
}

impl Entry {
    #[inline]
    fn remember(&mut self, value: &[u8]) {
        if self.changes < MAX_CHANGES {
            self.changes += 1;
            self.same.clear();
            if self.changes < MAX_CHANGES && self.quoted.len() + value.len() <= MAX_SAME {
                self.same.set(&[self.quoted.bytes(), value]);
            }
        }
    }
}

/// The wanted keys that an object had.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    low: [u64; 4],
    /// The slots from 256 on, 64 a word.
    high: Vec<u64>,
    /// How many keys there were, wanted or not.
    pub(super) members: usize,
}

impl Seen {
    /// Adds `slot`; false if it was there.
    #[inline]
    pub(super) fn insert(&mut self, slot: usize) -> bool {
        let bit = 1u64 << (slot % 64);
        let word = match self.low.get_mut(slot / 64) {
            Some(word) => word,
            None => self.high_word(slot / 64 - 4),
        };
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    #[cold]
    fn high_word(&mut self, at: usize) -> &mut u64 {
        if self.high.len() <= at {
            self.high.resize(at + 1, 0);
        }
        &mut self.high[at]
    }

    #[inline]
    pub(super) fn has(&self, slot: usize) -> bool {
        let word = self.low.iter().chain(&self.high).nth(slot / 64);
        word.is_some_and(|word| word & (1u64 << (slot % 64)) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.low == [0; 4] && self.high.is_empty()
    }
}
