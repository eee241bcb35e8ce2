//! The feed over a table that remembers what changed.

use std::collections::VecDeque;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sql::change::{ChangeBatch, Partition, Position, Span};
use sql::feed::{BatchLimit, ChangeFeed, Pulse};
use sql::versioned::{Readable, Version, VersionedTable};
use sql::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::fill::{Chunk, Fill, Layout, Making, names};
use super::images::{Image, arrange, images};
use super::place::{Place, Within};
use super::range::{self, End};
use super::reading::{Pass, Reading};
use super::register::Registration;
use super::schema;
use crate::spec::model::{LakeEnd, LakeStart, SchemaChange};

/// The pauses while a table does not answer: doubled from the first up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// How a [`LakeFeed`] behaves.
#[derive(Debug)]
pub struct LakeOptions {
    /// The source's name: the topic of its positions.
    pub name: String,
    /// Key columns; none: the table's own.
    pub key: Vec<String>,
    /// Where it starts without a position.
    pub start: LakeStart,
    /// Where it ends.
    pub end: Option<LakeEnd>,
    /// The types of changes that become rows; `None`: all.
    pub change_types: Option<Vec<String>>,
    /// Versions that a batch has at most.
    pub max_versions: Option<usize>,
    /// How long it waits before it looks for new versions again.
    pub poll_interval: Duration,
    /// Stop at the version that was the newest at `seek`.
    pub bounded: bool,
    /// The target is kept by key.
    pub keyed: bool,
    /// Keep each row as a record beside it.
    pub keep_raw: bool,
    /// What a changed schema does.
    pub schema_change: SchemaChange,
    /// The source's place in the pipeline's file.
    pub at: String,
    /// The reader's entry beside the table, if it has one.
    pub registration: Option<Registration>,
    /// Told to stop.
    pub stop: CancellationToken,
    /// Microseconds since the epoch.
    pub clock: fn() -> i64,
}

/// Batches of a table's changes: whole versions, as many as fit; a version that does not fit alone is cut between rows.
///
/// Positions are told in [`super`]. What a table cannot answer for now is asked again until it does.
pub struct LakeFeed {
    table: Arc<dyn VersionedTable>,
    options: LakeOptions,
    layout: Layout,
    key: Vec<String>,
    partition: Partition,
    place: Place,
    /// Where the last batch ended: what the target's position is to be.
    emitted: Position,
    /// A start that is to be remembered although there is nothing to read yet.
    announce: bool,
    end: Option<End>,
    /// What was there at `seek`, to be looked at first; for a bounded feed all that there is.
    readable: Option<Readable>,
    queue: VecDeque<Version>,
    reading: Option<Reading>,
    /// Nothing more will come.
    drained: bool,
    seeked: bool,
    /// A schema is adopted, and waits for its projection.
    unprojected: bool,
    /// An error that came after rows: the rows are returned first.
    failure: Option<Error>,
    pulse: Pulse,
}

/// What a step came to.
enum Step {
    Went,
    /// There is nothing to read now.
    Idle,
    NewSchema(SchemaRef),
}

impl LakeFeed {
    /// A feed of `table`, as it is since its last refresh.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a key column that the table does not have, for a table without a key where the target is kept by
    /// it, and for column names that the feed needs itself.
    pub fn try_new(table: Arc<dyn VersionedTable>, options: LakeOptions) -> Result<Self> {
        let layout = Layout::try_new(&table.schema(), table.name())?;
        let key = schema::key(table.as_ref(), &options.key, options.keyed, &options.at)?;
        let partition = Partition::new(&options.name, 0);
        Ok(Self {
            table,
            layout,
            key,
            partition,
            place: Place::default(),
            emitted: Position::new(),
            announce: false,
            end: None,
            readable: None,
            queue: VecDeque::new(),
            reading: None,
            drained: false,
            seeked: false,
            unprojected: false,
            failure: None,
            pulse: Pulse::default(),
            options,
        })
    }

