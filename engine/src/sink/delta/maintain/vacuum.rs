//! What nobody needs any more: data files that left the table, files of the change feed, files that no commit ever took, old commits.
//!
//! The library's vacuum is not used. It knows the table's tombstones and the files' age, and of readers nothing; a checkpoint forgets
//! tombstones after `delta.deletedFileRetentionDuration`, whatever the pipeline's retention is; and it commits twice to say that it
//! ran, which every reader of changes has to pass over. Here nothing is committed.
//!
//! A file of the folder goes if all of this is so:
//!
//! - it is a Parquet file outside of folders whose names begin with `_` or `.`, or one of `_change_data`;
//! - it is older than the longer of the retention and the table's `delta.deletedFileRetentionDuration`: than the **horizon**;
//! - the table does not have it now, and has not had it since the horizon;
//! - no commit names it that a registered reader has not read: neither as a file that went, nor as one of the change feed. Those
//!   commits are read only if a reader is behind the horizon, or if checkpoints forget earlier than the retention says;
//! - nobody can be about to commit it: a file that no commit ever took stays for [`UNDER_WAY`] at least.
//!
//! So each version since the horizon, and each since a registered reader, can be read, and so can their changes.
//!
//! Commits go when they are older than the longer of the retention and `delta.logRetentionDuration` and a complete checkpoint
//! stands where the first version begins that is kept. The oldest go first: a log that was cut off half-way is a shorter one.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use deltalake::kernel::{AddCDCFile, Remove};
use deltalake::logstore::object_store::ObjectStoreExt as _;
use deltalake::table::config::TablePropertiesExt as _;
use deltalake::{ObjectStoreError, Path};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use sql::{Error, ErrorKind, Result};

use super::listing::{Listed, Log};
use crate::lake::delta::snapshot;
use crate::lake::storage::storage_error;
use crate::maintain::{Policy, Report, readers};
use crate::resend;
use crate::sink::delta::DeltaSink;
use crate::sink::delta::progress::read_commit;
use crate::sink::{Sink as _, failpoint};

/// A file that no commit names may be one that is about to be committed.
const UNDER_WAY: Duration = Duration::from_secs(3600);
/// Between writing a file, or writing down that it leaves the table, and the commit lies a while: files are kept so much longer, or a
/// tenth of the retention if that is less.
const SLACK: Duration = Duration::from_secs(3600);
/// Files that are deleted or commits that are read at one time.
const AT_ONCE: usize = 16;
/// Files that are deleted before it is asked whether to stop.
const CHUNK: usize = 512;

const FEED: &str = "_change_data";

#[derive(Deserialize)]
struct Line {
    remove: Option<Remove>,
    cdc: Option<AddCDCFile>,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The path by which files are compared: of the log, decoded, or of a listing.
fn plain(path: &str) -> String {
    Path::from_url_path(path).map_or_else(|_| path.to_owned(), |path| path.to_string())
}

/// From when on everything is kept, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Horizon {
    now: i64,
    /// How long the table keeps files that left it: checkpoints forget them afterwards.
    forgets: Duration,
    retention: Duration,
}

impl Horizon {
    fn kept(self) -> Duration {
        self.forgets.max(self.retention)
    }

    /// Versions that were the table's at this time or later can be read.
    fn versions(self) -> i64 {
        self.now.saturating_sub(millis(self.kept()))
    }

    /// Files that were written, or left the table, before this time may go.
    fn cutoff(self) -> i64 {
        let slack = SLACK.min(self.kept() / 10);
        self.versions().saturating_sub(millis(slack))
    }
}

/// Files that must not go, each under its name and under its decoded name: readers disagree on how often names are encoded.
#[derive(Debug, Default)]
struct Kept(HashSet<String>);

impl Kept {
    fn add(&mut self, path: &str) {
        self.0.insert(plain(path));
        self.0.insert(path.to_owned());
    }

    fn has(&self, path: &Path) -> bool {
        self.0.contains(path.as_ref()) || self.0.contains(&plain(path.as_ref()))
    }
}

impl DeltaSink {
    /// The version from which on a registered reader needs everything.
    pub(super) async fn needed(&self, policy: &Policy, report: &mut Report) -> Result<Option<u64>> {
        let Some(files) = self.sidecar() else {
            return Ok(None);
        };
        let needed = readers::needed_noting(files.as_ref(), policy, report).await?;
        Ok(needed.map(|version| u64::try_from(version).unwrap_or(0)))
    }

