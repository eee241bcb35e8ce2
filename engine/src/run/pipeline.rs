//! One pipeline: open everything, then fetch, transform and commit until it is drained or told to stop.
//!
//! Start and restart are the same code: the table says where to go on. While batch *n* is transformed and committed,
//! batch *n+1* is fetched and decoded; at most one commit is in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sql::change::{ChangeBatch, Position};
use sql::feed::{BatchLimit, ChangeFeed, Pulse};
use sql::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::defaults;
use super::observer::Observer;
use super::process::{Processor, ReadFacts, lookup_tables};
use super::retry::{Retry, attempt};
use crate::maintain::Policy;
use crate::maintain::schedule::{Schedule, is_fatal};
use crate::resend::WindowStore;
use crate::sink::{self, Missing, Sink, Target, failpoint};
use crate::source::{self, SourceOptions};
use crate::spec::model::{
    Mode, OnFail, PipelineSpec, Resends, SchemaChange, SinkSpec, SourceSpec, Trigger,
    UnavailablePolicy,
};
use crate::transform::Transform;
use crate::upsert::UpsertPlan;

/// A commit is given this multiple of its own time between two commits, where `trigger.adaptive` is on.
/// Below it, most of the time would go into commits.
const ADAPTIVE_FACTOR: u32 = 3;

/// What a pipeline did when it ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Commits made.
    pub commits: u64,
    /// Where the table stands.
    pub position: Position,
}

/// What a pipeline is made of.
pub struct Parts {
    /// Where changes come from.
    pub feed: Box<dyn ChangeFeed>,
    /// The SQL, planned against the feed's schema ([`plan`]).
    pub transform: Transform,
    /// Where rows go; opened for the transform's output.
    pub sink: Target,
}

/// A pipeline whose source and target are open and agree on where to start.
pub struct Pipeline {
    spec: Arc<PipelineSpec>,
    feed: Box<dyn ChangeFeed>,
    processor: Processor,
    position: Position,
    bounded: bool,
    observer: Arc<Observer>,
    stop: CancellationToken,
}

impl Pipeline {
    /// Connects the source, plans the SQL against its schema, opens or creates the target, and goes to the target's
    /// positions. Services that do not answer are tried again for 30 seconds.
    ///
    /// # Errors
    /// Whatever the parts say; nothing was written to an existing table.
    pub async fn start(
        spec: Arc<PipelineSpec>,
        once: bool,
        observer: Arc<Observer>,
        stop: CancellationToken,
    ) -> Result<Self> {
        let options = SourceOptions {
            bounded: is_bounded(&spec, once),
            until: None,
            keep_raw: spec
                .rules
                .iter()
                .any(|rule| rule.on_fail == OnFail::Quarantine)
                || sets_unavailable_aside(&spec),
            keyed: spec.sink.mode != Mode::Append,
            schema_change: spec.pipeline.schema_change,
            reader: Some(spec.pipeline.name.clone()),
            stop: stop.clone(),
        };
        observer.phase("connecting to the source");
        let feed = source::open(&spec.source, options).await?;
        let schema = feed.schema();
        let retry = |what| Retry::at_start(what, &stop, &observer);
        let transform = attempt!(retry("opening the lookups"), plan(&spec, &schema));
        observer.phase("opening the table");
        let missing = match (spec.pipeline.schema_change, spec.sink.mode) {
            (SchemaChange::Evolve, Mode::Append) => Missing::Add,
            (SchemaChange::Evolve, Mode::Upsert { .. }) => Missing::Later,
            (SchemaChange::Ignore | SchemaChange::Fail, _) => Missing::Refuse,
        };
        let mut sink = attempt!(
            retry("opening the table"),
            open_target(&spec, &transform, feed.key(), missing)
        );
        if let Target::Upsert(sink) = &mut sink {
            let (sink, known) = (sink.as_mut(), feed.defaults());
            defaults::add_columns(&spec.sink, sink, &known, &transform, retry).await?;
        }
        let parts = Parts {
            feed,
            transform,
            sink,
        };
        Self::from_parts(spec, once, parts, observer, stop).await
    }

    /// A pipeline of parts that are open already; goes to the target's positions.
    ///
    /// # Errors
    /// Whatever the parts say; nothing was written.
    pub async fn from_parts(
        spec: Arc<PipelineSpec>,
        once: bool,
        parts: Parts,
        observer: Arc<Observer>,
        stop: CancellationToken,
    ) -> Result<Self> {
        let Parts {
            mut feed,
            transform,
            mut sink,
        } = parts;
        let retry = |what| Retry::at_start(what, &stop, &observer);
        let position = attempt!(
            retry("reading the table's position"),
            sink.sink_mut().progress()
        );
        let key = feed.key().to_vec();
        feed.project(&with_key(transform.source_columns(), &key))?;
        let windows = match resends(&spec) {
            Resends::Keep => None,
            Resends::Drop { window } => {
                let what = "reading the window of events sent again";
                let (name, files) = (&spec.pipeline.name, sidecar(sink.sink())?);
                let (windows, known) = attempt!(
                    retry(what),
                    WindowStore::load(files.clone(), name, window, &position)
                );
                feed.drop_resends(known, window)?;
                Some(windows)
            }
        };
        attempt!(retry("going to the table's position"), feed.seek(&position));
        let mut processor = Processor::new(spec.clone(), transform, sink, &key, observer.clone())?;
        processor.remember(windows);
        observer.started(&position);
        Ok(Self {
            bounded: is_bounded(&spec, once),
            spec,
            feed,
            processor,
            position,
            observer,
            stop,
        })
    }

