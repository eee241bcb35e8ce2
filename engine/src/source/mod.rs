//! Where changes come from: Kafka topics, or captured messages of them.

use tokio_util::sync::CancellationToken;

use crate::spec::model::SchemaChange;

/// How a source is opened.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Stop at the ends that the partitions had at `seek` (`--once`).
    pub bounded: bool,
    /// Keep each row's raw record beside it, for rules that may set the row aside.
    pub keep_raw: bool,
    /// What a changed schema does.
    pub schema_change: SchemaChange,
    /// Told to stop: `next` returns what it has, then `None`.
    pub stop: CancellationToken,
}
