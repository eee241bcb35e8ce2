//! The blocking half of a feed: fills one batch from a log through a decoder.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use sql::change::{ChangeBatch, Position, RawRecord, Remembered, Span};
use sql::feed::{BatchLimit, Pulse};
use sql::{Error, ErrorKind, Result};
use tracing::info;

use super::feed::FeedOptions;
use super::moves::Moves;
use super::positions::{Offer, Positions};
use super::records::{Flow, LogEvent, RecordLog};
use crate::format::{Decoder, Pushed, RawMessage};
use crate::spec::model::SchemaChange;

/// How long one poll lasts at most: how soon a stop is noticed.
const SLICE: Duration = Duration::from_millis(100);

/// The time of one record out of so many is measured.
const MEASURED: usize = 16;

/// Log, decoder and positions.
pub(super) struct Reader {
    log: Box<dyn RecordLog>,
    decoder: Box<dyn Decoder>,
    state: State,
}

/// Everything but log and decoder, so that the three can be borrowed apart.
struct State {
    options: FeedOptions,
    positions: Positions,
    /// The record that needs another schema, after those of its key change.
    held: VecDeque<RawRecord>,
    /// The first halves of key changes.
    moves: Moves,
    /// The held record's schema is adopted, and waits for its projection.
    unprojected: bool,
    /// An error that came after records: the records are returned first.
    failure: Option<Error>,
    seeked: bool,
    dropped: u64,
    pulse: Pulse,
}

/// What was put into the batch so far.
#[derive(Default)]
struct Fill {
    records: usize,
    bytes: usize,
    started: Option<Instant>,
    new_schema: Option<SchemaRef>,
    /// Time spent on `timed` of the records: every so many are measured, for clocks cost as much as small records.
    decoding: Duration,
    timed: u32,
}

