//! Which versions a feed reads: its start, its end, and what comes after a version.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use sql::versioned::{Readable, Version, VersionedTable};
use sql::{Error, ErrorKind, Result};

use super::place::Place;
use crate::spec::model::{LakeEnd, LakePoint, LakeStart};

/// The last version that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// This one.
    Version(i64),
    /// The last one committed at this time or before, microseconds since the epoch.
    Time(i64),
}

impl End {
    /// Whether `version` is behind the end.
    pub(super) fn is_before(self, version: &Version) -> bool {
        match self {
            Self::Version(last) => version.number > last,
            Self::Time(last) => version.committed_micros > last,
        }
    }

    /// What `end:` says of the table now; a bounded feed also ends at the newest version.
    pub(super) async fn resolve(
        table: &dyn VersionedTable,
        readable: Readable,
        end: Option<LakeEnd>,
        at: &str,
    ) -> Result<Option<Self>> {
        Ok(match end {
            None => None,
            Some(LakeEnd::Latest) => Some(Self::Version(readable.last)),
            Some(LakeEnd::At(LakePoint::Version(number))) => Some(Self::Version(number)),
            Some(LakeEnd::At(LakePoint::Time(micros))) => Some(Self::Time(micros)),
            Some(LakeEnd::At(LakePoint::Snapshot(id))) => {
                Some(Self::Version(version_of(table, id, at).await?))
            }
        })
    }
}

/// Where a feed starts that no position tells it.
pub(super) async fn start(
    table: &dyn VersionedTable,
    readable: Readable,
    start: LakeStart,
    end: Option<End>,
    at: &str,
) -> Result<Place> {
    if readable.last < readable.first {
        // No version at all yet.
        return Ok(Place::after(Some(readable.last)));
    }
    match start {
        LakeStart::Snapshot => {
            let version = match end {
                None => Some(readable.last),
                Some(End::Version(last)) => Some(last.min(readable.last)),
                Some(End::Time(micros)) => table.version_at(micros).await?,
            };
            version.map(Place::at_snapshot).ok_or_else(|| {
                Error::config("the table has no version as old as `end`")
                    .at(at)
                    .remedy("Set a later `end`.")
            })
        }
        LakeStart::Latest => Ok(Place::after(Some(readable.last))),
        LakeStart::Earliest => before(table, readable, readable.first).await,
        LakeStart::At(LakePoint::Version(number)) => {
            if number > readable.last.saturating_add(1) {
                return Err(Error::config(format!(
                    "`start` is version {number}, but the newest of {} is {}",
                    table.name(),
                    readable.last
                ))
                .at(at)
                .expected(format!(
                    "a version from {} to {}",
                    readable.first, readable.last
                ))
                .remedy("Correct `source.start`; `latest` waits for what comes."));
            }
            if number < readable.first {
                return Err(gone(table, readable, number));
            }
            before(table, readable, number).await
        }
        LakeStart::At(LakePoint::Snapshot(id)) => {
            let number = version_of(table, id, at).await?;
            before(table, readable, number).await
        }
        LakeStart::At(LakePoint::Time(micros)) => {
            match table.version_at(micros.saturating_sub(1)).await? {
                Some(done) if done.saturating_add(1) < readable.first => {
                    Err(gone(table, readable, done.saturating_add(1)))
                }
                Some(done) => Ok(Place::after(Some(done))),
                None => before(table, readable, readable.first).await,
            }
        }
    }
}

/// Before the first version from `number` on.
async fn before(table: &dyn VersionedTable, readable: Readable, number: i64) -> Result<Place> {
    if number <= readable.first {
        // A position is not negative.
        let done = readable.first.checked_sub(1).filter(|done| *done >= 0);
        return Ok(Place::after(done));
    }
    let versions = table.versions(readable.first, readable.last).await?;
    let earlier = versions
        .iter()
        .rev()
        .find(|version| version.number < number);
    Ok(Place::after(earlier.map(|version| version.number)))
}

/// The number of the version that Iceberg calls by `id`.
async fn version_of(table: &dyn VersionedTable, id: i64, at: &str) -> Result<i64> {
    let snapshots = table.snapshots().await?;
    let column = |name: &str| {
        snapshots
            .column_by_name(name)
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
            .ok_or_else(|| Error::internal(format!("the snapshots have no column `{name}`")))
    };
    let (ids, versions) = (column("snapshot_id")?, column("version")?);
    let found = ids
        .iter()
        .zip(versions)
        .find(|(found, _)| *found == Some(id));
    found.and_then(|(_, version)| version).ok_or_else(|| {
        Error::config(format!("{} has no snapshot {id}", table.name()))
            .at(at)
            .expected("a snapshot that the table still has")
            .remedy("List them: `SELECT * FROM snapshots('…')` in `engine sql`.")
    })
}

/// The versions after `done`, which must be of the table's history.
///
/// # Errors
/// [`ErrorKind::DataLoss`] if some are gone, or if `done` is not of this history.
pub(super) async fn after(
    table: &dyn VersionedTable,
    readable: Readable,
    done: Option<i64>,
) -> Result<Vec<Version>> {
    let Some(done) = done else {
        return match readable.first {
            _ if readable.last < readable.first => Ok(Vec::new()),
            0 => table.versions(0, readable.last).await,
            first => Err(gone(table, readable, first.saturating_sub(1))),
        };
    };
    if done > readable.last {
        return Err(diverged(table, readable, done));
    }
    let next = done.saturating_add(1);
    if next < readable.first {
        return Err(gone(table, readable, next));
    }
    if done < readable.first {
        return if readable.last < readable.first {
            Ok(Vec::new())
        } else {
            table.versions(readable.first, readable.last).await
        };
    }
    let mut versions = table.versions(done, readable.last).await?;
    if versions
        .first()
        .is_none_or(|version| version.number != done)
    {
        return Err(diverged(table, readable, done));
    }
    versions.remove(0);
    Ok(versions)
}

fn shown(readable: Readable) -> String {
    format!(
        "a version whose changes are there: {} to {}",
        readable.first, readable.last
    )
}

fn gone(table: &dyn VersionedTable, readable: Readable, number: i64) -> Error {
    Error::new(
        ErrorKind::DataLoss,
        format!(
            "changes of {} are gone: version {number} comes next, but the oldest whose changes are there is {}",
            table.name(),
            readable.first
        ),
    )
    .at(format!("{} version {number}", table.name()))
    .expected(shown(readable))
    .remedy(
        "Keep the table's history longer than the pipeline may stand still; the engine's own maintenance keeps what registered readers \
         need. To load everything again, write to a new table with `start: snapshot`.",
    )
}

fn diverged(table: &dyn VersionedTable, readable: Readable, done: i64) -> Error {
    Error::new(
        ErrorKind::DataLoss,
        format!(
            "version {done} of {} was read, but it is not of the table's history now",
            table.name()
        ),
    )
    .at(format!("{} version {done}", table.name()))
    .expected(shown(readable))
    .remedy(
        "The table was rolled back, or deleted and made again. To load it again, write to a new table with `start: snapshot`.",
    )
}
