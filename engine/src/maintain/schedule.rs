//! When a running pipeline maintains its table: between two batches, or while it waits for one.
//!
//! A pass is due when [`Policy::every`] has gone by since the last one (of this process or of an earlier one, [`super::record`]) and
//! something was committed since. A run that drains and ends makes its last pass at its end, if one is due then; its first run only
//! notes the time. The source is read on meanwhile; the next commit waits.

use std::sync::Arc;
use std::time::Duration;

use sql::{Error, ErrorKind};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Policy, record};
use crate::clock;
use crate::sink::Sidecar;
use crate::spec::model::MaintenanceSpec;

/// The passes of one running pipeline.
#[derive(Debug)]
pub struct Schedule {
    policy: Option<Policy>,
    pipeline: String,
    files: Option<Arc<dyn Sidecar>>,
    next: Instant,
    /// Whether something was committed since the last pass.
    changed: bool,
    /// Whether an earlier pass of the pipeline is known.
    known: bool,
}

impl Schedule {
    /// For `pipeline`, whose table has `files` beside it. The first pass is due when one would have been had the process not been
    /// started again.
    pub async fn start(
        spec: &MaintenanceSpec,
        pipeline: &str,
        files: Option<Arc<dyn Sidecar>>,
        stop: &CancellationToken,
    ) -> Self {
        let policy = spec.enabled.then(|| Policy {
            stop: stop.clone(),
            ..Policy::from(spec)
        });
        let mut schedule = Self {
            next: Instant::now() + spec.every,
            policy,
            pipeline: pipeline.to_owned(),
            files,
            changed: false,
            known: false,
        };
        schedule.recall().await;
        schedule
    }

    async fn recall(&mut self) {
        let (Some(policy), Some(files)) = (&self.policy, &self.files) else {
            return;
        };
        match record::last_pass(files.as_ref(), &self.pipeline).await {
            Ok(Some(last)) => {
                let since = clock::now_micros().saturating_sub(last);
                let since = Duration::from_micros(u64::try_from(since).unwrap_or(0));
                self.next = Instant::now() + policy.every.saturating_sub(since);
                self.known = true;
            }
            Ok(None) => {}
            Err(error) => self.unrecorded(&error),
        }
    }

    /// Something was committed.
    pub fn committed(&mut self) {
        self.changed = true;
    }

    /// Waits until a pass is due; for ever if there is nothing to do. May be dropped and called again.
    pub async fn due(&self) -> Policy {
        match &self.policy {
            Some(policy) if self.changed => {
                sleep_until(self.next).await;
                policy.clone()
            }
            _ => std::future::pending().await,
        }
    }

    /// The pass at the end of a run that drains, if it is due.
    pub async fn last(&mut self) -> Option<Policy> {
        let policy = self.policy.clone()?;
        if !self.changed || policy.is_stopped() {
            return None;
        }
        if !self.known {
            self.passed(false).await;
            return None;
        }
        (Instant::now() >= self.next).then_some(policy)
    }

    /// A pass was made, well or not: the next one is due later, if anything is committed until then or it left something to do.
    pub async fn passed(&mut self, left: bool) {
        let Some(policy) = &self.policy else {
            return;
        };
        self.next = Instant::now() + policy.every;
        self.changed = left;
        self.known = true;
        if let Some(files) = &self.files {
            let now = clock::now_micros();
            if let Err(error) = record::passed(files.as_ref(), &self.pipeline, now).await {
                self.unrecorded(&error);
            }
        }
    }

    fn unrecorded(&self, error: &Error) {
        tracing::debug!(
            pipeline = self.pipeline,
            error = %error,
            "the time of the last maintenance cannot be kept beside the table"
        );
    }
}

/// Whether an error of a pass ends the pipeline too. Any other is tried again with the next pass.
pub fn is_fatal(error: &Error) -> bool {
    error.kind() == ErrorKind::Fenced
}
