//! A sink and a log that do as a test says, and tell what was asked of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use engine::maintain::{Policy, Report};
use engine::sink::memory::{Fault, MemorySink, MemoryTable};
use engine::sink::{Receipt, Sidecar, Sink};
use engine::source::{Flow, LogEvent, RecordLog, Watermarks};
use sql::change::{ChangeBatch, Position, Remembered, Span};
use sql::feed::{BatchLimit, ChangeFeed, Pulse};
use sql::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

/// What one call of `write` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Fails with an error of this kind; nothing is committed.
    Fail(ErrorKind),
    /// Commits, and says that the service did not answer.
    LoseAnswer,
    /// Waits for [`Script::release`], then commits.
    Hold,
}

/// The steps of a sink, and what it saw. Without a step left, it commits.
#[derive(Clone)]
pub struct Script(Arc<Inner>);

struct Inner {
    steps: Mutex<VecDeque<Step>>,
    for_ever: Mutex<Option<Step>>,
    silent: AtomicUsize,
    spans: Mutex<Vec<Span>>,
    held: AtomicUsize,
    release: Semaphore,
    in_flight: AtomicUsize,
    overlapped: AtomicBool,
    passes: Mutex<Vec<usize>>,
    failing: Mutex<Option<ErrorKind>>,
}

impl Script {
    pub fn new(steps: &[Step]) -> Self {
        Self(Arc::new(Inner {
            steps: Mutex::new(steps.iter().copied().collect()),
            for_ever: Mutex::default(),
            silent: AtomicUsize::new(0),
            spans: Mutex::default(),
            held: AtomicUsize::new(0),
            release: Semaphore::new(0),
            in_flight: AtomicUsize::new(0),
            overlapped: AtomicBool::new(false),
            passes: Mutex::default(),
            failing: Mutex::default(),
        }))
    }

    /// Every call does `step`.
    pub fn always(step: Step) -> Self {
        let script = Self::new(&[]);
        *script.0.for_ever.lock().unwrap() = Some(step);
        script
    }

    /// The table does not answer when it is asked for its position, so many times.
    pub fn silence(&self, times: usize) {
        self.0.silent.store(times, Ordering::SeqCst);
    }

    /// From now on, calls commit.
    pub fn heal(&self) {
        *self.0.for_ever.lock().unwrap() = None;
    }

    /// Calls of `write` so far.
    pub fn attempts(&self) -> usize {
        self.0.spans.lock().unwrap().len()
    }

    /// What each call was to cover.
    pub fn spans(&self) -> Vec<Span> {
        self.0.spans.lock().unwrap().clone()
    }

    /// Calls that wait now or have waited.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::SeqCst)
    }

    /// Lets one held call go on.
    pub fn release(&self) {
        self.0.release.add_permits(1);
    }

    /// For each pass of maintenance, how many writes there had been.
    pub fn passes(&self) -> Vec<usize> {
        self.0.passes.lock().unwrap().clone()
    }

    /// The next pass of maintenance fails with an error of this kind.
    pub fn fail_maintenance(&self, kind: ErrorKind) {
        *self.0.failing.lock().unwrap() = Some(kind);
    }

    /// Whether a call began before another one had ended.
    pub fn overlapped(&self) -> bool {
        self.0.overlapped.load(Ordering::SeqCst)
    }
}

/// A memory table's sink that follows a script.
pub struct ScriptedSink {
    table: MemoryTable,
    sink: MemorySink,
    script: Script,
}

impl ScriptedSink {
    pub fn new(table: &MemoryTable, pipeline: &str, script: &Script) -> Self {
        Self {
            table: table.clone(),
            sink: table.sink(pipeline),
            script: script.clone(),
        }
    }

    async fn follow(&mut self, rows: &[RecordBatch], span: &Span) -> Result<Receipt> {
        let next = self.script.0.steps.lock().unwrap().pop_front();
        let step = next.or(*self.script.0.for_ever.lock().unwrap());
        match step {
            Some(Step::Fail(kind)) => return Err(Error::new(kind, "as the script says")),
            Some(Step::LoseAnswer) => self.table.fail_next(Fault::LostAnswer),
            Some(Step::Hold) => {
                self.script.0.held.fetch_add(1, Ordering::SeqCst);
                self.script.0.release.acquire().await.unwrap().forget();
            }
            None => {}
        }
        self.sink.write(rows, span).await
    }
}

#[async_trait]
impl Sink for ScriptedSink {
    fn schema(&self) -> SchemaRef {
        self.sink.schema()
    }

