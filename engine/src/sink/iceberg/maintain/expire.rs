//! Snapshots that nobody needs any more, and the files that only they reach.
//!
//! A snapshot's age counts from when it ceased to be the state of its branch, not from when it was made: who began to read an idle
//! table before a moment goes on reading. What goes are snapshots that
//!
//! - ceased to be the table's state longer ago than the retention,
//! - are not what a branch or tag points to, nor among those that the branch asks to be kept
//!   (`min-snapshots-to-keep`, `max-snapshot-age-ms`; the table's `history.expire.*` properties count for `main`),
//! - are older than what every registered reader has read ([`crate::maintain::readers`]).

use std::collections::{HashMap, HashSet};

use futures::StreamExt as _;
use iceberg::spec::{MAIN_BRANCH, SnapshotRef, TableMetadata, TableMetadataRef};
use iceberg::util::snapshot::ancestors_of;
use iceberg::{TableRequirement, TableUpdate};
use sql::{Error, ErrorKind, Result};

use super::reach::{Doomed, only_of};
use super::{MAX_ATTEMPTS, Pass, Reference, references};
use crate::maintain::{Policy, readers};
use crate::sink::{Sink as _, failpoint};

/// Snapshots that one pass expires at most: what it has to read and to hold.
const MOST: usize = 1000;
/// Files that are deleted at once.
const PARALLEL: usize = 8;

/// What goes and what it is compared with.
#[derive(Debug, Default)]
struct Expiry {
    /// The oldest first.
    gone: Vec<SnapshotRef>,
    /// The snapshots whose files certainly stay; enough of them to know that what they do not reach nobody does.
    kept: Vec<SnapshotRef>,
    more: bool,
}

impl Pass<'_> {
    pub(super) async fn expire(&mut self) -> Result<()> {
        let needed = match self.sink.sidecar() {
            Some(files) => {
                readers::needed_noting(files.as_ref(), self.policy, &mut self.report).await
            }
            None => Ok(None),
        };
        let needed = match needed {
            Ok(needed) => needed,
            Err(error) => {
                // Compaction was done and counts; what is not known to be free is kept.
                self.report.note(format!("nothing is expired: {error}"));
                return Ok(());
            }
        };
        for _ in 0..MAX_ATTEMPTS {
            let metadata = self.sink.table.metadata_ref();
            let expiry = expired(&metadata, self.policy, needed)?;
            if expiry.gone.is_empty() {
                return Ok(());
            }
            let table = &self.sink.table;
            let mut doomed = only_of(table, &expiry.gone, &expiry.kept, &self.sink.place).await?;
            let mut updates = vec![TableUpdate::RemoveSnapshots {
                snapshot_ids: expiry.gone.iter().map(|s| s.snapshot_id()).collect(),
            }];
            statistics(&metadata, &expiry.gone, &mut updates, &mut doomed);
            if self.policy.dry_run {
                self.expired(&expiry);
                let own = doomed
                    .files
                    .iter()
                    .filter(|(path, _)| is_below(&metadata, path));
                for (_, bytes) in own {
                    self.report.objects_deleted += 1;
                    self.report.bytes_deleted += bytes;
                }
                return Ok(());
            }
            failpoint::hit("maintain_before_expire");
            if self.remove(&metadata, updates, &expiry).await? {
                self.expired(&expiry);
                self.report.commits += 1;
                failpoint::hit("maintain_expired");
                self.delete_all(&metadata, doomed.files).await;
                return Ok(());
            }
        }
        self.report.more = true;
        self.report.conflicts += 1;
        Ok(())
    }

    fn expired(&mut self, expiry: &Expiry) {
        self.report.versions_expired += expiry.gone.len() as u64;
        self.report.more |= expiry.more;
    }

    /// Takes the snapshots out of the table. False if another writer was faster.
    async fn remove(
        &mut self,
        metadata: &TableMetadata,
        updates: Vec<TableUpdate>,
        expiry: &Expiry,
    ) -> Result<bool> {
        let mut requirements = vec![TableRequirement::UuidMatch {
            uuid: metadata.uuid(),
        }];
        // Nobody may have pointed a branch or a tag at one of them meanwhile.
        for reference in references(metadata)? {
            requirements.push(TableRequirement::RefSnapshotIdMatch {
                r#ref: reference.name,
                snapshot_id: Some(reference.snapshot),
            });
        }
        let Err(failed) = self.sink.swap_updates(&requirements, updates).await else {
            return Ok(true);
        };
        let (conflict, unclear) = (failed.is_conflict(), failed.is_unclear());
        let error = self.sink.commit_error(failed);
        if !conflict && !unclear {
            return Err(error);
        }
        self.sink.refresh().await?;
        if !unclear {
            return Ok(false);
        }
        let metadata = self.sink.table.metadata();
        let mut gone = expiry.gone.iter();
        if gone.all(|s| metadata.snapshot_by_id(s.snapshot_id()).is_none()) {
            return Ok(true);
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the catalog did not say whether snapshots are expired: no file was deleted",
        )
        .at(&self.sink.place)
        .source(error))
    }

    /// Deletes files that nothing refers to any more. One that cannot be deleted is an orphan, and found as one later.
    pub(super) async fn delete_all(&mut self, metadata: &TableMetadata, files: Vec<(String, u64)>) {
        let (own, foreign): (Vec<_>, Vec<_>) = files
            .into_iter()
            .partition(|(path, _)| is_below(metadata, path));
        if !foreign.is_empty() {
            self.report.note(format!(
                "{} files outside the table's folder are left where they are",
                foreign.len()
            ));
        }
        let file_io = self.sink.table.file_io();
        let mut deleting = Vec::with_capacity(own.len());
        for (path, bytes) in own {
            deleting.push(async move {
                let done = file_io.delete(&path).await;
                (path, bytes, done)
            });
        }
        // In their order, so that a crash leaves no file whose list is gone before it was read.
        let done: Vec<_> = futures::stream::iter(deleting)
            .buffered(PARALLEL)
            .collect()
            .await;
        let mut failures = 0;
        for (path, bytes, done) in done {
            match done {
                Ok(()) => {
                    self.report.objects_deleted += 1;
                    self.report.bytes_deleted += bytes;
                }
                Err(error) => {
                    failures += 1;
                    tracing::debug!(path, error = %error, "cannot delete an unused file");
                }
            }
        }
        if failures > 0 {
            self.report
                .note(format!("{failures} unused files could not be deleted"));
        }
    }
}

