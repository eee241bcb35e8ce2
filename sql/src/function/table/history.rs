//! `history('t')`: what was done to a table, out of its list of versions.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::versioned::Version;

/// What was done to the table, newest first. `snapshots` is as [`crate::versioned::snapshots_schema`] says; of it those
/// versions that are in `line`, the current history.
///
/// | column | type | meaning |
/// |---|---|---|
/// | `version` `snapshot_id` `committed_at` `operation` | as in `snapshots('t')` | |
/// | `parameters` | Utf8 | Delta: the operation's parameters, as JSON |
/// | `metrics` | Utf8 | what it did, as JSON: Delta's operation metrics, the numbers of Iceberg's summary |
/// | `engine` | Utf8 | who did it |
/// | `user_metadata` | Utf8 | Delta: what the user said of it |
///
/// # Errors
/// [`crate::ErrorKind::Internal`] if the batch is no list of versions.
pub fn history(snapshots: &RecordBatch, line: &[Version]) -> Result<RecordBatch> {
    let lacks = || Error::internal("a list of versions lacks a column");
    let numbers = snapshots
        .column_by_name("version")
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .ok_or_else(lacks)?;
    let mut rows: Vec<u32> = (0u32..)
        .zip(numbers.values())
        .filter(|(_, number)| line.iter().any(|version| version.number == **number))
        .map(|(row, _)| row)
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(numbers.values().get(*row as usize)));
    let rows = UInt32Array::from(rows);
    let column = |name: &str| -> Result<ArrayRef> {
        let column = snapshots.column_by_name(name).ok_or_else(lacks)?;
        take(column.as_ref(), &rows, None).map_err(broken)
    };
    let summaries = column("summary")?;
    let summaries = summaries.as_string_opt::<i32>().ok_or_else(lacks)?;
    let details: Vec<Details> = summaries.iter().map(|text| details(text)).collect();
    let text = |value: fn(&Details) -> Option<&str>| -> ArrayRef {
        Arc::new(StringArray::from_iter(details.iter().map(value)))
    };
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("version", column("version")?, false),
        ("snapshot_id", column("snapshot_id")?, true),
        ("committed_at", column("committed_at")?, true),
        ("operation", column("operation")?, true),
        ("parameters", text(|d| d.parameters.as_deref()), true),
        ("metrics", text(|d| d.metrics.as_deref()), true),
        ("engine", text(|d| d.engine.as_deref()), true),
        ("user_metadata", text(|d| d.user_metadata.as_deref()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).map_err(broken)
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal("the history of a table does not fit together").source(error)
}

#[derive(Debug, Default)]
struct Details {
    parameters: Option<String>,
    metrics: Option<String>,
    engine: Option<String>,
    user_metadata: Option<String>,
}

/// Delta's `commitInfo` or Iceberg's summary, whichever the text is.
fn details(summary: Option<&str>) -> Details {
    let Some(Ok(Value::Object(summary))) = summary.map(serde_json::from_str) else {
        return Details::default();
    };
    let word = |key: &str| match summary.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    };
    let counts = |key: &str| {
        let kinds = ["added-", "changed-", "deleted-", "removed-", "total-"];
        kinds.iter().any(|kind| key.starts_with(kind))
    };
    let is_number = |value: &Value| match value {
        Value::String(text) => text.parse::<f64>().is_ok(),
        other => other.is_number(),
    };
    let metrics = word("operationMetrics").or_else(|| {
        let numbers: Map<String, Value> = summary
            .iter()
            .filter(|(key, value)| is_number(value) && counts(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        (!numbers.is_empty()).then(|| Value::Object(numbers).to_string())
    });
    Details {
        parameters: word("operationParameters"),
        metrics,
        engine: word("engineInfo")
            .or_else(|| word("engine-name"))
            .or_else(|| word("clientVersion")),
        user_metadata: word("userMetadata"),
    }
}
