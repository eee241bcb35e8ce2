//! The name of every metric. Dashboards and alerts may use only these.
//!
//! Names are `engine_<name>_<unit>`, with `_total` behind a counter's. Labels come from [`LABELS`]: all of them have few
//! values, known from the pipeline's file or from a closed set in the code.

/// Every label that a metric may have.
pub const LABELS: [&str; 9] = [
    "pipeline", "source", "sink", "topic", "op", "stage", "reason", "rule", "check",
];

/// Every unit that a name may end in, before `_total`.
pub const UNITS: [&str; 11] = [
    "seconds",
    "bytes",
    "records",
    "rows",
    "files",
    "commits",
    "conflicts",
    "attempts",
    "ratio",
    "info",
    "version",
];

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// A metric: its name and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// As `/metrics` shows it, without a histogram's suffixes.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Labels, all of them out of [`LABELS`].
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    metric(name, Kind::Counter, labels, help)
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    metric(name, Kind::Gauge, labels, help)
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    metric(name, Kind::Histogram, labels, help)
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

/// What runs.
pub const PIPELINE_INFO: Metric = gauge(
    "engine_pipeline_info",
    &["pipeline", "source", "sink"],
    "Always 1: a pipeline of this process, the name of its source and the kind of its sink.",
);
/// Whether it runs.
pub const PIPELINE_UP: Metric = gauge(
    "engine_pipeline_up_ratio",
    &["pipeline"],
    "1 while the pipeline is connected and working, 0 while it connects, retries or has stopped.",
);
/// How old the oldest row of a batch was when it could be read.
pub const FRESHNESS: Metric = histogram(
    "engine_freshness_seconds",
    &["pipeline"],
    "Time of the commit minus the source's commit time of the batch's oldest row, once a batch.",
);
/// How far the table is behind, in records.
pub const LAG_RECORDS: Metric = gauge(
    "engine_lag_records",
    &["pipeline", "source"],
    "Records between the last read position and the ends of the source's partitions, as last seen; of a table, versions.",
);
/// How far the table is behind, in time.
pub const LAG_SECONDS: Metric = gauge(
    "engine_lag_seconds",
    &["pipeline", "source"],
    "Time of the last commit minus the source's commit time of its newest row; 0 while nothing is left to read.",
);
/// When the table last moved.
pub const LAST_COMMIT: Metric = gauge(
    "engine_last_commit_timestamp_seconds",
    &["pipeline", "sink"],
    "Time of the last commit, in seconds since the epoch.",
);
/// Where a batch's time goes.
pub const STAGE_TIME: Metric = histogram(
    "engine_batch_stage_seconds",
    &["pipeline", "stage"],
    "Time a batch spent in a stage: fetch, decode, transform, write (the quarantine), commit (data files and the commit).",
);
/// Records of any kind.
pub const SOURCE_RECORDS: Metric = counter(
    "engine_source_records_total",
    &["pipeline", "source"],
    "Records read, of any kind, in committed batches.",
);
/// Their bytes.
pub const SOURCE_BYTES: Metric = counter(
    "engine_source_bytes_total",
    &["pipeline", "source"],
    "Bytes of keys, values and headers read, in committed batches.",
);
/// Rows by operation.
pub const SOURCE_ROWS: Metric = counter(
    "engine_source_rows_total",
    &["pipeline", "source", "op"],
    "Rows decoded, by Debezium's letter of the operation.",
);
/// Where a lake feed stands.
pub const SOURCE_VERSION: Metric = gauge(
    "engine_source_version",
    &["pipeline", "source"],
    "Of a source that is a table: the version up to which everything is committed, Delta's version or Iceberg's sequence number.",
);
/// Records set aside.
pub const REJECTS: Metric = counter(
    "engine_rejects_records_total",
    &["pipeline", "source", "reason"],
    "Records that became no row, by reason.",
);
/// Null values with a key.
pub const TOMBSTONES: Metric = counter(
    "engine_tombstones_records_total",
    &["pipeline", "source"],
    "Records with a key and no value.",
);
/// Heartbeats and their like.
pub const CONTROL: Metric = counter(
    "engine_control_records_total",
    &["pipeline", "source"],
    "Heartbeats, transaction markers, schema changes and other records that never are rows.",
);
/// Events that came before.
pub const RESENDS: Metric = counter(
    "engine_resends_records_total",
    &["pipeline", "source"],
    "Events that the source sent again, and their tombstones, dropped by `resends: drop`.",
);
/// Positions that went back.
pub const JUMPS: Metric = counter(
    "engine_position_jumps_records_total",
    &["pipeline", "source"],
    "Events below the highest source position that were not known: the source was restored, or the window of `resends: drop` is too short.",
);
/// Events that were applied again.
pub const AGAIN: Metric = counter(
    "engine_reapplied_records_total",
    &["pipeline", "source"],
    "Events that may have been applied before, and were applied again to a target that is kept by key, because the source's positions went back to an event that was not known.",
);
/// Rows that did not meet a rule.
pub const RULE_ROWS: Metric = counter(
    "engine_rule_failed_rows_total",
    &["pipeline", "rule"],
    "Rows that did not meet a rule, whatever the rule then does with them.",
);
/// Rows of the quarantine table.
pub const QUARANTINE_ROWS: Metric = counter(
    "engine_quarantine_written_rows_total",
    &["pipeline"],
    "Rows written to the quarantine table.",
);
/// Rows of the target table.
pub const SINK_ROWS: Metric = counter(
    "engine_sink_rows_total",
    &["pipeline", "sink"],
    "Rows added to the table.",
);
/// Bytes of the target table.
pub const SINK_BYTES: Metric = counter(
    "engine_sink_bytes_total",
    &["pipeline", "sink"],
    "Bytes of data files added to the table.",
);
/// Files of the target table.
pub const SINK_FILES: Metric = counter(
    "engine_sink_files_total",
    &["pipeline", "sink"],
    "Data files added to the table.",
);
/// Commits of the target table.
pub const SINK_COMMITS: Metric = counter(
    "engine_sink_commits_total",
    &["pipeline", "sink"],
    "Commits of the table that moved the pipeline's positions.",
);
/// Lost races.
pub const SINK_CONFLICTS: Metric = counter(
    "engine_sink_conflicts_total",
    &["pipeline", "sink"],
    "Attempts to commit that another writer of the table won.",
);
/// Tries again.
pub const RETRIES: Metric = counter(
    "engine_retry_attempts_total",
    &["pipeline", "reason"],
    "Work tried again after an error, by the error's kind.",
);