    async fn progress(&mut self) -> Result<Position> {
        let silent = &self.script.0.silent;
        if silent.load(Ordering::SeqCst) > 0 {
            silent.fetch_sub(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Unavailable, "as the script says"));
        }
        self.sink.progress().await
    }

    async fn write(&mut self, rows: &[RecordBatch], span: &Span) -> Result<Receipt> {
        self.script.0.spans.lock().unwrap().push(span.clone());
        if self.script.0.in_flight.fetch_add(1, Ordering::SeqCst) > 0 {
            self.script.0.overlapped.store(true, Ordering::SeqCst);
        }
        let result = self.follow(rows, span).await;
        self.script.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        result
    }

    async fn evolve(&mut self, schema: &SchemaRef) -> Result<()> {
        self.sink.evolve(schema).await
    }

    fn sidecar(&self) -> Option<Arc<dyn Sidecar>> {
        self.sink.sidecar()
    }

    async fn maintain(&mut self, _policy: &Policy) -> Result<Report> {
        let inner = &self.script.0;
        if inner.in_flight.load(Ordering::SeqCst) > 0 {
            inner.overlapped.store(true, Ordering::SeqCst);
        }
        inner.passes.lock().unwrap().push(self.script.attempts());
        match inner.failing.lock().unwrap().take() {
            Some(kind) => Err(Error::new(kind, "as the script says")),
            None => Ok(Report {
                files_before: 12,
                files_after: 2,
                files_compacted: 11,
                bytes_compacted: 4096,
                commits: 1,
                ..Report::default()
            }),
        }
    }
}

/// What a [`WatchedFeed`] was asked for.
#[derive(Debug, Clone, Default)]
pub struct Reads {
    asked: Arc<AtomicUsize>,
    given: Arc<AtomicUsize>,
}

impl Reads {
    /// Calls of `next` so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Batches returned so far.
    pub fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }
}

/// A feed that counts its calls.
pub struct WatchedFeed<F> {
    pub feed: F,
    pub reads: Reads,
}

#[async_trait]
impl<F: ChangeFeed> ChangeFeed for WatchedFeed<F> {
    fn key(&self) -> &[String] {
        self.feed.key()
    }

    fn schema(&self) -> SchemaRef {
        self.feed.schema()
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        self.feed.project(columns)
    }

    fn drop_resends(&mut self, known: Remembered, window: usize) -> Result<()> {
        self.feed.drop_resends(known, window)
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        self.feed.seek(position).await
    }

    async fn next(&mut self, limit: &BatchLimit) -> Result<Option<ChangeBatch>> {
        self.reads.asked.fetch_add(1, Ordering::SeqCst);
        let batch = self.feed.next(limit).await?;
        if batch.is_some() {
            self.reads.given.fetch_add(1, Ordering::SeqCst);
        }
        Ok(batch)
    }

    async fn ack(&mut self, position: &Position) -> Result<()> {
        self.feed.ack(position).await
    }

    fn lag(&self) -> Option<u64> {
        self.feed.lag()
    }

    fn pulse(&self) -> Option<Pulse> {
        self.feed.pulse()
    }
}

/// A log that counts the records that were taken from it, breaks at an offset, and says when it is gone.
pub struct MortalLog<L> {
    log: L,
    gone: Arc<AtomicBool>,
    breaks_at: Option<i64>,
    delivered: Arc<AtomicUsize>,
}

impl<L> MortalLog<L> {
    pub fn new(
        log: L,
        gone: &Arc<AtomicBool>,
        breaks_at: Option<i64>,
        delivered: &Arc<AtomicUsize>,
    ) -> Self {
        Self {
            log,
            gone: gone.clone(),
            breaks_at,
            delivered: delivered.clone(),
        }
    }
}

impl<L> Drop for MortalLog<L> {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
    }
}

impl<L: RecordLog> RecordLog for MortalLog<L> {
    fn partitions(&mut self) -> Result<Vec<Watermarks>> {
        self.log.partitions()
    }

    fn assign(&mut self, start: &Position) -> Result<()> {
        self.log.assign(start)
    }

    fn poll(
        &mut self,
        timeout: Duration,
        take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>,
    ) -> Result<()> {
        let (breaks_at, delivered) = (self.breaks_at, &self.delivered);
        self.log.poll(timeout, &mut |event| match event {
            LogEvent::Record(message) if breaks_at.is_some_and(|at| message.offset >= at) => {
                Err(Error::new(ErrorKind::DataLoss, "the log is broken here"))
            }
            LogEvent::Record(_) => {
                let flow = take(event);
                delivered.fetch_add(1, Ordering::SeqCst);
                flow
            }
            event => take(event),
        })
    }

    fn requires(&self, topic: &str) -> bool {
        self.log.requires(topic)
    }

    fn end(&self, partition: &sql::change::Partition) -> Option<i64> {
        self.log.end(partition)
    }

    fn commit(&mut self, position: &Position) {
        self.log.commit(position);
    }
}
