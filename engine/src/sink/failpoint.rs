//! Places where crash tests stop or disturb the engine. Off unless the environment says otherwise.
//!
//! | variable | what happens |
//! |---|---|
//! | `ENGINE_FAILPOINT=NAME[:N]` | the process kills itself with SIGKILL when it reaches the point the N-th time (default: the first) |
//! | `ENGINE_FAILPOINT_ERROR=NAME[:N]` | the point returns [`ErrorKind::Unavailable`] the N-th time: the answer of something that was done is lost |
//!
//! | point | where |
//! |---|---|
//! | `before_window` | the batch is ready; the window of events sent again is not written |
//! | `after_window` | the window is durable, the commit has not begun |
//! | `before_write` | positions checked, no file written |
//! | `after_files` | data files written, not committed |
//! | `in_commit` | committed, the sink itself does not know yet (only for lost answers) |
//! | `after_commit` | committed, the caller does not know yet |
//! | `before_ack` | the caller knows, offsets are not acknowledged |
//! | `before_compaction` | compacted files written, not committed (Delta) |
//! | `after_compaction` | they are committed (Delta) |
//! | `after_vacuum` | the first of the files that nobody needs are deleted (Delta) |
//!
//! The variables are read once, when the first point is reached.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sql::{Error, ErrorKind, Result};

struct Armed {
    name: String,
    nth: u64,
    seen: AtomicU64,
}

impl Armed {
    fn from_env(variable: &str) -> Option<Self> {
        let value = std::env::var(variable).ok().filter(|v| !v.is_empty())?;
        let (name, nth) = match value.split_once(':') {
            // A number that is none never strikes: better than striking at the wrong time.
            Some((name, nth)) => (name.to_owned(), nth.parse().unwrap_or(0)),
            None => (value, 1),
        };
        Some(Self {
            name,
            nth,
            seen: AtomicU64::new(0),
        })
    }

    fn strikes(&self, name: &str) -> bool {
        self.name == name && self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.nth
    }
}

/// Kills this process if `ENGINE_FAILPOINT` names this point.
pub fn hit(name: &str) {
    static KILL: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = KILL.get_or_init(|| Armed::from_env("ENGINE_FAILPOINT"));
    if armed.as_ref().is_some_and(|armed| armed.strikes(name)) {
        eprintln!("failpoint {name} reached");
        kill();
    }
}

/// Fails if `ENGINE_FAILPOINT_ERROR` names this point.
///
/// # Errors
/// [`ErrorKind::Unavailable`], then.
pub fn lose_answer(name: &str) -> Result<()> {
    static LOSE: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = LOSE.get_or_init(|| Armed::from_env("ENGINE_FAILPOINT_ERROR"));
    if armed.as_ref().is_some_and(|armed| armed.strikes(name)) {
        eprintln!("failpoint {name} lost an answer");
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!("the answer was lost at failpoint {name}"),
        ));
    }
    Ok(())
}

/// SIGKILL to this process: no destructor, no flush, as a crash is.
#[expect(
    unsafe_code,
    reason = "kill(2) of our own process id has no preconditions"
)]
fn kill() {
    // SAFETY: getpid and kill take and return plain numbers.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
}
