//! Decoders: bytes of records into typed columns.

use sql::change::Partition;

/// One record of a log, borrowed from whatever fetched it. Valid until the next fetch.
#[derive(Debug, Clone, Copy)]
pub struct RawMessage<'a> {
    /// Where it was read.
    pub partition: &'a Partition,
    /// Its offset there.
    pub offset: i64,
    /// The record's own timestamp, milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The key; `None` is a null key, which is not the same as an empty one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order; names may repeat.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl RawMessage<'_> {
    /// Bytes of key, value and headers: what batch limits count.
    pub fn size(&self) -> usize {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + len(*value)).sum();
        len(self.key) + len(self.value) + headers
    }
}
