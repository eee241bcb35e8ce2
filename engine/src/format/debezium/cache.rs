//! Compiled schemas, found by the exact bytes that messages start with.
//!
//! A converter writes the same `{"schema":{…},"payload":` before every payload of one schema. Comparing all of it is
//! cheaper than hashing it, and nothing less is sound: schemas of the same length differ in a type or a scale.

/// Schemas that are kept: those of a topic's tables, and of connectors that are being upgraded. They differ in their
/// first fields, so that looking through all of them costs less than reading one again.
const CAPACITY: usize = 64;

/// Most recently used first.
#[derive(Debug)]
pub(super) struct Cache<P> {
    entries: Vec<Box<Entry<P>>>,
}

/// A schema and what it was compiled to.
#[derive(Debug)]
pub(super) struct Entry<P> {
    /// What messages of the schema start with, up to the payload; empty if they are written another way.
    pub(super) prefix: Vec<u8>,
    /// The schema's own text.
    pub(super) schema: Vec<u8>,
    pub(super) plan: P,
}

impl<P> Default for Cache<P> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

impl<P> Cache<P> {
    /// Takes out the entry that `message` starts with.
    #[inline]
    pub(super) fn take(&mut self, message: &[u8]) -> Option<Box<Entry<P>>> {
        self.take_if(|entry| !entry.prefix.is_empty() && message.starts_with(&entry.prefix))
    }

    /// Takes out the entry of a schema's text.
    pub(super) fn take_schema(&mut self, schema: &[u8]) -> Option<Box<Entry<P>>> {
        self.take_if(|entry| entry.schema == schema)
    }

    fn take_if(&mut self, found: impl Fn(&Entry<P>) -> bool) -> Option<Box<Entry<P>>> {
        let at = self.entries.iter().position(|entry| found(entry))?;
        Some(self.entries.remove(at))
    }

    /// Puts an entry in as the most recently used.
    pub(super) fn put(&mut self, entry: Box<Entry<P>>) {
        self.entries.truncate(CAPACITY - 1);
        self.entries.insert(0, entry);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
