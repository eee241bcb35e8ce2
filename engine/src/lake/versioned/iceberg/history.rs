//! The versions of a table: the snapshots that its main branch came through, by their sequence numbers.

use iceberg::spec::{FormatVersion, Operation, SnapshotRef, TableMetadata};
use sql::versioned::{Readable, Size, Version};
use sql::{Error, ErrorKind, Result};

/// What to do when a version is gone.
const LATER: &str = "Start again from a version that is there, or from the whole table; keep snapshots longer than readers stand still.";

/// The ancestry of the main branch, as far as the metadata has it.
#[derive(Debug, Clone)]
pub(super) struct History {
    place: String,
    /// Ascending.
    versions: Vec<SnapshotRef>,
    before: Before,
    /// Sequence numbers that the main branch had and left.
    left: Vec<i64>,
    /// The highest sequence number of any branch.
    highest: i64,
}

/// What the table was before its first version that is known.
#[derive(Debug, Clone)]
pub(super) enum Before {
    /// Empty: the version 0.
    Empty,
    /// A snapshot without sequence number, from when the table was of format version 1: the version 0.
    Unnumbered(SnapshotRef),
    /// Nobody knows: its snapshot has expired.
    Expired,
}

/// What a version was made of.
pub(super) enum Parent<'a> {
    /// Nothing.
    Empty,
    /// This.
    Snapshot(&'a SnapshotRef),
    /// Something that has expired.
    Expired,
}

impl History {
    /// # Errors
    /// [`ErrorKind::Config`] for a table of format version 1, whose snapshots have no numbers.
    pub(super) fn of(metadata: &TableMetadata, place: &str) -> Result<Self> {
        if metadata.format_version() == FormatVersion::V1 {
            return Err(Error::config(
                "the Iceberg table is of format version 1, whose snapshots have no sequence numbers: it has no versions",
            )
            .at(place)
            .expected("format version 2 or 3")
            .remedy("Upgrade the table: set its property `format-version` to 2, with Spark for example."));
        }
        let mut versions = Vec::new();
        let mut before = Before::Empty;
        let mut next = metadata.current_snapshot().cloned();
        while let Some(snapshot) = next.take() {
            if snapshot.sequence_number() == 0 {
                before = Before::Unnumbered(snapshot);
                break;
            }
            if let Some(parent) = snapshot.parent_snapshot_id() {
                next = metadata.snapshot_by_id(parent).cloned();
                if next.is_none() {
                    before = Before::Expired;
                }
            }
            versions.push(snapshot);
        }
        versions.reverse();
        let is_main = |id| versions.iter().any(|own| own.snapshot_id() == id);
        let left = metadata
            .history()
            .iter()
            .filter(|entry| !is_main(entry.snapshot_id))
            .filter_map(|entry| metadata.snapshot_by_id(entry.snapshot_id))
            .map(|snapshot| snapshot.sequence_number())
            .collect();
        Ok(Self {
            place: place.to_owned(),
            versions,
            before,
            left,
            highest: metadata.last_sequence_number(),
        })
    }

    /// The versions that the metadata has, ascending.
    pub(super) fn versions(&self) -> &[SnapshotRef] {
        &self.versions
    }

    pub(super) fn last(&self) -> i64 {
        self.versions
            .last()
            .map_or(0, |last| last.sequence_number())
    }

    pub(super) fn readable(&self) -> Readable {
        let last = self.last();
        let mut versions = self.versions.iter();
        let first = match (&self.before, versions.next()) {
            (_, None) => last + 1,
            (Before::Expired, Some(oldest)) if !stands_alone(oldest) => versions
                .next()
                .map_or(last + 1, |second| second.sequence_number()),
            (_, Some(oldest)) => oldest.sequence_number(),
        };
        Readable { first, last }
    }

    /// The version `number` and what it was made of.
    ///
    /// # Errors
    /// [`ErrorKind::DataLoss`] if it has expired or is not of the main branch, [`ErrorKind::Config`] if there is none yet.
    pub(super) fn find(&self, number: i64) -> Result<(&SnapshotRef, Parent<'_>)> {
        let found = self
            .versions
            .binary_search_by_key(&number, |version| version.sequence_number());
        let at = found.map_err(|_| self.absent(number))?;
        let own = self.versions.get(at).ok_or_else(|| self.absent(number))?;
        let parent = at.checked_sub(1).and_then(|at| self.versions.get(at));
        let parent = match (parent, &self.before) {
            (Some(parent), _) => Parent::Snapshot(parent),
            (None, Before::Empty) => Parent::Empty,
            (None, Before::Unnumbered(snapshot)) => Parent::Snapshot(snapshot),
            (None, Before::Expired) => Parent::Expired,
        };
        Ok((own, parent))
    }

