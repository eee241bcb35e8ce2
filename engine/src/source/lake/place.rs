//! Where a lake feed stands, as positions of a topic that has the source's name.
//!
//! | partition | value |
//! |---|---|
//! | 0 | the last version that is done whole; absent before the first |
//! | 1 | only once a version was split: a counter of rows. It stands at a multiple of 2^40 between versions; in the middle of one, the rest is the rows that are done of it |
//! | 2 | only with `start: snapshot`: the version whose rows were read first. While partition 0 is absent or smaller, that reading is under way |
//!
//! The version in progress is the next one after partition 0. Where the target is kept by key, a version that is split is read
//! twice, first for what it takes away and then for what it brings: from [`ADDITIONS`] on, the rest counts the second reading.
//! All values only grow.

use sql::change::{Partition, Position};

/// What the counter grows by when a split version is done.
const STEP: i64 = 1 << 40;
/// Where the second reading of a split version counts from.
const ADDITIONS: i64 = 1 << 39;

/// Which partition holds what.
const DONE: i32 = 0;
const ROWS: i32 = 1;
const SNAPSHOT: i32 = 2;

/// How far the version in progress is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// Nothing of it was committed.
    Start,
    /// So many rows of its first, or only, reading.
    Rows(i64),
    /// So many rows of its second reading.
    Additions(i64),
}

/// Where a feed stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The last version that is done.
    pub(super) done: Option<i64>,
    /// The version of the initial snapshot.
    pub(super) snapshot: Option<i64>,
    counter: i64,
}

impl Place {
    /// After the version `done`, which may be none.
    pub(super) fn after(done: Option<i64>) -> Self {
        Self {
            done,
            ..Self::default()
        }
    }

    /// At the beginning of the initial snapshot of `version`.
    pub(super) fn at_snapshot(version: i64) -> Self {
        Self {
            snapshot: Some(version),
            ..Self::default()
        }
    }

    /// What `position` says of the source `name`; `None` if it says nothing.
    pub(super) fn read(position: &Position, name: &str) -> Option<Self> {
        let get = |number| position.get(&Partition::new(name, number));
        let place = Self {
            done: get(DONE),
            snapshot: get(SNAPSHOT),
            counter: get(ROWS).unwrap_or(0),
        };
        let unread = place == Self::default() && get(ROWS).is_none();
        (!unread).then_some(place)
    }

    /// The same as positions.
    pub(super) fn position(&self, name: &str) -> Position {
        let counter = (self.counter > 0).then_some(self.counter);
        [
            (DONE, self.done),
            (ROWS, counter),
            (SNAPSHOT, self.snapshot),
        ]
        .into_iter()
        .filter_map(|(number, value)| Some((Partition::new(name, number), value?)))
        .collect()
    }

    /// The version whose rows are being read as the initial snapshot.
    pub(super) fn in_snapshot(&self) -> Option<i64> {
        self.snapshot
            .filter(|snapshot| self.done.is_none_or(|done| done < *snapshot))
    }

    /// How far the version in progress is.
    pub(super) fn within(&self) -> Within {
        match self.counter.rem_euclid(STEP) {
            0 => Within::Start,
            rows if rows >= ADDITIONS => Within::Additions(rows - ADDITIONS),
            rows => Within::Rows(rows),
        }
    }

    /// The version in progress is so far.
    pub(super) fn set_within(&mut self, within: Within) {
        let base = self.counter - self.counter.rem_euclid(STEP);
        self.counter = base.saturating_add(match within {
            Within::Start => 0,
            Within::Rows(rows) => rows,
            Within::Additions(rows) => ADDITIONS.saturating_add(rows),
        });
    }

    /// `version` is done.
    pub(super) fn finish(&mut self, version: i64) {
        self.done = Some(version);
        let rest = self.counter.rem_euclid(STEP);
        if rest > 0 {
            self.counter = (self.counter - rest).saturating_add(STEP);
        }
    }

    /// The version that the target's rows are based on: what a reader that goes on from here needs, and all that came after.
    pub(super) fn needs(&self) -> Option<i64> {
        self.in_snapshot().or(self.done)
    }
}
