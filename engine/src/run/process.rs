//! What happens to one batch: SQL, rules, quarantine, one commit, one report.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::FutureExt;
use sql::change::{ChangeBatch, NetChange, Reject, RejectReason, Span};
use sql::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::defaults;
use super::error_rate::{ErrorRate, WINDOW};
use super::observer::Observer;
use super::pipeline::plan;
use super::retry::{Retry, attempt};
use crate::clock;
use crate::lake;
use crate::lake::cast::Caster;
use crate::maintain::{Policy, Report};
use crate::quality::rules::{Judged, RuleCount};
use crate::resend::WindowStore;
use crate::sink::quarantine::{self, Quarantine};
use crate::sink::{Receipt, Sidecar, Target, failpoint};
use crate::spec::model::{Mode, OnErrorPolicy, PipelineSpec, TableKind, TableSpec};
use crate::telemetry::{BatchReport, StageTimes};
use crate::transform::{Lookup, Transform, lookups};
use crate::upsert::{Upsert, UpsertPlan};

/// What one batch's commit did.
#[derive(Debug)]
pub struct Committed {
    /// What the table moved along.
    pub span: Span,
    /// How long the sink took, all attempts.
    pub commit_time: Duration,
}

/// How a batch was read.
#[derive(Debug, Clone, Copy)]
pub struct ReadFacts {
    /// From asking for it to having it, decoding included.
    pub time: Duration,
    /// Records still to be read after it.
    pub lag: Option<u64>,
}

/// How the SQL's output becomes the target's rows.
enum Shape {
    Append(Caster),
    Upsert(UpsertPlan),
}

/// What is to be written of a batch.
enum Write {
    Rows(Vec<RecordBatch>),
    Change(NetChange),
}

/// What SQL and rules made of a batch.
struct Worked<'b> {
    write: Write,
    output_rows: u64,
    counts: Vec<RuleCount>,
    rejects: Cow<'b, [Reject]>,
}

/// Turns batches into commits.
pub struct Processor {
    spec: Arc<PipelineSpec>,
    transform: Transform,
    shape: Shape,
    target: Target,
    quarantine: Quarantine,
    error_rate: Option<ErrorRate>,
    lookups_read: Instant,
    observer: Arc<Observer>,
    /// Present where events sent again are dropped.
    windows: Option<Box<WindowStore>>,
}

impl Processor {
    /// A processor that writes what `transform` returns into `target`, whose rows have the source's columns `key` if it is
    /// kept by key.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the SQL's output does not fit the target.
    pub fn new(
        spec: Arc<PipelineSpec>,
        transform: Transform,
        target: Target,
        key: &[String],
        observer: Arc<Observer>,
    ) -> Result<Self> {
        let shape = shape(&spec, &transform, &target, key)?;
        let rejects = quarantine::table(&spec.pipeline, &spec.sink)?;
        let quarantine = Quarantine::new(rejects, spec.pipeline.name.as_str());
        let error_rate = spec.pipeline.on_error.max_rate.map(ErrorRate::new);
        let lookups_read = Instant::now();
        Ok(Self {
            spec,
            transform,
            shape,
            target,
            quarantine,
            error_rate,
            lookups_read,
            observer,
            windows: None,
        })
    }

    /// One pass of maintenance over the target.
    ///
    /// # Errors
    /// As [`crate::sink::Sink::maintain`].
    pub async fn maintain(&mut self, policy: &Policy) -> Result<Report> {
        let begun = Instant::now();
        let report = self.target.sink_mut().maintain(policy).await?;
        Ok(Report {
            took: begun.elapsed(),
            ..report
        })
    }

    /// Files beside the target, if it has a place for them.
    pub fn sidecar(&self) -> Option<Arc<dyn Sidecar>> {
        self.target.sink().sidecar()
    }

    /// Makes what batches remember durable in `windows` before each commit.
    pub fn remember(&mut self, windows: Option<WindowStore>) {
        self.windows = windows.map(Box::new);
    }

