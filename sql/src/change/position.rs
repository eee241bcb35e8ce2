//! Positions in a source, and the spans between them.
//!
//! A [`Position`] says, for each partition, up to where everything is done: the **next** offset to read.
//! A [`Span`] is what one batch covers. A table's position is advanced by a span only if it stands exactly
//! where the span starts; this is the check that makes commits exactly-once.
//!
//! | table's position of p | span of p | result |
//! |---|---|---|
//! | none | `after` none, `to` 7 | 7 |
//! | 7 | `after` 7, `to` 9 | 9 |
//! | 7 | `after` 5, `to` 9 | refused: somebody else moved it |
//! | 9 | `after` 7, `to` 9 | refused, and [`Span::reached_by`] is true: an earlier attempt landed |

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// One ordered log of a source: a topic's partition. Displays as `topic/partition`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number in the topic.
    pub number: i32,
}

impl Partition {
    /// Partition `number` of `topic`.
    pub fn new(topic: impl Into<String>, number: i32) -> Self {
        Self {
            topic: topic.into(),
            number,
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

impl FromStr for Partition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.rsplit_once('/')
            .and_then(|(topic, number)| Some(Self::new(topic, number.parse().ok()?)))
            .ok_or_else(|| {
                Error::config(format!("`{text}` names no partition")).expected("topic/partition")
            })
    }
}

/// For each partition the next offset to read. A partition that is absent was never read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position(BTreeMap<Partition, i64>);

impl Position {
    /// The position of a table that nothing was written to.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next offset of `partition`, if it was ever read.
    pub fn get(&self, partition: &Partition) -> Option<i64> {
        self.0.get(partition).copied()
    }

    /// Sets the next offset of `partition`.
    pub fn set(&mut self, partition: Partition, next: i64) {
        self.0.insert(partition, next);
    }

    /// Partitions and next offsets, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&Partition, i64)> {
        self.0.iter().map(|(p, o)| (p, *o))
    }

    /// How many partitions have a position.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no partition has a position.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Moves every partition of `span` forward.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] if a partition does not stand exactly at `span.after`; nothing is moved then.
    pub fn try_advance(&mut self, span: &Span) -> Result<()> {
        for (partition, to) in span.to.iter() {
            let (stored, after) = (self.get(partition), span.after.get(partition));
            if stored != after {
                return Err(Error::new(
                    ErrorKind::Fenced,
                    format!(
                        "the table's position of {partition} is {}, but this batch starts at {} and ends at {to}",
                        shown(stored),
                        shown(after),
                    ),
                ));
            }
        }
        for (partition, to) in span.to.iter() {
            self.set(partition.clone(), to);
        }
        Ok(())
    }
}

fn shown(next: Option<i64>) -> String {
    next.map_or_else(|| "not set".to_owned(), |next| next.to_string())
}

impl FromIterator<(Partition, i64)> for Position {
    fn from_iter<T: IntoIterator<Item = (Partition, i64)>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (partition, next)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{partition}@{next}")?;
        }
        Ok(())
    }
}

/// What one batch covers: for each partition that moved, from `after` (absent if it was never read) up to,
/// not including, `to`. Partitions that did not move are in neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    after: Position,
    to: Position,
}

impl Span {
    /// The span from `after` to `to`. Partitions of `after` that are not in `to`, or that did not move, are left out.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if a partition would go back.
    pub fn try_new(after: &Position, to: &Position) -> Result<Self> {
        let mut span = Self::default();
        for (partition, end) in to.iter() {
            match after.get(partition) {
                Some(start) if start > end => {
                    return Err(Error::internal(format!(
                        "position of {partition} would go back from {start} to {end}"
                    )));
                }
                Some(start) if start == end => {}
                Some(start) => {
                    span.after.set(partition.clone(), start);
                    span.to.set(partition.clone(), end);
                }
                None => span.to.set(partition.clone(), end),
            }
        }
        Ok(span)
    }

    /// Where each moved partition stood before; absent if it was never read.
    pub fn after(&self) -> &Position {
        &self.after
    }

    /// The next offset of each moved partition.
    pub fn to(&self) -> &Position {
        &self.to
    }

    /// Whether nothing moved.
    pub fn is_empty(&self) -> bool {
        self.to.is_empty()
    }

    /// Whether `stored` already stands exactly at the end of this span, partition by partition: an attempt to
    /// commit it landed although its answer was lost.
    pub fn reached_by(&self, stored: &Position) -> bool {
        self.to
            .iter()
            .all(|(partition, to)| stored.get(partition) == Some(to))
    }
}
