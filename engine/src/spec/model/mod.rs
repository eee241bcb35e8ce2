//! The pipeline file as typed data: what a checked file says, with every default filled in.
//!
//! These structs are plain: no handles, no connections. The parser (`spec::parse`) is the only maker.

mod sink;
mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use sink::{
    BackfillPolicy, CatalogKind, CatalogSpec, IcebergTableSpec, Mode, PartitionField,
    PartitionTransform, RestSpec, Secret, SinkSpec, SinkTarget, TruncatePolicy, UnavailablePolicy,
    WriteMode,
};
pub use source::{
    Bootstrap, DecimalHandling, DeclaredColumn, DeclaredType, Format, KafkaSpec, LakeEnd,
    LakePoint, LakeSpec, LakeStart, OffsetReset, Resends, SourceSpec, SourceTables, Topics,
};

/// A whole pipeline file.
#[derive(Debug, Clone)]
pub struct PipelineSpec {
    /// The file it was read from, absolute.
    pub file: PathBuf,
    /// Name, trigger, batch, policies.
    pub pipeline: PipelineBlock,
    /// Where changes come from.
    pub source: SourceSpec,
    /// The SQL; `None` writes the row's columns as they are.
    pub transform: Option<Located<String>>,
    /// Row rules, in order.
    pub rules: Vec<RuleSpec>,
    /// Static tables that the SQL may join.
    pub tables: Vec<TableSpec>,
    /// `CREATE FUNCTION` statements.
    pub functions: Vec<Located<String>>,
    /// Where rows go.
    pub sink: SinkSpec,
    /// How the target is kept fast.
    pub maintenance: MaintenanceSpec,
    /// Metrics, health and logs.
    pub observability: ObservabilitySpec,
    /// What [`super::show_defaults`] prints.
    pub effective: super::Effective,
}

/// A value and where the file says it, for errors that are found later (SQL planning, opening tables).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// `FILE:LINE:COLUMN (yaml.path)`.
    pub at: String,
    /// Line of the value's first text line in the file, 1-based: line 1 of a block scalar's SQL is this line.
    pub first_line: usize,
}

/// The `pipeline:` block.
#[derive(Debug, Clone)]
pub struct PipelineBlock {
    /// `[a-z0-9_-]+`; part of the positions' keys in the tables.
    pub name: String,
    /// When a caught-up pipeline commits.
    pub trigger: Trigger,
    /// How much one commit holds at most.
    pub batch: BatchSpec,
    /// What a changed schema in mid-topic does.
    pub schema_change: SchemaChange,
    /// What a message that cannot be decoded does.
    pub on_error: OnErrorSpec,
}

/// When a caught-up pipeline commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Every `interval`; with `adaptive`, not below a multiple of the commit's own time.
    Interval {
        /// The time since a batch's first record.
        interval: Duration,
        /// Whether slow commits stretch the interval.
        adaptive: bool,
    },
    /// Drain what is there at start, then exit: `--once` in the file.
    AvailableNow,
}

/// How much one commit holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSpec {
    /// Records of any kind.
    pub max_records: usize,
    /// Bytes of keys, values and headers.
    pub max_bytes: usize,
}

/// What a changed schema in mid-topic does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaChange {
    /// Follow it: re-plan the SQL, add columns to the target.
    Evolve,
    /// Keep the columns known at start; ignore new ones.
    Ignore,
    /// Stop with exit code 4.
    Fail,
}

/// What a message that cannot be decoded does.
#[derive(Debug, Clone)]
pub struct OnErrorSpec {
    /// Set aside, stop, or drop.
    pub policy: OnErrorPolicy,
    /// Stop (exit 4, after committing) when more than this share of the last 1,000 messages were rejects.
    pub max_rate: Option<f64>,
    /// The quarantine table; `None` puts a Delta table beside the target (`sink::quarantine` decides where).
    pub table: Option<DeltaTableSpec>,
}

/// What happens to a reject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnErrorPolicy {
    /// Written to the quarantine table, then the pipeline goes on.
    Quarantine,
    /// Stop with exit code 4 before the batch that holds it is committed.
    Fail,
    /// Counted and dropped.
    Skip,
}

/// A Delta table's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaTableSpec {
    /// A folder or URL; relative paths are relative to the working folder and made absolute by the parser.
    pub path: String,
    /// Object store options.
    pub storage_options: BTreeMap<String, String>,
    /// Table properties that a sink sets: when it makes the table, and later where the table says otherwise.
    pub properties: BTreeMap<String, String>,
}

/// One entry of `rules:`.
#[derive(Debug, Clone)]
pub struct RuleSpec {
    /// Unique in the file; a metric label.
    pub name: String,
    /// A SQL condition over the transform's output columns, and source columns that they do not hide.
    pub expect: Located<String>,
    /// What a row does that does not meet it. A condition that is null is not met.
    pub on_fail: OnFail,
}

/// What a row does that fails a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFail {
    /// Counted, kept.
    Warn,
    /// Counted, left out.
    Drop,
    /// Written to the quarantine table, left out.
    Quarantine,
    /// Stops the pipeline with exit code 4 before the batch is committed.
    Fail,
}

/// One entry of `tables:`.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// The table name in SQL.
    pub name: String,
    /// What it is.
    pub kind: TableKind,
    /// How often it is read again; `None`: once at start.
    pub refresh: Option<Duration>,
    /// `FILE:LINE:COLUMN (tables[i])`.
    pub at: String,
}

/// A static table.
#[derive(Debug, Clone)]
pub enum TableKind {
    /// A CSV file with a header; absolute path.
    Csv(String),
    /// A Parquet file or folder; absolute path.
    Parquet(String),
    /// A Delta table.
    Delta(DeltaTableSpec),
    /// An Iceberg table.
    Iceberg(IcebergTableSpec),
}

/// The `maintenance:` block.
#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceSpec {
    /// Whether `engine run` does it. `engine maintain` does it in any case.
    pub enabled: bool,
    /// Time between two passes of a running pipeline.
    pub every: Duration,
    /// Nothing younger is removed: neither snapshots and versions, nor files that left the table or never were in it.
    pub retention: Duration,
    /// Bytes that a compacted data file has at most.
    pub target_file_size: u64,
    /// Bytes of data files that one pass of a running pipeline rewrites at most: what the pipeline may have to wait for.
    pub max_rewrite: u64,
    /// A partition's small files are compacted from so many on.
    pub min_files: usize,
    /// A file is rewritten once this share of its rows is deleted.
    pub max_deleted: f64,
}

/// The `observability:` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservabilitySpec {
    /// Where `/metrics` listens.
    pub metrics: Listen,
    /// Where `/livez` and `/readyz` listen.
    pub health: Listen,
    /// How logs look when standard error is not a terminal.
    pub log: LogFormat,
}

/// A listening address and whether the user chose it: a busy default port moves, a busy chosen one is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// `host:port`; `None`: off.
    pub address: Option<String>,
    /// Said in the file or on the command line.
    pub configured: bool,
}

/// `observability.log.format:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A progress line and plain sentences on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// Plain lines.
    Text,
}
