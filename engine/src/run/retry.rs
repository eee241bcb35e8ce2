//! Trying again: which errors, how long, and what the user hears meanwhile.

use std::time::{Duration, Instant};

use sql::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::policy::{Directive, START_GRACE, policy};

/// Tries `operation` at start-up: errors that may pass are tried again until [`START_GRACE`].
///
/// # Errors
/// The first error that does not pass, or the last one when the time is over or the run was told to stop.
pub async fn until_connected<T>(
    what: &str,
    stop: &CancellationToken,
    operation: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    retry(what, Some(START_GRACE), stop, operation).await
}

/// Tries `operation` while the pipeline runs: errors that may pass are tried again for ever.
///
/// # Errors
/// The first error that does not pass, or the last one when the run was told to stop.
pub async fn for_ever<T>(
    what: &str,
    stop: &CancellationToken,
    operation: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    retry(what, None, stop, operation).await
}

async fn retry<T>(
    what: &str,
    limit: Option<Duration>,
    stop: &CancellationToken,
    mut operation: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let begun = Instant::now();
    let mut attempt = 0_u32;
    loop {
        let error = match operation().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(wait) = delay(&error, attempt) else {
            return Err(error);
        };
        if limit.is_some_and(|limit| begun.elapsed() + wait > limit) {
            return Err(error);
        }
        tracing::warn!(error = %error, attempt, wait_ms = wait.as_millis(), "{what} failed, trying again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // Told to stop: one more attempt now, so that a batch at hand has its chance, and no waiting after it.
            () = stop.cancelled() => return operation().await,
        }
        attempt = attempt.saturating_add(1);
    }
}

/// How long to wait before the next attempt; `None`: do not try again.
fn delay(error: &Error, attempt: u32) -> Option<Duration> {
    match policy(error.kind()).retry {
        Directive::Never => None,
        Directive::Reload => Some(Duration::from_millis(20)),
        Directive::Backoff(backoff) => Some(backoff.pause(attempt)),
    }
}
