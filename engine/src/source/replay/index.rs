//! Where in the file a position is.
//!
//! One pass over the file reads each line's place only, checks that offsets grow, and remembers, every so many bytes,
//! what every partition's next offset was there. A seek then starts at the last of these points that is not behind
//! the wanted position in any partition.

use std::collections::BTreeMap;

use sql::change::{Partition, Position};
use sql::{Error, Result};

use super::line::Place;

/// Bytes of the file between two points: what a seek reads in vain at most.
const STRIDE: u64 = 1 << 20;

/// A place between two lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Byte offset of the next line.
    pub(super) byte: u64,
    /// Its number, 1-based, minus one.
    pub(super) lines: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) low: i64,
    pub(super) high: i64,
}

/// What is known of the file's content up to a cursor.
#[derive(Debug, Default)]
pub(super) struct Index {
    extents: BTreeMap<Partition, Extent>,
    points: Vec<(Cursor, Position)>,
    /// Up to where the file was seen.
    pub(super) seen: Cursor,
}

impl Index {
    /// Every partition of the file, wanted or not.
    pub(super) fn extents(&self) -> &BTreeMap<Partition, Extent> {
        &self.extents
    }

    /// Takes the line that starts at `seen` and ends at `after`. `at` is `FILE:LINE`.
    pub(super) fn add(
        &mut self,
        place: &Place<'_>,
        after: Cursor,
        at: &dyn Fn() -> String,
    ) -> Result<()> {
        let last = self.points.last().map_or(0, |(cursor, _)| cursor.byte);
        if self.seen.byte.saturating_sub(last) >= STRIDE {
            self.points.push((self.seen, self.nexts()));
        }
        let partition = Partition::new(place.topic.as_ref(), place.partition);
        let offset = place.offset;
        if offset < 0 || offset == i64::MAX {
            return Err(Error::config(format!("offset {offset} is out of range"))
                .at(at())
                .expected("an offset from 0 on"));
        }
        match self.extents.get_mut(&partition) {
            Some(extent) if offset < extent.high => {
                return Err(Error::config(format!(
                    "offset {offset} of {partition} comes after offset {}",
                    extent.high - 1
                ))
                .at(at())
                .expected("offsets that grow in each partition")
                .remedy("Sort the file by offset and remove lines that are there twice."));
            }
            Some(extent) => extent.high = offset + 1,
            None => {
                let extent = Extent {
                    low: offset,
                    high: offset + 1,
                };
                self.extents.insert(partition, extent);
            }
        }
        self.seen = after;
        Ok(())
    }

    /// Where to start reading so that nothing from `start` on is missed.
    pub(super) fn cursor(&self, start: &Position) -> Cursor {
        let behind = |nexts: &Position| {
            start
                .iter()
                .all(|(partition, want)| nexts.get(partition).is_none_or(|next| next <= want))
        };
        // Points are ordered and next offsets only grow, so this is a partition point.
        let n = self.points.partition_point(|(_, nexts)| behind(nexts));
        n.checked_sub(1)
            .and_then(|i| self.points.get(i))
            .map_or_else(Cursor::default, |(cursor, _)| *cursor)
    }

    fn nexts(&self) -> Position {
        self.extents
            .iter()
            .map(|(partition, extent)| (partition.clone(), extent.high))
            .collect()
    }
}