    /// What the table was at the version `number`; `None` if it was empty. The version 0 is what it was before the first one.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(super) fn table(&self, number: i64) -> Result<Option<&SnapshotRef>> {
        match (&self.before, number) {
            (Before::Empty, 0) => Ok(None),
            (Before::Unnumbered(snapshot), 0) => Ok(Some(snapshot)),
            _ => Ok(Some(self.find(number)?.0)),
        }
    }

    /// The versions `from..=to`.
    ///
    /// # Errors
    /// [`ErrorKind::DataLoss`] if `from` is older than what is there, or a version that the main branch left, or none at all.
    pub(super) fn range(&self, from: i64, to: i64) -> Result<Vec<Version>> {
        let oldest = self.versions.first().map(|own| own.sequence_number());
        let known = match oldest {
            // Before the first one there is nothing to be missed, unless it has expired.
            Some(oldest) if from < oldest => !matches!(self.before, Before::Expired),
            None => !self.left.contains(&from),
            _ if from > self.last() => !self.left.contains(&from),
            _ => self.find(from).is_ok(),
        };
        if !known {
            return Err(self.absent(from));
        }
        let versions = self.versions.iter();
        Ok(versions
            .filter(|own| (from..=to).contains(&own.sequence_number()))
            .map(version)
            .collect())
    }

    /// The error for a version whose parent has expired.
    pub(super) fn expired(&self, number: i64) -> Error {
        Error::new(
            ErrorKind::DataLoss,
            format!(
                "the changes of version {number} cannot be read: the snapshot before it has expired"
            ),
        )
        .at(&self.place)
        .expected(self.shown_range())
        .remedy(LATER)
    }

    fn absent(&self, number: i64) -> Error {
        let oldest = self.versions.first().map(|own| own.sequence_number());
        let before = oldest.is_none_or(|oldest| number < oldest);
        if number > self.highest {
            return Error::config(format!("the Iceberg table has no version {number} yet"))
                .at(&self.place)
                .expected(self.shown_range());
        }
        if before && number < self.last() {
            return Error::new(
                ErrorKind::DataLoss,
                format!("version {number} has expired: the table no longer has its snapshot"),
            )
            .at(&self.place)
            .expected(self.shown_range())
            .remedy(LATER);
        }
        let why = if self.left.contains(&number) || number > self.last() {
            "the table was rolled back to before it, or it is of another branch"
        } else {
            "it is of another branch, or the table was rolled back to before it"
        };
        Error::new(
            ErrorKind::DataLoss,
            format!("version {number} is not in the history of the table's main branch: {why}"),
        )
        .at(&self.place)
        .expected(self.shown_range())
        .remedy("Start again from a version of the main branch, or from the whole table.")
    }

    fn shown_range(&self) -> String {
        let Readable { first, last } = self.readable();
        if first > last {
            format!("no version: there are no changes to read, and the table is at version {last}")
        } else {
            format!("versions {first} to {last}")
        }
    }
}

/// Whether the changes of a snapshot are known without the one before it.
fn stands_alone(snapshot: &SnapshotRef) -> bool {
    matches!(
        snapshot.summary().operation,
        Operation::Append | Operation::Replace
    )
}

/// What the log tells of a version.
pub(super) fn version(snapshot: &SnapshotRef) -> Version {
    let summary = snapshot.summary();
    let of = |name: &str| summed(snapshot, name);
    let counts = [
        "added-data-files",
        "deleted-data-files",
        "added-delete-files",
        "removed-delete-files",
    ]
    .map(of);
    // Writers that count at all leave out what is zero.
    let counted = of("total-data-files").is_some() || counts.iter().any(Option::is_some);
    let changed = counts.iter().flatten().any(|count| *count > 0);
    let kept = || {
        of("added-position-deletes")
            .unwrap_or(0)
            .saturating_sub(of("removed-position-deletes").unwrap_or(0))
    };
    let removed_rows = match of("added-equality-deletes") {
        Some(1..) => None,
        _ => counted.then(|| of("deleted-records").unwrap_or(0) + kept()),
    };
    Version {
        number: snapshot.sequence_number(),
        committed_micros: snapshot.timestamp_ms().saturating_mul(1000),
        operation: summary.operation.as_str().to_owned(),
        changes_rows: summary.operation != Operation::Replace && (changed || !counted),
        size: Size {
            added_files: of("added-data-files").unwrap_or(0),
            removed_files: of("deleted-data-files").unwrap_or(0),
            added_rows: of("added-records").or(counted.then_some(0)),
            removed_rows,
            bytes: of("added-files-size").unwrap_or(0) + of("removed-files-size").unwrap_or(0),
        },
    }
}

/// A number of a snapshot's summary.
pub(super) fn summed(snapshot: &SnapshotRef, name: &str) -> Option<u64> {
    let properties = &snapshot.summary().additional_properties;
    properties.get(name)?.parse().ok()
}
