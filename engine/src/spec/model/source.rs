//! The `source:` block as typed data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::FieldRef;

use crate::lake::versioned::{MissingFeed, VersionedSpec};

/// The `source:` block.
#[derive(Debug, Clone)]
pub enum SourceSpec {
    /// `type: kafka`.
    Kafka(KafkaSpec),
    /// `type: delta` and `type: iceberg`.
    Lake(LakeSpec),
}

impl SourceSpec {
    /// The table name in SQL.
    pub fn name(&self) -> &str {
        match self {
            Self::Kafka(kafka) => &kafka.name,
            Self::Lake(lake) => &lake.name,
        }
    }
}

/// `type: delta` and `type: iceberg`: the changes of a table.
#[derive(Debug, Clone)]
pub struct LakeSpec {
    /// The table name in SQL.
    pub name: String,
    /// The table that is read.
    pub table: VersionedSpec,
    /// Key columns; empty: the table's own.
    pub key: Vec<String>,
    /// Where reading starts while the target has no position.
    pub start: LakeStart,
    /// Where it ends; `None`: never.
    pub end: Option<LakeEnd>,
    /// Delta's words for the changes that become rows; `None`: all.
    pub change_types: Option<Vec<String>>,
    /// Versions that a batch has at most.
    pub max_versions: Option<usize>,
    /// How long a feed that has read everything waits before it looks again.
    pub poll_interval: Duration,
    /// What is done where a Delta table kept no change feed.
    pub missing_feed: MissingFeed,
    /// `FILE:LINE:COLUMN (source)`, for errors found while opening.
    pub at: String,
}

/// `start:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LakeStart {
    /// With all rows of the newest version; then with what comes.
    Snapshot,
    /// With the changes of the oldest version whose changes are still there.
    Earliest,
    /// With what comes after the newest version.
    Latest,
    /// With the changes of this version, or of the first one at or after this time.
    At(LakePoint),
}

/// `end:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LakeEnd {
    /// With the newest version there is at start.
    Latest,
    /// With the changes of this version, or of the last one at or before this time.
    At(LakePoint),
}

/// A place in a table's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LakePoint {
    /// `{ version: 12 }`: Delta's version, Iceberg's sequence number.
    Version(i64),
    /// `{ snapshot_id: 5781947118336215154 }`: Iceberg only.
    Snapshot(i64),
    /// `{ timestamp: 2026-01-31T12:00:00Z }`: microseconds since the epoch.
    Time(i64),
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
    /// Rows of which tables it takes.
    pub tables: SourceTables,
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
    /// What strings of declared decimals are.
    pub decimal_handling: DecimalHandling,
    /// Key columns; empty: the Kafka key's columns.
    pub key: Vec<String>,
    /// Whether `before` of a delete is a true image of the row (`REPLICA IDENTITY FULL`, MySQL full images).
    pub before_image_full: bool,
    /// The text of Debezium's `unavailable.value.placeholder`.
    pub unavailable_placeholder: String,
    /// What becomes of events that the source sends again.
    pub resends: Resends,
    /// librdkafka properties, passed through.
    pub properties: BTreeMap<String, String>,
    /// `FILE:LINE:COLUMN (source)`, for errors found while connecting.
    pub at: String,
}

/// `decimal_handling:`, as the connector's `decimal.handling.mode` is. JSON numbers are taken in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalHandling {
    /// Base64 or decimal text, whichever a string is. One that is both is a reject.
    Auto,
    /// Base64 of the unscaled value.
    Precise,
    /// Decimal text.
    Text,
}

/// `resends:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resends {
    /// They are events as any other.
    Keep,
    /// They are dropped and counted.
    Drop {
        /// How many events of each partition are remembered.
        window: usize,
    },
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
    /// By name; in an entry with a `*` it stands for any characters, and the rest for itself.
    Names(Vec<String>),
    /// Every topic whose whole name matches.
    Regex(String),
}

/// `tables:`: whose rows a source takes, by what the events say of their table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceTables {
    /// Whatever is in the topics, which are named one by one.
    Any,
    /// Topics are a pattern, and nothing is said: the table that has the source's name. Rows of another table stop the
    /// pipeline.
    OneOfTheName,
    /// `table`, `schema.table` or `database.table`, with `*` for any characters. Rows of other tables are left out.
    Only(Vec<String>),
}

/// `auto_offset_reset:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// From the oldest record there is.
    Earliest,
    /// From the end.
    Latest,
    /// From this offset, or from the oldest record if that one is gone. No pipeline file says so, queries do.
    At(i64),
    /// From so many offsets before the end. No pipeline file says so, queries do.
    Last(i64),
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