    /// Reads until the batch is full, the end is reached, or the feed is told to stop.
    async fn fill(&mut self, fill: &mut Fill, limit: &BatchLimit) -> Result<()> {
        let mut failures = 0;
        loop {
            if let Some(position) = self.pulse.take_ack() {
                self.acknowledge(&position).await;
            }
            if self.options.stop.is_cancelled() {
                return Ok(());
            }
            if fill.is_full(limit, self.options.max_versions) {
                return self.settle(fill).await;
            }
            let caught_up = self.queue.is_empty();
            if caught_up && fill.left(limit) == Some(Duration::ZERO) {
                return Ok(());
            }
            match self.step(fill, limit).await {
                Ok(Step::Went) => failures = 0,
                Ok(Step::NewSchema(schema)) => fill.new_schema = Some(schema),
                Ok(Step::Idle) => {
                    failures = 0;
                    if self.drained {
                        return Ok(());
                    }
                    self.wait(fill, limit, self.options.poll_interval).await;
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    self.outage(&error, failures);
                    let pause = PAUSES
                        .0
                        .saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
                    failures += 1;
                    self.wait(fill, limit, pause.min(PAUSES.1)).await;
                    if fill.left(limit) == Some(Duration::ZERO) {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Nothing to read for `pause`, or for as long as what is there may wait.
    async fn wait(&mut self, fill: &Fill, limit: &BatchLimit, pause: Duration) {
        if fill.records == 0 {
            self.pulse.idle(self.lag());
        }
        let pause = fill.left(limit).map_or(pause, |left| left.min(pause));
        tokio::select! {
            biased;
            () = self.options.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    fn outage(&mut self, error: &Error, failures: u32) {
        if failures == 0 {
            warn!(source = self.options.name, error = %error, "the table does not answer, asking again until it does");
        }
        if let Some(reading) = &mut self.reading {
            reading.reopen();
        }
    }

    /// One step on: looks for versions, begins one, or reads a piece of it.
    async fn step(&mut self, fill: &mut Fill, limit: &BatchLimit) -> Result<Step> {
        if let Some(reading) = self.reading.take() {
            return self.read(reading, fill, limit).await;
        }
        if self.queue.is_empty() {
            self.look().await?;
        }
        if std::mem::take(&mut self.announce) && self.queue.is_empty() {
            fill.closed = true;
            return Ok(Step::Went);
        }
        let changed = schema::change(
            self.table.as_ref(),
            &self.layout.row,
            &self.key,
            self.options.schema_change,
        )?;
        if let Some(row) = changed {
            return Ok(Step::NewSchema(row));
        }
        let Some(version) = self.queue.front().cloned() else {
            return Ok(Step::Idle);
        };
        let within = self.place.within();
        self.reading = if self.place.in_snapshot().is_some() {
            Some(Reading::new(version, Pass::Snapshot, rows_of(within)))
        } else if !version.changes_rows {
            self.finish(&version, fill, true);
            None
        } else {
            let pass = match (within, self.options.keyed) {
                (Within::Start, true) => Pass::Whole,
                (Within::Start, false) if is_larger(&version, limit) => Pass::Changes,
                (Within::Start, false) => Pass::Whole,
                (_, false) => Pass::Changes,
                (Within::Rows(_), true) => Pass::Removals,
                (Within::Additions(_), true) => Pass::Additions,
            };
            Some(Reading::new(version, pass, rows_of(within)))
        };
        Ok(Step::Went)
    }

    /// Looks for versions that come next.
    async fn look(&mut self) -> Result<()> {
        if self.drained {
            return Ok(());
        }
        let readable = match self.readable {
            Some(readable) if self.options.bounded => readable,
            Some(readable) => {
                self.readable = None;
                readable
            }
            None => self.table.refresh().await?,
        };
        let table = self.table.as_ref();
        let found = match self.place.in_snapshot() {
            Some(version) => table.versions(version, version).await?,
            None => range::after(table, readable, self.place.done).await?,
        };
        let all = found.len();
        let end = self.end;
        let behind_the_end = |version: &Version| end.is_some_and(|end| end.is_before(version));
        let found = found
            .into_iter()
            .take_while(|version| !behind_the_end(version));
        self.queue.extend(found);
        let ended = self.queue.len() < all
            || match end {
                Some(End::Version(last)) => self.place.done.is_some_and(|done| done >= last),
                Some(End::Time(last)) => (self.options.clock)() > last,
                None => false,
            };
        self.drained = self.queue.is_empty() && (ended || self.options.bounded);
        Ok(())
    }

    /// A piece of the version in progress.
    async fn read(
        &mut self,
        mut reading: Reading,
        fill: &mut Fill,
        limit: &BatchLimit,
    ) -> Result<Step> {
        if reading.pass == Pass::Whole && fill.records == 0 && !fits(&reading, fill, limit) {
            // It does not even fit alone: it is read anew, to be cut.
            reading.restart(if self.options.keyed {
                Pass::Removals
            } else {
                Pass::Changes
            });
        }
        let columns = self.columns(reading.pass);
        let fetched = reading.fetch(self.table.as_ref(), &columns).await;
        let more = match fetched {
            Ok(more) => more,
            Err(error) => {
                // To be gone on with if the error passes.
                self.reading = Some(reading);
                return Err(error);
            }
        };
        if !more {
            self.reading = self.end_of(reading, fill)?;
            return Ok(Step::Went);
        }
        if reading.pass == Pass::Whole {
            self.gather(&mut reading, fill, limit)?;
        } else {
            let first = reading.taken;
            let room = fill.room(limit, reading.row_bytes);
            if let Some(chunk) = reading.take(room)? {
                self.put(&reading, &chunk, first, fill)?;
            }
        }
        self.reading = Some(reading);
        Ok(Step::Went)
    }

    /// The columns that a pass reads, as far as the table still has them.
    fn columns(&self, pass: Pass) -> Vec<String> {
        let schema = self.table.schema();
        let wanted = if pass == Pass::Removals {
            self.key.clone()
        } else {
            names(&self.layout.read)
        };
        let there = |name: &String| schema.column_with_name(name).is_some();
        wanted.into_iter().filter(there).collect()
    }

    /// Takes all that is there of a version that may fit whole.
    fn gather(&self, reading: &mut Reading, fill: &mut Fill, limit: &BatchLimit) -> Result<()> {
        let pending = reading.pending();
        let taken = reading.take(pending)?;
        reading.whole.extend(taken);
        fill.closed = fill.records > 0 && !fits(reading, fill, limit);
        Ok(())
    }

    /// The pass is over: what comes after it.
    fn end_of(&mut self, mut reading: Reading, fill: &mut Fill) -> Result<Option<Reading>> {
        match reading.pass {
            Pass::Removals => {
                reading.restart(Pass::Additions);
                return Ok(Some(reading));
            }
            Pass::Whole => {
                let whole = std::mem::take(&mut reading.whole);
                if let Some(first) = whole.first() {
                    let all = arrow::compute::concat_batches(&first.schema(), &whole);
                    let all = all.map_err(|error| {
                        Error::internal("the batches of a version do not fit together")
                            .source(error)
                    })?;
                    self.put(&reading, &all, 0, fill)?;
                }
            }
            Pass::Snapshot | Pass::Changes | Pass::Additions => {}
        }
        let nothing = reading.taken == 0;
        self.finish(&reading.version, fill, nothing);
        Ok(None)
    }

    /// The version is done; one without a row moves the position all the same.
    fn finish(&mut self, version: &Version, fill: &mut Fill, nothing: bool) {
        self.place.finish(version.number);
        self.queue.pop_front();
        fill.versions += 1;
        if nothing {
            fill.control(1);
        }
    }

    /// A version whose rows are all in the full batch is done with it.
    async fn settle(&mut self, fill: &mut Fill) -> Result<()> {
        let Some(mut reading) = self.reading.take() else {
            return Ok(());
        };
        if reading.pass == Pass::Whole {
            self.reading = Some(reading);
            return Ok(());
        }
        let columns = self.columns(reading.pass);
        match reading.fetch(self.table.as_ref(), &columns).await {
            Ok(false) => self.reading = self.end_of(reading, fill)?,
            Ok(true) => self.reading = Some(reading),
            Err(_) => {
                // The rows are there; the error comes again with the next batch, or has passed by then.
                reading.reopen();
                self.reading = Some(reading);
            }
        }
        Ok(())
    }

    /// Puts change rows into the batch; `first` is the number of the first one in its version.
    fn put(
        &self,
        reading: &Reading,
        rows: &RecordBatch,
        first: i64,
        fill: &mut Fill,
    ) -> Result<()> {
        let images = match reading.pass {
            Pass::Snapshot => vec![Image::Read; rows.num_rows()],
            _ => images(rows)?,
        };
        let aligned = self.layout.align(rows)?;
        let chunk = Chunk {
            rows: &aligned,
            images: &images,
            first,
            version: &reading.version,
        };
        let making = self.making();
        let bytes = reading.row_bytes;
        if !self.options.keyed {
            let wanted = |row: &usize| images.get(*row).is_some_and(|image| self.wants(*image));
            let kept: Vec<usize> = (0..images.len()).filter(wanted).collect();
            fill.control(images.len() - kept.len());
            return fill.add(&chunk, &kept, bytes, &making);
        }
        let arranged = arrange(&images, &self.keys(&aligned)?)?;
        if reading.pass != Pass::Additions {
            fill.add(&chunk, &arranged.removals, bytes, &making)?;
        }
        if reading.pass != Pass::Removals {
            fill.add(&chunk, &arranged.additions, bytes, &making)?;
            fill.reject(&chunk, &arranged.keyless, bytes, &making)?;
            fill.control(arranged.redundant);
        }
        Ok(())
    }

    fn wants(&self, image: Image) -> bool {
        let types = self.options.change_types.as_ref();
        types.is_none_or(|types| types.iter().any(|word| word == image.word()))
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let column = |name: &String| {
            let column = rows.column_by_name(name).cloned();
            column.ok_or_else(|| Error::internal(format!("the key column `{name}` was not read")))
        };
        self.key.iter().map(column).collect()
    }

    fn making(&self) -> Making<'_> {
        Making {
            layout: &self.layout,
            partition: &self.partition,
            key: &self.key,
            keyed: self.options.keyed,
            keep_raw: self.options.keep_raw,
        }
    }

    /// What is in `fill` as a batch.
    fn batch(&mut self, mut fill: Fill, covers: bool) -> Result<ChangeBatch> {
        let span = if covers {
            let reached = self.place.position(&self.options.name);
            let span = Span::try_new(&self.emitted, &reached)?;
            for (partition, value) in reached.iter() {
                self.emitted.set(partition.clone(), value);
            }
            span
        } else {
            Span::default()
        };
        let new_row = fill.new_schema.take();
        let now = (self.options.clock)();
        let batch = fill.finish(&self.making(), span, now, self.place.done)?;
        let Some(row) = new_row else {
            return Ok(batch);
        };
        self.layout = Layout::try_new(&row, self.table.name())?;
        self.unprojected = true;
        Ok(batch.before_schema_change(Arc::clone(&self.layout.full)))
    }

    async fn acknowledge(&mut self, position: &Position) {
        let now = (self.options.clock)();
        let place = Place::read(position, &self.options.name);
        let needs = place.and_then(|place| place.needs());
        if let (Some(registration), Some(version)) = (&mut self.options.registration, needs) {
            registration.reached(version, now).await;
        }
    }
}

/// Whether what was taken of a version that is to come whole fits into the batch.
fn fits(reading: &Reading, fill: &Fill, limit: &BatchLimit) -> bool {
    let rows = usize::try_from(reading.taken).unwrap_or(usize::MAX);
    let bytes = rows.saturating_mul(reading.row_bytes);
    fill.records.saturating_add(rows) <= limit.max_records.max(1)
        && fill.bytes.saturating_add(bytes) <= limit.max_bytes.max(1)
}

/// Whether the version will not fit into a batch, as far as its log says it. Rows that were only rewritten count there, too: so this
/// only saves a try.
fn is_larger(version: &Version, limit: &BatchLimit) -> bool {
    let rows = |rows: Option<u64>| usize::try_from(rows.unwrap_or(0)).unwrap_or(usize::MAX);
    rows(version.size.added_rows) > limit.max_records.max(1)
}

fn rows_of(within: Within) -> i64 {
    match within {
        Within::Start => 0,
        Within::Rows(rows) | Within::Additions(rows) => rows,
    }
}

#[async_trait]
impl ChangeFeed for LakeFeed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.full)
    }

    fn key(&self) -> &[String] {
        &self.key
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        let more = (!self.options.keep_raw).then_some(self.key.as_slice());
        self.layout.project(columns, more)?;
        self.unprojected = false;
        match &mut self.reading {
            // What it holds has other columns.
            Some(reading) if reading.pass == Pass::Whole => reading.restart(Pass::Whole),
            Some(reading) => reading.reopen(),
            None => {}
        }
        Ok(())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        let readable = self.table.refresh().await?;
        let table = self.table.as_ref();
        let at = &self.options.at;
        let end = End::resolve(table, readable, self.options.end, at).await?;
        let known = Place::read(position, &self.options.name);
        let place = match known {
            Some(place) => place,
            None => range::start(table, readable, self.options.start, end, at).await?,
        };
        // Found out now, not at the first read.
        match place.in_snapshot() {
            Some(version) => drop(table.versions(version, version).await?),
            None => drop(range::after(table, readable, place.done).await?),
        }
        if let Some(registration) = &mut self.options.registration {
            let version = place.needs().unwrap_or(readable.first);
            registration.reached(version, (self.options.clock)()).await;
        }
        // Where there is nothing to read yet, the start is kept all the same: it would be another one tomorrow.
        self.announce = known.is_none() && place.in_snapshot().is_none() && place.done.is_some();
        debug!(
            source = self.options.name,
            table = self.table.name(),
            version = place.needs(),
            snapshot = place.in_snapshot().is_some(),
            "reading the changes of a table"
        );
        self.place = place;
        self.emitted = position.clone();
        self.end = end;
        self.readable = Some(readable);
        self.queue.clear();
        self.reading = None;
        self.failure = None;
        self.drained = false;
        self.seeked = true;
        Ok(())
    }

    async fn next(&mut self, limit: &BatchLimit) -> Result<Option<ChangeBatch>> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if !self.seeked || self.unprojected {
            return Err(Error::internal(
                "a feed was read before it was told where, or what",
            ));
        }
        self.pulse.busy();
        let mut fill = Fill::default();
        if let Err(error) = self.fill(&mut fill, limit).await {
            if fill.records == 0 {
                return Err(error);
            }
            self.failure = Some(error);
        }
        if let Some(reading) = &self.reading {
            self.place.set_within(reading.within());
        }
        let covers = fill.records > 0 || fill.closed;
        if !covers && fill.new_schema.is_none() {
            return Ok(None);
        }
        self.batch(fill, covers).map(Some)
    }

    async fn ack(&mut self, position: &Position) -> Result<()> {
        self.acknowledge(position).await;
        Ok(())
    }

    fn lag(&self) -> Option<u64> {
        self.seeked.then_some(self.queue.len() as u64)
    }

    fn pulse(&self) -> Option<Pulse> {
        Some(self.pulse.clone())
    }
}
