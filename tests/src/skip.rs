//! Tests that cannot run here say so: printed, reported, counted; in CI only by permission.
//!
//! | variable | meaning |
//! |---|---|
//! | `ENGINE_SKIP_REPORT` | file that a line is appended to for each skipped test; `.ci/run` sets it |
//! | `CI` | `true`: a skip fails, unless its [`Need`] is allowed |
//! | `ENGINE_ALLOWED_SKIPS` | needs that CI's machine is known not to have: `network,java` |

use std::fmt;

use crate::note;

/// What a test needs from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Downloads, when the cache does not hold them yet.
    Network,
    /// A Java 17 or newer.
    Java,
    /// Go, to build a service from its module.
    Go,
    /// Maven, to download Java artifacts by coordinates.
    Maven,
    /// PostgreSQL's server programs.
    Postgres,
    /// MariaDB's server programs.
    MariaDb,
    /// MySQL's server program.
    MySql,
    /// Python 3 with `venv`.
    Python,
    /// The right to mount a file system in a namespace of its own.
    Mounts,
    /// libfaketime.
    Faketime,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Java => "java",
            Self::Go => "go",
            Self::Maven => "maven",
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
            Self::Python => "python",
            Self::Mounts => "mounts",
            Self::Faketime => "faketime",
        })
    }
}

/// Something that cannot be had on this machine, and the next thing to do about it.
#[derive(Debug)]
pub struct Missing {
    /// What kind of thing.
    pub need: Need,
    /// A sentence: what was tried, what it said, what to do.
    pub reason: String,
}

impl Missing {
    /// Something that cannot be had.
    pub fn new(need: Need, reason: impl Into<String>) -> Self {
        Self {
            need,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.need, self.reason)
    }
}

/// Reports that the test called `test` does not run. Called by [`skip!`](crate::skip!) and
/// [`need!`](crate::need!).
///
/// # Panics
/// In CI, unless the need is one of `ENGINE_ALLOWED_SKIPS`.
pub fn report(test: &str, missing: &Missing) {
    let line = format!("{test}: {}", missing.to_string().replace('\n', " | "));
    println!("skipped {line}");
    note::append("ENGINE_SKIP_REPORT", &line);
    let allowed = std::env::var("ENGINE_ALLOWED_SKIPS").unwrap_or_default();
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(
        !ci || allowed
            .split(',')
            .any(|need| need == missing.need.to_string()),
        "in CI a test runs or is allowed to be skipped (ENGINE_ALLOWED_SKIPS={}): {line}",
        missing.need
    );
}

/// The name of the running test: libtest names each test's thread after it.
pub fn test_name() -> String {
    std::thread::current().name().unwrap_or("?").to_owned()
}

/// Ends the test as skipped with a [`Missing`].
#[macro_export]
macro_rules! skip {
    ($missing:expr) => {{
        $crate::skip::report(&$crate::skip::test_name(), &$missing);
        return;
    }};
}

/// The value of a `Result<_, Missing>`, or the test ends as skipped.
#[macro_export]
macro_rules! need {
    ($wanted:expr) => {
        match $wanted {
            Ok(wanted) => wanted,
            Err(missing) => $crate::skip!(missing),
        }
    };
}
