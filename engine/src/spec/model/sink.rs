//! The `sink:` block as typed data.

use std::collections::BTreeMap;

use super::DeltaTableSpec;

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
    /// Keeps the target equal to the source, key by key.
    Upsert {
        /// `truncate:`.
        truncate: TruncatePolicy,
        /// `unavailable:`.
        unavailable: UnavailablePolicy,
        /// `backfill:`.
        backfill: BackfillPolicy,
        /// `write_mode:`; a Delta table is always copied.
        write_mode: WriteMode,
    },
}

/// How rows of data files are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// By deleting them by position and adding them anew.
    MergeOnRead,
    /// By writing their files anew.
    CopyOnWrite,
}

/// What a truncate of the source table does to a target that is kept by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TruncatePolicy {
    /// Empties the target, in order.
    Apply,
    /// Nothing.
    Ignore,
    /// Stops the pipeline.
    Fail,
}

/// What happens where a value was not sent, because it had not changed, and is nowhere to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnavailablePolicy {
    /// Stops the pipeline.
    Error,
    /// Null is written.
    Null,
    /// The event is set aside; its row stays as it was.
    Quarantine,
}

/// What rows that are there get in a column that comes with a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillPolicy {
    /// The default, unless it is what connectors send for a function too: 0, an empty text, the epoch.
    Constants,
    /// Whatever the schema says.
    Always,
    /// Null.
    Never,
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
    /// A REST catalog.
    Rest(RestSpec),
    /// No catalog: one metadata file, which SQL may read. No pipeline file says it.
    File {
        /// `….metadata.json`: an absolute path or a `file://` URL.
        metadata: String,
    },
}

/// `catalog:` with `type: rest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestSpec {
    /// `http://host:port/path` or `https://…`, without `/v1` and without a slash at its end.
    pub uri: String,
    /// What the catalog calls the warehouse, or its place.
    pub warehouse: Option<String>,
    /// What stands between `/v1` and the rest of an address; most catalogs say it themselves.
    pub prefix: Option<String>,
    /// A bearer token.
    pub token: Option<Secret>,
    /// `id:secret`, or a secret, to exchange for tokens.
    pub credential: Option<Secret>,
    /// `oauth2-server-uri`, `scope`, `audience`, `resource` and `header.NAME`.
    pub properties: BTreeMap<String, Secret>,
}

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` out of sight.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
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
