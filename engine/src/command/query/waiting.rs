//! What a person sees of a query that takes long, and how they stop it.

use std::future::{Future, pending};
use std::io::Write;
use std::time::Duration;

use futures::FutureExt;
use sql::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::telemetry::grouped;

/// What is quicker says nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the line is written anew.
const AGAIN: Duration = Duration::from_secs(1);

/// Ctrl-C, where somebody may press it to stop a query. Everywhere else it ends the process, as usual.
#[derive(Debug)]
pub(super) struct Keys(Option<Signal>);

impl Keys {
    /// Ctrl-C ends the process.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Ctrl-C is for [`Self::pressed`], from now on.
    ///
    /// # Errors
    /// None that a user can cause.
    pub(super) fn watch() -> Result<Self> {
        signal(SignalKind::interrupt())
            .map(|signal| Self(Some(signal)))
            .map_err(|error| Error::internal("Ctrl-C cannot be watched for").source(error))
    }

    /// Waits for Ctrl-C.
    pub(super) async fn pressed(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => pending().await,
        }
    }

    /// Forgets what was pressed when there was nothing to stop.
    pub(super) fn forget(&mut self) {
        if let Some(signal) = &mut self.0 {
            while signal.recv().now_or_never().is_some() {}
        }
    }
}

/// A line on the terminal, after a while: how long, and how many rows so far.
#[derive(Debug)]
pub(super) struct Waiting {
    since: Instant,
    next: Option<Instant>,
    rows: usize,
    drawn: usize,
}

impl Waiting {
    /// From now on; silent unless `shown`.
    pub(super) fn new(shown: bool) -> Self {
        let since = Instant::now();
        Self {
            since,
            next: shown.then(|| since + PATIENCE),
            rows: 0,
            drawn: 0,
        }
    }

    /// How long it has been.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// More rows came.
    pub(super) fn count(&mut self, rows: usize) {
        self.rows += rows;
    }

    /// Takes the line away, before something else is written.
    pub(super) fn clear(&mut self) {
        let blanks = std::mem::take(&mut self.drawn);
        if blanks > 0 {
            to_terminal(&format!("\r{:blanks$}\r", ""));
        }
    }

    /// No line any more: what is written tells enough.
    pub(super) fn stop(&mut self) {
        self.clear();
        self.next = None;
    }

    fn draw(&mut self) {
        self.next = Some(Instant::now() + AGAIN);
        let seconds = self.elapsed().as_secs();
        let rows = u64::try_from(self.rows).unwrap_or(u64::MAX);
        let text = format!(
            "{seconds} s, {} rows so far; Ctrl-C stops it",
            grouped(rows)
        );
        let blanks = self.drawn.saturating_sub(text.len());
        to_terminal(&format!("\r{text}{:blanks$}", ""));
        self.drawn = text.len();
    }
}

/// What `future` gives; `None` if Ctrl-C came first, and the future is dropped.
pub(super) async fn unless_stopped<T>(
    keys: &mut Keys,
    waiting: &mut Waiting,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = Box::pin(future);
    loop {
        let due = waiting.next;
        let tick = async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = keys.pressed() => return None,
            value = &mut future => return Some(value),
            () = tick => waiting.draw(),
        }
    }
}

/// A terminal that is gone needs no line.
fn to_terminal(text: &str) {
    let mut stderr = std::io::stderr();
    let _gone = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}