    /// Runs until the source is drained (bounded) or the pipeline was told to stop; the batch at hand is committed first.
    ///
    /// # Errors
    /// The first error that the retry policy does not cover. The table holds whole batches only.
    pub async fn drive(self) -> Result<Outcome> {
        let Self {
            spec,
            feed,
            mut processor,
            position,
            bounded,
            observer,
            stop,
        } = self;
        let mut limit = BatchLimit {
            max_records: spec.pipeline.batch.max_records,
            max_bytes: spec.pipeline.batch.max_bytes,
            max_wait: interval(&spec, bounded, Duration::ZERO),
        };
        let mut outcome = Outcome {
            commits: 0,
            position,
        };
        let mut acknowledge = Acknowledge::new(feed.pulse());
        let mut upkeep = Upkeep::start(&spec, processor.sidecar(), &observer, &stop).await;
        let mut fetch = Fetch::start(feed, limit);
        loop {
            let (mut feed, fetched) = loop {
                tokio::select! {
                    biased;
                    policy = upkeep.schedule.due() => upkeep.pass(&mut processor, &policy).await?,
                    joined = fetch.join(&observer) => break joined?,
                }
            };
            acknowledge.late(feed.as_mut()).await?;
            let Some((batch, fetch_time)) = fetched else {
                break;
            };
            let read = ReadFacts {
                time: fetch_time,
                lag: feed.lag(),
            };
            let committed = match batch.next_schema().cloned() {
                Some(schema) => {
                    let committed = processor.process(batch, read, &stop).await?;
                    let transform = processor.plan(&schema, &stop).await?;
                    let key = feed.key().to_vec();
                    feed.project(&with_key(transform.source_columns(), &key))?;
                    processor.replan(transform, &feed.defaults(), &stop).await?;
                    fetch = Fetch::start(feed, limit);
                    committed
                }
                None => {
                    fetch = Fetch::start(feed, limit);
                    processor.process(batch, read, &stop).await?
                }
            };
            if let Some(committed) = committed {
                outcome.commits += 1;
                upkeep.schedule.committed();
                outcome.position.try_advance(&committed.span)?;
                limit.max_wait = interval(&spec, bounded, committed.commit_time);
                failpoint::hit("before_ack");
                acknowledge.committed(&outcome.position);
            }
        }
        if bounded && let Some(policy) = upkeep.schedule.last().await {
            upkeep.pass(&mut processor, &policy).await?;
        }
        observer.ended(&outcome);
        Ok(outcome)
    }
}

/// The maintenance of a running pipeline's table.
struct Upkeep<'a> {
    schedule: Schedule,
    observer: &'a Observer,
}

impl<'a> Upkeep<'a> {
    async fn start(
        spec: &PipelineSpec,
        files: Option<Arc<dyn sink::Sidecar>>,
        observer: &'a Observer,
        stop: &CancellationToken,
    ) -> Self {
        let name = &spec.pipeline.name;
        Self {
            schedule: Schedule::start(&spec.maintenance, name, files, stop).await,
            observer,
        }
    }

    /// One pass. Its errors are told and no reason to stop, but for those that say that another engine has the table.
    async fn pass(&mut self, processor: &mut Processor, policy: &Policy) -> Result<()> {
        let left = match processor.maintain(policy).await {
            Ok(report) => {
                self.observer.maintained(&report);
                report.more
            }
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => {
                self.observer.not_maintained(&error);
                true
            }
        };
        self.schedule.passed(policy, left).await;
        Ok(())
    }
}

fn resends(spec: &PipelineSpec) -> Resends {
    match &spec.source {
        SourceSpec::Kafka(kafka) => kafka.resends,
        SourceSpec::Lake(_) => Resends::Keep,
    }
}

fn sidecar(sink: &dyn Sink) -> Result<Arc<dyn sink::Sidecar>> {
    sink.sidecar()
        .ok_or_else(|| Error::internal("this sink has no place for files beside its table"))
}

fn sets_unavailable_aside(spec: &PipelineSpec) -> bool {
    let policy = UnavailablePolicy::Quarantine;
    matches!(spec.sink.mode, Mode::Upsert { unavailable, .. } if unavailable == policy)
}

/// The columns to decode: those that the SQL reads, and the key.
fn with_key(mut columns: Vec<String>, key: &[String]) -> Vec<String> {
    let missing = key.iter().filter(|name| !columns.contains(name));
    let missing: Vec<String> = missing.cloned().collect();
    columns.extend(missing);
    columns
}

