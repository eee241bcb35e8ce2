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

use super::record::Passes;
use super::{Policy, record};
use crate::clock;
use crate::sink::Sidecar;
use crate::spec::model::MaintenanceSpec;

/// Microseconds between two passes of a running pipeline that list the table's folder.
const SWEEP_EVERY: i64 = 24 * 3_600_000_000;

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
    /// When the last pass looked for files that no commit took, in microseconds since the epoch.
    swept: Option<i64>,
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
            swept: None,
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
                let since = clock::now_micros().saturating_sub(last.at);
                let since = Duration::from_micros(u64::try_from(since).unwrap_or(0));
                self.next = Instant::now() + policy.every.saturating_sub(since);
                self.known = true;
                self.swept = last.swept;
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
                self.policy_now(policy)
            }
            _ => std::future::pending().await,
        }
    }

    fn policy_now(&self, policy: &Policy) -> Policy {
        let since = |swept: i64| clock::now_micros().saturating_sub(swept);
        Policy {
            sweep: self.swept.is_none_or(|swept| since(swept) >= SWEEP_EVERY),
            ..policy.clone()
        }
    }

    /// The pass at the end of a run that drains, if it is due.
    pub async fn last(&mut self) -> Option<Policy> {
        let policy = self.policy.clone()?;
        if !self.changed || policy.is_stopped() {
            return None;
        }
        if !self.known {
            self.record().await;
            return None;
        }
        (Instant::now() >= self.next).then(|| self.policy_now(&policy))
    }

    /// A pass was made, well or not: the next one is due later, if anything is committed until then or it left something to do.
    pub async fn passed(&mut self, policy: &Policy, left: bool) {
        self.next = Instant::now() + policy.every;
        self.changed = left;
        self.known = true;
        if policy.sweep {
            self.swept = Some(clock::now_micros());
        }
        self.record().await;
    }

    async fn record(&self) {
        if let Some(files) = &self.files {
            let passes = Passes {
                at: clock::now_micros(),
                swept: self.swept,
            };
            if let Err(error) = record::passed(files.as_ref(), &self.pipeline, passes).await {
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
