//! The metrics of one process, and what a batch's report adds to them.

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use sql::change::Op;
use sql::{Error, Result};

use super::names::{self, Metric};
use super::report::{BatchReport, PipelineNames};
use crate::maintain::Report;

/// From a tenth of a second to a day: a pipeline that keeps up is in the first ones, a backlog in the last.
const FRESHNESS_BUCKETS: [f64; 14] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0,
];

/// From a millisecond to a minute.
const STAGE_BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];

/// The metrics of one process. There is no global registry, so that two of them never meet.
///
/// Counters are counted only from reports of committed batches: what was read again after an error counts once.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    info: GaugeVec,
    up: GaugeVec,
    freshness: HistogramVec,
    lag_records: GaugeVec,
    lag_seconds: GaugeVec,
    last_commit: GaugeVec,
    stage_time: HistogramVec,
    source_records: IntCounterVec,
    source_bytes: IntCounterVec,
    source_rows: IntCounterVec,
    source_version: GaugeVec,
    rejects: IntCounterVec,
    tombstones: IntCounterVec,
    control: IntCounterVec,
    resends: IntCounterVec,
    jumps: IntCounterVec,
    again: IntCounterVec,
    rule_rows: IntCounterVec,
    quarantine_rows: IntCounterVec,
    sink_rows: IntCounterVec,
    sink_bytes: IntCounterVec,
    sink_files: IntCounterVec,
    sink_commits: IntCounterVec,
    sink_conflicts: IntCounterVec,
    retries: IntCounterVec,
    maintenance_time: HistogramVec,
    compacted_files: IntCounterVec,
    compacted_bytes: IntCounterVec,
    deleted_files: IntCounterVec,
    deleted_bytes: IntCounterVec,
    maintenance_failures: IntCounterVec,
}

impl Metrics {
    /// Every metric of [`names::ALL`], without a value.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] if a name is not one that Prometheus takes.
    pub fn try_new() -> Result<Self> {
        Self::build().map_err(internal)
    }

