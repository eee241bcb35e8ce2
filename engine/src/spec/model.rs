//! The pipeline file as typed data: what a checked file says, with every default filled in.
//!
//! These structs are plain: no handles, no connections. The parser (`spec::parse`) is the only maker.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::FieldRef;

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
}

/// The `source:` block.
#[derive(Debug, Clone)]
pub enum SourceSpec {
    /// `type: kafka`.
    Kafka(KafkaSpec),
}

impl SourceSpec {
    /// The table name in SQL.
    pub fn name(&self) -> &str {
        match self {
            Self::Kafka(kafka) => &kafka.name,
        }
    }
}

/// `type: kafka`.
#[derive(Debug, Clone)]
pub struct KafkaSpec {
    /// The table name in SQL.
    pub name: String,
    /// Brokers, or captured messages.
    pub bootstrap: Bootstrap,
    /// Which topics.
    pub topics: Topics,
    /// The consumer group whose offsets are set for lag tools.
    pub group_id: String,
    /// Where a partition starts that the table holds no position for.
    pub auto_offset_reset: OffsetReset,
    /// Whether records lost by retention stop the pipeline.
    pub fail_on_data_loss: bool,
    /// How values are encoded.
    pub format: Format,
    /// Declared row columns (from SQL DDL), in order; `None`: types come from the messages' own schemas.
    pub columns: Option<Vec<DeclaredColumn>>,
    /// Key columns; empty: the Kafka key's columns.
    pub key: Vec<String>,
    /// Whether `before` of a delete is a true image of the row (`REPLICA IDENTITY FULL`, MySQL full images).
    pub before_image_full: bool,
    /// The text of Debezium's `unavailable.value.placeholder`.
    pub unavailable_placeholder: String,
    /// librdkafka properties, passed through.
    pub properties: BTreeMap<String, String>,
    /// `FILE:LINE:COLUMN (source)`, for errors found while connecting.
    pub at: String,
}

/// `bootstrap_servers:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// `host:port[,host:port]`.
    Brokers(String),
    /// `file:PATH`: captured messages, replayed; absolute.
    File(PathBuf),
}

/// Which topics a source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topics {
    /// By name.
    Names(Vec<String>),
    /// Every topic whose whole name matches.
    Regex(String),
}

/// `auto_offset_reset:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// From the oldest record there is.
    Earliest,
    /// From the end.
    Latest,
}

/// `format:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Debezium events as JSON: envelopes with or without schema, flattened, CloudEvents.
    DebeziumJson,
}

/// One column of `columns:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredColumn {
    /// Name and Arrow type; always nullable (a delete's row has only its key).
    pub field: FieldRef,
    /// How the wire value of this column is read: the SQL type as declared.
    pub encoding: DeclaredType,
    /// `NOT NULL` was said.
    pub not_null: bool,
}

/// The wire encodings that a declared SQL type stands for. The Arrow type is in the column's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredType {
    /// JSON true/false; also 0 and 1.
    Boolean,
    /// JSON integer within the column's width.
    Integer,
    /// JSON number, or `"NaN"`, `"Infinity"`, `"-Infinity"`.
    Float,
    /// Base64 of the big-endian unscaled value, or a decimal string, or a JSON number.
    Decimal,
    /// JSON string; JSON objects and arrays are kept as their text for `JSON` columns.
    Text,
    /// JSON text: a string, or any JSON value kept as it is written.
    Json,
    /// Base64 string.
    Binary,
    /// Days since the epoch, or `YYYY-MM-DD`.
    Date,
    /// `TIME(6)`: microseconds of the day; `TIME(3)`: milliseconds. Or `HH:MM:SS[.f]`.
    Time,
    /// `TIMESTAMP(3)` epoch milliseconds, `TIMESTAMP(6)` epoch microseconds, `TIMESTAMP(9)` epoch nanoseconds
    /// (stored as microseconds), or an ISO-8601 string without zone.
    Timestamp {
        /// 3, 6 or 9.
        precision: u8,
    },
    /// `TIMESTAMPTZ`: an ISO-8601 string with zone.
    TimestampTz,
    /// `UUID`: a JSON string.
    Uuid,
    /// An array; elements are read by the element type of the Arrow list with the encoding that the same SQL type would have.
    List,
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

/// The `sink:` block.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// Which format and where.
    pub target: SinkTarget,
    /// Append or upsert.
    pub mode: Mode,
    /// Partition columns, with Iceberg's transforms.
    pub partition_by: Vec<PartitionField>,
    /// `FILE:LINE:COLUMN (sink)`.
    pub at: String,
}

/// Where rows go.
#[derive(Debug, Clone)]
pub enum SinkTarget {
    /// `type: delta`.
    Delta(DeltaTableSpec),
    /// `type: iceberg`.
    Iceberg(IcebergTableSpec),
}

/// `mode:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Writes what the SQL returns.
    Append,
}

/// An Iceberg table in a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcebergTableSpec {
    /// The catalog.
    pub catalog: CatalogSpec,
    /// Namespace levels.
    pub namespace: Vec<String>,
    /// Table name.
    pub table: String,
}

/// `catalog:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogSpec {
    /// The catalog's name: part of a SQL catalog's keys.
    pub name: String,
    /// Which kind.
    pub kind: CatalogKind,
    /// Object store and catalog options.
    pub storage_options: BTreeMap<String, String>,
}

/// `catalog.type:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogKind {
    /// A SQL catalog on SQLite.
    Sql {
        /// `sqlite:///abs/path.db?mode=rwc`, made so by the parser.
        uri: String,
        /// `file:///abs/path`, made so by the parser.
        warehouse: String,
    },
}

/// One entry of `partition_by:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionField {
    /// The output column.
    pub column: String,
    /// How its value becomes a partition.
    pub transform: PartitionTransform,
    /// `FILE:LINE:COLUMN (sink.partition_by[i])`.
    pub at: String,
}

/// Iceberg's partition transforms; Delta knows only `Identity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionTransform {
    /// The value itself.
    Identity,
    /// The year of a date or timestamp.
    Year,
    /// The month.
    Month,
    /// The day.
    Day,
    /// The hour.
    Hour,
    /// A hash into so many buckets.
    Bucket(u32),
    /// Truncated to a width.
    Truncate(u32),
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
