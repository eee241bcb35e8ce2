//! What brokers say of topics: which there are, their partitions, and what these hold.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::types::RDKafkaErrorCode as Code;
use sql::change::Partition;
use sql::{Error, ErrorKind, Result};
use tracing::{debug, warn};

use super::super::records::{Flow, LogEvent, Watermarks};
use super::context::log_line;
use super::native::EventKind;
use super::outage::denied;
use super::{Assigned, KafkaLog};

/// How often a start that waits for brokers says so.
const REMIND: Duration = Duration::from_secs(5);

/// The first try. Each next one gets twice the time, for clusters whose list of topics is long: but the first failures
/// are to be told soon.
const FIRST_TRY: Duration = Duration::from_secs(1);

/// The longest try; also how soon a stop is noticed.
const LONGEST_TRY: Duration = Duration::from_secs(8);

/// A topic and its partitions' numbers.
type Topic = (String, Vec<i32>);

impl KafkaLog {
    /// Every topic that there is. Tries until `deadline`.
    pub(super) fn topics(&mut self, deadline: Instant) -> Result<Vec<Topic>> {
        let started = Instant::now();
        let mut reminded = started;
        let mut last: Option<String> = None;
        let mut patience = FIRST_TRY;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let failed = match self.consumer.fetch_metadata(None, patience.min(left)) {
                Ok(metadata) => return Ok(topics_of(&metadata)),
                Err(error) => error,
            };
            patience = LONGEST_TRY.min(patience * 2);
            if let Some(reason) = self.reasons()? {
                last = Some(reason);
            }
            let reason = last.clone().unwrap_or_else(|| failed.to_string());
            if self.stop.is_cancelled() {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "told to stop while waiting for kafka",
                )
                .at(self.brokers.clone())
                .source(reason));
            }
            if Instant::now() >= deadline {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "kafka does not answer; tried for {} s",
                        started.elapsed().as_secs()
                    ),
                )
                .at(self.brokers.clone())
                .expected("a broker that answers at `source.bootstrap_servers`")
                .remedy(
                    "Check the address, and that the broker runs and may be reached from here; the listener that it \
                     advertises must be reachable, too.",
                )
                .source(reason));
            }
            if reminded.elapsed() >= REMIND {
                reminded = Instant::now();
                warn!(
                    brokers = self.brokers,
                    reason,
                    for_seconds = started.elapsed().as_secs(),
                    "kafka does not answer yet, retrying"
                );
            }
        }
    }

    /// Reads what librdkafka has to say on a failure; a refusal is an error. Waits a little, so that nothing spins.
    fn reasons(&mut self) -> Result<Option<String>> {
        let mut last = None;
        let mut wait = Duration::from_millis(50);
        while let Some(event) = self.queue.poll(wait) {
            wait = Duration::ZERO;
            match event.kind() {
                EventKind::Error { code, reason, .. } => {
                    if let Some(error) = denied(code, &reason, &self.brokers) {
                        return Err(error);
                    }
                    debug!(%code, reason, "kafka error");
                    // That all are down says less than why one of them is.
                    if code != Code::AllBrokersDown {
                        last = Some(reason);
                    }
                }
                EventKind::Log(level, facility, line) => log_line(level, &facility, &line),
                EventKind::Record(_) | EventKind::CommitFailed(_) | EventKind::Other => {}
            }
        }
        Ok(last)
    }

    /// The partitions of the configured topics with their watermarks.
    pub(super) fn list(&mut self, deadline: Instant) -> Result<Vec<Watermarks>> {
        let all = self.topics(deadline)?;
        let mut wanted: Vec<Topic> = all
            .iter()
            .filter(|(name, numbers)| self.filter.matches(name) && !numbers.is_empty())
            .cloned()
            .collect();
        for name in self.filter.named_topics().to_vec() {
            if !wanted.iter().any(|(topic, _)| *topic == name) {
                wanted.extend(self.ask_for(&name)?);
            }
        }
        let mut known: Vec<String> = all.into_iter().map(|(name, _)| name).collect();
        known.extend(wanted.iter().map(|(name, _)| name.clone()));
        let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        self.filter.check(&names, &known, &self.brokers)?;
        let mut found = Vec::new();
        for (topic, numbers) in wanted {
            for number in numbers {
                let partition = Partition::new(topic.clone(), number);
                let (low, high) = self.marks_before(&partition, deadline)?;
                self.ends.insert(partition.clone(), high);
                found.push(Watermarks {
                    partition,
                    low,
                    high,
                });
            }
        }
        found.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(found)
    }

    /// Asks for one topic by name: a list of all leaves out those that we may not see.
    fn ask_for(&mut self, name: &str) -> Result<Option<Topic>> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(name), self.timeouts.request)
            .map_err(|error| self.unanswered("kafka does not tell of a topic", name, error))?;
        for topic in metadata.topics() {
            if let Some(code) = topic.error().map(Code::from) {
                let reason = format!("topic `{name}`: {code}");
                if let Some(error) = denied(code, &reason, &self.brokers) {
                    return Err(error);
                }
                debug!(topic = name, %code, "kafka does not know the topic");
            }
        }
        Ok(topics_of(&metadata)
            .into_iter()
            .find(|(topic, numbers)| topic == name && !numbers.is_empty()))
    }

    /// Low and high watermark, asked for now.
    pub(super) fn marks(&self, partition: &Partition) -> Result<(i64, i64)> {
        self.consumer
            .fetch_watermarks(&partition.topic, partition.number, self.timeouts.request)
            .map_err(|error| {
                self.unanswered(
                    "kafka does not tell what a partition holds",
                    partition,
                    error,
                )
            })
    }

    /// As [`Self::marks`], and tries again until `deadline`: a partition may have no leader for a moment.
    fn marks_before(&mut self, partition: &Partition, deadline: Instant) -> Result<(i64, i64)> {
        loop {
            let error = match self.marks(partition) {
                Ok(marks) => return Ok(marks),
                Err(error) => error,
            };
            let retry = error.kind() == ErrorKind::Unavailable;
            if !retry || self.stop.is_cancelled() || Instant::now() >= deadline {
                return Err(error);
            }
            debug!(%partition, %error, "asking again");
            self.reasons()?;
        }
    }

    fn unanswered(&self, message: &str, what: impl std::fmt::Display, error: KafkaError) -> Error {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        denied(code, &error.to_string(), &self.brokers).unwrap_or_else(|| {
            Error::new(ErrorKind::Unavailable, message)
                .at(format!("{what} ({})", self.brokers))
                .expected("an answer from the partition's leader")
                .remedy("Check that every broker runs and that the listeners they advertise may be reached from here.")
                .source(error)
        })
    }

    /// Looks for partitions that are new. What cannot be asked now is asked next time.
    pub(super) fn refresh(
        &mut self,
        take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>,
    ) -> Result<Flow> {
        self.refreshed = Instant::now();
        let metadata = match self.consumer.fetch_metadata(None, self.timeouts.request) {
            Ok(metadata) => metadata,
            Err(error) => {
                debug!(%error, "topics cannot be listed now");
                return Ok(Flow::Continue);
            }
        };
        let mut answer = Flow::Continue;
        let mut grown = false;
        for (topic, numbers) in topics_of(&metadata) {
            if !self.filter.matches(&topic) {
                continue;
            }
            for number in numbers {
                let known = self
                    .places
                    .get(&topic)
                    .is_some_and(|n| n.contains_key(&number));
                let partition = Partition::new(topic.clone(), number);
                let Some((low, high)) = (!known).then(|| self.marks(&partition).ok()).flatten()
                else {
                    continue;
                };
                self.ends.insert(partition.clone(), high);
                let flow = take(LogEvent::Appeared {
                    partition: &partition,
                    start: low,
                })?;
                self.assigned.push(Assigned {
                    partition,
                    next: low,
                    left: flow.leaves(),
                });
                grown = true;
                if flow.stops() {
                    answer = Flow::Stop;
                }
            }
        }
        if grown {
            self.reassign()?;
        }
        Ok(answer)
    }
}

fn topics_of(metadata: &Metadata) -> Vec<Topic> {
    let numbers = |topic: &MetadataTopic| {
        let mut numbers: Vec<i32> = topic.partitions().iter().map(|p| p.id()).collect();
        numbers.sort_unstable();
        numbers
    };
    metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none())
        .map(|topic| (topic.name().to_owned(), numbers(topic)))
        .collect()
}
