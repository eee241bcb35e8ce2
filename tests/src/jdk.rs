//! Java runtimes by version: services disagree on the versions that they run on, and a machine may have several.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::skip::{Missing, Need};

/// Where distributions put their JDKs, one folder each.
const FOLDER: &str = "/usr/lib/jvm";

/// A `java` whose major version is one of `versions`: that of `JAVA_HOME`, the one on the `PATH`, or one of
/// `/usr/lib/jvm`.
///
/// # Errors
/// [`Missing`] if there is none; `what` is the service that needs it.
pub fn java(what: &str, versions: &RangeInclusive<u32>) -> Result<PathBuf, Missing> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let mut installed: Vec<PathBuf> = fs::read_dir(FOLDER)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/java"))
        .collect();
    installed.sort();
    home.into_iter()
        .chain(debian::find("java", &[]))
        .chain(installed)
        .find(|java| major(java).is_some_and(|major| versions.contains(&major)))
        .ok_or_else(|| {
            let (first, last) = versions.clone().into_inner();
            let wanted = match last {
                u32::MAX => format!("{first} or newer"),
                last => format!("{first} to {last}"),
            };
            Missing::new(
                Need::Java,
                format!(
                    "{what} needs Java {wanted}: name it in JAVA_HOME, or install it in {FOLDER}"
                ),
            )
        })
}

/// The folder that `JAVA_HOME` names for this `java`.
///
/// # Panics
/// If it is in no folder `bin`, which [`java`] does not give.
pub fn home(java: &Path) -> PathBuf {
    let real = java.canonicalize().expect("a program that runs");
    let home = real.parent().and_then(Path::parent);
    home.expect("java is in a folder `bin`").to_path_buf()
}

/// The major version of a `java`; `None` if it does not run.
fn major(java: &Path) -> Option<u32> {
    // `openjdk version "17.0.15" 2025-04-15`, on standard error.
    let output = Command::new(java).arg("-version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    said.split('"').nth(1)?.split('.').next()?.parse().ok()
}
