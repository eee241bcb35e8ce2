//! Kafka topics, read through librdkafka.
//!
//! Partitions are assigned by hand at the positions that the table holds; the group is only told where the table
//! stands, for tools that watch lag. An outage after the first answer is not an error: librdkafka reconnects by itself.

mod closing;
mod config;
mod context;
mod metadata;
mod native;
mod outage;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use sql::change::{Partition, Position};
use sql::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::closing::Closing;
use self::context::{Context, log_line};
use self::native::{Event, EventKind, EventQueue, Fetched};
use self::outage::{Outage, denied};
use super::records::{Flow, LogEvent, RecordLog, Watermarks};
use super::topics::TopicFilter;
use crate::format::RawMessage;
use crate::run::policy::START_GRACE;
use crate::spec::model::KafkaSpec;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct KafkaTimeouts {
    /// Brokers must answer within this time when a pipeline starts.
    pub connect: Duration,
    /// One request to a broker.
    pub request: Duration,
    /// Between two looks for new topics and partitions.
    pub refresh: Duration,
}

impl Default for KafkaTimeouts {
    fn default() -> Self {
        Self {
            connect: START_GRACE,
            request: Duration::from_secs(5),
            refresh: Duration::from_secs(300),
        }
    }
}

impl KafkaTimeouts {
    /// The times of a source: librdkafka's own property says how often topics are looked for.
    pub fn of(spec: &KafkaSpec) -> Self {
        let default = Self::default();
        let said = spec
            .properties
            .get("topic.metadata.refresh.interval.ms")
            .and_then(|text| text.trim().parse::<i64>().ok());
        let refresh = match said {
            // -1 is never.
            Some(millis) => u64::try_from(millis).map_or(Duration::MAX, Duration::from_millis),
            None => default.refresh,
        };
        Self { refresh, ..default }
    }
}

/// Reads Kafka topics.
pub struct KafkaLog {
    // Fields drop in order, and the queue must go before its consumer.
    queue: EventQueue,
    consumer: Closing,
    filter: TopicFilter,
    brokers: String,
    timeouts: KafkaTimeouts,
    stop: CancellationToken,
    assigned: Vec<Assigned>,
    /// Topic and partition number to the place in `assigned`.
    places: HashMap<String, BTreeMap<i32, usize>>,
    /// The partition of the last record: runs of one partition are long.
    last: usize,
    ends: HashMap<Partition, i64>,
    /// Places in `assigned` whose offset is out of range, not settled yet.
    lost: Vec<usize>,
    refreshed: Instant,
    outage: Outage,
}

#[derive(Debug)]
struct Assigned {
    partition: Partition,
    next: i64,
    left: bool,
}

impl KafkaLog {
    /// Makes the client and waits until a broker answers.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for properties that may not be set or are wrong, [`ErrorKind::Unavailable`] if no broker
    /// answers in time or `stop` says so before, [`ErrorKind::Denied`] if a broker refuses us.
    pub fn connect(
        spec: &KafkaSpec,
        brokers: &str,
        filter: TopicFilter,
        timeouts: KafkaTimeouts,
        stop: CancellationToken,
    ) -> Result<Self> {
        let mut consumer: BaseConsumer<Context> = config::client_config(spec, brokers)?
            .create_with_context(Context)
            .map_err(|error| config::refused(spec, error))?;
        let queue = EventQueue::of(&mut consumer)
            .ok_or_else(|| Error::internal("a Kafka consumer has no queue"))?;
        let mut log = Self {
            queue,
            consumer: Closing::new(consumer),
            filter,
            brokers: brokers.to_owned(),
            timeouts,
            stop,
            assigned: Vec::new(),
            places: HashMap::new(),
            last: 0,
            ends: HashMap::new(),
            lost: Vec::new(),
            refreshed: Instant::now(),
            outage: Outage::default(),
        };
        log.topics(Instant::now() + timeouts.connect)?;
        Ok(log)
    }

    fn place(&mut self, topic: &str, number: i32) -> Option<usize> {
        let is_last = self
            .assigned
            .get(self.last)
            .is_some_and(|a| a.partition.number == number && a.partition.topic == topic);
        if !is_last {
            self.last = *self.places.get(topic)?.get(&number)?;
        }
        Some(self.last)
    }

