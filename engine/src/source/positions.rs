//! Where a feed stands in every partition: starts, ends, spans, and what is lost.

use std::collections::BTreeMap;

use sql::change::{Partition, Position, Span};
use sql::{Error, ErrorKind, Result};
use tracing::{info, warn};

use super::records::{Flow, Watermarks};
use crate::format::RawMessage;
use crate::spec::model::OffsetReset;

/// One assigned partition.
#[derive(Debug, Clone, Copy)]
struct Track {
    next: i64,
    /// Bounded: where reading ends.
    end: Option<i64>,
}

impl Track {
    fn is_done(self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// What to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// Decode it.
    Take,
    /// It was read before, or nobody asked for its partition.
    Seen,
    /// It is behind the end of a bounded run.
    Beyond,
}

/// The positions of a feed.
#[derive(Debug)]
pub(super) struct Positions {
    auto_offset_reset: OffsetReset,
    fail_on_data_loss: bool,
    bounded: bool,
    /// Bounded: the last offset to read, in every partition.
    until: Option<i64>,
    tracks: BTreeMap<Partition, Track>,
    /// Bounded: partitions that have not reached their end.
    open: usize,
    /// Where the last batch ended: what the table's position is to be.
    emitted: Position,
    /// Records from these offsets on are read, but wait for the batch after this one.
    held: BTreeMap<Partition, i64>,
}

impl Positions {
    pub(super) fn new(
        auto_offset_reset: OffsetReset,
        fail_on_data_loss: bool,
        until: Option<i64>,
    ) -> Self {
        Self {
            auto_offset_reset,
            fail_on_data_loss,
            bounded: false,
            until,
            tracks: BTreeMap::new(),
            open: 0,
            emitted: Position::new(),
            held: BTreeMap::new(),
        }
    }

    /// Starts over after `position`; returns where each partition that was `found` is to be read from.
    /// `required` says of a topic whether the table's positions in it must be there.
    pub(super) fn seek(
        &mut self,
        found: &[Watermarks],
        position: &Position,
        bounded: bool,
        required: &dyn Fn(&str) -> bool,
    ) -> Result<Position> {
        for (partition, stored) in position.iter() {
            let is_there = |marks: &Watermarks| marks.partition == *partition;
            if stored > 0 && !found.iter().any(is_there) && required(&partition.topic) {
                return Err(recreated(
                    partition,
                    format!(
                        "the table's position of {partition} is {stored}, but there is no such partition now"
                    ),
                ));
            }
        }
        let mut tracks = BTreeMap::new();
        let mut start = Position::new();
        for marks in found {
            let next = self.start(marks, position.get(&marks.partition))?;
            let until = self.until.map_or(i64::MAX, |last| last.saturating_add(1));
            let end = bounded.then_some(marks.high.min(until));
            start.set(marks.partition.clone(), next);
            tracks.insert(marks.partition.clone(), Track { next, end });
        }
        self.open = tracks.values().filter(|track| !track.is_done()).count();
        self.tracks = tracks;
        self.bounded = bounded;
        self.emitted = position.clone();
        self.held.clear();
        Ok(start)
    }

    fn start(&self, marks: &Watermarks, stored: Option<i64>) -> Result<i64> {
        let Watermarks {
            partition,
            low,
            high,
        } = marks;
        match stored {
            None => Ok(match self.auto_offset_reset {
                OffsetReset::Earliest => *low,
                OffsetReset::Latest => *high,
                OffsetReset::At(offset) => offset.min(*high).max(*low),
                OffsetReset::Last(count) => high.saturating_sub(count).max(*low),
            }),
            Some(stored) if stored > *high => Err(recreated(
                partition,
                format!(
                    "the table's position of {partition} is {stored}, but the log ends at {high}"
                ),
            )),
            Some(stored) if stored < *low => self.lost(marks, stored),
            Some(stored) => Ok(stored),
        }
    }

    /// The answer to records that are gone: an error, or where to go on.
    fn lost(&self, marks: &Watermarks, next: i64) -> Result<i64> {
        let Watermarks { partition, low, .. } = marks;
        if self.fail_on_data_loss {
            return Err(Error::new(
                ErrorKind::DataLoss,
                format!(
                    "records of {partition} are gone: the next offset to read is {next}, but the oldest there is {low}"
                ),
            )
            .at(format!("{partition}@{next}"))
            .expected("every record since the table's position")
            .remedy(
                "Make the topic's retention longer than the pipeline may stand still. To go on without these records, set \
                 `source.fail_on_data_loss: false`. To load everything again, let the connector take a new snapshot, or \
                 write to a new table with `auto_offset_reset: earliest`.",
            ));
        }
        warn!(
            %partition, next, oldest = low, lost = low.saturating_sub(next),
            "records are gone, going on without them as `fail_on_data_loss: false` says"
        );
        Ok(*low)
    }

