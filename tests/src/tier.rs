//! The full tier: tests that start services beyond those of the CI tier, and take too long to judge each change by.
//!
//! `scripts/test --full` runs them beside all others. Without it they end at once, but not in silence: each is
//! reported as one that did not run, and `scripts/test` counts these apart from skips. A skip is something that the
//! machine lacks; this is something that nobody asked for.
//!
//! | variable | meaning |
//! |---|---|
//! | `ENGINE_TEST_TIER` | `full`: the tests of the full tier run; `scripts/test --full` sets it |
//! | `ENGINE_TIER_REPORT` | file that a line is appended to for each test of the full tier: `ran NAME` or `not run NAME` |

use crate::note;
use crate::slots::{Slot, Slots};

/// Tests of the full tier run one at a time: each may start several JVMs.
static ONE: Slots = Slots::new(1);

/// Whether the tests of the full tier run. Called by [`full!`](crate::full!), which holds the place until the
/// test's end.
pub fn enter(test: &str) -> Option<Slot> {
    let full = std::env::var("ENGINE_TEST_TIER").is_ok_and(|tier| tier == "full");
    let fate = if full { "ran" } else { "not run" };
    note::append("ENGINE_TIER_REPORT", &format!("{fate} {test}"));
    if full {
        return Some(ONE.take());
    }
    println!("not in this tier: {test} (run: scripts/test --full {test})");
    None
}

/// Says that a test belongs to the full tier: its first statement. In another tier the test ends here.
#[macro_export]
macro_rules! full {
    () => {
        let Some(_until_the_end) = $crate::tier::enter(&$crate::skip::test_name()) else {
            return;
        };
    };
}
