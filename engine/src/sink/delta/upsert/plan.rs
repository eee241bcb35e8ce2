//! What a change does to the table's files: which rows it meets, which files it must rewrite.
//!
//! A row that is updated keeps its place: its file keeps its range of keys, so that the next lookup still skips it, and no file is
//! made for a few rows. Only an update that moves a row to another partition takes it out of its file. A row that does not change
//! at all is left where it is, and a file in which no row changes is not rewritten.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::common::ScalarValue;
use deltalake::kernel::{Action, Add, AddCDCFile, Remove};
use deltalake::protocol::{DeltaOperation, MergePredicate};
use serde_json::{Map, Value};
use sql::{Error, Result};

use super::change::Change;
use crate::clock::now_micros;
use crate::lake::keys::KeySet;
use crate::lake::locate::{Hit, KeyColumn, Search, StoreFiles};
use crate::sink::delta::DeltaSink;
use crate::sink::delta::commit::Proposal;
use crate::sink::delta::files::LiveFile;

/// Files that are searched at once.
const SEARCHES: usize = 4;

/// What happens to a row of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The row of this key takes its place.
    Replace(u32),
    /// It goes: its key was deleted, or is there a second time.
    Delete,
    /// It goes to another partition.
    Move,
}

/// A file that has rows of the change's keys.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) path: String,
    pub(super) file: LiveFile,
    /// Ascending by row.
    pub(super) steps: Vec<(u64, Step)>,
}

/// Where the change's keys are.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) work: Vec<Work>,
    /// Rows that get a new place, by key, and whether they had one in another partition.
    pub(super) arrivals: Vec<(u32, bool)>,
}

/// Files written and to be committed.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) adds: Vec<Add>,
    pub(super) removes: Vec<Remove>,
    pub(super) feed: Vec<AddCDCFile>,
    pub(super) counts: Counts,
    /// The files in which keys were found: while they are there, and no other file has the keys, the plan is right.
    pub(super) basis: BTreeSet<String>,
    pub(super) truncate: bool,
    /// The keys, as they were looked for.
    pub(super) keys: Option<Arc<KeySet>>,
    /// All files that were written.
    pub(super) written: Vec<String>,
    /// When it was begun, in microseconds.
    pub(super) begun: i64,
}

/// Rows, by what became of them.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) source: u64,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
    pub(super) copied: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.source += other.source;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.copied += other.copied;
    }
}

impl DeltaSink {
    /// Looks the keys up in the table's files; only in `paths`, if they are given. Adds the bytes that it reads to `read`.
    pub(super) async fn look_up(
        &mut self,
        keys: &Arc<KeySet>,
        key: &[String],
        paths: Option<&BTreeSet<String>>,
        read: &AtomicU64,
    ) -> Result<Vec<(String, LiveFile, Vec<Hit>)>> {
        let partition_by = self.partition_by.clone();
        let candidates = self.file_list().await?.candidates(keys, paths)?;
        let search = Search {
            files: Arc::new(StoreFiles(self.store.object_store(None))),
            keys: Arc::clone(keys),
            columns: key
                .iter()
                .map(|name| KeyColumn {
                    name: name.clone(),
                    field_id: None,
                })
                .collect(),
            parallel: SEARCHES,
        };
        let files = candidates
            .iter()
            .map(|(path, file)| file.to_search(path, key, &partition_by));
        let located = search.locate(files.collect::<Result<_>>()?).await?;
        read.fetch_add(located.cost.bytes, Ordering::Relaxed);
        tracing::debug!(
            path = self.path,
            files = located.cost.files,
            rows = located.cost.rows,
            bytes = located.cost.bytes,
            "looked keys up"
        );
        let mut candidates: Vec<_> = candidates.into_iter().map(Some).collect();
        located
            .files
            .into_iter()
            .map(|hits| {
                let candidate = candidates.get_mut(hits.file).and_then(Option::take);
                let (path, file) =
                    candidate.ok_or_else(|| Error::internal("a file that was not searched"))?;
                Ok((path, file, hits.hits))
            })
            .collect()
    }
}

