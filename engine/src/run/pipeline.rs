//! One pipeline: open everything, then fetch, transform and commit until it is drained or told to stop.
//!
//! Start and restart are the same code: the table says where to go on. While batch *n* is transformed and committed,
//! batch *n+1* is fetched and decoded; at most one commit is in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sql::change::{ChangeBatch, Position};
use sql::feed::{BatchLimit, ChangeFeed};
use sql::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::observer::Observer;
use super::process::{Processor, ReadFacts, lookup_tables};
use super::retry::until_connected;
use crate::sink::{self, Missing, failpoint};
use crate::source::{self, SourceOptions};
use crate::spec::model::{OnFail, PipelineSpec, SchemaChange, SinkSpec, Trigger};
use crate::transform::Transform;

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

/// A pipeline whose source and target are open and agree on where to start.
pub struct Pipeline {
    spec: Arc<PipelineSpec>,
    feed: Box<dyn ChangeFeed>,
    processor: Processor,
    position: Position,
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
        let bounded = once || spec.pipeline.trigger == Trigger::AvailableNow;
        let options = SourceOptions {
            bounded,
            keep_raw: spec
                .rules
                .iter()
                .any(|rule| rule.on_fail == OnFail::Quarantine),
            schema_change: spec.pipeline.schema_change,
            stop: stop.clone(),
        };
        observer.phase("connecting to the source");
        let mut feed = source::open(&spec.source, options).await?;
        let transform = plan(&spec, &feed.schema()).await?;
        observer.phase("opening the table");
        let missing = match spec.pipeline.schema_change {
            SchemaChange::Evolve => Missing::Add,
            SchemaChange::Ignore | SchemaChange::Fail => Missing::Refuse,
        };
        let mut target = until_connected("opening the table", &stop, async || {
            sink::open_with(
                &spec.sink,
                &spec.pipeline.name,
                transform.output_schema(),
                missing,
            )
            .await
        })
        .await?;
        let position = target.progress().await?;
        feed.project(&transform.source_columns())?;
        feed.seek(&position).await?;
        let processor = Processor::new(spec.clone(), transform, target, observer.clone())?;
        observer.started(&position);
        Ok(Self {
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
            mut position,
            observer,
            stop,
        } = self;
        let mut limit = BatchLimit {
            max_records: spec.pipeline.batch.max_records,
            max_bytes: spec.pipeline.batch.max_bytes,
            max_wait: interval(&spec, Duration::ZERO),
        };
        let mut outcome = Outcome::default();
        let mut fetch = Fetch::start(feed, limit);
        loop {
            let (mut feed, fetched) = fetch.join().await?;
            let Some((batch, fetch_time)) = fetched else {
                break;
            };
            let read = ReadFacts {
                time: fetch_time,
                lag: feed.lag(),
            };
            if outcome.commits > 0 {
                feed.ack(&position).await?;
            }
            let committed = match batch.next_schema().cloned() {
                Some(schema) => {
                    let committed = processor.process(batch, read, &stop).await?;
                    let transform = plan(&spec, &schema).await?;
                    feed.project(&transform.source_columns())?;
                    processor.replan(transform).await?;
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
                position.try_advance(&committed.span)?;
                limit.max_wait = interval(&spec, committed.commit_time);
                failpoint::hit("before_ack");
            }
        }
        if outcome.commits > 0 {
            tracing::debug!(position = %position, "drained");
        }
        outcome.position = position;
        observer.ended(&outcome);
        Ok(outcome)
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

fn interval(spec: &PipelineSpec, commit_time: Duration) -> Duration {
    match spec.pipeline.trigger {
        Trigger::Interval {
            interval,
            adaptive: true,
        } => interval.max(commit_time.saturating_mul(ADAPTIVE_FACTOR)),
        Trigger::Interval {
            interval,
            adaptive: false,
        } => interval,
        // Everything is there already: only rows and bytes end a batch.
        Trigger::AvailableNow => Duration::MAX,
    }
}

type Fetched = (Box<dyn ChangeFeed>, Result<Option<(ChangeBatch, Duration)>>);

/// The next batch, being fetched and decoded beside the commit of the one before it.
struct Fetch(JoinHandle<Fetched>);

impl Fetch {
    fn start(mut feed: Box<dyn ChangeFeed>, limit: BatchLimit) -> Self {
        Self(crate::run::spawn(async move {
            let begun = Instant::now();
            let next = feed.next(&limit).await;
            (
                feed,
                next.map(|batch| batch.map(|batch| (batch, begun.elapsed()))),
            )
        }))
    }

    async fn join(&mut self) -> Result<(Box<dyn ChangeFeed>, Option<(ChangeBatch, Duration)>)> {
        let (feed, next) = (&mut self.0).await.map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                "the task that reads the source ended by itself",
            )
            .source(error)
        })?;
        Ok((feed, next?))
    }
}

impl Drop for Fetch {
    /// A pipeline that ends with an error leaves nothing running behind it.
    fn drop(&mut self) {
        self.0.abort();
    }
}
