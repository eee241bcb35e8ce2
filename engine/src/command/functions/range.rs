//! Versions and times as a range of a table's versions.

use sql::table::Range;
use sql::versioned::{Readable, VersionedTable};
use sql::{Error, ErrorKind, Result};

pub use super::arguments::Bound;

/// The version that a table had: the one that is named, or the newest at a time.
///
/// # Errors
/// [`ErrorKind::Config`] for a version that the table does not have yet, and a time before its first one.
pub async fn version(table: &dyn VersionedTable, readable: Readable, bound: &Bound) -> Result<i64> {
    match bound {
        Bound::Version(version) if *version > readable.last => {
            Err(not_yet(table, readable, *version))
        }
        Bound::Version(version) => Ok(*version),
        Bound::Instant(micros) => table.version_at(*micros).await?.ok_or_else(|| {
            Error::config(format!(
                "`{}` has no version as old as that time",
                table.name()
            ))
            .expected(range_of(readable))
            .remedy("list the versions with snapshots('…')")
        }),
        Bound::Follow => Ok(readable.last),
    }
}

/// The versions from `from` to `to`, or to the newest.
///
/// # Errors
/// [`ErrorKind::Config`] for a version that the table does not have yet, and an end before the start;
/// [`ErrorKind::DataLoss`] for a time before what can be read.
pub async fn between(
    table: &dyn VersionedTable,
    readable: Readable,
    from: &Bound,
    to: Option<&Bound>,
) -> Result<Range> {
    let first = start(table, readable, from).await?;
    let last = match to {
        None | Some(Bound::Follow) => readable.last,
        Some(Bound::Version(version)) => *version,
        // Before the first version there is nothing.
        Some(Bound::Instant(micros)) => {
            let version = table.version_at(*micros).await?;
            version.unwrap_or_else(|| readable.first.saturating_sub(1))
        }
    };
    let turned = match (from, to) {
        (Bound::Version(from), Some(Bound::Version(to))) => to < from,
        (Bound::Instant(from), Some(Bound::Instant(to))) => to < from,
        _ => false,
    };
    if turned {
        return Err(Error::config("the range ends before it starts")
            .expected("from … to, both included")
            .remedy("exchange the two"));
    }
    Ok(Range {
        from: first,
        to: Some(last.min(readable.last)),
    })
}

/// The versions from `from` on, or those that come after the newest.
///
/// # Errors
/// As [`between`].
pub async fn follow(
    table: &dyn VersionedTable,
    readable: Readable,
    from: Option<&Bound>,
) -> Result<Range> {
    let from = match from {
        None => readable.last.saturating_add(1),
        Some(from) => start(table, readable, from).await?,
    };
    Ok(Range { from, to: None })
}

/// The first version of a range: the one that is named, or the first that was committed at a time or later.
async fn start(table: &dyn VersionedTable, readable: Readable, from: &Bound) -> Result<i64> {
    let micros = match from {
        Bound::Version(version) if *version > readable.last => {
            return Err(not_yet(table, readable, *version));
        }
        Bound::Version(version) => return Ok(*version),
        Bound::Follow => return Ok(readable.last.saturating_add(1)),
        Bound::Instant(micros) => *micros,
    };
    match table.version_at(micros.saturating_sub(1)).await? {
        Some(before) => Ok(before.saturating_add(1)),
        // Nothing older is known: either the table is younger, or its oldest versions are gone.
        None if readable.first <= 1 => Ok(readable.first),
        None => Err(Error::new(
            ErrorKind::DataLoss,
            format!(
                "the versions of `{}` that were the newest at that time are gone",
                table.name()
            ),
        )
        .expected(range_of(readable))
        .remedy(format!("start at version {}", readable.first))),
    }
}

fn not_yet(table: &dyn VersionedTable, readable: Readable, version: i64) -> Error {
    Error::config(format!("`{}` has no version {version} yet", table.name()))
        .expected(range_of(readable))
        .remedy("list the versions with snapshots('…')")
}

fn range_of(readable: Readable) -> String {
    match readable.first == readable.last {
        true => format!("version {}, the only one that can be read", readable.last),
        false => format!("a version from {} to {}", readable.first, readable.last),
    }
}
