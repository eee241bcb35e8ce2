//! Durations and sizes as the file writes them.

use std::time::Duration;

/// Units of durations, largest first: a name and its milliseconds.
const DURATIONS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Units of sizes: a name and its bytes.
const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// What is right for a duration.
pub(super) const DURATION: &str =
    "a positive whole number and a unit: `500ms`, `1s`, `10m`, `1h`, `7d`";

/// What is right for a size.
pub(super) const SIZE: &str =
    "a positive whole number of bytes, or with a unit: `1024`, `10MB`, `64MiB`";

/// Reads `500ms`, `1s`, `10m`, `1h`, `7d`; positive. `None` for anything else.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, millis) = DURATIONS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.checked_mul(*millis)?))
}

/// Reads `1024`, `10MB`, `64MiB`; positive, letter case of the unit aside. `None` for anything else.
pub fn size(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "" => 1,
        unit => {
            SIZES
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))?
                .1
        }
    };
    usize::try_from(number.checked_mul(bytes)?).ok()
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let number = number.parse().ok().filter(|number| *number > 0)?;
    Some((number, unit.trim_start()))
}
