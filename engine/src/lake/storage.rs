//! Errors of file systems, object stores and table libraries as errors that say what to do.

use std::error::Error as StdError;
use std::io;

use sql::{Error, ErrorKind};

/// The error for a failed read or write at `path`, while `doing` something ("write a data file").
///
/// The kind comes from the operating system's error, wherever it is in the chain of causes: storage that refuses writes is
/// [`ErrorKind::Storage`], anything else is [`ErrorKind::Unavailable`] and worth a retry.
pub fn storage_error(
    doing: &str,
    path: &str,
    error: impl Into<Box<dyn StdError + Send + Sync>>,
) -> Error {
    let error = error.into();
    let (kind, why, remedy) = classify(error.as_ref());
    let failed = Error::new(kind, format!("cannot {doing}: {why}")).at(path);
    let failed = match remedy {
        Some(remedy) => failed.remedy(remedy),
        None => failed,
    };
    failed.source(error)
}

type Class = (ErrorKind, &'static str, Option<&'static str>);

fn classify(error: &(dyn StdError + 'static)) -> Class {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(class) = error.downcast_ref::<io::Error>().and_then(of_io) {
            return class;
        }
        cause = error.source();
    }
    // Some libraries keep the system's error as text only.
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(class) = of_text(&error.to_string()) {
            return class;
        }
        cause = error.source();
    }
    (ErrorKind::Unavailable, "the storage failed", None)
}

const FULL: Class = (
    ErrorKind::Storage,
    "the disk is full",
    Some("Free space on it, then start the pipeline again: it goes on where it stopped."),
);
const TOO_LARGE: Class = (
    ErrorKind::Storage,
    "a file would be larger than allowed",
    Some("Raise the limit on file sizes (ulimit -f), or lower `pipeline.batch.max_records`."),
);
const READ_ONLY: Class = (
    ErrorKind::Storage,
    "the file system is read-only",
    Some("Mount it writable, or write to another place."),
);
const DENIED: Class = (
    ErrorKind::Storage,
    "permission denied",
    Some("Give the user that runs the engine the right to write there, or write to another place."),
);
const NOT_A_FOLDER: Class = (
    ErrorKind::Config,
    "a part of the path is a file, not a folder",
    Some("Name a folder, or move the file out of the way."),
);

const NOT_A_CATALOG: Class = (
    ErrorKind::Config,
    "the tables in this database are not those of an Iceberg catalog",
    Some(
        "Name another file: a catalog has the tables `iceberg_tables` and `iceberg_namespace_properties`.",
    ),
);

fn of_io(error: &io::Error) -> Option<Class> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(FULL),
        io::ErrorKind::FileTooLarge => Some(TOO_LARGE),
        io::ErrorKind::ReadOnlyFilesystem => Some(READ_ONLY),
        io::ErrorKind::PermissionDenied => Some(DENIED),
        io::ErrorKind::NotADirectory => Some(NOT_A_FOLDER),
        _ => None,
    }
}

fn of_text(text: &str) -> Option<Class> {
    const TEXTS: [(&str, Class); 10] = [
        ("No space left on device", FULL),
        ("Disk quota exceeded", FULL),
        ("database or disk is full", FULL),
        ("File too large", TOO_LARGE),
        ("Read-only file system", READ_ONLY),
        ("attempt to write a readonly database", DENIED),
        ("Permission denied", DENIED),
        ("Not a directory", NOT_A_FOLDER),
        ("no such column: ", NOT_A_CATALOG),
        ("has no column named", NOT_A_CATALOG),
    ];
    TEXTS
        .iter()
        .find(|(needle, _)| text.contains(needle))
        .map(|(_, class)| *class)
}
