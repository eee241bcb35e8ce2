//! What happens after an error: one table over the kinds of errors.
//!
//! | kind | retried | exit code |
//! |---|---|---|
//! | `Config` | never | 2 |
//! | `Unavailable` | with growing pauses | 3 |
//! | `Denied`, `Storage` | never | 3 |
//! | `Policy`, `DataLoss` | never | 4 |
//! | `Conflict` | at once, on the table's new state | 5 |
//! | `Fenced` | never | 5 |
//! | `Internal` | never | 70 |

use std::time::Duration;

use sql::{Error, ErrorKind};

/// How long a pipeline that starts goes on trying to connect before it gives up. Once it has connected, outages are
/// waited out for ever: a service that restarts must not stop a pipeline that was right.
pub const START_GRACE: Duration = Duration::from_secs(30);

/// What an error of a kind leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The kind's name: a metric's label and a log's field.
    pub name: &'static str,
    /// Whether the work is tried again.
    pub retry: Directive,
    /// The exit code, if it is not or not any longer.
    pub exit: u8,
    /// The next thing to do, for a person, where the error itself does not know better.
    pub remedy: &'static str,
}

/// Whether and how work is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// It would fail again.
    Never,
    /// After a pause.
    Backoff(Backoff),
    /// At once, after reading the table's state again.
    Reload,
}

/// Pauses that double from `first` up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first failure.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
}

impl Backoff {
    /// The pause after `failures` failures in a row; the first failure is number 0.
    pub fn pause(&self, failures: u32) -> Duration {
        let factor = 2_u32.checked_pow(failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

const OUTAGE: Directive = Directive::Backoff(Backoff {
    first: Duration::from_millis(250),
    max: Duration::from_secs(30),
});

/// The policy of a kind.
pub fn policy(kind: ErrorKind) -> Policy {
    let (name, retry, exit, remedy) = match kind {
        ErrorKind::Config => (
            "config",
            Directive::Never,
            2,
            "correct the pipeline file, then check it with `engine validate FILE`",
        ),
        ErrorKind::Unavailable => (
            "unavailable",
            OUTAGE,
            3,
            "check that the service runs and that this machine reaches its address, then start the pipeline again; it goes on where the table stands",
        ),
        ErrorKind::Denied => (
            "denied",
            Directive::Never,
            3,
            "check the user, the password or the token, and what they may do, then start the pipeline again",
        ),
        ErrorKind::Storage => (
            "storage",
            Directive::Never,
            3,
            "check that the storage is writable and has space left, then start the pipeline again; nothing was half written to the table",
        ),
        ErrorKind::Policy => (
            "policy",
            Directive::Never,
            4,
            "look at the records that are named, then correct them at their source or relax the policy in the pipeline file",
        ),
        ErrorKind::DataLoss => (
            "data_loss",
            Directive::Never,
            4,
            "load the table again from a new snapshot of the source, or accept the gap with `fail_on_data_loss: false` in the source",
        ),
        ErrorKind::Conflict => (
            "conflict",
            Directive::Reload,
            5,
            "stop the other writer of this table or let it write less often, then start the pipeline again",
        ),
        ErrorKind::Fenced => (
            "fenced",
            Directive::Never,
            5,
            "make sure that only one engine runs this pipeline, then start it again; it goes on where the table stands",
        ),
        ErrorKind::Internal => (
            "internal",
            Directive::Never,
            70,
            "this is a bug of the engine: please report it with this message and the pipeline file; nothing was half written to the table",
        ),
    };
    Policy {
        name,
        retry,
        exit,
        remedy,
    }
}

/// The whole error for a person: its report, and the kind's remedy where it has none of its own.
pub fn render(error: &Error) -> String {
    let report = error.report();
    match error.next_step() {
        Some(_) => report,
        None => format!("{report}\n  next: {}", policy(error.kind()).remedy),
    }
}
