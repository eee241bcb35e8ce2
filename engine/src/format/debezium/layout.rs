//! Objects by prediction: a converter writes the fields of one schema in one order every time.
//!
//! A [`Layout`] remembers the keys of an object in the order in which they were last seen new. Each key is
//! compared with the one expected next; a miss goes the general way (white space, escapes, any order) and, if
//! the key is unknown, is remembered as one to step over.

use std::borrow::Cow;

use super::fault::{Fault, Step};
use super::scan::Cursor;
use sql::change::RejectReason;

/// How many keys that nobody wants are remembered, against messages that make keys up.
const MAX_UNWANTED: usize = 512;

/// The keys of one kind of object.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    entries: Vec<Entry>,
    unwanted: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    /// `"name":`, as a converter writes it.
    quoted: Box<[u8]>,
    name: Box<str>,
    slot: Option<usize>,
}

impl Entry {
    fn new(name: &str, slot: Option<usize>) -> Self {
        Self {
            quoted: format!("{}:", serde_json::Value::from(name))
                .into_bytes()
                .into(),
            name: name.into(),
            slot,
        }
    }
}

impl Layout {
    /// Wants these names; the first has slot 0.
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let entries = names
            .into_iter()
            .enumerate()
            .map(|(slot, name)| Entry::new(name, Some(slot)))
            .collect();
        Self {
            entries,
            unwanted: 0,
        }
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
        let mut next = 0;
        loop {
            seen.members += 1;
            let predicted = match self.entries.get(next) {
                Some(entry) if cursor.take(&entry.quoted) => Some(next),
                _ => self.find(cursor, next)?,
            };
            let wanted = predicted.and_then(|index| {
                next = index + 1;
                self.entries.get(index)?.slot
            });
            if let Some(slot) = wanted {
                if !seen.insert(slot) {
                    return Err(self.twice(slot));
                }
                field(slot, cursor)?;
            } else {
                cursor.value()?;
            }
            if !cursor.more(b'}')? {
                return Ok(seen);
            }
        }
    }

    /// Takes a key and its colon the general way.
    #[cold]
    fn find(&mut self, cursor: &mut Cursor<'_>, next: usize) -> Step<Option<usize>> {
        let Some(key) = cursor.string()? else {
            return Err(Fault::json(cursor.at(), "a key"));
        };
        cursor.expect(b':')?;
        let name: Cow<'_, str> = key.text()?;
        if let Some(index) = self.entries.iter().position(|entry| *entry.name == *name) {
            return Ok(Some(index));
        }
        if self.unwanted >= MAX_UNWANTED {
            return Ok(None);
        }
        self.unwanted += 1;
        let at = next.min(self.entries.len());
        self.entries.insert(at, Entry::new(&name, None));
        Ok(Some(at))
    }

    #[cold]
    fn twice(&self, slot: usize) -> Box<Fault> {
        let name = self
            .entries
            .iter()
            .find(|entry| entry.slot == Some(slot))
            .map_or("", |entry| &entry.name);
        Fault::new(
            RejectReason::Malformed,
            format!("the key `{name}` comes twice in one object"),
        )
    }
}

/// The wanted keys that an object had.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    low: u128,
    high: Vec<usize>,
    /// How many keys there were, wanted or not.
    pub(super) members: usize,
}

impl Seen {
    /// Adds `slot`; false if it was there.
    #[inline]
    pub(super) fn insert(&mut self, slot: usize) -> bool {
        if slot >= 128 {
            let fresh = !self.high.contains(&slot);
            if fresh {
                self.high.push(slot);
            }
            return fresh;
        }
        let bit = 1u128 << slot;
        let fresh = self.low & bit == 0;
        self.low |= bit;
        fresh
    }

    #[inline]
    pub(super) fn has(&self, slot: usize) -> bool {
        if slot >= 128 {
            self.high.contains(&slot)
        } else {
            self.low & (1u128 << slot) != 0
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.low == 0 && self.high.is_empty()
    }
}
