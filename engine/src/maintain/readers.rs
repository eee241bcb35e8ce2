//! Who still reads a table's changes, and from where: `_engine/readers/<pipeline>.json` beside the table.
//!
//! ```json
//! {"version": 42, "at": "2026-01-31T12:00:00Z"}
//! ```
//!
//! `version` is the Delta version, or the Iceberg sequence number, up to which the reader has read. It needs everything that
//! came after it, and the version itself as the state that the next change is applied to. So maintenance expires nothing from
//! that version on, however old it is: a reader that stands still keeps its files until it is forgotten. Maintenance says its name
//! when it has not moved for [`QUIET`] retentions.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sql::{Error, ErrorKind, Result};

use super::record::{micros, text};
use crate::sink::Sidecar;

/// A reader that has not moved for so many retentions is warned of.
pub const QUIET: u32 = 3;

const FOLDER: &str = "_engine/readers";

/// A reader of a table's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The pipeline that reads.
    pub name: String,
    /// The version up to which it has read.
    pub version: i64,
    /// When it said so, in microseconds since the epoch.
    pub at_micros: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    version: i64,
    at: String,
}

fn path(reader: &str) -> String {
    format!("{FOLDER}/{reader}.json")
}

/// Says that `reader` has read the table up to `version`, at `micros` since the epoch. To be called before the first read, so that
/// nothing goes under it, and whenever what it has read is safe with it.
///
/// # Errors
/// From the table's storage.
pub async fn register(files: &dyn Sidecar, reader: &str, version: i64, micros: i64) -> Result<()> {
    let entry = Entry {
        version,
        at: text(micros).ok_or_else(|| Error::internal("a time beyond the calendar"))?,
    };
    let content = serde_json::to_vec(&entry)
        .map_err(|error| Error::internal("a reader's entry cannot be written").source(error))?;
    files.write(&path(reader), Bytes::from(content)).await
}

/// Says that `reader` reads the table no longer.
///
/// # Errors
/// From the table's storage.
pub async fn forget(files: &dyn Sidecar, reader: &str) -> Result<()> {
    files.delete(&path(reader)).await
}

/// All readers of the table, by name.
///
/// # Errors
/// [`ErrorKind::Storage`] for an entry that cannot be read: what that reader needs is not known, so nothing may go. Also if the
/// storage cannot list its files; and whatever it says.
pub async fn registered(files: &dyn Sidecar) -> Result<Vec<Reader>> {
    let Some(mut names) = files.list(FOLDER).await? else {
        return Err(Error::new(
            ErrorKind::Storage,
            "the readers of the table are not known: its storage does not list files",
        )
        .at(files.place()));
    };
    names.sort();
    let mut readers = Vec::new();
    for file in names {
        let Some(name) = file.strip_suffix(".json") else {
            continue;
        };
        // It may have been forgotten since.
        let Some(content) = files.read(&path(name)).await? else {
            continue;
        };
        readers.push(parse(name, &content).ok_or_else(|| {
            Error::new(
                ErrorKind::Storage,
                format!("the entry of the reader `{name}` cannot be read"),
            )
            .at(format!("{}/{}", files.place(), path(name)))
            .expected(r#"{"version": 42, "at": "2026-01-31T12:00:00Z"}"#)
            .remedy("Start that pipeline, which writes it anew; or delete the file if nobody reads the table by that name.")
        })?);
    }
    Ok(readers)
}

/// The lowest version that a reader still needs; `None` if nobody reads.
///
/// # Errors
/// As [`registered`].
pub async fn needed(files: &dyn Sidecar) -> Result<Option<i64>> {
    let readers = registered(files).await?;
    Ok(readers.iter().map(|reader| reader.version).min())
}

/// Those of `readers` that have not moved for [`QUIET`] times `retention` before `now`, in microseconds since the epoch.
pub fn quiet(readers: &[Reader], retention: Duration, now: i64) -> Vec<&Reader> {
    let most = retention.saturating_mul(QUIET).as_micros();
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let late = |reader: &&Reader| now.saturating_sub(reader.at_micros) > most;
    readers.iter().filter(late).collect()
}

/// [`needed`], with a note for each reader that stands still.
///
/// # Errors
/// As [`registered`].
pub async fn needed_noting(
    files: &dyn Sidecar,
    policy: &super::Policy,
    report: &mut super::Report,
) -> Result<Option<i64>> {
    let readers = registered(files).await?;
    for reader in quiet(&readers, policy.retention, (policy.clock)()) {
        let since = text(reader.at_micros).unwrap_or_default();
        tracing::warn!(
            table = files.place(),
            reader = reader.name,
            version = reader.version,
            since,
            "a registered reader of the table stands still, and everything after its version is kept for it: start it, or delete its file in _engine/readers"
        );
        report.note(format!(
            "the reader `{}` has stood at version {} since {since}: nothing after it is expired",
            reader.name, reader.version
        ));
    }
    Ok(readers.iter().map(|reader| reader.version).min())
}

fn parse(name: &str, content: &[u8]) -> Option<Reader> {
    let entry: Entry = serde_json::from_slice(content).ok()?;
    Some(Reader {
        name: name.to_owned(),
        version: entry.version,
        at_micros: micros(&entry.at)?,
    })
}