    /// Deletes what nobody needs.
    pub(super) async fn sweep(&mut self, policy: &Policy, report: &mut Report) -> Result<()> {
        let needed = self.needed(policy, report).await?;
        let cutoff = self.horizon(policy)?.cutoff();
        let inside = |path: &Path, folder: &str| path.as_ref().starts_with(folder);
        let log_folder = format!("{}/", self.store.log_path());
        let windows_folder = format!("{}/", resend::folder(&self.pipeline));
        let partition_by = self.partition_by.clone();
        let listed = self
            .list(None, |file| {
                inside(&file.path, &log_folder)
                    || inside(&file.path, &windows_folder)
                    || (file.modified < cutoff && may_go(&file.path, &partition_by))
            })
            .await?;
        let (log, listed): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .partition(|file| inside(&file.path, &log_folder));
        let (windows, files): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .partition(|file| inside(&file.path, &windows_folder));
        let log = Log::of(log);
        let unneeded = self.unneeded(files, &log, needed, policy).await?;
        self.delete_listed(unneeded, policy, report).await?;
        self.sweep_windows(windows, policy, report).await?;
        self.clean_log(&log, needed, policy, report).await
    }

    fn horizon(&self, policy: &Policy) -> Result<Horizon> {
        let settings = snapshot(&self.table, &self.path)?.table_config();
        Ok(Horizon {
            now: (policy.clock)() / 1_000,
            forgets: settings.deleted_file_retention_duration(),
            retention: policy.retention,
        })
    }

    /// Those of `files`, all of which are old enough, that nobody needs.
    async fn unneeded(
        &mut self,
        files: Vec<Listed>,
        log: &Log,
        needed: Option<u64>,
        policy: &Policy,
    ) -> Result<Vec<Listed>> {
        if files.is_empty() {
            return Ok(files);
        }
        // Only now: a file that somebody brought back since it was listed is seen to be there.
        self.refresh(None).await?;
        let horizon = self.horizon(policy)?;
        let mut kept = Kept::default();
        for path in self.file_list().await?.live().keys() {
            kept.add(path);
        }
        let mut gone = HashSet::new();
        for (path, at) in self.tombstones().await? {
            if at >= horizon.cutoff() {
                kept.add(&path);
            }
            gone.insert(plain(&path));
        }
        if let Some(versions) = versions_to_read(log, needed, horizon) {
            self.keep_named(&mut kept, versions).await?;
        }
        let under_way = horizon.now.saturating_sub(millis(UNDER_WAY));
        let goes = |file: &Listed| {
            let known = gone.contains(&plain(file.path.as_ref()));
            !kept.has(&file.path) && (known || file.modified < under_way)
        };
        Ok(files.into_iter().filter(goes).collect())
    }

    /// The files that left the table, as far as its state still says so, and when, in milliseconds since the epoch.
    async fn tombstones(&mut self) -> Result<Vec<(String, i64)>> {
        let failed = |error| storage_error("read the Delta table's log", &self.path, error);
        let updated = self.table.update_incremental(Some(self.version)).await;
        updated.map_err(failed)?;
        let state = snapshot(&self.table, &self.path)?;
        let tombstones = state.all_tombstones(self.store.as_ref());
        let told = tombstones.map_ok(|gone| {
            let at = gone.deletion_timestamp().unwrap_or(0);
            (gone.path().into_owned(), at)
        });
        told.try_collect().await.map_err(failed)
    }

    /// Keeps the files that left the table, and those of the feed, in these commits.
    async fn keep_named(&self, kept: &mut Kept, versions: RangeInclusive<u64>) -> Result<()> {
        let commits = futures::stream::iter(versions)
            .map(|version| read_commit(&self.store, version, &self.path))
            .buffer_unordered(AT_ONCE);
        let mut commits = std::pin::pin!(commits);
        while let Some(commit) = commits.try_next().await? {
            // One that is gone can be read by nobody.
            let Some(commit) = commit else { continue };
            for line in commit.split(|byte| *byte == b'\n') {
                let holds = |word: &[u8]| memchr::memmem::find(line, word).is_some();
                if !holds(b"\"remove\"") && !holds(b"\"cdc\"") {
                    continue;
                }
                let line: Line = serde_json::from_slice(line).map_err(|error| {
                    Error::config("a commit of the Delta log is no valid JSON")
                        .at(&self.path)
                        .source(error)
                })?;
                let removed = line.remove.map(|remove| remove.path);
                for path in removed.into_iter().chain(line.cdc.map(|cdc| cdc.path)) {
                    kept.add(&path);
                }
            }
        }
        Ok(())
    }

