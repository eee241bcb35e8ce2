//! The commit of compacted files and merged manifests.

use std::collections::{BTreeSet, HashMap, HashSet};

use iceberg::spec::DataFile;
use sql::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::super::progress;
use super::super::settle::COMMIT;
use super::super::upsert::files::{Scope, State};
use super::super::upsert::produce::{Changes, Producer, saved_by_merging};
use super::choose::choose;
use super::rewrite::{Rewritten, rewrite};
use super::{MAX_ATTEMPTS, Pass};
use crate::lake::catalog::Failed;
use crate::sink::failpoint;

/// From so many manifests of one kind on, maintenance merges them.
const MERGE_FROM: usize = 10;

/// One attempt at a commit.
pub(super) struct Attempt {
    pub(super) done: Result<(), Failed>,
    /// Its manifests: garbage if it did not land.
    pub(super) written: Vec<String>,
    /// Manifests that were put together.
    merged: u64,
}

impl Pass<'_> {
    pub(super) async fn compact(&mut self, state: State) -> Result<()> {
        let choice = choose(&state, self.policy);
        self.report.more |= choice.more;
        if choice.foreign > 0 {
            self.report.note(format!(
                "{} data files are no Parquet files: they are not compacted",
                choice.foreign
            ));
        }
        if self.policy.dry_run {
            self.foresee(&choice.groups, &state);
            return Ok(());
        }
        let mut done = Vec::new();
        for group in choice.groups {
            if self.policy.is_stopped() {
                self.report.more = true;
                break;
            }
            match rewrite(self.sink, self.reader, group, self.policy, None).await {
                Ok(rewritten) => done.push(rewritten),
                Err(error) => {
                    self.discard(&done).await;
                    return Err(error);
                }
            }
        }
        failpoint::hit("maintain_files");
        self.commit(done, state).await
    }

    /// What a dry run says.
    fn foresee(&mut self, groups: &[super::choose::Group], state: &State) {
        for group in groups {
            let files = group.files.len() as u64;
            let deleted: u64 = group.deletes.iter().map(|d| d.file.rows).sum();
            let rows: u64 = group.files.iter().map(|file| file.rows).sum();
            self.report.files_compacted += files;
            self.report.bytes_compacted += group.bytes();
            self.report.rows += rows.saturating_sub(deleted);
            self.report.files_after = self.report.files_after + 1 - files;
        }
        let removed: BTreeSet<&str> = groups
            .iter()
            .flat_map(|group| &group.files)
            .map(|file| file.path.as_str())
            .collect();
        let gone = dangling(state, &removed).len() as u64;
        self.report.delete_files_removed += gone;
        self.report.delete_files_after -= gone;
        self.report.manifests_merged +=
            saved_by_merging(state, self.sink.table.metadata(), MERGE_FROM) as u64;
    }

    async fn commit(&mut self, mut done: Vec<Rewritten>, mut state: State) -> Result<()> {
        let mark = Uuid::new_v4().to_string();
        for _ in 0..MAX_ATTEMPTS {
            let merges = saved_by_merging(&state, self.sink.table.metadata(), MERGE_FROM) > 0;
            if done.is_empty() && !merges {
                return Ok(());
            }
            let changes = changes(&done, &state, true);
            let attempt = self
                .attempt(&changes, &state, &mark, done.is_empty(), HashMap::new())
                .await;
            let Err(failed) = attempt.done else {
                self.committed(&done, &changes, attempt.merged);
                failpoint::hit("maintain_commit");
                return Ok(());
            };
            let (conflict, unclear) = (failed.is_conflict(), failed.is_unclear());
            let error = self.failed(failed);
            if unclear {
                self.sink.refresh().await?;
                let metadata = self.sink.table.metadata_ref();
                if progress::has_commit(&metadata, COMMIT, &mark) {
                    self.committed(&done, &changes, attempt.merged);
                    return Ok(());
                }
                // It may land yet: its files must stay. If it does not, they are orphans one day.
                return Err(error);
            }
            for path in &attempt.written {
                self.sink.delete(path).await;
            }
            if !conflict {
                self.discard(&done).await;
                return Err(error);
            }
            self.sink.refresh().await?;
            state = self.state().await?;
            done = self.still_good(done, &state).await;
        }
        self.report.more |= !done.is_empty();
        self.report.conflicts += done.len() as u64;
        self.discard(&done).await;
        Ok(())
    }

    pub(super) fn failed(&self, failed: Failed) -> Error {
        if failed.is_unclear() {
            return Error::new(
                ErrorKind::Unavailable,
                "the catalog did not say whether the compacted files are in the table",
            )
            .at(&self.sink.place)
            .source(failed.error);
        }
        self.sink.commit_error(failed)
    }

    /// Those of `done` that fit what another writer made of the table.
    async fn still_good(&mut self, done: Vec<Rewritten>, state: &State) -> Vec<Rewritten> {
        let unfit = self.unfit(state).is_some();
        let (good, lost): (Vec<_>, Vec<_>) = done
            .into_iter()
            .partition(|rewritten| !unfit && rewritten.group.holds(state));
        self.report.conflicts += lost.len() as u64;
        self.report.more |= !lost.is_empty();
        self.discard(&lost).await;
        good
    }

    pub(super) async fn attempt(
        &mut self,
        changes: &Changes,
        state: &State,
        mark: &str,
        only_merge: bool,
        properties: HashMap<String, String>,
    ) -> Attempt {
        let metadata = self.sink.table.metadata_ref();
        let mut summary = progress::all(&metadata);
        summary.insert(COMMIT.to_owned(), mark.to_owned());
        let mut producer = Producer::new(&self.sink.table, state);
        producer.merge_from = Some(MERGE_FROM);
        let commit = producer.produce(changes, summary, properties).await;
        let (written, merged, saved) = (producer.written, producer.merged, producer.saved);
        let done = match commit {
            // Manifests of different schemas stay apart: there was nothing to gain.
            Ok(_) if only_merge && saved == 0 => {
                for path in &written {
                    self.sink.delete(path).await;
                }
                return Attempt {
                    done: Ok(()),
                    written: Vec::new(),
                    merged: 0,
                };
            }
            Ok(commit) => {
                failpoint::hit("maintain_before_commit");
                self.sink
                    .swap_updates(&commit.requirements, commit.updates)
                    .await
            }
            Err(error) => Err(Failed::from(error)),
        };
        Attempt {
            done,
            written,
            merged,
        }
    }

    fn committed(&mut self, done: &[Rewritten], changes: &Changes, merged: u64) {
        if done.is_empty() && merged == 0 {
            return;
        }
        let report = &mut self.report;
        let mut replaced = 0;
        for rewritten in done {
            let files = rewritten.group.files.len() as u64;
            replaced += files;
            report.files_compacted += files;
            report.bytes_compacted += rewritten.group.bytes();
            report.files_added += rewritten.added.len() as u64;
            let added = rewritten.added.iter().map(DataFile::file_size_in_bytes);
            report.bytes_added += added.sum::<u64>();
            report.rows += rewritten.rows;
        }
        report.delete_files_removed += changes.removed.len() as u64 - replaced;
        report.manifests_merged += merged;
        report.commits += 1;
    }

    /// Deletes files that certainly belong to no snapshot.
    pub(super) async fn discard(&self, done: &[Rewritten]) {
        for rewritten in done {
            self.sink.delete_files(&rewritten.added).await;
        }
    }
}