/// The statistics files of expired snapshots go with them.
fn statistics(
    metadata: &TableMetadata,
    gone: &[SnapshotRef],
    updates: &mut Vec<TableUpdate>,
    doomed: &mut Doomed,
) {
    for snapshot_id in gone.iter().map(|snapshot| snapshot.snapshot_id()) {
        if let Some(file) = metadata.statistics_for_snapshot(snapshot_id) {
            let bytes = u64::try_from(file.file_size_in_bytes).unwrap_or(0);
            doomed.files.push((file.statistics_path.clone(), bytes));
            updates.push(TableUpdate::RemoveStatistics { snapshot_id });
        }
        if let Some(file) = metadata.partition_statistics_for_snapshot(snapshot_id) {
            let bytes = u64::try_from(file.file_size_in_bytes).unwrap_or(0);
            doomed.files.push((file.statistics_path.clone(), bytes));
            updates.push(TableUpdate::RemovePartitionStatistics { snapshot_id });
        }
    }
}

/// Whether a file is the table's own to delete.
fn is_below(metadata: &TableMetadata, path: &str) -> bool {
    let properties = metadata.properties();
    let folders = ["write.data.path", "write.metadata.path"];
    let folders = folders.iter().filter_map(|name| properties.get(*name));
    let mut folders = folders.map(String::as_str).chain([metadata.location()]);
    folders.any(|folder| {
        path.strip_prefix(folder.trim_end_matches('/'))
            .is_some_and(|rest| rest.starts_with('/'))
    })
}