/// Time of maintenance.
pub const MAINTENANCE_TIME: Metric = histogram(
    "engine_maintenance_seconds",
    &["pipeline", "sink"],
    "Time of a pass of maintenance, during which the pipeline commits nothing.",
);
/// Files that maintenance replaced.
pub const COMPACTED_FILES: Metric = counter(
    "engine_maintenance_compacted_files_total",
    &["pipeline", "sink"],
    "Data files that maintenance replaced by larger ones, or by ones without deleted rows.",
);
/// Bytes that maintenance rewrote.
pub const COMPACTED_BYTES: Metric = counter(
    "engine_maintenance_compacted_bytes_total",
    &["pipeline", "sink"],
    "Bytes of the data files that maintenance replaced.",
);
/// Files that maintenance deleted.
pub const DELETED_FILES: Metric = counter(
    "engine_maintenance_deleted_files_total",
    &["pipeline", "sink"],
    "Files of any kind that maintenance deleted because nobody needs them any more.",
);
/// Bytes that maintenance deleted.
pub const DELETED_BYTES: Metric = counter(
    "engine_maintenance_deleted_bytes_total",
    &["pipeline", "sink"],
    "Bytes of the files that maintenance deleted, as far as they were known.",
);
/// Passes that failed.
pub const MAINTENANCE_FAILURES: Metric = counter(
    "engine_maintenance_failed_attempts_total",
    &["pipeline", "reason"],
    "Passes of maintenance that ended with an error, by the error's kind. The pipeline goes on, and the next pass tries again.",
);

/// Every metric there is.
pub const ALL: [Metric; 31] = [
    PIPELINE_INFO,
    PIPELINE_UP,
    FRESHNESS,
    LAG_RECORDS,
    LAG_SECONDS,
    LAST_COMMIT,
    STAGE_TIME,
    SOURCE_RECORDS,
    SOURCE_BYTES,
    SOURCE_ROWS,
    SOURCE_VERSION,
    REJECTS,
    TOMBSTONES,
    CONTROL,
    RESENDS,
    JUMPS,
    AGAIN,
    RULE_ROWS,
    QUARANTINE_ROWS,
    SINK_ROWS,
    SINK_BYTES,
    SINK_FILES,
    SINK_COMMITS,
    SINK_CONFLICTS,
    RETRIES,
    MAINTENANCE_TIME,
    COMPACTED_FILES,
    COMPACTED_BYTES,
    DELETED_FILES,
    DELETED_BYTES,
    MAINTENANCE_FAILURES,
];
