//! Maintenance: what keeps a table fast while pipelines commit to it, and what takes away that nobody needs any more.
//!
//! | step | Iceberg | Delta |
//! |---|---|---|
//! | small files, and files with many deleted rows, become larger ones | yes | yes |
//! | metadata is put together | manifests are merged | checkpoints |
//! | old snapshots and versions go, with the files that only they need | yes | yes |
//! | files that no commit ever took go | yes | yes |
//!
//! **What it never does.** It never changes a row: rows are counted before and after, and a pass whose counts differ commits
//! nothing. It never shows in a change feed. It never removes anything that is younger than the retention, that the table
//! refers to, or that a registered reader ([`readers`]) still needs. It takes part in commits as any other writer does, by
//! compare and swap: whoever is slower looks again, so that it may run beside live pipelines, also in another process.
//!
//! **When.** In `engine run` between two batches ([`schedule`]), bounded by [`Policy::max_rewrite`]; with `engine maintain` at once
//! and to the end. What a table's format does is in the sinks: [`crate::sink::Sink::maintain`].

pub mod readers;
pub mod record;
pub mod schedule;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::spec::model::MaintenanceSpec;
use crate::telemetry::{bytes, counted, grouped, joined};

const MIB: u64 = 1 << 20;

/// What a pass may do. The defaults are those of the `maintenance:` block.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Time between two passes of a running pipeline.
    pub every: Duration,
    /// Nothing younger is removed.
    pub retention: Duration,
    /// Bytes that a compacted data file has at most. A file of less than a quarter is small.
    pub target_file_size: u64,
    /// Bytes of data files that one pass reads at most to rewrite them. Bounds how long a pipeline waits.
    pub max_rewrite: u64,
    /// A partition's small files are compacted from so many on.
    pub min_files: usize,
    /// A file is rewritten once this share of its rows is deleted.
    pub max_deleted: f64,
    /// Look also for files that no commit ever took, which lists the table's folder. A running pipeline does so once a day.
    pub sweep: bool,
    /// Only find out what there is to do.
    pub dry_run: bool,
    /// The time that ages are measured by, in microseconds since the epoch.
    pub clock: fn() -> i64,
    /// Ends a pass between two of its steps, each of which is whole.
    pub stop: CancellationToken,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5 * 60),
            retention: Duration::from_secs(7 * 24 * 3600),
            target_file_size: 128 * MIB,
            max_rewrite: 512 * MIB,
            min_files: 10,
            max_deleted: 0.2,
            sweep: true,
            dry_run: false,
            clock: clock::now_micros,
            stop: CancellationToken::new(),
        }
    }
}

impl From<&MaintenanceSpec> for Policy {
    fn from(spec: &MaintenanceSpec) -> Self {
        Self {
            every: spec.every,
            retention: spec.retention,
            target_file_size: spec.target_file_size,
            max_rewrite: spec.max_rewrite,
            min_files: spec.min_files,
            max_deleted: spec.max_deleted,
            ..Self::default()
        }
    }
}

impl Policy {
    /// What happened after this time, in milliseconds since the epoch, is kept.
    pub fn keep_after_ms(&self) -> i64 {
        let retention = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        ((self.clock)() / 1000).saturating_sub(retention)
    }

    /// A data file of fewer bytes is small.
    pub fn small(&self) -> u64 {
        self.target_file_size / 4
    }

    /// Whether a pass should end here.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}

/// What a pass did; of a dry run, what it would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Data files of the table before the pass.
    pub files_before: u64,
    /// Data files of the table after the pass.
    pub files_after: u64,
    /// Delete files of the table before the pass (Iceberg).
    pub delete_files_before: u64,
    /// Delete files of the table after the pass (Iceberg).
    pub delete_files_after: u64,
    /// Data files that were replaced.
    pub files_compacted: u64,
    /// Their bytes.
    pub bytes_compacted: u64,
    /// Data files that took their place. A dry run does not know.
    pub files_added: u64,
    /// Their bytes. A dry run does not know.
    pub bytes_added: u64,
    /// Rows that were written again.
    pub rows: u64,
    /// Delete files that went with the files they were about.
    pub delete_files_removed: u64,
    /// Manifests that were put together with others (Iceberg).
    pub manifests_merged: u64,
    /// Checkpoints that were written (Delta).
    pub checkpoints: u64,
    /// Snapshots or versions that can no longer be read.
    pub versions_expired: u64,
    /// Files of any kind that were deleted from the storage.
    pub objects_deleted: u64,
    /// Their bytes, as far as they were known.
    pub bytes_deleted: u64,
    /// Commits that the pass made.
    pub commits: u64,
    /// Steps that were given up because another writer was faster; the next pass finds them again.
    pub conflicts: u64,
    /// Whether [`Policy::max_rewrite`] left something to do.
    pub more: bool,
    /// What was left out and why, as sentences without a full stop.
    pub notes: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Whether the table and its folder are as they were.
    pub fn is_nothing(&self) -> bool {
        self.commits == 0
            && self.files_compacted == 0
            && self.manifests_merged == 0
            && self.checkpoints == 0
            && self.versions_expired == 0
            && self.objects_deleted == 0
    }

    /// What was done, in a few words.
    pub fn summary(&self) -> String {
        let before =
            counted(self.files_before, "data file").unwrap_or_else(|| "no data file".to_owned());
        let compacted = (self.files_compacted > 0)
            .then(|| format!("{before} into {}", grouped(self.files_after)));
        let objects = counted(self.objects_deleted, "old file");
        let objects =
            objects.map(|count| format!("{count} deleted ({})", bytes(self.bytes_deleted)));
        joined([
            compacted,
            (self.bytes_compacted > 0)
                .then(|| format!("{} rewritten", bytes(self.bytes_compacted))),
            counted(self.manifests_merged, "manifest").map(|count| format!("{count} merged")),
            counted(self.checkpoints, "checkpoint"),
            counted(self.versions_expired, "version").map(|count| format!("{count} expired")),
            objects,
            Some(format!("{:.1} s", self.took.as_secs_f64())),
        ])
    }

    /// Adds what a later pass over the same table did.
    pub fn add(&mut self, later: Self) {
        if self.took.is_zero() && self.is_nothing() {
            self.files_before = later.files_before;
            self.delete_files_before = later.delete_files_before;
        }
        self.files_after = later.files_after;
        self.delete_files_after = later.delete_files_after;
        for (sum, value) in [
            (&mut self.files_compacted, later.files_compacted),
            (&mut self.bytes_compacted, later.bytes_compacted),
            (&mut self.files_added, later.files_added),
            (&mut self.bytes_added, later.bytes_added),
            (&mut self.rows, later.rows),
            (&mut self.delete_files_removed, later.delete_files_removed),
            (&mut self.manifests_merged, later.manifests_merged),
            (&mut self.checkpoints, later.checkpoints),
            (&mut self.versions_expired, later.versions_expired),
            (&mut self.objects_deleted, later.objects_deleted),
            (&mut self.bytes_deleted, later.bytes_deleted),
            (&mut self.commits, later.commits),
            (&mut self.conflicts, later.conflicts),
        ] {
            *sum += value;
        }
        self.more = later.more;
        for note in later.notes {
            self.note(note);
        }
        self.took += later.took;
    }

    /// Adds a note, once.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
