//! One error type: a kind that decides what happens next, and the facts a user needs.
//!
//! An error says *where* (file and key, or topic, partition, offset, column), *what was expected* and
//! *what to do next*. The kind is coarse on purpose: two errors have different kinds only if somebody
//! acts differently on them (retries, exit codes). The source error is kept beside the message and is
//! never formatted into it.

use std::error::Error as StdError;
use std::fmt;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happens next. The table of retries, exit codes and remedies over these kinds is in
/// `engine::run::policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The pipeline file, its environment, its SQL, or a table's shape is wrong. Never retried.
    Config,
    /// A service did not answer or answered that it cannot now. Retried.
    Unavailable,
    /// A service refused who we are or what we may do. Not retried.
    Denied,
    /// Local or remote storage refuses writes: read-only, full, missing permissions. Not retried.
    Storage,
    /// A data policy of the pipeline stops it: `on_error`, `max_rate`, a rule with `fail`, a schema change.
    Policy,
    /// Records that the table's position asks for are gone from the log.
    DataLoss,
    /// Another writer committed the table first; the same write may be tried again on the new state.
    Conflict,
    /// The table's stored position is not the one this batch starts at: another engine owns it.
    Fenced,
    /// An invariant of the engine does not hold. A bug.
    Internal,
}

/// An error with a kind, facts for the user, and the error that caused it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    at: Option<String>,
    expected: Option<String>,
    remedy: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`. `message` is one sentence without a full stop, lowercase unless it starts with a name.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            at: None,
            expected: None,
            remedy: None,
            source: None,
        }
    }

    /// Short for [`ErrorKind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Short for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Where it happened: `pipelines/a.yaml:12:3 (source.topics)`, `topic/partition@offset`, a path, an address.
    #[must_use]
    pub fn at(mut self, at: impl Into<String>) -> Self {
        self.at = Some(at.into());
        self
    }

    /// What would have been right.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// The next thing to do, as a sentence.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The error that caused this one.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What happens next.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message alone, without place, expectation, remedy or cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it happened, if known.
    pub fn place(&self) -> Option<&str> {
        self.at.as_deref()
    }

    /// The next thing to do, if the error knows better than the kind's general remedy.
    pub fn next_step(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The whole error for a person: several lines, each fact on its own.
    pub fn report(&self) -> String {
        let mut out = format!("error: {}", self.message);
        if let Some(at) = &self.at {
            out.push_str(&format!("\n  at: {at}"));
        }
        if let Some(expected) = &self.expected {
            out.push_str(&format!("\n  expected: {expected}"));
        }
        let mut cause = StdError::source(self);
        let mut told = String::new();
        while let Some(error) = cause {
            let text = error.to_string();
            let text = without_backtrace(&text);
            // Many libraries say their cause's text in their own.
            if !told.contains(text) {
                out.push_str(&format!("\n  cause: {}", text.replace('\n', "\n         ")));
                told = text.to_owned();
            }
            cause = error.source();
        }
        if let Some(remedy) = &self.remedy {
            out.push_str(&format!("\n  next: {remedy}"));
        }
        out
    }
}

/// Some libraries put the stack into an error's text where `RUST_BACKTRACE` is set; `{:?}` and logs still have it.
fn without_backtrace(text: &str) -> &str {
    let end = text.find("\n   0: ").unwrap_or(text.len());
    text.get(..end)
        .unwrap_or(text)
        .trim_end()
        .trim_end_matches("Backtrace:")
        .trim_end()
}

impl fmt::Display for Error {
    /// One line, for logs and for the end of a longer sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(at) = &self.at {
            write!(f, ", at {at}")?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|e| e as &(dyn StdError + 'static))
    }
}
