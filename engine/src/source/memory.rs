//! A log in memory: the double that shows what every log must do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use sql::Result;
use sql::change::{Partition, Position, RawRecord};

use super::records::{Flow, LogEvent, RecordLog, Watermarks};
use super::topics::TopicFilter;
use crate::format::RawMessage;

#[derive(Debug, Default)]
struct Stored {
    records: BTreeMap<i64, RawRecord>,
    low: i64,
    high: i64,
}

#[derive(Debug, Default)]
struct Topics {
    partitions: BTreeMap<Partition, Stored>,
    committed: Position,
}

/// Topics in memory, written by whoever holds a clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryTopics {
    inner: Arc<(Mutex<Topics>, Condvar)>,
}

impl MemoryTopics {
    fn change(&self) -> MutexGuard<'_, Topics> {
        self.inner.0.lock()
    }

    /// Creates an empty partition; one that exists stays as it is.
    pub fn create(&self, partition: &Partition) {
        self.change()
            .partitions
            .entry(partition.clone())
            .or_default();
        self.inner.1.notify_all();
    }

    /// Adds a record at its own offset, which becomes the end of its partition.
    pub fn append(&self, record: RawRecord) {
        let mut topics = self.change();
        let stored = topics
            .partitions
            .entry(record.partition.clone())
            .or_default();
        stored.high = stored.high.max(record.offset.saturating_add(1));
        stored.records.insert(record.offset, record);
        drop(topics);
        self.inner.1.notify_all();
    }

    /// Moves a partition's end, as control records do.
    pub fn set_high(&self, partition: &Partition, high: i64) {
        if let Some(stored) = self.change().partitions.get_mut(partition) {
            stored.high = high;
        }
        self.inner.1.notify_all();
    }

    /// Drops the records before `low`, as retention does.
    pub fn set_low(&self, partition: &Partition, low: i64) {
        if let Some(stored) = self.change().partitions.get_mut(partition) {
            stored.low = low;
            stored.high = stored.high.max(low);
            stored.records = stored.records.split_off(&low);
        }
        self.inner.1.notify_all();
    }

    /// Deletes a partition.
    pub fn delete(&self, partition: &Partition) {
        self.change().partitions.remove(partition);
        self.inner.1.notify_all();
    }

    /// A partition's end.
    pub fn end(&self, partition: &Partition) -> Option<i64> {
        let topics = self.inner.0.lock();
        topics.partitions.get(partition).map(|stored| stored.high)
    }

    /// What [`RecordLog::commit`] was last told.
    pub fn committed(&self) -> Position {
        self.inner.0.lock().committed.clone()
    }
}

/// Reads [`MemoryTopics`].
#[derive(Debug)]
pub struct MemoryLog {
    topics: MemoryTopics,
    filter: TopicFilter,
    next: BTreeMap<Partition, i64>,
    known: BTreeSet<Partition>,
    ended: BTreeMap<Partition, i64>,
}

impl MemoryLog {
    /// A reader of the topics that `filter` matches.
    pub fn new(topics: MemoryTopics, filter: TopicFilter) -> Self {
        Self {
            topics,
            filter,
            next: BTreeMap::new(),
            known: BTreeSet::new(),
            ended: BTreeMap::new(),
        }
    }

    /// The next thing that happened, if anything did.
    fn step(&mut self) -> Option<Step> {
        let topics = self.topics.inner.0.lock();
        for (partition, stored) in &topics.partitions {
            if self.filter.matches(&partition.topic) && self.known.insert(partition.clone()) {
                self.next.insert(partition.clone(), stored.low);
                return Some(Step::Appeared(partition.clone(), stored.low));
            }
        }
        for (partition, next) in &mut self.next {
            let Some(stored) = topics.partitions.get(partition) else {
                continue;
            };
            if *next < stored.low {
                let asked = std::mem::replace(next, stored.low);
                return Some(Step::Lost(asked, marks(partition, stored)));
            }
            if let Some((offset, record)) = stored.records.range(*next..).next() {
                *next = offset.saturating_add(1);
                return Some(Step::Record(record.clone()));
            }
            if self.ended.get(partition) != Some(&stored.high) {
                *next = stored.high;
                self.ended.insert(partition.clone(), stored.high);
                return Some(Step::End(partition.clone(), stored.high));
            }
        }
        None
    }
}

enum Step {
    Record(RawRecord),
    End(Partition, i64),
    Appeared(Partition, i64),
    Lost(i64, Watermarks),
}

fn marks(partition: &Partition, stored: &Stored) -> Watermarks {
    Watermarks {
        partition: partition.clone(),
        low: stored.low,
        high: stored.high,
    }
}

fn hand_over(step: &Step, take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>) -> Result<Flow> {
    match step {
        Step::Record(record) => {
            let headers: Vec<(&str, Option<&[u8]>)> = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref()))
                .collect();
            take(LogEvent::Record(&RawMessage {
                partition: &record.partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            }))
        }
        Step::End(partition, next) => take(LogEvent::End {
            partition,
            next: *next,
        }),
        Step::Appeared(partition, start) => take(LogEvent::Appeared {
            partition,
            start: *start,
        }),
        Step::Lost(next, watermarks) => take(LogEvent::Lost {
            next: *next,
            watermarks,
        }),
    }
}

impl RecordLog for MemoryLog {
    fn partitions(&mut self) -> Result<Vec<Watermarks>> {
        let topics = self.topics.inner.0.lock();
        let found: Vec<Watermarks> = topics
            .partitions
            .iter()
            .filter(|(partition, _)| self.filter.matches(&partition.topic))
            .map(|(partition, stored)| marks(partition, stored))
            .collect();
        let mut known: Vec<String> = topics.partitions.keys().map(|p| p.topic.clone()).collect();
        known.dedup();
        let names: Vec<&str> = found.iter().map(|f| f.partition.topic.as_str()).collect();
        self.filter.check(&names, &known, "memory")?;
        Ok(found)
    }

    fn assign(&mut self, start: &Position) -> Result<()> {
        self.next = start.iter().map(|(p, next)| (p.clone(), next)).collect();
        self.known = self.next.keys().cloned().collect();
        self.ended.clear();
        Ok(())
    }

    fn poll(
        &mut self,
        timeout: Duration,
        take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>,
    ) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let Some(step) = self.step() else {
                let topics = self.topics.clone();
                let mut guard = topics.inner.0.lock();
                // A change between the step and the lock is seen one short wait later.
                let nap = deadline.min(Instant::now() + Duration::from_millis(5));
                topics.inner.1.wait_until(&mut guard, nap);
                if Instant::now() >= deadline {
                    return Ok(());
                }
                continue;
            };
            let flow = hand_over(&step, take)?;
            if flow.leaves() {
                let left = match &step {
                    Step::Record(record) => &record.partition,
                    Step::End(partition, _) | Step::Appeared(partition, _) => partition,
                    Step::Lost(_, watermarks) => &watermarks.partition,
                };
                self.next.remove(left);
            }
            if flow.stops() || Instant::now() >= deadline {
                return Ok(());
            }
        }
    }

    fn requires(&self, topic: &str) -> bool {
        self.filter.names(topic)
    }

    fn end(&self, partition: &Partition) -> Option<i64> {
        self.topics.end(partition)
    }

    fn commit(&mut self, position: &Position) {
        self.topics.inner.0.lock().committed = position.clone();
    }
}
