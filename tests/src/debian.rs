//! Programs from Debian packages: found, or installed when we may.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::cache::Cache;
use crate::process;
use crate::skip::{Missing, Need};

/// The `program` on the `PATH` or in `also`; if it is nowhere, installs `packages` (as root) or says how.
///
/// # Errors
/// [`Missing`] with the command that would install it, or with what apt said.
pub fn program(
    program: &str,
    also: &[PathBuf],
    packages: &[&str],
    need: Need,
) -> Result<PathBuf, Missing> {
    if let Some(found) = find(program, also) {
        return Ok(found);
    }
    install(packages, need)?;
    find(program, also).ok_or_else(|| {
        Missing::new(
            need,
            format!("`{program}` is not there after installing {packages:?}"),
        )
    })
}

/// The `program` on the `PATH` or in `also`.
pub fn find(program: &str, also: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    also.iter()
        .cloned()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| {
        Command::new("id")
            .arg("-u")
            .output()
            .is_ok_and(|id| id.stdout.trim_ascii() == b"0")
    })
}

/// Installs Debian packages as root, one process at a time.
///
/// # Errors
/// [`Missing`] if this is not root, not Debian, or apt failed.
pub fn install(packages: &[&str], need: Need) -> Result<(), Missing> {
    let command = format!("apt-get install -y {}", packages.join(" "));
    if !is_root() || find("apt-get", &[]).is_none() {
        return Err(Missing::new(need, format!("run: sudo {command}")));
    }
    let _held = Cache::open().lock("apt");
    let script = format!(
        "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && \
         apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends {}",
        packages.join(" ")
    );
    process::run(Command::new("sh").args(["-c", &script]))
        .map(drop)
        .map_err(|said| Missing::new(need, format!("`{command}` failed: {said}")))
}
