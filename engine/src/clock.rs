//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the epoch, now. A clock before 1970 or after the year 294,000 reads as 0 or the largest value.
pub fn now_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
}
