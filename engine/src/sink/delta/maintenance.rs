//! Checkpoints and log cleanup, on our own timers.
//!
//! The library's commit loop does both after commits, but only with the table's whole state in memory, and it lists
//! the log at each commit. Neither is needed for correctness: failures are logged and tried again later.

use std::num::NonZero;

use deltalake::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::{DeltaResult, DeltaTableError};

use super::DeltaSink;
use crate::lake::delta::CHECKPOINT_INTERVAL;

/// Expired commits are deleted after every so many checkpoints.
const CLEANUP_EVERY: u64 = 10;

/// What is due when.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    interval: u64,
    cleans: bool,
    /// The newest checkpoint.
    pub(super) checkpoint: Option<u64>,
    /// Checkpoints since the last cleanup.
    since_cleanup: u64,
}

impl Upkeep {
    /// Takes the table's settings. A table that does not say how often gets a checkpoint as often as ours.
    pub(super) fn configure(&mut self, interval: Option<NonZero<u64>>, cleans: bool) {
        self.interval = interval.map_or(CHECKPOINT_INTERVAL, NonZero::get);
        self.cleans = cleans;
    }

    fn due(&self, version: u64) -> bool {
        version >= self.checkpoint.unwrap_or(0) + self.interval
    }
}

impl DeltaSink {
    /// Does what is due after a commit.
    pub(super) async fn keep_up(&mut self) {
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
            if let Err(error) = cleanup_metadata(&self.table, None).await {
                tracing::warn!(path = self.path, error = %error, "cannot clean the delta table's log");
            }
        }
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
