//! Bytes that are expected again and again: compared a word at a time, without a call and without a branch a byte.

/// Words that are compared at once.
const WORDS: usize = 4;
const BYTES: usize = WORDS * 8;

/// Expected bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Pattern {
    bytes: Vec<u8>,
    /// The bytes, and which of them count, if they are few enough.
    words: [u64; WORDS],
    masks: [u64; WORDS],
}

impl Pattern {
    /// Expects `parts`, one after the other.
    pub(super) fn set(&mut self, parts: &[&[u8]]) {
        self.bytes.clear();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let (mut bytes, mut mask) = ([0; BYTES], [0; BYTES]);
        for ((to, on), byte) in bytes.iter_mut().zip(&mut mask).zip(&self.bytes) {
            (*to, *on) = (*byte, 0xFF);
        }
        self.words = words(&bytes);
        self.masks = words(&mask);
    }

    /// Expects nothing.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether `text` starts with the bytes.
    #[inline]
    pub(super) fn starts(&self, text: &[u8]) -> bool {
        match text.first_chunk::<BYTES>() {
            Some(text) if self.bytes.len() <= BYTES => {
                let text = words(text);
                let mut different = 0;
                for ((have, want), mask) in text.iter().zip(&self.words).zip(&self.masks) {
                    different |= (have ^ want) & mask;
                }
                different == 0
            }
            _ => text.starts_with(&self.bytes),
        }
    }
}

#[inline]
fn words(bytes: &[u8; BYTES]) -> [u64; WORDS] {
    let (chunks, _) = bytes.as_chunks::<8>();
    let mut words = [0; WORDS];
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}
