//! What a commit says of itself in the table's history: `DESCRIBE HISTORY`, `DeltaTable.history()`.
//!
//! `operation` and `operationMetrics` are those of Spark's appends and merges. `userMetadata`, which every tool shows as a column,
//! is JSON: the pipeline and, for each topic-partition that the commit moved, the offsets that it took, from the first to
//! the one after the last: `{"pipeline":"orders","offsets":{"shop.orders/0":[0,30]}}`.

use std::collections::{BTreeMap, HashMap};

use deltalake::kernel::{Add, CommitInfo};
use serde::Serialize;
use serde_json::{Value, json};
use sql::change::Span;
use sql::{Error, Result};

use super::DeltaSink;
use super::commit::Proposal;
use crate::clock::now_micros;

/// Who made the commit.
const ENGINE: &str = concat!("engine/", env!("CARGO_PKG_VERSION"));

#[derive(Serialize)]
struct Provenance<'a> {
    pipeline: &'a str,
    /// The first offset, absent where the pipeline had no position yet, and the one after the last.
    offsets: BTreeMap<String, (Option<i64>, i64)>,
}

/// The metrics of an append, as texts, as Spark writes numbers here.
pub(super) fn of_append(files: &[Add], rows: u64) -> Value {
    let bytes: i64 = files.iter().map(|file| file.size).sum();
    json!({
        "numFiles": files.len().to_string(),
        "numOutputRows": rows.to_string(),
        "numOutputBytes": bytes.to_string(),
    })
}

/// The `commitInfo` of a commit that moves the positions along `span`. `mark` is unique to the commit.
///
/// # Errors
/// [`sql::ErrorKind::Internal`] if it cannot be written as JSON.
pub(super) fn commit_info(
    sink: &DeltaSink,
    proposal: &Proposal,
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
    Ok(described(sink, proposal, provenance, mark))
}

/// The `commitInfo` of a commit that moves no positions.
pub(super) fn of_maintenance(sink: &DeltaSink, proposal: &Proposal, mark: &str) -> CommitInfo {
    let provenance = json!({ "pipeline": sink.pipeline, "maintenance": true });
    described(sink, proposal, provenance.to_string(), mark)
}

fn described(sink: &DeltaSink, proposal: &Proposal, provenance: String, mark: &str) -> CommitInfo {
    let mut info = proposal.operation.get_commit_info();
    info.timestamp = Some(now_micros() / 1_000);
    info.engine_info = Some(ENGINE.to_owned());
    info.read_version = Some(sink.version);
    info.is_blind_append = Some(proposal.blind);
    info.user_metadata = Some(provenance);
    info.info = HashMap::from([
        ("engineCommit".to_owned(), Value::String(mark.to_owned())),
        ("operationMetrics".to_owned(), proposal.metrics.clone()),
    ]);
    info
}