    /// Tells librdkafka to read `assigned` from where it stands.
    fn reassign(&mut self) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(self.assigned.len());
        self.places.clear();
        for (place, assigned) in self.assigned.iter().enumerate() {
            let Partition { topic, number } = &assigned.partition;
            self.places
                .entry(topic.clone())
                .or_default()
                .insert(*number, place);
            if !assigned.left {
                list.add_partition_offset(topic, *number, Offset::Offset(assigned.next))
                    .map_err(|error| broken("an offset cannot be assigned", error))?;
            }
        }
        self.last = 0;
        self.consumer
            .assign(&list)
            .map_err(|error| broken("partitions cannot be assigned", error))
    }

    fn leave(&mut self, place: usize) {
        let Some(assigned) = self.assigned.get_mut(place).filter(|a| !a.left) else {
            return;
        };
        assigned.left = true;
        let mut list = TopicPartitionList::new();
        list.add_partition(&assigned.partition.topic, assigned.partition.number);
        if let Err(error) = self.consumer.pause(&list) {
            debug!(%error, partition = %assigned.partition, "a partition that is done cannot be paused");
        }
    }

    fn handle(
        &mut self,
        event: &Event,
        take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>,
    ) -> Result<Flow> {
        let (place, flow) = match event.kind() {
            EventKind::Record(record) => match record.error() {
                Some(code) => {
                    self.outage.note(code, "an error came in place of a record");
                    return Ok(Flow::Continue);
                }
                None => self.record(&record, take)?,
            },
            EventKind::Error {
                code,
                reason,
                place,
            } => {
                let place = place.and_then(|(topic, number, offset)| {
                    self.place(&topic, number).map(|place| (place, offset))
                });
                self.error(code, &reason, place, take)?
            }
            EventKind::Log(level, facility, line) => {
                log_line(level, &facility, &line);
                return Ok(Flow::Continue);
            }
            EventKind::CommitFailed(code) => {
                debug!(%code, "group offsets were not committed; only tools that watch lag use them");
                return Ok(Flow::Continue);
            }
            EventKind::Other => return Ok(Flow::Continue),
        };
        if let Some(place) = place.filter(|_| flow.leaves()) {
            self.leave(place);
        }
        Ok(flow)
    }

    fn record(
        &mut self,
        record: &Fetched<'_>,
        take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>,
    ) -> Result<(Option<usize>, Flow)> {
        self.outage.over();
        let Some(place) = self.place(record.topic(), record.partition()) else {
            return Ok((None, Flow::Continue));
        };
        let Some(assigned) = self.assigned.get_mut(place).filter(|a| !a.left) else {
            return Ok((None, Flow::Continue));
        };
        let mut headers = Vec::new();
        record.headers(&mut headers);
        let flow = take(LogEvent::Record(&RawMessage {
            partition: &assigned.partition,
            offset: record.offset(),
            timestamp_ms: record.timestamp_ms(),
            key: record.key(),
            value: record.value(),
            headers: &headers,
        }))?;
        assigned.next = assigned.next.max(record.offset().saturating_add(1));
        Ok((Some(place), flow))
    }

    fn error(
        &mut self,
        code: Code,
        reason: &str,
        place: Option<(usize, i64)>,
        take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>,
    ) -> Result<(Option<usize>, Flow)> {
        let Some((place, offset)) = place else {
            self.outage.note(code, reason);
            return Ok((None, Flow::Continue));
        };
        match code {
            Code::PartitionEOF => {
                self.outage.over();
                let Some(assigned) = self.assigned.get_mut(place).filter(|a| !a.left) else {
                    return Ok((None, Flow::Continue));
                };
                assigned.next = assigned.next.max(offset);
                let flow = take(LogEvent::End {
                    partition: &assigned.partition,
                    next: assigned.next,
                })?;
                return Ok((Some(place), flow));
            }
            Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => {
                self.lost.push(place);
            }
            Code::TopicAuthorizationFailed => {
                if let Some(error) = denied(code, reason, &self.brokers) {
                    return Err(error);
                }
            }
            _ => self.outage.note(code, reason),
        }
        Ok((None, Flow::Continue))
    }

    /// Asks what is left of partitions whose offset was out of range, and goes on there.
    fn settle_lost(&mut self, take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>) -> Result<Flow> {
        let mut answer = Flow::Continue;
        while let Some(&place) = self.lost.last() {
            let Some(assigned) = self.assigned.get(place) else {
                self.lost.pop();
                continue;
            };
            let (partition, next) = (assigned.partition.clone(), assigned.next);
            let (low, high) = match self.marks(&partition) {
                Ok(marks) => marks,
                Err(error) => {
                    self.outage.note(Code::OffsetOutOfRange, &error.to_string());
                    return Ok(answer);
                }
            };
            self.lost.pop();
            if next < low || next > high {
                let watermarks = Watermarks {
                    partition,
                    low,
                    high,
                };
                let flow = take(LogEvent::Lost {
                    next,
                    watermarks: &watermarks,
                })?;
                if let Some(assigned) = self.assigned.get_mut(place) {
                    assigned.next = low;
                    assigned.left |= flow.leaves();
                }
                if flow.stops() {
                    answer = Flow::Stop;
                }
            }
            self.reassign()?;
        }
        Ok(answer)
    }
}

impl RecordLog for KafkaLog {
    fn partitions(&mut self) -> Result<Vec<Watermarks>> {
        self.list(Instant::now() + self.timeouts.connect)
    }

    fn assign(&mut self, start: &Position) -> Result<()> {
        self.assigned = start
            .iter()
            .map(|(partition, next)| Assigned {
                partition: partition.clone(),
                next,
                left: false,
            })
            .collect();
        self.lost.clear();
        self.refreshed = Instant::now();
        self.reassign()
    }

    fn poll(
        &mut self,
        timeout: Duration,
        take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>,
    ) -> Result<()> {
        let deadline = Instant::now() + timeout;
        if self.refreshed.elapsed() >= self.timeouts.refresh && self.refresh(take)?.stops() {
            return Ok(());
        }
        loop {
            if !self.lost.is_empty() && self.settle_lost(take)?.stops() {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = self.queue.poll(left) else {
                return Ok(());
            };
            let flow = self.handle(&event, take)?;
            if flow.stops() || left.is_zero() {
                return Ok(());
            }
        }
    }

    fn requires(&self, topic: &str) -> bool {
        self.filter.names(topic)
    }

    fn end(&self, partition: &Partition) -> Option<i64> {
        native::cached_end(&self.consumer, &partition.topic, partition.number)
            .or_else(|| self.ends.get(partition).copied())
    }

    fn commit(&mut self, position: &Position) {
        let mut list = TopicPartitionList::new();
        for (partition, next) in position.iter() {
            let offset = Offset::Offset(next);
            if let Err(error) =
                list.add_partition_offset(&partition.topic, partition.number, offset)
            {
                debug!(%error, %partition, "a group offset cannot be set");
            }
        }
        if list.count() == 0 {
            return;
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            debug!(%error, "group offsets were not committed; only tools that watch lag use them");
        }
    }
}

fn broken(message: &str, error: KafkaError) -> Error {
    Error::new(ErrorKind::Internal, message).source(error)
}