    /// Bounded: whether every partition reached its end.
    pub(super) fn is_done(&self) -> bool {
        self.bounded && self.open == 0
    }

    /// What to do with a record. One behind the end of a bounded run moves its partition to that end.
    pub(super) fn offer(&mut self, message: &RawMessage<'_>) -> Offer {
        match self.tracks.get(message.partition) {
            Some(Track { end: Some(end), .. }) if message.offset >= *end => {
                let end = *end;
                self.advance(message.partition, end);
                Offer::Beyond
            }
            Some(track) if message.offset >= track.next => Offer::Take,
            Some(_) | None => Offer::Seen,
        }
    }

    /// Everything before `next` is read, or is not there.
    pub(super) fn advance(&mut self, partition: &Partition, next: i64) -> Flow {
        let Some(track) = self.tracks.get_mut(partition) else {
            return Flow::Continue;
        };
        let was_done = track.is_done();
        // What a bounded run did not read is not behind it.
        let next = track.end.map_or(next, |end| next.min(end));
        track.next = track.next.max(next);
        if !track.is_done() {
            return Flow::Continue;
        }
        if !was_done {
            self.open = self.open.saturating_sub(1);
        }
        Flow::Leave
    }

    /// A partition that was not there before is read from its oldest record; a bounded run does not.
    pub(super) fn appear(&mut self, partition: &Partition, start: i64) -> Result<Flow> {
        if self.bounded {
            return Ok(Flow::Leave);
        }
        if let Some(stored) = self.emitted.get(partition) {
            return Err(recreated(
                partition,
                format!(
                    "{partition} is new and starts at {start}, but the table's position of it is {stored}"
                ),
            ));
        }
        info!(%partition, start, "reading a new partition from its oldest record");
        let track = Track {
            next: start,
            end: None,
        };
        self.tracks.insert(partition.clone(), track);
        Ok(Flow::Continue)
    }

    /// Records are gone while they were being read.
    pub(super) fn lose(&mut self, next: i64, watermarks: &Watermarks) -> Result<Flow> {
        let Watermarks {
            partition, high, ..
        } = watermarks;
        if next > *high {
            return Err(recreated(
                partition,
                format!("the next offset of {partition} is {next}, but the log ends at {high}"),
            ));
        }
        let low = self.lost(watermarks, next)?;
        Ok(self.advance(partition, low))
    }

    /// What was read since the last batch.
    pub(super) fn span(&self) -> Result<Span> {
        Span::try_new(&self.emitted, &self.next())
    }

    /// The span was put into a batch.
    pub(super) fn emit(&mut self) {
        for (partition, next) in self.next().iter() {
            if self.emitted.get(partition) != Some(next) {
                self.emitted.set(partition.clone(), next);
            }
        }
    }

    /// Records up to the ends as `end` knows them; `None` if one is not known.
    pub(super) fn lag(&self, end: &dyn Fn(&Partition) -> Option<i64>) -> Option<u64> {
        let mut lag = 0_u64;
        for (partition, track) in &self.tracks {
            let left = end(partition)?.saturating_sub(track.next);
            lag = lag.saturating_add(u64::try_from(left).unwrap_or(0));
        }
        Some(lag)
    }

    fn next(&self) -> Position {
        self.tracks
            .iter()
            .map(|(partition, track)| {
                let held = self.held.get(partition).copied();
                (partition.clone(), held.unwrap_or(track.next))
            })
            .collect()
    }

    /// The batch ends before `offset`, whatever else is read of the partition, until [`Positions::release`].
    pub(super) fn hold(&mut self, partition: &Partition, offset: i64) {
        self.held.entry(partition.clone()).or_insert(offset);
    }

    /// What was held of the partition goes on.
    pub(super) fn release(&mut self, partition: &Partition) {
        self.held.remove(partition);
    }

    /// Whether the topic of `partition` has no other one.
    pub(super) fn is_alone(&self, partition: &Partition) -> bool {
        let mut of_topic = self
            .tracks
            .keys()
            .filter(|other| other.topic == partition.topic);
        of_topic.next().is_some() && of_topic.next().is_none()
    }
}

fn recreated(partition: &Partition, message: String) -> Error {
    Error::new(ErrorKind::DataLoss, message)
        .at(partition.to_string())
        .expected("a log that still has the table's position")
        .remedy(
            "The topic was deleted and made again, or its log was cut. Write to a new table, or set the position that is \
             right for the new topic with `engine offsets set`.",
        )
}
