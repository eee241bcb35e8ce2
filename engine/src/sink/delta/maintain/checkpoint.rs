//! Checkpoints, on our own timer.
//!
//! The library's commit loop makes them after commits, but only with the table's whole state in memory, and it lists the log at each
//! commit. They are not needed for correctness: failures are logged and tried again later.

use std::num::NonZero;

use deltalake::checkpoints::create_checkpoint;
use deltalake::{DeltaResult, DeltaTableError};
use sql::Result;

use super::listing::Log;
use crate::lake::delta::CHECKPOINT_INTERVAL;
use crate::lake::storage::storage_error;
use crate::maintain::{Policy, Report};
use crate::sink::delta::DeltaSink;

/// Expired commits are deleted after every so many checkpoints.
const CLEANUP_EVERY: u64 = 10;

/// What is due when.
#[derive(Debug, Default)]
pub(in crate::sink::delta) struct Upkeep {
    interval: u64,
    /// Whether the table lets expired commits be deleted.
    pub(super) cleans: bool,
    /// The newest checkpoint.
    pub(in crate::sink::delta) checkpoint: Option<u64>,
    /// Checkpoints since the last cleanup.
    since_cleanup: u64,
}

impl Upkeep {
    /// Takes the table's settings. A table that does not say how often gets a checkpoint as often as ours.
    pub(in crate::sink::delta) fn configure(
        &mut self,
        interval: Option<NonZero<u64>>,
        cleans: bool,
    ) {
        self.interval = interval.map_or(CHECKPOINT_INTERVAL, NonZero::get);
        self.cleans = cleans;
    }

    fn due(&self, version: u64) -> bool {
        version >= self.checkpoint.unwrap_or(0) + self.interval
    }
}

impl DeltaSink {
    /// Does what is due after a commit.
    pub(in crate::sink::delta) async fn keep_up(&mut self) {
        if !self.upkeep.due(self.version) {
            return;
        }
        if let Err(error) = self.make_checkpoint().await {
            tracing::warn!(
                path = self.path,
                version = self.version,
                error = %error,
                "cannot write a checkpoint of the delta table"
            );
            return;
        }
        self.upkeep.since_cleanup += 1;
        if self.upkeep.cleans && self.upkeep.since_cleanup >= CLEANUP_EVERY {
            self.upkeep.since_cleanup = 0;
            if let Err(error) = self.clean_up().await {
                tracing::warn!(path = self.path, error = %error, "cannot clean the delta table's log");
            }
        }
    }

    /// Deletes expired commits, for tables that nobody maintains.
    async fn clean_up(&mut self) -> Result<()> {
        let (policy, mut report) = (Policy::default(), Report::default());
        let needed = self.needed(&policy, &mut report).await?;
        let log = Log::of(self.list_log().await?);
        self.clean_log(&log, needed, &policy, &mut report).await
    }

    /// A checkpoint, if one is due.
    pub(super) async fn checkpoint_if_due(
        &mut self,
        policy: &Policy,
        report: &mut Report,
    ) -> Result<()> {
        if !self.upkeep.due(self.version) {
            return Ok(());
        }
        report.checkpoints += 1;
        if policy.dry_run {
            return Ok(());
        }
        let made = self.make_checkpoint().await;
        made.map_err(|error| storage_error("write a checkpoint", &self.path, error))
    }

    async fn make_checkpoint(&mut self) -> DeltaResult<()> {
        self.table.update_incremental(Some(self.version)).await?;
        let version = self
            .table
            .version()
            .ok_or(DeltaTableError::NotInitialized)?;
        create_checkpoint(&self.table, None).await?;
        self.upkeep.checkpoint = Some(version);
        Ok(())
    }
}
