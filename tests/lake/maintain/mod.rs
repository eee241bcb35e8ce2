//! Maintenance: tables get faster, and nobody sees another difference.
//!
//! `contract` holds for every format of `KINDS`; what is a format's own is in a file of its name.

mod contract;
mod crash;
pub mod delta;
mod grow;
mod iceberg;
mod vacuum;

use engine::clock::now_micros;
use engine::maintain::Policy;

use super::upsert::harness::Kind;

/// The formats that compact whatever there is to gain. Delta's passes leave more as it is: its tests are its own.
const KINDS: [Kind; 1] = [Kind::Iceberg];

/// Rewrites as soon as there is anything to gain.
pub(crate) fn eager() -> Policy {
    Policy {
        min_files: 2,
        max_deleted: 0.01,
        ..Policy::default()
    }
}

/// The same, when all that is there now is older than the retention.
pub(crate) fn eager_later() -> Policy {
    Policy {
        clock: in_eight_days,
        ..eager()
    }
}

fn in_eight_days() -> i64 {
    now_micros() + 8 * 24 * 3_600_000_000
}