impl Reader {
    pub(super) fn new(
        log: Box<dyn RecordLog>,
        decoder: Box<dyn Decoder>,
        options: FeedOptions,
        pulse: Pulse,
    ) -> Self {
        Self {
            log,
            decoder,
            state: State {
                positions: Positions::new(
                    options.auto_offset_reset,
                    options.fail_on_data_loss,
                    options.until,
                ),
                options,
                held: VecDeque::new(),
                moves: Moves::default(),
                unprojected: false,
                failure: None,
                seeked: false,
                dropped: 0,
                pulse,
            },
        }
    }

    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.decoder.schema()
    }

    /// The defaults of columns that the decoder knows.
    pub(super) fn defaults(&self) -> BTreeMap<String, String> {
        self.decoder.defaults()
    }

    pub(super) fn project(&mut self, columns: &[String]) -> Result<()> {
        self.decoder.project(columns)?;
        self.state.unprojected = false;
        Ok(())
    }

    pub(super) fn drop_resends(&mut self, known: Remembered, window: usize) -> Result<()> {
        self.decoder.drop_resends(known, window)
    }

    pub(super) fn seek(&mut self, position: &Position) -> Result<()> {
        let found = self.log.partitions()?;
        let log = self.log.as_ref();
        let state = &mut self.state;
        let bounded = state.options.bounded;
        let start = state
            .positions
            .seek(&found, position, bounded, &|topic| log.requires(topic))?;
        self.log.assign(&start)?;
        state.held.clear();
        state.moves = Moves::default();
        state.failure = None;
        state.seeked = true;
        Ok(())
    }

    pub(super) fn next(&mut self, limit: &BatchLimit) -> Result<Option<ChangeBatch>> {
        if let Some(failure) = self.state.failure.take() {
            return Err(failure);
        }
        if !self.state.seeked {
            return Err(Error::internal("a feed was read before it was told where"));
        }
        if self.state.unprojected {
            return Err(Error::internal(
                "a feed was read after a schema change before it was told the new projection",
            ));
        }
        let mut fill = Fill::default();
        if let Err(error) = self.fill(&mut fill, limit) {
            if fill.records == 0 {
                return Err(error);
            }
            self.state.failure = Some(error);
        }
        if fill.records == 0 && fill.new_schema.is_none() {
            return Ok(None);
        }
        self.finish(fill).map(Some)
    }

    /// Reads until the batch is full, the ends are reached, or the feed is told to stop.
    fn fill(&mut self, fill: &mut Fill, limit: &BatchLimit) -> Result<()> {
        let Self {
            log,
            decoder,
            state,
        } = self;
        // What a key change held back, and then the record that needed another schema.
        for record in std::mem::take(&mut state.held) {
            if fill.new_schema.is_some() {
                state.held.push_back(record);
                continue;
            }
            state.positions.release(&record.partition);
            with_message(&record, |message| {
                state.push(message, decoder.as_mut(), fill)
            })?;
        }
        state.pulse.busy();
        while !fill.is_full(limit) && !state.is_done() {
            let before = fill.records;
            let timeout = fill.left(limit).map_or(SLICE, |left| left.min(SLICE));
            log.poll(timeout, &mut |event| {
                let flow = state.take(event, decoder.as_mut(), fill)?;
                let stop = fill.is_full(limit) || state.is_done();
                Ok(if stop { flow.and_stop() } else { flow })
            })?;
            if let Some(committed) = state.pulse.take_ack() {
                log.commit(&committed);
            }
            if fill.records == 0 {
                state.pulse.idle(state.lag(log.as_ref()));
            }
            // Behind, a batch fills up to its limits: fewer, larger commits catch up sooner. Caught up, or with a
            // log that has nothing to give for now, it waits no longer than it may.
            let waited = fill.left(limit) == Some(Duration::ZERO);
            let behind = state.lag(log.as_ref()).is_some_and(|lag| lag > 0);
            if waited && !(behind && fill.records > before) {
                break;
            }
        }
        Ok(())
    }

    fn finish(&mut self, fill: Fill) -> Result<ChangeBatch> {
        let state = &mut self.state;
        let span = if fill.records == 0 {
            Span::default()
        } else {
            state.positions.span()?
        };
        let finishing = Instant::now();
        let decoded = self.decoder.finish((state.options.clock)())?;
        let decode_time = fill.decode_time() + finishing.elapsed();
        let batch = ChangeBatch::try_new(
            decoded.rows,
            decoded.meta,
            decoded.rejects,
            span,
            decoded.counts,
        )?
        .decoded_in(decode_time)
        .remembering(self.decoder.take_remembered());
        if fill.records > 0 {
            state.positions.emit();
        }
        if state.dropped > 0 {
            info!(
                records = state.dropped,
                "records that were read before came again and were dropped"
            );
            state.dropped = 0;
        }
        let Some(schema) = fill.new_schema else {
            return Ok(batch);
        };
        self.decoder.adopt(schema.clone())?;
        state.unprojected = true;
        Ok(batch.before_schema_change(schema))
    }

    pub(super) fn ack(&mut self, position: &Position) {
        self.log.commit(position);
    }

    pub(super) fn lag(&self) -> Option<u64> {
        self.state.lag(self.log.as_ref())
    }
}

impl Fill {
    fn is_full(&self, limit: &BatchLimit) -> bool {
        self.new_schema.is_some()
            || self.records >= limit.max_records.max(1)
            || self.bytes >= limit.max_bytes.max(1)
    }

    /// How long the batch's first record may still wait; `None` before there is one.
    fn left(&self, limit: &BatchLimit) -> Option<Duration> {
        self.started
            .map(|started| limit.max_wait.saturating_sub(started.elapsed()))
    }

    /// What all records took, if those that were not measured took as long as those that were.
    fn decode_time(&self) -> Duration {
        if self.timed == 0 {
            return Duration::ZERO;
        }
        let share = self.records as f64 / f64::from(self.timed);
        self.decoding.mul_f64(share)
    }
}

impl State {
    /// Whether nothing more is to be read.
    fn is_done(&self) -> bool {
        self.options.stop.is_cancelled() || self.positions.is_done()
    }

    /// Records up to the ends as last seen; `None` before the positions are known.
    fn lag(&self, log: &dyn RecordLog) -> Option<u64> {
        if !self.seeked {
            return None;
        }
        self.positions.lag(&|partition| log.end(partition))
    }

    fn take(
        &mut self,
        event: LogEvent<'_>,
        decoder: &mut dyn Decoder,
        fill: &mut Fill,
    ) -> Result<Flow> {
        match event {
            LogEvent::Record(message) => match self.positions.offer(message) {
                Offer::Take => self.in_order(message, decoder, fill),
                Offer::Seen => {
                    self.dropped = self.dropped.saturating_add(1);
                    Ok(Flow::Continue)
                }
                Offer::Beyond => Ok(Flow::Leave),
            },
            LogEvent::End { partition, next } => Ok(self.positions.advance(partition, next)),
            LogEvent::Appeared { partition, start } => self.positions.appear(partition, start),
            LogEvent::Lost { next, watermarks } => self.positions.lose(next, watermarks),
        }
    }

