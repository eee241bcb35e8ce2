//! The files below a folder of an Iceberg table. The library's file access reads, writes and deletes, but does not list.

use std::io::ErrorKind;
use std::path::Path;
use std::time::UNIX_EPOCH;

use sql::{Error, Result};

use super::catalog::local_path;
use super::storage::storage_error;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The location, as the table's metadata spells it.
    pub(crate) location: String,
    /// Bytes.
    pub(crate) size: u64,
    /// When it was written, in milliseconds since the epoch.
    pub(crate) modified_ms: i64,
}

/// All files below `location`, spelt as it is; none if it is not there. `None` for a storage that is no local folder.
///
/// # Errors
/// A folder that cannot be read.
pub(crate) async fn files_of(location: &str) -> Result<Option<Vec<Listed>>> {
    let Ok(folder) = local_path(location) else {
        return Ok(None);
    };
    let location = location.trim_end_matches('/').to_owned();
    let listing = tokio::task::spawn_blocking(move || {
        let mut files = Vec::new();
        walk(&folder, &location, &mut files)
            .map_err(|error| storage_error("list a folder", &location, error))?;
        Ok(files)
    });
    let files = listing
        .await
        .map_err(|error| Error::internal("a listing died").source(error))??;
    Ok(Some(files))
}

fn walk(folder: &Path, location: &str, files: &mut Vec<Listed>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        // A name that is no text is not one of ours.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let location = format!("{location}/{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &location, files)?;
            continue;
        }
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Somebody deleted it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let modified = metadata.modified()?;
        let age = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        files.push(Listed {
            location,
            size: metadata.len(),
            modified_ms: i64::try_from(age.as_millis()).unwrap_or(i64::MAX),
        });
    }
    Ok(())
}
