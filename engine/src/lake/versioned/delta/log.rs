//! The commits of a table: which are there, and what they say. Each is read once, by one request; the last few hundred are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltalake::ObjectStore;
use deltalake::logstore::LogStoreRef;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parking_lot::Mutex;
use sql::versioned::{Readable, Version};
use sql::{Error, ErrorKind, Result};

use super::commit::Commit;
use super::place::is_missing;
use crate::lake::storage::storage_error;

/// Commits that are read at once when many are wanted.
const AHEAD: usize = 8;
/// Files of commits that are kept: those of small commits, or of a few large ones.
const KEPT_FILES: usize = 20_000;
const KEPT_COMMITS: usize = 512;
const FOLDER: &str = "_delta_log";

/// The log of one table.
#[derive(Debug)]
pub(super) struct Log {
    table: String,
    store: LogStoreRef,
    files: Arc<dyn ObjectStore>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    range: Option<Readable>,
    /// The oldest checkpoint that was there when the whole log was listed.
    checkpoint: Option<i64>,
    commits: BTreeMap<i64, Arc<Commit>>,
    files: usize,
}

impl Log {
    pub(super) fn new(table: &str, store: &LogStoreRef) -> Self {
        Self {
            table: table.to_owned(),
            store: Arc::clone(store),
            files: store.object_store(None),
            seen: Mutex::default(),
        }
    }

    /// Looks for newer commits: one listing of what came after the newest known one. The whole log is listed at first, and when the
    /// oldest or the newest commit that was known is gone.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is no commit; of the storage.
    pub(super) async fn refresh(&self) -> Result<Readable> {
        let known = self.seen.lock().range;
        if let Some(known) = known
            && self.is_there(known.first).await?
            && self.is_there(known.last).await?
        {
            let newer = self.list(Some(known.last)).await?;
            let last = consecutive(known.last, newer.commits.iter().copied());
            let range = Readable { last, ..known };
            self.seen.lock().range = Some(range);
            return Ok(range);
        }
        let listed = self.list(None).await?;
        let Some(last) = listed.commits.last().copied() else {
            return Err(Error::config("there is no Delta table")
                .at(&self.table)
                .remedy("Check the path. A pipeline's own target is there after its first run: `engine run --once FILE`."));
        };
        // A gap in the log is where somebody cleaned up: only what comes after it can be read.
        let mut first = last;
        for number in listed.commits.iter().rev().skip(1) {
            if *number + 1 != first {
                break;
            }
            first = *number;
        }
        let range = Readable { first, last };
        let mut seen = self.seen.lock();
        *seen = Seen {
            range: Some(range),
            checkpoint: listed.checkpoint,
            ..Seen::default()
        };
        Ok(range)
    }

    /// The versions that are known to be there.
    pub(super) async fn range(&self) -> Result<Readable> {
        let known = self.seen.lock().range;
        match known {
            Some(range) => Ok(range),
            None => self.refresh().await,
        }
    }

    /// The oldest checkpoint that is known.
    pub(super) fn oldest_checkpoint(&self) -> Option<i64> {
        self.seen.lock().checkpoint
    }

    /// The range, if `number` is in it; looks for newer versions before it says no.
    ///
    /// # Errors
    /// [`ErrorKind::DataLoss`] if it is not.
    pub(super) async fn check(&self, number: i64) -> Result<Readable> {
        let mut range = self.range().await?;
        if number > range.last {
            range = self.refresh().await?;
        }
        if number < range.first || number > range.last {
            return Err(self.not_there(number, range));
        }
        Ok(range)
    }

    fn not_there(&self, number: i64, range: Readable) -> Error {
        let Readable { first, last } = range;
        let (message, remedy) = if number > last {
            (
                format!("the Delta table has no version {number} yet"),
                "Start at a version that is there.",
            )
        } else {
            (
                format!(
                    "the commit of version {number} of the Delta table is gone: the log was cleaned up"
                ),
                "Start at a version that is there. Keep commits longer with delta.logRetentionDuration.",
            )
        };
        Error::new(ErrorKind::DataLoss, message)
            .at(&self.table)
            .expected(format!("a version from {first} to {last}"))
            .remedy(remedy)
    }

