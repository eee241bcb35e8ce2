//! What a run of the tests tells beside pass and fail: lines in files that `scripts/test` prints at its end. The test
//! runner keeps a passing test's own output to itself.
//!
//! | variable | file of |
//! |---|---|
//! | `ENGINE_SKIP_REPORT` | tests that could not run ([`crate::skip`]) |
//! | `ENGINE_TIER_REPORT` | tests of the full tier that ran, or did not ([`crate::tier`]) |
//! | `ENGINE_FIGURES` | figures that a test measured or counted |

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Mutex;

/// Prints a figure, and reports it.
pub fn figure(text: &str) {
    println!("{text}");
    append("ENGINE_FIGURES", text);
}

/// Says, once, that the service named by `variable` is used, and left alone: nothing starts, stops or hurts it.
pub(crate) fn external(variable: &'static str) {
    static SAID: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().expect("no holder of this lock panics");
    if said.insert(variable) {
        figure(&format!(
            "{variable}: the service that it names was used, and was neither started nor stopped"
        ));
    }
}

/// Appends a line to the file that `variable` names, if it names one.
///
/// # Panics
/// If the file cannot be written to.
pub(crate) fn append(variable: &str, line: &str) {
    let Some(file) = std::env::var_os(variable) else {
        return;
    };
    let appended = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .and_then(|mut file| writeln!(file, "{line}"));
    if let Err(error) = appended {
        panic!("cannot append to {}: {error}", file.display());
    }
}
