//! Who hears what a pipeline does: the progress line, the log, the metrics, the health endpoint.

use std::io::{IsTerminal, Stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sql::change::{Jump, Op, Position};
use sql::{Error, ErrorKind};

use super::pipeline::Outcome;
use super::policy::policy;
use crate::maintain::Report;
use crate::spec::model::{PipelineSpec, SinkTarget};
use crate::telemetry::logs::SAID;
use crate::telemetry::{
    BatchReport, Health, Metrics, PipelineHealth, PipelineNames, Progress, Totals,
};

/// What a jump means to a target that is appended to.
const APPLIED: &str = "the source's positions went back and the event is not one of those remembered: it is applied, and positions count \
     from there. If the database was restored or failed over, this is as it should be; if the connector only sent \
     events again, they go back further than the window: those before it are in the table twice, so raise \
     `source.resends_window`";
/// What a jump means to a target that is kept by key.
const APPLIED_AGAIN: &str = "the source's positions went back and the event is not one of those remembered: everything from there on is \
     applied again, in order, so that the table ends as the source is; until that is done, rows are as they were \
     before. If the database was restored or failed over, this is as it should be; if the connector only sent events again, \
     they go back further than the window: raise `source.resends_window`; if it had skipped events, it has made up for it";

/// What the pipelines of one process share.
#[derive(Debug, Clone)]
pub struct Observers {
    metrics: Arc<Metrics>,
    health: Health,
    terminal: Option<Arc<Mutex<Progress<Stderr>>>>,
    begun: Instant,
    pipelines: Arc<AtomicUsize>,
}

impl Observers {
    /// Observers that draw a progress line if `line` and standard error is a terminal.
    pub fn new(metrics: Arc<Metrics>, health: Health, line: bool) -> Self {
        let terminal = (line && std::io::stderr().is_terminal())
            .then(|| Arc::new(Mutex::new(Progress::new(std::io::stderr(), width()))));
        Self {
            metrics,
            health,
            terminal,
            begun: Instant::now(),
            pipelines: Arc::default(),
        }
    }

    /// The observer of one pipeline, whose rows go to `table`.
    pub fn of(&self, spec: &PipelineSpec, table: String) -> Observer {
        let sink = match spec.sink.target {
            SinkTarget::Delta(_) => "delta",
            SinkTarget::Iceberg(_) => "iceberg",
        };
        let names = PipelineNames {
            pipeline: spec.pipeline.name.clone(),
            source: spec.source.name().to_owned(),
            sink: sink.to_owned(),
        };
        self.metrics.started(&names);
        self.pipelines.fetch_add(1, Ordering::Relaxed);
        let health = self.health.pipeline(&names.pipeline);
        Observer {
            shared: self.clone(),
            names,
            health,
            table,
            totals: Mutex::default(),
            started: AtomicBool::new(false),
            begun: Instant::now(),
        }
    }
}

/// Hears of one pipeline's life. Calls come from the pipeline's own task, in order.
#[derive(Debug)]
pub struct Observer {
    shared: Observers,
    names: PipelineNames,
    health: PipelineHealth,
    table: String,
    totals: Mutex<Totals>,
    started: AtomicBool,
    begun: Instant,
}

impl Observer {
    /// The names that the pipeline's reports carry.
    pub fn names(&self) -> &PipelineNames {
        &self.names
    }

    /// A step of starting up begins.
    pub fn phase(&self, what: &str) {
        tracing::debug!(pipeline = self.names.pipeline, "{what}");
    }

    /// Source and target are open; the table stands at `position`.
    pub fn started(&self, position: &Position) {
        self.started.store(true, Ordering::Relaxed);
        self.connected();
        let position = if position.is_empty() {
            "the beginning".to_owned()
        } else {
            position.to_string()
        };
        self.say(&format!(
            "{}: into {}, from {position}",
            self.names.pipeline, self.table
        ));
        tracing::info!(
            target: SAID,
            pipeline = self.names.pipeline,
            table = self.table,
            position,
            "pipeline started"
        );
    }

    /// Everything read is committed, and the source holds `lag` more records, as far as it knows.
    pub fn idle(&self, lag: u64) {
        if lag == 0 {
            self.shared.metrics.caught_up(&self.names);
            self.health.caught_up();
        } else {
            self.shared.metrics.lag_records(&self.names, lag);
        }
    }

    /// `what` failed and is tried again for the `attempt`-th time after `wait`.
    pub fn retrying(&self, what: &str, error: &Error, attempt: u32, wait: Duration) {
        let pipeline = self.names.pipeline.as_str();
        self.shared
            .metrics
            .retry(pipeline, policy(error.kind()).name);
        if error.kind() == ErrorKind::Unavailable {
            self.shared.metrics.up(pipeline, false);
            self.health.disconnected();
        }
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(pipeline, error = %error, attempt, wait_ms, "{what} failed, trying again");
    }

    /// `what` succeeded after it had failed.
    pub fn recovered(&self, what: &str) {
        if self.started.load(Ordering::Relaxed) {
            self.connected();
        }
        tracing::info!(
            pipeline = self.names.pipeline,
            "{what} succeeded after it had failed"
        );
    }

    fn connected(&self) {
        self.shared.metrics.up(&self.names.pipeline, true);
        self.health.connected();
    }

    /// A batch was committed.
    pub fn committed(&self, report: &BatchReport) {
        self.warn_of_jumps(&report.jumps);
        self.totals.lock().add(report);
        self.shared.metrics.batch(report);
        self.health.committed();
        report.to_log_event();
        if let Some(terminal) = &self.shared.terminal {
            let mut line = terminal.lock();
            line.resize(width());
            report_closed(line.batch(report, self.shared.begun.elapsed()));
        }
    }

    /// The table was maintained.
    pub fn maintained(&self, report: &Report) {
        self.shared.metrics.maintained(&self.names, report);
        let pipeline = self.names.pipeline.as_str();
        if report.is_nothing() {
            tracing::debug!(pipeline, notes = ?report.notes, "maintenance found nothing to do");
            return;
        }
        self.say(&format!("{pipeline}: maintenance: {}", report.summary()));
        tracing::info!(
            target: SAID,
            pipeline,
            table = self.table,
            files_before = report.files_before,
            files_after = report.files_after,
            delete_files_before = report.delete_files_before,
            delete_files_after = report.delete_files_after,
            files_compacted = report.files_compacted,
            bytes_compacted = report.bytes_compacted,
            bytes_added = report.bytes_added,
            rows = report.rows,
            manifests_merged = report.manifests_merged,
            checkpoints = report.checkpoints,
            versions_expired = report.versions_expired,
            objects_deleted = report.objects_deleted,
            bytes_deleted = report.bytes_deleted,
            commits = report.commits,
            conflicts = report.conflicts,
            more = report.more,
            notes = (!report.notes.is_empty()).then(|| report.notes.join("; ")),
            seconds = report.took.as_secs_f64(),
            "table maintained"
        );
    }

    /// A pass of maintenance failed; the pipeline goes on without.
    pub fn not_maintained(&self, error: &Error) {
        let pipeline = self.names.pipeline.as_str();
        let kind = policy(error.kind());
        self.shared.metrics.not_maintained(pipeline, kind.name);
        let remedy = error.next_step().unwrap_or(kind.remedy);
        tracing::warn!(
            pipeline,
            table = self.table,
            error = %error,
            remedy,
            "maintenance failed, the next pass tries again"
        );
    }

    /// The first of a batch is enough: the mark starts again there.
    fn warn_of_jumps(&self, jumps: &[Jump]) {
        let Some(jump) = jumps.first() else {
            return;
        };
        tracing::warn!(
            pipeline = self.names.pipeline,
            topic = jump.partition.topic,
            partition = jump.partition.number,
            offset = jump.offset,
            from = %jump.from,
            to = %jump.to,
            jumps = jumps.len(),
            "{}", if jump.again { APPLIED_AGAIN } else { APPLIED }
        );
    }

    /// The pipeline ended well.
    pub fn ended(&self, outcome: &Outcome) {
        if outcome.commits > 0 {
            self.log_totals("pipeline ended", &outcome.position);
            self.summarise();
            return;
        }
        let standing = if outcome.position.is_empty() {
            "there is no message yet".to_owned()
        } else {
            format!(
                "the table already holds everything up to {}",
                outcome.position
            )
        };
        let nothing = format!("nothing to do, {standing}");
        self.say(&format!("{}: {nothing}", self.names.pipeline));
        self.log_totals(&nothing, &outcome.position);
    }

    /// The pipeline was told to stop before its source and target had answered.
    pub fn gave_up(&self, error: &Error) {
        self.say(&format!(
            "{}: told to stop before it was connected",
            self.names.pipeline
        ));
        tracing::info!(
            target: SAID,
            pipeline = self.names.pipeline,
            error = %error,
            "told to stop before the pipeline was connected"
        );
    }

    /// The pipeline ended with an error, which the command prints at its end.
    pub fn failed(&self, error: &Error) {
        let totals = self.totals.lock().clone();
        tracing::error!(
            target: SAID,
            pipeline = self.names.pipeline,
            kind = policy(error.kind()).name,
            error = %error,
            commits = totals.commits,
            output_rows = totals.output_rows,
            "pipeline stopped"
        );
        if totals.commits > 0 {
            self.summarise();
        }
        if self.shared.pipelines.load(Ordering::Relaxed) > 1 {
            self.say(&format!("{}: stopped: {error}", self.names.pipeline));
        }
    }

    /// The pipeline is over, well or not.
    pub fn close(&self) {
        self.shared.metrics.up(&self.names.pipeline, false);
        self.health.finished();
    }

    /// One event with everything that was done since the pipeline was started.
    fn log_totals(&self, message: &str, position: &Position) {
        let totals = self.totals.lock().clone();
        let rules: u64 = totals.rules.values().sum();
        tracing::info!(
            target: SAID,
            pipeline = self.names.pipeline,
            table = self.table,
            records = totals.records,
            snapshot_rows = totals.rows.get(Op::Read),
            inserts = totals.rows.get(Op::Create),
            updates = totals.rows.get(Op::Update),
            deletes = totals.rows.get(Op::Delete),
            truncates = totals.rows.get(Op::Truncate),
            tombstones = totals.tombstones,
            control = totals.control,
            resends = totals.resends,
            jumps = totals.jumps,
            reapplied = totals.again,
            output_rows = totals.output_rows,
            rejects = totals.rejected(),
            failed_rules = rules,
            quarantined = totals.quarantined,
            commits = totals.commits,
            conflicts = totals.conflicts,
            files = totals.files,
            sink_bytes = totals.bytes,
            version = totals.version,
            position = %position,
            seconds = self.begun.elapsed().as_secs_f64(),
            "{message}"
        );
    }

    fn summarise(&self) {
        if let Some(terminal) = &self.shared.terminal {
            let elapsed = self.begun.elapsed();
            report_closed(
                terminal
                    .lock()
                    .finish(&self.names.pipeline, &self.table, elapsed),
            );
        }
    }

    fn say(&self, text: &str) {
        if let Some(terminal) = &self.shared.terminal {
            report_closed(terminal.lock().message(text));
        }
    }
}

/// Columns of the terminal, which may change at any time.
fn width() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0))
}

/// A terminal that went away takes nothing but its progress line with it.
fn report_closed(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(error = %error, "the progress line cannot be written");
    }
}
