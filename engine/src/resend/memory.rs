//! The window of identities of each partition, and what becomes of an event.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use sql::change::{Again, Jump, LastDelete, Mark, Partition, Recollection, Remembered, Tail};

use super::origin::{Numbered, Origin, hash128};

/// What becomes of an event or a tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is new.
    Fresh,
    /// It may have been applied before, and is to be applied again, as everything that follows it: the source went back,
    /// and the target is kept by key. [`super`] says why.
    Again {
        /// How often the source went back so since the last [`Memory::take`].
        pass: u32,
    },
    /// It was sent again.
    Resend,
}

/// What follows an event that is not known and stands below the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterJump {
    /// What is known is dropped all the same: each event is there once, in whatever order.
    DropKnown,
    /// Everything is applied again, in order, for a target that is as its last events say.
    ApplyAgain,
}

/// What is remembered while a feed reads. Events must come in the order of their offsets, each once.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    after_jump: AfterJump,
    partitions: Vec<(Partition, Seen)>,
}

#[derive(Debug, Default)]
struct Seen {
    order: VecDeque<u128>,
    known: HashSet<u128, BuildHasherDefault<AsItIs>>,
    tail: Tail,
    /// What came since the last [`Memory::take`].
    fresh: Vec<u128>,
    jumps: Vec<Jump>,
    anew: bool,
    again: u64,
    touched: bool,
}

/// A way back in a log.
struct Back {
    log: u64,
    from: Mark,
    to: Mark,
}

/// Identities are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        let [a, b, c, d, e, f, g, h, ..] = value.to_le_bytes();
        self.0 = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    }
}

impl Memory {
    /// Remembers the last `limit` identities of each partition, `known` to begin with.
    pub fn new(limit: usize, known: Remembered, after_jump: AfterJump) -> Self {
        let partitions = known
            .into_iter()
            .map(|(partition, recollection)| {
                let mut seen = Seen {
                    tail: recollection.tail,
                    ..Seen::default()
                };
                for identity in recollection.identities {
                    seen.remember(identity, limit);
                }
                (partition, seen)
            })
            .collect();
        Self {
            limit,
            after_jump,
            partitions,
        }
    }

    /// What becomes of the event at `offset`. `origin` is `None` for an event that is never sent again, as snapshot rows;
    /// `deleted` is the hash of the key of a delete.
    pub fn judge(
        &mut self,
        partition: &Partition,
        offset: i64,
        origin: Option<&Origin>,
        deleted: Option<u128>,
    ) -> Fate {
        let (limit, after_jump) = (self.limit, self.after_jump);
        let seen = self.seen(partition);
        seen.touched = true;
        let fate = match origin {
            None => Fate::Fresh,
            Some(origin) => seen.judge((partition, offset), origin, limit, after_jump),
        };
        seen.tail.last_delete = deleted.map(|key| LastDelete {
            key,
            resend: fate == Fate::Resend,
        });
        fate
    }

    /// What becomes of a tombstone with this key's hash: the fate of the delete just before it.
    pub fn tombstone(&mut self, partition: &Partition, key: u128) -> Fate {
        let seen = self.seen(partition);
        match seen.tail.last_delete.take() {
            Some(delete) => {
                seen.touched = true;
                if delete.key == key && delete.resend {
                    Fate::Resend
                } else {
                    Fate::Fresh
                }
            }
            None => Fate::Fresh,
        }
    }

    /// What was added since the last call.
    pub fn take(&mut self) -> Remembered {
        let limit = self.limit;
        let touched = self
            .partitions
            .iter_mut()
            .filter(|(_, seen)| seen.touched)
            .map(|(partition, seen)| (partition.clone(), seen.take(limit)));
        touched.collect()
    }

    fn seen(&mut self, partition: &Partition) -> &mut Seen {
        let place = self.partitions.iter().position(|(p, _)| p == partition);
        let place = place.unwrap_or_else(|| {
            self.partitions.push((partition.clone(), Seen::default()));
            self.partitions.len() - 1
        });
        &mut self.partitions[place].1
    }
}

impl Seen {
    /// What becomes of an event at `place`, its partition and offset.
    fn judge(
        &mut self,
        place: (&Partition, i64),
        origin: &Origin,
        limit: usize,
        after: AfterJump,
    ) -> Fate {
        let identity = self.numbered(origin);
        if self.known.contains(&identity) {
            self.rise(origin.mark);
            return Fate::Resend;
        }
        match self.below(origin) {
            Some(back) => self.jump(place, back, limit, after),
            None => self.rise(origin.mark),
        }
        self.tail.grace = self.tail.grace.saturating_sub(1);
        self.remember(identity, limit);
        self.fresh.push(identity);
        let again = self.is_again(origin);
        self.tail.latest_micros = self.tail.latest_micros.max(origin.commit_micros);
        if !again {
            return Fate::Fresh;
        }
        self.again += 1;
        Fate::Again {
            pass: u32::try_from(self.jumps.len()).unwrap_or(u32::MAX),
        }
    }