    fn build() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let r = &registry;
        Ok(Self {
            info: gauge(r, &names::PIPELINE_INFO)?,
            up: gauge(r, &names::PIPELINE_UP)?,
            freshness: histogram(r, &names::FRESHNESS, &FRESHNESS_BUCKETS)?,
            lag_records: gauge(r, &names::LAG_RECORDS)?,
            lag_seconds: gauge(r, &names::LAG_SECONDS)?,
            last_commit: gauge(r, &names::LAST_COMMIT)?,
            stage_time: histogram(r, &names::STAGE_TIME, &STAGE_BUCKETS)?,
            source_records: counter(r, &names::SOURCE_RECORDS)?,
            source_bytes: counter(r, &names::SOURCE_BYTES)?,
            source_rows: counter(r, &names::SOURCE_ROWS)?,
            source_version: gauge(r, &names::SOURCE_VERSION)?,
            rejects: counter(r, &names::REJECTS)?,
            tombstones: counter(r, &names::TOMBSTONES)?,
            control: counter(r, &names::CONTROL)?,
            resends: counter(r, &names::RESENDS)?,
            jumps: counter(r, &names::JUMPS)?,
            again: counter(r, &names::AGAIN)?,
            rule_rows: counter(r, &names::RULE_ROWS)?,
            quarantine_rows: counter(r, &names::QUARANTINE_ROWS)?,
            sink_rows: counter(r, &names::SINK_ROWS)?,
            sink_bytes: counter(r, &names::SINK_BYTES)?,
            sink_files: counter(r, &names::SINK_FILES)?,
            sink_commits: counter(r, &names::SINK_COMMITS)?,
            sink_conflicts: counter(r, &names::SINK_CONFLICTS)?,
            retries: counter(r, &names::RETRIES)?,
            maintenance_time: histogram(r, &names::MAINTENANCE_TIME, &STAGE_BUCKETS)?,
            compacted_files: counter(r, &names::COMPACTED_FILES)?,
            compacted_bytes: counter(r, &names::COMPACTED_BYTES)?,
            deleted_files: counter(r, &names::DELETED_FILES)?,
            deleted_bytes: counter(r, &names::DELETED_BYTES)?,
            maintenance_failures: counter(r, &names::MAINTENANCE_FAILURES)?,
            registry,
        })
    }

    /// A pipeline starts. Its counters are shown as 0 from now on, so that the first increase is seen as one.
    pub fn started(&self, names: &PipelineNames) {
        let (pipeline, source, sink) = labels(names);
        self.info
            .with_label_values(&[pipeline, source, sink])
            .set(1.0);
        self.up(pipeline, false);
        for counter in [
            &self.source_records,
            &self.source_bytes,
            &self.tombstones,
            &self.control,
            &self.resends,
            &self.jumps,
            &self.again,
        ] {
            counter.with_label_values(&[pipeline, source]).inc_by(0);
        }
        for op in Op::ALL {
            self.source_rows
                .with_label_values(&[pipeline, source, op.letter()])
                .inc_by(0);
        }
        for counter in [
            &self.sink_rows,
            &self.sink_bytes,
            &self.sink_files,
            &self.sink_commits,
            &self.sink_conflicts,
            &self.compacted_files,
            &self.compacted_bytes,
            &self.deleted_files,
            &self.deleted_bytes,
        ] {
            counter.with_label_values(&[pipeline, sink]).inc_by(0);
        }
        self.quarantine_rows
            .with_label_values(&[pipeline])
            .inc_by(0);
    }

    /// The pipeline is connected and working, or it is not.
    pub fn up(&self, pipeline: &str, up: bool) {
        let value = if up { 1.0 } else { 0.0 };
        self.up.with_label_values(&[pipeline]).set(value);
    }

    /// Work is tried again after an error of a kind; `reason` is the kind's name.
    pub fn retry(&self, pipeline: &str, reason: &'static str) {
        self.retries.with_label_values(&[pipeline, reason]).inc();
    }

    /// A pass of maintenance ended well.
    pub fn maintained(&self, names: &PipelineNames, report: &Report) {
        let (pipeline, _, sink) = labels(names);
        self.maintenance_time
            .with_label_values(&[pipeline, sink])
            .observe(report.took.as_secs_f64());
        for (counter, value) in [
            (&self.compacted_files, report.files_compacted),
            (&self.compacted_bytes, report.bytes_compacted),
            (&self.deleted_files, report.objects_deleted),
            (&self.deleted_bytes, report.bytes_deleted),
        ] {
            counter.with_label_values(&[pipeline, sink]).inc_by(value);
        }
    }

    /// A pass of maintenance ended with an error of a kind; `reason` is the kind's name.
    pub fn not_maintained(&self, pipeline: &str, reason: &'static str) {
        self.maintenance_failures
            .with_label_values(&[pipeline, reason])
            .inc();
    }

    /// Records between the feed's position and the ends of its partitions, where it is known between two batches.
    pub fn lag_records(&self, names: &PipelineNames, records: u64) {
        self.lag_records
            .with_label_values(&[names.pipeline.as_str(), names.source.as_str()])
            .set(records as f64);
    }

    /// Everything up to the ends of the partitions is committed.
    pub fn caught_up(&self, names: &PipelineNames) {
        self.lag_records(names, 0);
        self.lag_seconds
            .with_label_values(&[names.pipeline.as_str(), names.source.as_str()])
            .set(0.0);
    }

    /// Counts a batch. To be called once for each, after its commit.
    pub fn batch(&self, report: &BatchReport) {
        self.source(report);
        self.sink(report);
        let pipeline = report.names.pipeline.as_str();
        for (stage, time) in report.stages.named() {
            self.stage_time
                .with_label_values(&[pipeline, stage])
                .observe(time.as_secs_f64());
        }
        for (rule, rows) in &report.rules {
            self.rule_rows
                .with_label_values(&[pipeline, rule.as_str()])
                .inc_by(*rows);
        }
        self.quarantine_rows
            .with_label_values(&[pipeline])
            .inc_by(report.quarantined);
    }

    fn source(&self, report: &BatchReport) {
        let (pipeline, source, _) = labels(&report.names);
        for (counter, value) in [
            (&self.source_records, report.records),
            (&self.source_bytes, report.bytes),
            (&self.tombstones, report.tombstones),
            (&self.control, report.control),
            (&self.resends, report.resends),
            (&self.jumps, report.jumps.len() as u64),
            (&self.again, report.again),
        ] {
            counter.with_label_values(&[pipeline, source]).inc_by(value);
        }
        for op in Op::ALL {
            self.source_rows
                .with_label_values(&[pipeline, source, op.letter()])
                .inc_by(report.rows.get(op));
        }
        for (reason, records) in &report.rejects {
            self.rejects
                .with_label_values(&[pipeline, source, *reason])
                .inc_by(*records);
        }
        if let Some(version) = report.source_version {
            self.source_version
                .with_label_values(&[pipeline, source])
                .set(version as f64);
        }
        if let Some(records) = report.lag_records {
            self.lag_records(&report.names, records);
        }
    }

    fn sink(&self, report: &BatchReport) {
        let Some(receipt) = &report.receipt else {
            return;
        };
        let (pipeline, source, sink) = labels(&report.names);
        for (counter, value) in [
            (&self.sink_rows, receipt.rows),
            (&self.sink_bytes, receipt.bytes),
            (&self.sink_files, receipt.files),
            (&self.sink_commits, 1),
            (&self.sink_conflicts, receipt.conflicts),
        ] {
            counter.with_label_values(&[pipeline, sink]).inc_by(value);
        }
        self.last_commit
            .with_label_values(&[pipeline, sink])
            .set(report.committed_micros as f64 / 1e6);
        if let Some(freshness) = report.freshness() {
            self.freshness
                .with_label_values(&[pipeline])
                .observe(freshness.as_secs_f64());
        }
        if let Some(lag) = report.lag() {
            self.lag_seconds
                .with_label_values(&[pipeline, source])
                .set(lag.as_secs_f64());
        }
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] if two values of a metric contradict each other.
    pub fn text(&self) -> Result<String> {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(internal)
    }
}

fn labels(names: &PipelineNames) -> (&str, &str, &str) {
    (&names.pipeline, &names.source, &names.sink)
}

fn internal(error: prometheus::Error) -> Error {
    Error::internal("the metrics are not in order").source(error)
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counter(registry: &Registry, metric: &Metric) -> prometheus::Result<IntCounterVec> {
    let options = Opts::new(metric.name, metric.help);
    registered(registry, IntCounterVec::new(options, metric.labels)?)
}

fn gauge(registry: &Registry, metric: &Metric) -> prometheus::Result<GaugeVec> {
    let options = Opts::new(metric.name, metric.help);
    registered(registry, GaugeVec::new(options, metric.labels)?)
}

fn histogram(
    registry: &Registry,
    metric: &Metric,
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::new(metric.name, metric.help).buckets(buckets.to_vec());
    registered(registry, HistogramVec::new(options, metric.labels)?)
}
