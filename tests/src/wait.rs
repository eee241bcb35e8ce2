//! Waiting on a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// How long to stand back between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks until `look` sees something, for at most `limit`. `None`: it never did.
pub fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::park_timeout(LOOK_AGAIN);
    }
}