    /// The SQL, planned for another source schema.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the place in the pipeline file.
    pub async fn plan(
        &mut self,
        schema: &SchemaRef,
        stop: &CancellationToken,
    ) -> Result<Transform> {
        let retry = Retry::for_ever("opening the lookups", stop, &self.observer);
        Ok(attempt!(retry, plan(&self.spec, schema)))
    }

    /// Goes on with another source schema, whose columns have these `defaults`: the target gains the columns that the SQL now
    /// returns.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a column's type would change in the target.
    pub async fn replan(
        &mut self,
        transform: Transform,
        defaults: &BTreeMap<String, String>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let retry = |what| Retry::for_ever(what, stop, &self.observer);
        match &mut self.target {
            Target::Append(sink) => attempt!(
                retry("adding columns"),
                sink.evolve(transform.output_schema())
            ),
            Target::Upsert(sink) => {
                let (spec, sink) = (&self.spec.sink, sink.as_mut());
                defaults::add_columns(spec, sink, defaults, &transform, retry).await?;
            }
        }
        let key = match &self.shape {
            Shape::Append(_) => Vec::new(),
            Shape::Upsert(plan) => plan.key().to_vec(),
        };
        self.shape = shape(&self.spec, &transform, &self.target, &key)?;
        self.transform = transform;
        Ok(())
    }

    /// Takes one batch through SQL, rules, quarantine and one commit. `None` if the batch covers nothing.
    ///
    /// # Errors
    /// A policy that stops the pipeline (nothing of the batch is committed then, except where `max_rate` stops it:
    /// after its commit), or what writing meets.
    pub async fn process(
        &mut self,
        batch: ChangeBatch,
        read: ReadFacts,
        stop: &CancellationToken,
    ) -> Result<Option<Committed>> {
        if batch.span().is_empty() {
            return Ok(None);
        }
        let begun = Instant::now();
        self.refresh_lookups(stop).await?;
        let worked = self.work(&batch, stop).await?;
        let transformed_at = Instant::now();

        self.stop_at_rejects(&worked.rejects)?;
        let quarantined = self.set_aside(&worked.rejects, stop).await?;
        let written_at = Instant::now();
        self.write_windows(&batch, stop).await?;
        let receipt = self.commit(&worked.write, batch.span(), stop).await?;
        if let Some(windows) = &mut self.windows {
            windows.committed().await;
        }
        let decode = batch.decode_time().unwrap_or_default().min(read.time);
        let stages = StageTimes {
            fetch: read.time.saturating_sub(decode),
            decode,
            transform: transformed_at - begun,
            write: written_at - transformed_at,
            commit: written_at.elapsed(),
        };
        let report = self.report(&batch, &worked, quarantined, receipt, stages, read.lag);
        self.observer.committed(&report);
        self.stop_at_rate(batch.counts().records, batch.rejects().len() as u64)?;
        Ok(Some(Committed {
            span: batch.span().clone(),
            commit_time: stages.commit,
        }))
    }

    /// Before the commit: no commit lands without its window.
    async fn write_windows(&mut self, batch: &ChangeBatch, stop: &CancellationToken) -> Result<()> {
        let Some(windows) = &mut self.windows else {
            return Ok(());
        };
        let added = batch.remembered().ok_or_else(|| {
            Error::internal("a batch does not say what it adds to what is remembered")
        })?;
        failpoint::hit("before_window");
        let retry = Retry::for_ever(
            "writing the window of events sent again",
            stop,
            &self.observer,
        );
        attempt!(retry, windows.write(batch.span(), added));
        failpoint::hit("after_window");
        Ok(())
    }

