//! Maintenance of a Delta table: small files put together, a checkpoint, and what nobody needs deleted.
//!
//! - [`choose`]: which files are rewritten together, and why no more; [`merge`]: their rows as one stream; [`compact`]: the new files
//!   and their commit, which changes no row and no position.
//! - [`key`]: what rows are sorted by, where only the table itself tells.
//! - [`checkpoint`]: checkpoints, also between passes.
//! - [`vacuum`]: data files, files of the change feed, old commits and windows that are needed by nobody; [`listing`]: what is there.
//!
//! **Why not the library's optimize**: it writes batches round-robin, which makes every file span all keys, so that each upsert has
//! to look into all of them; its memory is that of a whole partition's small files; and it merges all small files each time it is
//! run, so that a row is written again at every pass until its file is full.
//!
//! **Size of files.** `target_file_size`, or the table's `delta.targetFileSize` if that is less. A table that is kept by key and does
//! not say has [`KEYED_TARGET`]: an upsert writes every file anew in which a row changes, so that a few changed rows cost a file
//! each.
//!
//! **Positions.** A commit of maintenance has no `txn` action: whoever compares positions reads it and stands where it stood.

mod checkpoint;
mod choose;
mod compact;
mod key;
mod listing;
mod merge;
mod vacuum;

use sql::{ErrorKind, Result};

pub(super) use self::checkpoint::Upkeep;

pub(super) use self::choose::Group;
use self::choose::{Rules, choose};
pub(super) use self::compact::Purpose;
use super::DeltaSink;
use super::files::FileList;
use crate::lake::delta::snapshot;
use crate::maintain::{Policy, Report};
use crate::sink::failpoint;

/// Bytes of a compacted file of a table that is kept by key.
const KEYED_TARGET: u64 = 32 << 20;

impl DeltaSink {
    /// One pass.
    pub(super) async fn pass(&mut self, policy: &Policy) -> Result<Report> {
        let mut report = Report::default();
        self.refresh(None).await?;
        // Whoever only appends holds no list of the files.
        let borrowed = self.files.is_none();
        if borrowed {
            self.files = Some(FileList::new(&self.recalled_key().await?));
        }
        let done = self.listed_pass(policy, &mut report).await;
        if borrowed {
            self.files = None;
        }
        done.map(|()| report)
    }

    async fn listed_pass(&mut self, policy: &Policy, report: &mut Report) -> Result<()> {
        report.files_before = self.file_list().await?.live().len() as u64;
        self.compact(policy, report).await?;
        report.files_after = self.file_list().await?.live().len() as u64;
        if policy.is_stopped() {
            return Ok(());
        }
        self.checkpoint_if_due(policy, report).await?;
        if policy.sweep {
            self.sweep(policy, report).await?;
        }
        Ok(())
    }

    /// Rewrites small files, as many as the policy lets.
    async fn compact(&mut self, policy: &Policy, report: &mut Report) -> Result<()> {
        let (rules, order) = self.rules(policy).await?;
        let groups = choose(self.file_list().await?.live(), &rules);
        if policy.dry_run {
            for group in &groups {
                report.files_compacted += group.files().count() as u64;
                report.bytes_compacted += group.bytes;
            }
            return Ok(());
        }
        let purpose = Purpose::Compaction(rules.target);
        let before = report.conflicts;
        let mut waiting = Vec::new();
        let mut left_out = false;
        for group in &groups {
            if policy.is_stopped() {
                break;
            }
            match self.rewrite(group, &order, purpose).await {
                Ok(rewritten) => waiting.push(rewritten),
                Err(error) if error.kind() == ErrorKind::Config => {
                    tracing::warn!(path = self.path, error = %error, "files of the delta table are not compacted");
                    report.note(format!("files were left as they are: {error}"));
                    left_out = true;
                }
                Err(error) => {
                    self.put_in_place(waiting, purpose, report).await?;
                    return Err(error);
                }
            }
            // Not all at once: what loses against another writer is lost work.
            if waiting.iter().map(|done| done.bytes).sum::<u64>() >= rules.target {
                failpoint::hit("before_compaction");
                let done = std::mem::take(&mut waiting);
                self.put_in_place(done, purpose, report).await?;
            }
        }
        if !waiting.is_empty() {
            failpoint::hit("before_compaction");
            self.put_in_place(waiting, purpose, report).await?;
        }
        let again: Vec<Group> = choose(self.file_list().await?.live(), &rules);
        report.more = !left_out && (report.conflicts > before || !again.is_empty());
        Ok(())
    }

    /// What to choose by, and the columns to sort by.
    async fn rules(&mut self, policy: &Policy) -> Result<(Rules, Vec<String>)> {
        let key = self.file_list().await?.key().to_vec();
        let sorted = key.iter().enumerate();
        let sorted = sorted.filter(|(_, name)| !self.partition_by.contains(name));
        let (order, names): (Vec<usize>, Vec<String>) =
            sorted.map(|(at, name)| (at, name.clone())).unzip();
        let said = snapshot(&self.table, &self.path)?
            .table_config()
            .target_file_size;
        let own = said.map(std::num::NonZero::get);
        let own = own.or((!key.is_empty()).then_some(KEYED_TARGET));
        let target = own.map_or(policy.target_file_size, |own| {
            own.min(policy.target_file_size)
        });
        let rules = Rules {
            order,
            target,
            small: target / 4,
            min_files: policy.min_files,
            budget: policy.max_rewrite,
        };
        Ok((rules, names))
    }
}