    /// A version's commit.
    ///
    /// # Errors
    /// [`ErrorKind::DataLoss`] if it is not there; of the storage.
    pub(super) async fn commit(&self, number: i64) -> Result<Arc<Commit>> {
        if let Some(commit) = self.seen.lock().commits.get(&number) {
            return Ok(Arc::clone(commit));
        }
        self.check(number).await?;
        let version = u64::try_from(number).unwrap_or(0);
        let read = self.store.read_commit_entry(version).await;
        let text = read.map_err(|e| storage_error("read the Delta table's log", &self.table, e))?;
        let Some(text) = text else {
            self.seen.lock().range = None;
            let range = self.refresh().await?;
            return Err(self.not_there(number, range));
        };
        let mut commit = Commit::parse(number, &text, &self.table)?;
        if commit.micros.is_none() {
            let meta = self.files.head(&path_of(number)).await;
            let meta = meta
                .map_err(|error| storage_error("read the Delta table's log", &self.table, error))?;
            commit.micros = Some(meta.last_modified.timestamp_micros());
        }
        let commit = Arc::new(commit);
        self.keep(&commit);
        Ok(commit)
    }

    fn keep(&self, commit: &Arc<Commit>) {
        let count = |commit: &Commit| commit.added.len() + commit.removed.len();
        let mut seen = self.seen.lock();
        seen.files += count(commit);
        if let Some(old) = seen.commits.insert(commit.number, Arc::clone(commit)) {
            seen.files -= count(&old);
        }
        while seen.commits.len() > KEPT_COMMITS
            || (seen.files > KEPT_FILES && seen.commits.len() > 1)
        {
            let Some((_, old)) = seen.commits.pop_first() else {
                break;
            };
            seen.files -= count(&old);
        }
    }

    /// The commits `from..=to`, read side by side.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(super) async fn commits(&self, from: i64, to: i64) -> Result<Vec<Arc<Commit>>> {
        stream::iter(from..=to)
            .map(|number| self.commit(number))
            .buffered(AHEAD)
            .try_collect()
            .await
    }

    /// The commits `from..=to` as versions.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(super) async fn versions(&self, from: i64, to: i64) -> Result<Vec<Version>> {
        let commits = self.commits(from, to).await?;
        Ok(commits.iter().map(|commit| commit.as_version()).collect())
    }

    async fn is_there(&self, number: i64) -> Result<bool> {
        match self.files.head(&path_of(number)).await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(storage_error(
                "read the Delta table's log",
                &self.table,
                error,
            )),
        }
    }

    /// What is in the log's folder, after the commit `after` if one is given.
    async fn list(&self, after: Option<i64>) -> Result<Listed> {
        let folder = Path::from(FOLDER);
        let mut files = match after {
            Some(after) => self.files.list_with_offset(Some(&folder), &path_of(after)),
            None => self.files.list(Some(&folder)),
        };
        let mut listed = Listed::default();
        loop {
            match files.try_next().await {
                Ok(Some(file)) => listed.take(&file.location),
                Ok(None) => break,
                Err(error) if is_missing(&error) => break,
                Err(error) => {
                    let doing = "list the Delta table's log";
                    return Err(storage_error(doing, &self.table, error));
                }
            }
        }
        listed.commits.sort_unstable();
        Ok(listed)
    }
}

#[derive(Debug, Default)]
struct Listed {
    commits: Vec<i64>,
    checkpoint: Option<i64>,
}

impl Listed {
    fn take(&mut self, path: &Path) {
        let mut parts = path.parts();
        let (Some(_), Some(file), None) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        let Some((number, rest)) = file.as_ref().split_at_checked(20) else {
            return;
        };
        let Ok(number) = number.parse::<i64>() else {
            return;
        };
        if rest == ".json" {
            self.commits.push(number);
        } else if rest.starts_with(".checkpoint.") {
            let oldest = self.checkpoint.unwrap_or(number);
            self.checkpoint = Some(oldest.min(number));
        }
    }
}

/// The end of the numbers that follow `last` without a gap.
fn consecutive(last: i64, newer: impl Iterator<Item = i64>) -> i64 {
    newer
        .skip_while(|number| *number <= last)
        .fold(
            last,
            |last, number| if number == last + 1 { number } else { last },
        )
}

fn path_of(number: i64) -> Path {
    Path::from(format!("{FOLDER}/{number:020}.json"))
}
