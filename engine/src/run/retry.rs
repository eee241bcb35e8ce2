//! Trying again: which errors, how long, and what the user hears meanwhile.

use std::time::{Duration, Instant};

use sql::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::observer::Observer;
use super::policy::{Directive, START_GRACE, policy};

/// So many times in a row another writer may win a commit, each of which is itself tried several times by the sink.
/// Who never wins does not make progress, and should say so.
pub const MAX_CONFLICTS: u32 = 10;

/// The attempts at one piece of work; [`attempt!`] makes them.
///
/// A value and a macro and no function over async closures: the compiler cannot tell that their futures may be sent to
/// another thread.
#[derive(Debug)]
pub struct Retry<'a> {
    what: &'static str,
    limit: Option<Duration>,
    stop: &'a CancellationToken,
    observer: &'a Observer,
    begun: Instant,
    failures: u32,
    last: bool,
}

impl<'a> Retry<'a> {
    /// Work at start-up: errors that may pass are waited out until [`START_GRACE`].
    pub fn at_start(
        what: &'static str,
        stop: &'a CancellationToken,
        observer: &'a Observer,
    ) -> Self {
        Self {
            what,
            limit: Some(START_GRACE),
            stop,
            observer,
            begun: Instant::now(),
            failures: 0,
            last: false,
        }
    }

    /// Work of a running pipeline: errors that may pass are waited out for ever.
    pub fn for_ever(
        what: &'static str,
        stop: &'a CancellationToken,
        observer: &'a Observer,
    ) -> Self {
        Self {
            limit: None,
            ..Self::at_start(what, stop, observer)
        }
    }

    /// The work is done.
    pub fn succeeded(&self) {
        if self.failures > 0 {
            self.observer.recovered(self.what);
        }
    }

    /// An attempt failed. Returns when the next one is due.
    ///
    /// # Errors
    /// `error`, if it does not pass, if the time is over, or if the run was told to stop: then there is one more attempt
    /// at once, so that a batch at hand has its chance, and no waiting after it.
    pub async fn failed(&mut self, error: Error) -> Result<()> {
        let Some(wait) = delay(&error, self.failures) else {
            return Err(error);
        };
        if self.last || self.limit.is_some_and(|l| self.begun.elapsed() + wait > l) {
            return Err(error);
        }
        self.failures = self.failures.saturating_add(1);
        self.observer
            .retrying(self.what, &error, self.failures, wait);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => self.last = true,
            () = tokio::time::sleep(wait) => {}
        }
        Ok(())
    }
}

/// `attempt!(retry, future)`: the value of `future`, which is made anew for each attempt. Its last error is returned from
/// the function.
macro_rules! attempt {
    ($retry:expr, $work:expr) => {{
        let mut retry = $retry;
        loop {
            match $work.await {
                Ok(value) => {
                    retry.succeeded();
                    break value;
                }
                Err(error) => retry.failed(error).await?,
            }
        }
    }};
}
pub(crate) use attempt;

/// How long to wait before the next attempt; `None`: do not try again.
fn delay(error: &Error, attempt: u32) -> Option<Duration> {
    match policy(error.kind()).retry {
        Directive::Never => None,
        Directive::Reload => (attempt < MAX_CONFLICTS).then_some(Duration::from_millis(20)),
        Directive::Backoff(backoff) => Some(backoff.pause(attempt)),
    }
}
