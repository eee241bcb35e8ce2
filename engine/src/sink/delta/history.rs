//! What a commit says of itself in the table's history: `DESCRIBE HISTORY`, `DeltaTable.history()`.
//!
//! `operation` and `operationMetrics` are those of Spark's appends. `userMetadata`, which every tool shows as a column,
//! is JSON: the pipeline and, for each topic-partition that the commit moved, the offsets that it took, from the first to
//! the one after the last: `{"pipeline":"orders","offsets":{"shop.orders/0":[0,30]}}`.

use std::collections::{BTreeMap, HashMap};

use deltalake::kernel::{Add, CommitInfo};
use deltalake::protocol::{DeltaOperation, SaveMode};
use serde::Serialize;
use serde_json::{Value, json};
use sql::change::Span;
use sql::{Error, Result};

use super::DeltaSink;

/// Who made the commit.
const ENGINE: &str = concat!("engine/", env!("CARGO_PKG_VERSION"));

#[derive(Serialize)]
struct Provenance<'a> {
    pipeline: &'a str,
    /// The first offset, absent where the pipeline had no position yet, and the one after the last.
    offsets: BTreeMap<String, (Option<i64>, i64)>,
}

/// The operation of a commit: an append, with or without rows.
pub(super) fn operation(sink: &DeltaSink) -> DeltaOperation {
    DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: (!sink.partition_by.is_empty()).then(|| sink.partition_by.clone()),
        predicate: None,
    }
}

/// The `commitInfo` of a commit of `files` that moves the positions along `span`. `mark` is unique to the commit.
///
/// # Errors
/// [`sql::ErrorKind::Internal`] if it cannot be written as JSON.
pub(super) fn commit_info(
    sink: &DeltaSink,
    files: &[Add],
    rows: u64,
    span: &Span,
    mark: &str,
) -> Result<CommitInfo> {
    let offsets = span
        .to()
        .iter()
        .map(|(partition, next)| (partition.to_string(), (span.after().get(partition), next)))
        .collect();
    let provenance = Provenance {
        pipeline: &sink.pipeline,
        offsets,
    };
    let provenance = serde_json::to_string(&provenance)
        .map_err(|error| Error::internal("a commit's origin is no JSON").source(error))?;
    let bytes: i64 = files.iter().map(|file| file.size).sum();
    let mut info = operation(sink).get_commit_info();
    info.timestamp = Some(chrono::Utc::now().timestamp_millis());
    info.engine_info = Some(ENGINE.to_owned());
    info.read_version = Some(sink.version);
    info.is_blind_append = Some(true);
    info.user_metadata = Some(provenance);
    info.info = HashMap::from([
        ("engineCommit".to_owned(), Value::String(mark.to_owned())),
        // Text, as Spark writes numbers here.
        (
            "operationMetrics".to_owned(),
            json!({
                "numFiles": files.len().to_string(),
                "numOutputRows": rows.to_string(),
                "numOutputBytes": bytes.to_string(),
            }),
        ),
    ]);
    Ok(info)
}