/// Finds what can go.
fn expired(metadata: &TableMetadataRef, policy: &Policy, needed: Option<i64>) -> Result<Expiry> {
    let references = references(metadata)?;
    let held = held(metadata, policy, &references);
    let ends = ends(metadata);
    let before = policy.keep_after_ms();
    let mut all: Vec<&SnapshotRef> = metadata.snapshots().collect();
    all.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
    let is_old = |snapshot: &SnapshotRef| {
        let id = snapshot.snapshot_id();
        let own = snapshot.timestamp_ms();
        let ended = ends.get(&id).map_or(own, |ended| own.max(*ended));
        !held.contains(&id)
            && own < before
            && ended < before
            && needed.is_none_or(|needed| snapshot.sequence_number() < needed)
    };
    let mut gone: Vec<SnapshotRef> = all
        .iter()
        .filter(|snapshot| is_old(snapshot))
        .map(|snapshot| SnapshotRef::clone(snapshot))
        .collect();
    let more = gone.len() > MOST;
    gone.truncate(MOST);
    let ids: HashSet<i64> = gone.iter().map(|s| s.snapshot_id()).collect();
    let mut kept: Vec<SnapshotRef> = all
        .into_iter()
        .filter(|snapshot| !ids.contains(&snapshot.snapshot_id()))
        .map(SnapshotRef::clone)
        .collect();
    if let Some(line) = line(metadata, &ids) {
        kept = line;
    }
    Ok(Expiry { gone, kept, more })
}

/// Of a table whose snapshots are one line, of which the beginning goes: the first that stays, and the last. A file that left the
/// table before the first of them is in none of the later ones.
fn line(metadata: &TableMetadataRef, gone: &HashSet<i64>) -> Option<Vec<SnapshotRef>> {
    let current = metadata.current_snapshot_id()?;
    let line: Vec<SnapshotRef> = ancestors_of(metadata, current).collect();
    let kept = line
        .iter()
        .take_while(|snapshot| !gone.contains(&snapshot.snapshot_id()))
        .count();
    let rest = line.iter().skip(kept);
    let is_line = line.len() == metadata.snapshots().len()
        && rest.clone().count() == gone.len()
        && rest.clone().all(|s| gone.contains(&s.snapshot_id()));
    if !is_line {
        return None;
    }
    let (first, last) = (line.get(kept.checked_sub(1)?)?, line.first()?);
    Some(vec![SnapshotRef::clone(first), SnapshotRef::clone(last)])
}

/// When snapshots ceased to be the table's state, in milliseconds since the epoch; those that are it have no end. Of a snapshot that
/// the log does not know, when another was made from it.
fn ends(metadata: &TableMetadata) -> HashMap<i64, i64> {
    let mut ends: HashMap<i64, i64> = HashMap::new();
    for snapshot in metadata.snapshots() {
        if let Some(parent) = snapshot.parent_snapshot_id() {
            let ended = ends.entry(parent).or_insert(i64::MIN);
            *ended = (*ended).max(snapshot.timestamp_ms());
        }
    }
    for pair in metadata.history().windows(2) {
        if let [from, to] = pair {
            let ended = ends.entry(from.snapshot_id).or_insert(i64::MIN);
            *ended = (*ended).max(to.timestamp_ms);
        }
    }
    ends
}

/// Snapshots that references hold: those that they point to, and those that a branch asks to be kept.
fn held(metadata: &TableMetadataRef, policy: &Policy, references: &[Reference]) -> HashSet<i64> {
    let number = |name: &str| -> Option<i64> { metadata.properties().get(name)?.parse().ok() };
    let now = (policy.clock)() / 1000;
    let mut held: HashSet<i64> = metadata.current_snapshot_id().into_iter().collect();
    for reference in references {
        held.insert(reference.snapshot);
        if !reference.is_branch {
            continue;
        }
        let (mut keeps, mut keeps_ms) = (reference.keeps, reference.keeps_ms);
        if reference.name == MAIN_BRANCH {
            let count = number("history.expire.min-snapshots-to-keep");
            keeps = keeps.or_else(|| usize::try_from(count?).ok());
            keeps_ms = keeps_ms.or_else(|| number("history.expire.max-snapshot-age-ms"));
        }
        let after = keeps_ms.map_or(i64::MAX, |age| now.saturating_sub(age));
        for (at, snapshot) in ancestors_of(metadata, reference.snapshot).enumerate() {
            if keeps.is_some_and(|keeps| at < keeps) || snapshot.timestamp_ms() > after {
                held.insert(snapshot.snapshot_id());
            }
        }
    }
    held
}
