//! When a table was maintained last: `_engine/maintenance/<pipeline>.json` beside it.
//!
//! A process that is started again, and `engine run --once` from a timer, would else never or always find a pass due.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use sql::{Error, Result};

use crate::sink::Sidecar;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    at: String,
}

fn path(pipeline: &str) -> String {
    format!("_engine/maintenance/{pipeline}.json")
}

/// When `pipeline` finished its last pass, in microseconds since the epoch; `None` if it made none. What cannot be read counts
/// as none: the pass that follows writes it anew.
///
/// # Errors
/// From the table's storage.
pub async fn last_pass(files: &dyn Sidecar, pipeline: &str) -> Result<Option<i64>> {
    let content = files.read(&path(pipeline)).await?;
    Ok(content.and_then(|content| {
        let record: Record = serde_json::from_slice(&content).ok()?;
        micros(&record.at)
    }))
}

/// Writes down that `pipeline` finished a pass at `micros` since the epoch.
///
/// # Errors
/// From the table's storage.
pub async fn passed(files: &dyn Sidecar, pipeline: &str, micros: i64) -> Result<()> {
    let record = Record {
        at: text(micros).ok_or_else(|| Error::internal("a time beyond the calendar"))?,
    };
    let content = serde_json::to_vec(&record)
        .map_err(|error| Error::internal("a record cannot be written").source(error))?;
    files.write(&path(pipeline), Bytes::from(content)).await
}

/// RFC 3339 in UTC, of microseconds since the epoch.
pub(super) fn text(micros: i64) -> Option<String> {
    let time = DateTime::from_timestamp_micros(micros)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Microseconds since the epoch, of RFC 3339.
pub(super) fn micros(text: &str) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.timestamp_micros())
}
