//! Commits by a clock that is behind the table.
//!
//! The library gives a snapshot the clock's time, and refuses one that is more than a minute before the table's last. So a
//! clock that was a day ahead for a moment, here or at another writer, would keep everybody from committing for a day. The
//! format asks no more than that times do not go back: such a snapshot gets the time of the table's last change. To have
//! the library make it at all, it is shown a copy of the table whose times are not in the future.

use iceberg::spec::TableMetadata;
use iceberg::{
    Error as IcebergError, ErrorKind as IcebergKind, Result as IcebergResult, TableUpdate,
};
use serde_json::Value;

/// The last time that the table knows of, in milliseconds since the epoch.
pub(super) fn newest(metadata: &TableMetadata) -> i64 {
    let snapshot = metadata.history().last().map(|entry| entry.timestamp_ms);
    let file = metadata
        .metadata_log()
        .last()
        .map(|entry| entry.timestamp_ms);
    metadata
        .last_updated_ms()
        .max(snapshot.unwrap_or(i64::MIN))
        .max(file.unwrap_or(i64::MIN))
}

/// A copy of which no time is after `now`.
pub(super) fn aged(metadata: &TableMetadata, now: i64) -> IcebergResult<TableMetadata> {
    let mut copy = serde_json::to_value(metadata).map_err(unreadable)?;
    bound(copy.get_mut("last-updated-ms"), now);
    for log in ["snapshot-log", "metadata-log"] {
        let entries = copy.get_mut(log).and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten() {
            bound(entry.get_mut("timestamp-ms"), now);
        }
    }
    serde_json::from_value(copy).map_err(unreadable)
}

/// `updates` to a table of this metadata, whose snapshots are no older than its last change.
pub(super) fn dated(
    updates: Vec<TableUpdate>,
    metadata: &TableMetadata,
) -> IcebergResult<Vec<TableUpdate>> {
    let newest = newest(metadata);
    let updates = updates.into_iter();
    updates.map(|update| redated(update, newest)).collect()
}

fn redated(update: TableUpdate, time: i64) -> IcebergResult<TableUpdate> {
    if !matches!(update, TableUpdate::AddSnapshot { .. }) {
        return Ok(update);
    }
    let mut value = serde_json::to_value(update).map_err(unreadable)?;
    let dated = value.pointer_mut("/snapshot/timestamp-ms");
    if let Some(dated) = dated {
        *dated = dated.as_i64().map_or(time, |own| own.max(time)).into();
    }
    serde_json::from_value(value).map_err(unreadable)
}

fn bound(time: Option<&mut Value>, most: i64) {
    if let Some(time) = time
        && time.as_i64().is_some_and(|time| time > most)
    {
        *time = most.into();
    }
}

fn unreadable(error: serde_json::Error) -> IcebergError {
    IcebergError::new(
        IcebergKind::DataInvalid,
        "the table's metadata cannot be copied",
    )
    .with_source(error)
}