impl Found {
    /// What is to be done with the rows that were found.
    pub(super) fn new(change: &Change, files: Vec<(String, LiveFile, Vec<Hit>)>) -> Self {
        let mut home: HashMap<u32, bool> = HashMap::new();
        let mut found = Self::default();
        for (path, file, hits) in files {
            let mut steps = Vec::with_capacity(hits.len());
            for Hit { row, key } in hits {
                let step = if !change.is_row(key) || home.contains_key(&key) {
                    Step::Delete
                } else if stays(change, key, &file.partition) {
                    home.insert(key, false);
                    Step::Replace(key)
                } else {
                    home.insert(key, true);
                    Step::Move
                };
                steps.push((row, step));
            }
            found.work.push(Work { path, file, steps });
        }
        let keys = (0_u32..).take(change.rows.num_rows());
        found.arrivals = keys
            .filter_map(|key| match home.get(&key) {
                None => Some((key, false)),
                Some(true) => Some((key, true)),
                Some(false) => None,
            })
            .collect();
        found
    }
}

fn stays(change: &Change, key: u32, partition: &[ScalarValue]) -> bool {
    change.partition(key) == partition
}

impl Work {
    /// The action that takes the file out of the table.
    pub(super) fn remove(&self) -> Remove {
        removal(&self.path, &self.file)
    }
}

/// The action that takes a file out of the table.
pub(in crate::sink::delta) fn removal(path: &str, file: &LiveFile) -> Remove {
    Remove {
        path: path.to_owned(),
        data_change: true,
        deletion_timestamp: Some(now_micros() / 1_000),
        extended_file_metadata: Some(true),
        partition_values: Some(file.partition_values.clone()),
        size: Some(file.size),
        ..Remove::default()
    }
}

impl Plan {
    /// Adds what a part of it came to.
    pub(super) fn append(&mut self, part: Self) {
        self.adds.extend(part.adds);
        self.removes.extend(part.removes);
        self.feed.extend(part.feed);
        self.written.extend(part.written);
        self.counts.add(part.counts);
    }

    /// The commit.
    pub(super) fn proposal(&self, key: &[String]) -> Proposal {
        let removes = self.removes.iter().cloned().map(Action::Remove);
        let adds = self.adds.iter().cloned().map(Action::Add);
        let feed = self.feed.iter().cloned().map(Action::Cdc);
        let predicate = |action: &str| MergePredicate {
            action_type: action.to_owned(),
            predicate: None,
        };
        let on = key
            .iter()
            .map(|name| format!("target.`{name}` = source.`{name}`"))
            .collect::<Vec<_>>()
            .join(" AND ");
        let mut gone = Vec::new();
        if self.truncate {
            gone.push(predicate("delete"));
        }
        Proposal {
            actions: removes.chain(adds).chain(feed).collect(),
            operation: DeltaOperation::Merge {
                predicate: None,
                merge_predicate: Some(on),
                matched_predicates: vec![predicate("update"), predicate("delete")],
                not_matched_predicates: vec![predicate("insert")],
                not_matched_by_source_predicates: gone,
            },
            blind: false,
            metrics: self.metrics(),
        }
    }

    /// As Spark names them, and as texts, as Spark has them.
    fn metrics(&self) -> Value {
        let bytes = |sizes: &mut dyn Iterator<Item = i64>| sizes.sum::<i64>().to_string();
        let counts = &self.counts;
        let output = counts.inserted + counts.updated + counts.copied;
        let elapsed = (now_micros() - self.begun) / 1_000;
        let metrics = [
            ("numSourceRows", counts.source.to_string()),
            ("numTargetRowsInserted", counts.inserted.to_string()),
            ("numTargetRowsUpdated", counts.updated.to_string()),
            ("numTargetRowsDeleted", counts.deleted.to_string()),
            ("numTargetRowsCopied", counts.copied.to_string()),
            ("numOutputRows", output.to_string()),
            ("numTargetFilesAdded", self.adds.len().to_string()),
            ("numTargetFilesRemoved", self.removes.len().to_string()),
            ("numTargetChangeFilesAdded", self.feed.len().to_string()),
            (
                "numTargetBytesAdded",
                bytes(&mut self.adds.iter().map(|add| add.size)),
            ),
            (
                "numTargetBytesRemoved",
                bytes(&mut self.removes.iter().filter_map(|r| r.size)),
            ),
            ("executionTimeMs", elapsed.to_string()),
        ];
        let metrics = metrics.map(|(name, value)| (name.to_owned(), Value::String(value)));
        Value::Object(Map::from_iter(metrics))
    }
}