/// Opens the target in the pipeline's mode.
async fn open_target(
    spec: &PipelineSpec,
    transform: &Transform,
    key: &[String],
    missing: Missing,
) -> Result<Target> {
    let (name, output) = (&spec.pipeline.name, transform.output_schema());
    if spec.sink.mode == Mode::Append {
        let sink = sink::open_with(&spec.sink, name, output, missing).await?;
        return Ok(Target::Append(sink));
    }
    let plan = UpsertPlan::try_new(transform, key, &spec.sink.at)?;
    let sink = sink::open_upsert(&spec.sink, name, output, plan.target_key(), missing).await?;
    Ok(Target::Upsert(sink))
}

fn is_bounded(spec: &PipelineSpec, once: bool) -> bool {
    once || spec.pipeline.trigger == Trigger::AvailableNow
}

/// Tells the feed what is committed: at once if it hears that while it reads, else when it is at hand again.
struct Acknowledge {
    pulse: Option<Pulse>,
    owed: Option<Position>,
}

impl Acknowledge {
    fn new(pulse: Option<Pulse>) -> Self {
        Self { pulse, owed: None }
    }

    fn committed(&mut self, position: &Position) {
        match &self.pulse {
            Some(pulse) => pulse.ack(position.clone()),
            None => self.owed = Some(position.clone()),
        }
    }

    /// A feed that ended its last read before it heard of the commit, or has no pulse, hears of it here.
    async fn late(&mut self, feed: &mut dyn ChangeFeed) -> Result<()> {
        let unheard = match &self.pulse {
            Some(pulse) => pulse.take_ack(),
            None => self.owed.take(),
        };
        match unheard {
            Some(position) => feed.ack(&position).await,
            None => Ok(()),
        }
    }
}

/// The SQL, planned for a source schema, with the lookups as they are now.
///
/// # Errors
/// [`ErrorKind::Config`] with the place in the pipeline file.
pub async fn plan(spec: &PipelineSpec, schema: &arrow::datatypes::SchemaRef) -> Result<Transform> {
    let lookups = lookup_tables(&spec.tables).await?;
    Transform::plan(
        spec.transform.as_ref(),
        spec.source.name(),
        schema,
        &spec.functions,
        lookups,
        &spec.rules,
    )
    .await
}

/// Where a sink is, in words: for the last line of a run and for `validate`.
pub fn describe_sink(sink: &SinkSpec) -> String {
    use crate::spec::model::SinkTarget;
    match &sink.target {
        SinkTarget::Delta(delta) => format!("Delta table {}", delta.path),
        SinkTarget::Iceberg(iceberg) => format!(
            "Iceberg table {}.{}.{}",
            iceberg.catalog.name,
            iceberg.namespace.join("."),
            iceberg.table
        ),
    }
}

/// How long a batch may wait for more records after its first one; `commit_time` is that of the commit before.
pub fn interval(spec: &PipelineSpec, bounded: bool, commit_time: Duration) -> Duration {
    match spec.pipeline.trigger {
        // Everything is there already: only rows and bytes end a batch.
        _ if bounded => Duration::MAX,
        Trigger::AvailableNow => Duration::MAX,
        Trigger::Interval {
            interval,
            adaptive: true,
        } => interval.max(commit_time.saturating_mul(ADAPTIVE_FACTOR)),
        Trigger::Interval {
            interval,
            adaptive: false,
        } => interval,
    }
}

type Fetched = (Box<dyn ChangeFeed>, Result<Option<(ChangeBatch, Duration)>>);

/// The next batch, being fetched and decoded beside the commit of the one before it.
struct Fetch {
    task: JoinHandle<Fetched>,
    lag: Option<watch::Receiver<Option<u64>>>,
}

impl Fetch {
    fn start(mut feed: Box<dyn ChangeFeed>, limit: BatchLimit) -> Self {
        let lag = feed.pulse().map(|pulse| pulse.lag());
        let task = crate::run::spawn(async move {
            let begun = Instant::now();
            let next = feed.next(&limit).await;
            (
                feed,
                next.map(|batch| batch.map(|batch| (batch, begun.elapsed()))),
            )
        });
        Self { task, lag }
    }

    /// The batch, once it is complete. `observer` hears meanwhile that there is nothing to read.
    async fn join(
        &mut self,
        observer: &Observer,
    ) -> Result<(Box<dyn ChangeFeed>, Option<(ChangeBatch, Duration)>)> {
        let joined = loop {
            tokio::select! {
                biased;
                joined = &mut self.task => break joined,
                lag = next_lag(&mut self.lag) => observer.idle(lag),
            }
        };
        let (feed, next) = joined.map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                "the task that reads the source ended by itself",
            )
            .source(error)
        })?;
        Ok((feed, next?))
    }
}

/// What an idle feed says next of its lag; for ever if it says nothing.
async fn next_lag(lag: &mut Option<watch::Receiver<Option<u64>>>) -> u64 {
    if let Some(receiver) = lag {
        while receiver.changed().await.is_ok() {
            let known = *receiver.borrow_and_update();
            if let Some(records) = known {
                return records;
            }
        }
        *lag = None;
    }
    std::future::pending().await
}

impl Drop for Fetch {
    /// A pipeline that ends with an error leaves nothing running behind it.
    fn drop(&mut self) {
        self.task.abort();
    }
}
