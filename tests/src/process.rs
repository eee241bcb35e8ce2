//! Processes that end with the test, and only those.
//!
//! Each service runs in a process group of its own. A guardian (a shell that reads a pipe held by this
//! process) ends the group when this process goes away for whatever reason, so that a test run that was
//! killed leaves no servers behind.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait;

/// How many last lines of a log a failure shows.
const TAIL: usize = 60;
/// How long a process has to end after it was asked to.
const STOPPING: Duration = Duration::from_secs(30);

/// `$1` group, `$2` signal: waits for the end of its input, then ends the group.
const GUARDIAN: &str = r#"read -r _; kill -s "$2" -- "-$1" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 -- "-$1" 2>/dev/null || exit 0; sleep 1; done
kill -s KILL -- "-$1""#;

/// A started service.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: Process,
    guardian: Process,
    log: PathBuf,
    stop_signal: &'static str,
}

impl Child {
    /// Starts `command` in its own process group, both outputs appended to `log`. `stop_signal` (`TERM`,
    /// `INT`, `KILL`) is what ends it.
    pub fn start(name: &str, mut command: Command, log: &Path, stop_signal: &'static str) -> Self {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file can be made");
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file handle"))
            .stderr(output)
            .process_group(0);
        let process = match command.spawn() {
            Ok(process) => process,
            Err(error) => panic!("cannot start {name} ({command:?}): {error}"),
        };
        let guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .args([&process.id().to_string(), stop_signal])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        Self {
            name: name.to_owned(),
            process,
            guardian,
            log: log.to_owned(),
            stop_signal,
        }
    }

    /// Waits until `ready`.
    ///
    /// # Panics
    /// If it is not within `limit`, or the process ends before; with the log's tail.
    pub fn wait_until(&mut self, what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
        let seen = wait::until(limit, || {
            if ready() {
                return Some(Ok(()));
            }
            let ended = self.process.try_wait().expect("a child's state");
            ended.map(Err)
        });
        match seen {
            Some(Ok(())) => {}
            Some(Err(status)) => self.fail(&format!("ended ({status}) before: {what}")),
            None => self.fail(&format!("not within {limit:?}: {what}")),
        }
    }

    /// Fails the test with a sentence and the log's tail.
    pub fn fail(&self, sentence: &str) -> ! {
        panic!(
            "{}: {sentence}\n--- last lines of its log\n{}",
            self.name,
            tail(&self.log)
        );
    }

    /// Asks the process to end and waits for it; kills it if it does not.
    pub fn stop(&mut self) {
        self.end(self.stop_signal);
    }

    /// `kill -9` of the whole group.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    fn end(&mut self, with: &str) {
        if self.ended().is_none() {
            signal_group(self.process.id(), with);
            if wait::until(STOPPING, || self.ended()).is_none() {
                signal_group(self.process.id(), "KILL");
            }
        }
        self.process.wait().expect("a child's state");
        // The group is gone: the guardian must not act on a number that may be given to others.
        drop(self.guardian.kill());
        self.guardian.wait().expect("a child's state");
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("a child's state")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends `signal` to a process group of ours; one that is gone already is fine.
fn signal_group(group: u32, signal: &str) {
    Command::new("sh")
        .args(["-c", r#"kill -s "$1" -- "-$2""#, "kill", signal])
        .arg(group.to_string())
        .stderr(Stdio::null())
        .status()
        .expect("a shell");
}

/// The last lines of a file, for a failure's message.
pub fn tail(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// Runs a command to its end.
///
/// # Errors
/// The last lines of both its outputs if it failed.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = stdout.lines().chain(stderr.lines()).collect();
    let said = said[said.len().saturating_sub(TAIL)..].join("\n");
    Err(format!("{} ({command:?})\n{said}", output.status))
}

/// A value of `/proc/ID/status` that the system prints in kB, in bytes. `None` if there is no such process.
pub fn status_bytes(id: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line
        .trim_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .ok()?;
    Some(kilobytes * 1024)
}

/// The memory that the processes below this one hold now, without `except` and what is below that: resident set sizes,
/// so that pages that two of them share count twice.
pub fn memory_of_children(except: Option<u32>) -> u64 {
    let parents: BTreeMap<u32, u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|id| Some((id, parent(id)?)))
        .collect();
    let this = std::process::id();
    let is_ours = |id: u32| {
        let mut at = Some(id);
        while let Some(now) = at.filter(|now| Some(*now) != except) {
            if now == this {
                return true;
            }
            at = parents.get(&now).copied();
        }
        false
    };
    parents
        .keys()
        .filter(|id| **id != this && is_ours(**id))
        .filter_map(|id| status_bytes(*id, "VmRSS"))
        .sum()
}

fn parent(id: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}
