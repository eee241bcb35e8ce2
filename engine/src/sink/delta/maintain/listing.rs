//! What lies in a table's folder.

use std::collections::BTreeMap;

use deltalake::logstore::object_store::ObjectStore as _;
use deltalake::{ObjectMeta, Path};
use futures::TryStreamExt as _;
use sql::Result;

use crate::lake::storage::storage_error;
use crate::sink::delta::DeltaSink;
use crate::sink::delta::progress::checkpoint_name;

/// A file of the folder.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) path: Path,
    pub(super) size: u64,
    /// In milliseconds since the epoch.
    pub(super) modified: i64,
}

impl From<ObjectMeta> for Listed {
    fn from(file: ObjectMeta) -> Self {
        Self {
            path: file.location,
            size: file.size,
            modified: file.last_modified.timestamp_millis(),
        }
    }
}

/// The files of the log that stand for versions.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// When each commit that is still there was made, in milliseconds since the epoch.
    commits: BTreeMap<u64, i64>,
    /// All files, with the version that each belongs to.
    pub(super) files: Vec<(u64, Listed)>,
}

/// What a file of the log is.
fn version_of(name: &str) -> Option<(u64, bool)> {
    let (digits, rest) = name.split_once('.')?;
    if digits.len() != 20 {
        return None;
    }
    let version = digits.parse().ok()?;
    let known = rest == "json" || rest == "crc" || checkpoint_name(name).is_some();
    known.then_some((version, rest == "json"))
}

impl Log {
    /// Out of files that are in the log's folder.
    pub(super) fn of(files: impl IntoIterator<Item = Listed>) -> Self {
        let mut log = Self::default();
        for file in files {
            let Some((version, commit)) = file.path.filename().and_then(version_of) else {
                continue;
            };
            if commit {
                log.commits.insert(version, file.modified);
            }
            log.files.push((version, file));
        }
        log.files
            .sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
        log
    }

    /// The table's version at a time, as far as its commits are there.
    pub(super) fn version_at(&self, millis: i64) -> Option<u64> {
        // A clock that was set back makes a commit older than the one before it: the first one that is young decides.
        let older = self.commits.iter().take_while(|(_, at)| **at < millis);
        older.last().map(|(version, _)| *version)
    }

    /// The newest complete checkpoint up to `version`.
    pub(super) fn checkpoint(&self, version: u64) -> Option<u64> {
        let mut found: BTreeMap<(u64, usize), usize> = BTreeMap::new();
        for (_, file) in &self.files {
            if let Some((at, parts)) = file.path.filename().and_then(checkpoint_name)
                && at <= version
            {
                *found.entry((at, parts)).or_default() += 1;
            }
        }
        let complete = found
            .iter()
            .rev()
            .find(|((_, parts), there)| parts == *there);
        complete.map(|((at, _), _)| *at)
    }

    /// The oldest version whose commit is there.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.commits.keys().next().copied()
    }
}

impl DeltaSink {
    pub(super) async fn list_log(&self) -> Result<Vec<Listed>> {
        self.list(Some(self.store.log_path()), |_| true).await
    }

    /// The files below `folder`, or of the whole table, that are `wanted`.
    pub(super) async fn list(
        &self,
        folder: Option<&Path>,
        wanted: impl Fn(&Listed) -> bool,
    ) -> Result<Vec<Listed>> {
        let failed = |error| storage_error("list the Delta table's files", &self.path, error);
        let store = self.store.object_store(None);
        let mut found = Vec::new();
        let mut files = store.list(folder);
        while let Some(file) = files.try_next().await.map_err(failed)? {
            let file = Listed::from(file);
            if wanted(&file) {
                found.push(file);
            }
        }
        Ok(found)
    }
}