    /// Where the event's log had been, and where the event stands, if that is below.
    fn below(&self, origin: &Origin) -> Option<Back> {
        let (log, to) = match (origin.mark, origin.first) {
            (Some(mark), _) => mark,
            (None, Some((log, lsn))) => (log, Mark::Lsn { commit: 0, lsn }),
            (None, None) => return None,
        };
        let from = self.tail.marks.get(&log).copied()?;
        let below = match (origin.mark, from, to) {
            (Some(_), ..) => to < from,
            // No commit was seen before it, and one has been seen after it.
            (None, Mark::Lsn { commit, .. }, Mark::Lsn { lsn, .. }) => lsn < commit,
            (None, ..) => false,
        };
        below.then_some(Back { log, from, to })
    }

    fn jump(&mut self, place: (&Partition, i64), back: Back, limit: usize, after: AfterJump) {
        let Back { log, from, to } = back;
        let (partition, offset) = place;
        self.jumps.push(Jump {
            partition: partition.clone(),
            offset,
            from,
            to,
            again: after == AfterJump::ApplyAgain,
        });
        self.tail.marks.insert(log, to);
        match after {
            // One more: this event counts, and a whole window of others may precede those that are known.
            AfterJump::DropKnown => self.tail.grace = (limit as u64).saturating_add(1),
            AfterJump::ApplyAgain => {
                self.order.clear();
                self.known.clear();
                self.fresh.clear();
                self.anew = true;
                let before = self.tail.again.filter(|again| again.log == log);
                self.tail.again = Some(Again {
                    log,
                    until: before.map_or(from, |again| again.until.max(from)),
                    latest_micros: self.tail.latest_micros,
                });
            }
        }
    }

    /// Whether the event stands where the target has been already. The first one that does not ends that.
    fn is_again(&mut self, origin: &Origin) -> bool {
        let Some(again) = self.tail.again else {
            return false;
        };
        let later = origin.commit_micros > again.latest_micros.or(origin.commit_micros);
        let beyond = origin
            .mark
            .is_some_and(|(log, mark)| log == again.log && mark > again.until);
        if later || beyond {
            self.tail.again = None;
        }
        self.tail.again.is_some()
    }

    /// The identity, with the event's number among equal ones at its position.
    fn numbered(&mut self, origin: &Origin) -> u128 {
        let counts = match origin.numbered {
            Numbered::Never => false,
            Numbered::InOneRun => origin.run != 0,
            Numbered::UnlessOtherRun => true,
        };
        let same = &mut self.tail.same_place;
        if same.run != origin.run || same.place != origin.place {
            same.run = origin.run;
            same.place = origin.place;
            same.counts.clear();
        }
        if !counts {
            return origin.identity;
        }
        let number = same.counts.entry(origin.identity).or_insert(0);
        let before = *number;
        *number = before.saturating_add(1);
        if before == 0 {
            return origin.identity;
        }
        let mut bytes = origin.identity.to_le_bytes().to_vec();
        bytes.extend(before.to_le_bytes());
        hash128(&bytes)
    }

    fn rise(&mut self, mark: Option<(u64, Mark)>) {
        if let Some((log, mark)) = mark {
            let highest = self.tail.marks.entry(log).or_insert(mark);
            *highest = mark.max(*highest);
        }
    }

    fn remember(&mut self, identity: u128, limit: usize) {
        if !self.known.insert(identity) {
            return;
        }
        self.order.push_back(identity);
        let capacity = self.tail.capacity(limit);
        while self.order.len() > capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    fn take(&mut self, limit: usize) -> Recollection {
        self.touched = false;
        let mut identities = std::mem::take(&mut self.fresh);
        // More than the window holds: the first of them are forgotten already.
        let surplus = identities.len().saturating_sub(self.tail.capacity(limit));
        identities.drain(..surplus);
        Recollection {
            identities,
            tail: self.tail.clone(),
            jumps: std::mem::take(&mut self.jumps),
            anew: std::mem::take(&mut self.anew),
            again: std::mem::take(&mut self.again),
        }
    }
}