    /// Takes a record after the first half of its key change, which waits for it: a batch that ended between the halves
    /// would delete the old key's row, and with it values that the second half does not carry.
    fn in_order(
        &mut self,
        message: &RawMessage<'_>,
        decoder: &mut dyn Decoder,
        fill: &mut Fill,
    ) -> Result<Flow> {
        if !self.options.keyed || !self.positions.is_alone(message.partition) {
            return self.push(message, decoder, fill);
        }
        if self.moves.wait(message) {
            self.positions.hold(message.partition, message.offset);
            let next = message.offset.saturating_add(1);
            return Ok(self.positions.advance(message.partition, next));
        }
        let waited = self.moves.take(message.partition);
        if waited.is_empty() {
            return self.push(message, decoder, fill);
        }
        self.positions.release(message.partition);
        let mut needed = None;
        for record in &waited {
            needed = needed.or(with_message(record, |message| decoder.needs(message))?);
        }
        if let Some(schema) = needed.or(decoder.needs(message)?) {
            self.held.extend(waited);
            return self.wait_for_schema(message, decoder, fill, schema);
        }
        for record in waited {
            with_message(&record, |message| self.push(message, decoder, fill))?;
        }
        self.push(message, decoder, fill)
    }

    /// Ends the batch before `message`, which needs `schema`, and before what is held already.
    fn wait_for_schema(
        &mut self,
        message: &RawMessage<'_>,
        decoder: &dyn Decoder,
        fill: &mut Fill,
        schema: SchemaRef,
    ) -> Result<Flow> {
        if self.options.schema_change == SchemaChange::Fail {
            return Err(changed(message, decoder.schema(), &schema));
        }
        self.held.push_back(message.to_record());
        fill.new_schema = Some(schema);
        if let Some(first) = self.held.front() {
            self.positions.hold(&first.partition, first.offset);
        }
        Ok(Flow::Stop)
    }

    fn push(
        &mut self,
        message: &RawMessage<'_>,
        decoder: &mut dyn Decoder,
        fill: &mut Fill,
    ) -> Result<Flow> {
        let begun = fill.records.is_multiple_of(MEASURED).then(Instant::now);
        let pushed = decoder.push(message)?;
        if let Some(begun) = begun {
            fill.decoding += begun.elapsed();
            fill.timed += 1;
        }
        if let Pushed::NewSchema(schema) = pushed {
            return self.wait_for_schema(message, decoder, fill, schema);
        }
        fill.records += 1;
        fill.bytes = fill.bytes.saturating_add(message.size());
        fill.started.get_or_insert_with(Instant::now);
        let next = message.offset.saturating_add(1);
        Ok(self.positions.advance(message.partition, next))
    }
}

/// A kept record as a message again.
fn with_message<T>(record: &RawRecord, work: impl FnOnce(&RawMessage<'_>) -> T) -> T {
    let headers: Vec<(&str, Option<&[u8]>)> = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref()))
        .collect();
    work(&RawMessage {
        partition: &record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    })
}

fn changed(message: &RawMessage<'_>, old: Option<SchemaRef>, new: &SchemaRef) -> Error {
    let mut columns: Vec<String> = Vec::new();
    let old_fields = old.as_ref().map(|schema| schema.fields().clone());
    for field in new.fields() {
        match old_fields
            .as_ref()
            .and_then(|fields| fields.find(field.name()))
        {
            None => columns.push(format!("`{}` {} is new", field.name(), field.data_type())),
            Some((_, was)) if was.data_type() != field.data_type() => columns.push(format!(
                "`{}` was {} and is {}",
                field.name(),
                was.data_type(),
                field.data_type()
            )),
            Some(_) => {}
        }
    }
    for field in old_fields.iter().flatten() {
        if new.fields().find(field.name()).is_none() {
            columns.push(format!("`{}` is gone", field.name()));
        }
    }
    Error::new(
        ErrorKind::Policy,
        format!("the schema changed: {}", columns.join(", ")),
    )
    .at(format!("{}@{}", message.partition, message.offset))
    .expected("the columns known at start, as `schema_change: fail` says")
    .remedy("Set `pipeline.schema_change: evolve` to follow the change, or `ignore` to keep the known columns.")
}