    /// Deletes old windows of events sent again that no start of this pipeline reads.
    async fn sweep_windows(
        &self,
        windows: Vec<Listed>,
        policy: &Policy,
        report: &mut Report,
    ) -> Result<()> {
        let Some(sidecar) = self.sidecar() else {
            return Ok(());
        };
        let found: Vec<_> = windows
            .iter()
            .map(|file| (file.path.to_string(), file.modified))
            .collect();
        let until = self.horizon(policy)?.cutoff();
        let strays = resend::strays(
            sidecar.as_ref(),
            &self.pipeline,
            &self.stored,
            &found,
            until,
        );
        let strays: HashSet<String> = match strays.await {
            Ok(strays) => strays.into_iter().collect(),
            // A damaged window is told of when the pipeline starts.
            Err(error) if error.kind() == ErrorKind::Storage => {
                report.note(format!(
                    "old windows of events sent again were left: {error}"
                ));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let strays = windows
            .into_iter()
            .filter(|file| strays.contains(file.path.as_ref()));
        self.delete_listed(strays.collect(), policy, report).await
    }

    /// Deletes commits and checkpoints that are older than the first version that is kept.
    pub(super) async fn clean_log(
        &self,
        log: &Log,
        needed: Option<u64>,
        policy: &Policy,
        report: &mut Report,
    ) -> Result<()> {
        if !self.upkeep.cleans {
            return Ok(());
        }
        let settings = snapshot(&self.table, &self.path)?.table_config();
        let kept = settings.log_retention_duration().max(policy.retention);
        let horizon = ((policy.clock)() / 1_000).saturating_sub(millis(kept));
        let Some(first) = log.version_at(horizon) else {
            return Ok(());
        };
        let first = needed
            .map_or(first, |needed| needed.min(first))
            .min(self.version);
        let Some(checkpoint) = log.checkpoint(first) else {
            return Ok(());
        };
        let old =
            |(version, file): &&(u64, Listed)| *version < checkpoint && file.modified < horizon;
        let old: Vec<_> = log.files.iter().filter(old).cloned().collect();
        report.versions_expired += old
            .iter()
            .filter(|(_, file)| file.path.as_ref().ends_with(".json"))
            .count() as u64;
        // One after the other: whenever it ends, what is left is a log from some version on.
        for (_, file) in old {
            if policy.is_stopped() {
                break;
            }
            if !policy.dry_run {
                self.delete_file(&file.path).await?;
            }
            report.objects_deleted += 1;
            report.bytes_deleted += file.size;
        }
        Ok(())
    }

    async fn delete_listed(
        &self,
        files: Vec<Listed>,
        policy: &Policy,
        report: &mut Report,
    ) -> Result<()> {
        for chunk in files.chunks(CHUNK) {
            if policy.is_stopped() {
                break;
            }
            if !policy.dry_run {
                let deleted: Vec<_> = chunk
                    .iter()
                    .map(|file| self.delete_file(&file.path))
                    .collect();
                let mut deleted = futures::stream::iter(deleted).buffer_unordered(AT_ONCE);
                while deleted.try_next().await?.is_some() {}
                failpoint::hit("after_vacuum");
            }
            report.objects_deleted += chunk.len() as u64;
            report.bytes_deleted += chunk.iter().map(|file| file.size).sum::<u64>();
        }
        Ok(())
    }

    async fn delete_file(&self, path: &Path) -> Result<()> {
        match self.store.object_store(None).delete(path).await {
            Ok(()) | Err(ObjectStoreError::NotFound { .. }) => Ok(()),
            Err(error) => {
                let place = format!("{}/{path}", self.path.trim_end_matches('/'));
                Err(storage_error("delete a file", &place, error))
            }
        }
    }
}

/// The commits whose files must be kept although the table's state does not tell of them: those that a reader behind the horizon has
/// not read, and those within the retention whose files checkpoints have forgotten.
fn versions_to_read(
    log: &Log,
    needed: Option<u64>,
    horizon: Horizon,
) -> Option<RangeInclusive<u64>> {
    let kept = log.version_at(horizon.versions());
    let mut first = kept.map_or(0, |version| version + 1);
    let mut last = kept;
    if let (Some(needed), Some(kept)) = (needed, kept)
        && needed < kept
    {
        first = needed + 1;
        // Around the horizon files may have left a little before their commit.
        let around = horizon.versions().saturating_add(millis(SLACK));
        last = last.max(log.version_at(around));
    }
    if horizon.forgets < horizon.retention {
        let forgotten = horizon.now.saturating_sub(millis(horizon.forgets));
        last = last.max(log.version_at(forgotten));
    }
    let first = first.max(log.oldest()?);
    last.filter(|last| first <= *last).map(|last| first..=last)
}

/// Whether a file is one of those that the table consists of, by its name.
fn may_go(path: &Path, partition_by: &[String]) -> bool {
    let mut folders: Vec<_> = path.parts().collect();
    let Some(name) = folders.pop() else {
        return false;
    };
    let hidden = |name: &str| name.starts_with('_') || name.starts_with('.');
    let partition = |folder: &str| {
        let column = folder.split_once('=').map(|(column, _)| column.to_owned());
        column.is_some_and(|column| partition_by.contains(&column))
    };
    let feed = folders.first().is_some_and(|first| first.as_ref() == FEED);
    let folders = folders.iter().skip(usize::from(feed));
    name.as_ref().ends_with(".parquet")
        && !hidden(name.as_ref())
        && folders
            .into_iter()
            .all(|folder| !hidden(folder.as_ref()) || partition(folder.as_ref()))
}
