//! When a table was maintained last: `_engine/maintenance/<pipeline>.json` beside it.
//!
//! A process that is started again, and `engine run --once` from a timer, would else never or always find a pass due.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use sql::{Error, Result};

use crate::sink::Sidecar;

/// What is known of a pipeline's last passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passes {
    /// When the last one ended, in microseconds since the epoch.
    pub at: i64,
    /// When the last one ended that looked for files that no commit took ([`super::Policy::sweep`]).
    pub swept: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    swept: Option<String>,
}

fn path(pipeline: &str) -> String {
    format!("_engine/maintenance/{pipeline}.json")
}

/// When `pipeline` finished its last passes; `None` if it made none. What cannot be read counts
/// as none: the pass that follows writes it anew.
///
/// # Errors
/// From the table's storage.
pub async fn last_pass(files: &dyn Sidecar, pipeline: &str) -> Result<Option<Passes>> {
    let content = files.read(&path(pipeline)).await?;
    Ok(content.and_then(|content| {
        let record: Record = serde_json::from_slice(&content).ok()?;
        Some(Passes {
            at: micros(&record.at)?,
            swept: record.swept.as_deref().and_then(micros),
        })
    }))
}

/// Writes down when `pipeline` finished its last passes.
///
/// # Errors
/// From the table's storage.
pub async fn passed(files: &dyn Sidecar, pipeline: &str, passes: Passes) -> Result<()> {
    let record = Record {
        at: text(passes.at).ok_or_else(|| Error::internal("a time beyond the calendar"))?,
        swept: passes.swept.and_then(text),
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