    /// SQL and rules, and what is to be written then.
    async fn work<'b>(
        &mut self,
        batch: &'b ChangeBatch,
        stop: &CancellationToken,
    ) -> Result<Worked<'b>> {
        let (
            Shape::Upsert(plan),
            Target::Upsert(sink),
            Mode::Upsert {
                truncate,
                unavailable,
                ..
            },
        ) = (&self.shape, &mut self.target, self.spec.sink.mode)
        else {
            return self.transformed(batch).await;
        };
        let upsert = Upsert {
            transform: &self.transform,
            plan,
            truncate,
            unavailable,
        };
        let retry = Retry::for_ever("reading the target's rows", stop, &self.observer);
        let net = attempt!(retry, upsert.net(batch, sink.as_mut()));
        Ok(Worked {
            output_rows: net.change.rows().num_rows() as u64,
            write: Write::Change(net.change),
            counts: net.counts,
            rejects: Cow::Owned(net.rejects),
        })
    }

    async fn transformed<'b>(&mut self, batch: &'b ChangeBatch) -> Result<Worked<'b>> {
        let Shape::Append(caster) = &self.shape else {
            return Err(Error::internal(
                "a target that is kept by key has no other plan",
            ));
        };
        let transformed = self.transform.run(batch.rows()).await?;
        let rules = self.transform.rules();
        let judged = rules.judge(transformed, batch.rows(), batch.meta())?;
        let rows = judged.kept.rows.iter().map(|rows| caster.cast(rows));
        Ok(Worked {
            write: Write::Rows(rows.collect::<Result<_>>()?),
            output_rows: judged.kept.source_rows.len() as u64,
            rejects: all_rejects(batch, &judged)?,
            counts: judged.counts,
        })
    }

    async fn commit(
        &mut self,
        write: &Write,
        span: &Span,
        stop: &CancellationToken,
    ) -> Result<Receipt> {
        let retry = Retry::for_ever("the commit", stop, &self.observer);
        Ok(match (write, &mut self.target) {
            (Write::Change(change), Target::Upsert(sink)) => {
                attempt!(retry, sink.upsert(change, span))
            }
            (Write::Rows(rows), target) => attempt!(retry, target.sink_mut().write(rows, span)),
            (Write::Change(_), Target::Append(_)) => {
                return Err(Error::internal("a net change cannot be appended"));
            }
        })
    }

    /// Makes rejects durable before the commit that moves the positions over them.
    async fn set_aside(&mut self, rejects: &[Reject], stop: &CancellationToken) -> Result<u64> {
        let skip = self.spec.pipeline.on_error.policy == OnErrorPolicy::Skip;
        // `skip` is about messages that cannot be decoded; a rule that says `quarantine` means it.
        let kept: Vec<Reject>;
        let rejects = if skip {
            let of_rules = rejects.iter().filter(|r| r.reason == RejectReason::Rule);
            kept = of_rules.cloned().collect();
            &kept
        } else {
            rejects
        };
        if rejects.is_empty() {
            return Ok(0);
        }
        let now = clock::now_micros();
        let retry = Retry::for_ever("the quarantine", stop, &self.observer);
        Ok(attempt!(retry, self.quarantine.write(rejects, now)))
    }

    /// `on_error.policy: fail`. Rows that a rule quarantines are not errors: the rule said what to do with them.
    fn stop_at_rejects(&self, rejects: &[Reject]) -> Result<()> {
        if self.spec.pipeline.on_error.policy != OnErrorPolicy::Fail {
            return Ok(());
        }
        let mut undecodable = rejects
            .iter()
            .filter(|reject| reject.reason != RejectReason::Rule);
        let Some(first) = undecodable.next() else {
            return Ok(());
        };
        let more = match undecodable.count() {
            0 => String::new(),
            others => format!(" (and {others} more in the same batch)"),
        };
        Err(Error::new(
            ErrorKind::Policy,
            format!("a message cannot be decoded{more}: {}", first.detail),
        )
        .at(format!("{}@{}", first.record.partition, first.record.offset))
        .remedy(
            "correct the source or `source.columns`; to set such messages aside and go on, use `pipeline.on_error: { policy: quarantine }`",
        ))
    }

    /// `on_error.max_rate`. As [`Self::stop_at_rejects`], it is about messages that cannot be decoded.
    fn stop_at_rate(&mut self, records: u64, rejects: u64) -> Result<()> {
        let Some(rate) = &mut self.error_rate else {
            return Ok(());
        };
        let Some((rejects, among)) = rate.exceeded_by(records, rejects) else {
            return Ok(());
        };
        let shown = self.spec.pipeline.on_error.max_rate.unwrap_or_default();
        Err(Error::new(
            ErrorKind::Policy,
            format!("{rejects} of the last {among} messages could not be decoded"),
        )
        .at(format!("pipeline {}", self.spec.pipeline.name))
        .expected(format!(
            "at most a share of {shown} of {WINDOW} messages (`pipeline.on_error.max_rate`)"
        ))
        .remedy(format!(
            "look at them in {}; the batch is committed, and the pipeline goes on after it when it is started again",
            self.quarantine.table().path
        )))
    }

    async fn refresh_lookups(&mut self, stop: &CancellationToken) -> Result<()> {
        let shortest = self
            .spec
            .tables
            .iter()
            .filter_map(|table| table.refresh)
            .min();
        if shortest.is_some_and(|refresh| self.lookups_read.elapsed() >= refresh) {
            let retry = Retry::for_ever("reading the lookups", stop, &self.observer);
            let lookups = attempt!(retry, lookup_tables(&self.spec.tables));
            self.transform.refresh_lookups(lookups).await?;
            self.lookups_read = Instant::now();
        }
        Ok(())
    }

    fn report(
        &self,
        batch: &ChangeBatch,
        worked: &Worked<'_>,
        quarantined: u64,
        receipt: Receipt,
        stages: StageTimes,
        lag: Option<u64>,
    ) -> BatchReport {
        let mut report = BatchReport::read(self.observer.names(), batch);
        report.output_rows = worked.output_rows;
        report.rules = worked
            .counts
            .iter()
            .map(|count| (count.rule.clone(), count.failed))
            .collect();
        report.quarantined = quarantined;
        report.receipt = Some(receipt);
        report.committed_micros = clock::now_micros();
        report.stages = stages;
        report.lag_records = lag;
        report
    }
}