/// What puts the new files of `done` in the place of the old ones. With `replace` no row has changed.
pub(super) fn changes(done: &[Rewritten], state: &State, replace: bool) -> Changes {
    let groups = || done.iter().map(|rewritten| &rewritten.group);
    let removed: BTreeSet<&str> = groups()
        .flat_map(|group| &group.files)
        .map(|file| file.path.as_str())
        .collect();
    let deletes = dangling(state, &removed);
    let added = done.iter().flat_map(|rewritten| {
        let spec = rewritten.group.spec;
        rewritten.added.iter().map(move |file| (file.clone(), spec))
    });
    Changes {
        added: added.collect(),
        removed: removed
            .into_iter()
            .chain(deletes)
            .map(str::to_owned)
            .collect(),
        replace,
    }
}

/// The delete files that are about nothing once the data files `removed` are gone, and those that were about nothing before: new files
/// are younger than they are.
fn dangling<'s>(state: &'s State, removed: &BTreeSet<&str>) -> Vec<&'s str> {
    let left = || {
        state
            .data()
            .filter(|file| !removed.contains(file.path.as_str()))
    };
    let paths: HashSet<&str> = left().map(|file| file.path.as_str()).collect();
    state
        .deletes()
        .filter(|delete| match &delete.scope {
            Scope::File(path) => !paths.contains(path.as_str()),
            Scope::Between(..) => !left().any(|file| delete.applies_to(file)),
        })
        .map(|delete| delete.file.path.as_str())
        .collect()
}
