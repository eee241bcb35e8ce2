//! Where an event comes from, as hashes.

use sql::change::Mark;
use twox_hash::XxHash64;

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Hash of everything that tells the event from others.
    pub identity: u128,
    /// Hash of the position, which events of one statement may share.
    pub place: u64,
    /// Hash of the connector's run; 0 if the event does not tell.
    pub run: u64,
    /// When an equal event at the same position is another one.
    pub numbered: Numbered,
    /// The log that the event stands in, as a hash, and where.
    pub mark: Option<(u64, Mark)>,
    /// The log, as a hash, and the LSN of an event of PostgreSQL whose connector had not seen a commit yet: it has no mark.
    pub first: Option<(u64, u64)>,
    /// When the source committed it, microseconds since the epoch.
    pub commit_micros: Option<i64>,
}

/// When an event that equals one before it at the same position is another event, not the same one sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbered {
    /// Never: the source cannot make two such events at one position.
    Never,
    /// If both certainly come from one run of the connector.
    InOneRun,
    /// Unless they certainly come from different runs.
    UnlessOtherRun,
}

const LOW: u64 = 0x9e37_79b9_7f4a_7c15;
const HIGH: u64 = 0xc2b2_ae3d_27d4_eb4f;

/// A hash of `bytes` that is the same on every machine and in every version.
pub fn hash64(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(LOW, bytes)
}

/// A hash of `bytes` for identities: among 10⁹ of them, two are equal by chance once in 10²⁰ times.
pub fn hash128(bytes: &[u8]) -> u128 {
    u128::from(XxHash64::oneshot(HIGH, bytes)) << 64 | u128::from(XxHash64::oneshot(LOW, bytes))
}