/// The lookups of `tables:`, as they are now.
///
/// # Errors
/// [`ErrorKind::Config`] at the table's entry in the pipeline's file.
pub async fn lookup_tables(tables: &[TableSpec]) -> Result<Vec<Lookup>> {
    let open_lake = |table: TableSpec| {
        async move {
            match &table.kind {
                TableKind::Delta(delta) => lake::delta::delta_provider(delta).await,
                TableKind::Iceberg(iceberg) => lake::iceberg::iceberg_provider(iceberg).await,
                TableKind::Csv(_) | TableKind::Parquet(_) => {
                    Err(Error::internal("a file is no lakehouse table"))
                }
            }
        }
        .boxed()
    };
    lookups::open(tables, &open_lake).await
}

fn shape(
    spec: &PipelineSpec,
    transform: &Transform,
    target: &Target,
    key: &[String],
) -> Result<Shape> {
    let schema = target.sink().schema();
    let shape = match target {
        Target::Append(_) => Caster::try_new(transform.output_schema(), &schema).map(Shape::Append),
        Target::Upsert(_) => {
            UpsertPlan::try_new(transform, key, &spec.sink.at).and_then(|mut plan| {
                plan.bind(&schema)?;
                Ok(Shape::Upsert(plan))
            })
        }
    };
    shape.map_err(|error| match (error.place(), &spec.transform) {
        (None, Some(sql)) => error.at(sql.at.clone()),
        _ => error,
    })
}

/// What the decoder and the rules set aside, in the order of the partitions' offsets.
fn all_rejects<'b>(batch: &'b ChangeBatch, judged: &Judged) -> Result<Cow<'b, [Reject]>> {
    if judged.quarantined.is_empty() {
        return Ok(Cow::Borrowed(batch.rejects()));
    }
    let mut rejects = batch.rejects().to_vec();
    let raw = batch.meta().raw.as_ref().ok_or_else(|| {
        Error::internal("a rule sets rows aside, but the raw records were not kept")
    })?;
    for quarantined in &judged.quarantined {
        let record = raw
            .get(quarantined.row)
            .ok_or_else(|| Error::internal(format!("row {} has no raw record", quarantined.row)))?;
        rejects.push(Reject {
            record: record.clone(),
            reason: RejectReason::Rule,
            column: None,
            detail: format!("the row does not meet the rule `{}`", quarantined.rule),
        });
    }
    rejects.sort_by(|a, b| {
        (&a.record.partition, a.record.offset).cmp(&(&b.record.partition, b.record.offset))
    });
    Ok(Cow::Owned(rejects))
}
