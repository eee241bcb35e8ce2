//! The compiled `engine`, as a user runs it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::process;
use crate::repository;
use crate::wait;

/// Variables that the shipped pipelines and the engine read: a test sets them or they are not set.
const READ_BY_THE_ENGINE: [&str; 12] = [
    "WAREHOUSE",
    "KAFKA_BROKERS",
    "POSTGRES_URL",
    "MYSQL_URL",
    "CONNECT_URL",
    "SCHEMA_REGISTRY_URL",
    "ICEBERG_REST_URL",
    "S3_ENDPOINT",
    "ENGINE_FAILPOINT",
    "RUST_LOG",
    "ENGINE_HISTORY",
    "NO_COLOR",
];

/// The compiled binary: `$ENGINE_BIN`, else the one beside this test's own executable, which cargo brings up
/// to date first (an `engine` older than its sources would prove nothing).
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("ENGINE_BIN") {
            return PathBuf::from(given);
        }
        let this = std::env::current_exe().expect("a test has an executable");
        let profile = this
            .parent()
            .and_then(Path::parent)
            .expect("target/PROFILE/deps/TEST");
        build(profile);
        let binary = profile.join("engine");
        assert!(
            binary.is_file(),
            "{} is missing: run `cargo build --workspace` first, or name the binary in ENGINE_BIN",
            binary.display()
        );
        binary
    })
}

/// Cargo tells the tests that it runs where it is; a test started by hand uses the binary as it is. All
/// members together: another selection would mean other features of shared crates, hence a second build.
fn build(profile: &Path) {
    let Some(cargo) = std::env::var_os("CARGO") else {
        return;
    };
    let name = match profile.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--bin",
            "engine",
            "--profile",
            name,
        ])
        .current_dir(repository::root());
    if let Some(target) = profile.parent() {
        command.arg("--target-dir").arg(target);
    }
    // What cargo tells this test about its own crate. Build scripts of others (ring's) record such variables: with
    // other values than in the build before, most of the tree would be compiled again, here and then there.
    for (name, _) in std::env::vars_os() {
        let is_of_this_crate = |name: &str| {
            [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_BIN_",
                "CARGO_CRATE_",
                "CARGO_PRIMARY_",
                "CARGO_TARGET_TMPDIR",
            ]
            .iter()
            .any(|start| name.starts_with(start))
        };
        if name.to_str().is_some_and(is_of_this_crate) || name == "LD_LIBRARY_PATH" {
            command.env_remove(name);
        }
    }
    if let Err(said) = process::run(&mut command) {
        panic!("the engine does not build: {said}");
    }
}

/// A call of the engine, not started yet.
#[derive(Debug)]
pub struct Engine {
    command: Command,
    stdin: Stdio,
}

impl Engine {
    /// `engine ARGS…` in the clone's root, with none of the variables that the engine reads.
    pub fn new<I, S>(args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        Self::under::<&str, S>(&[], args)
    }

    /// `WRAPPER… engine ARGS…`: another program that starts the engine, such as `unshare`.
    pub fn under<W, S>(wrapper: &[W], args: impl IntoIterator<Item = S>) -> Self
    where
        W: AsRef<OsStr>,
        S: AsRef<OsStr>,
    {
        let mut command = match wrapper.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(binary());
                command
            }
            None => Command::new(binary()),
        };
        command.args(args).current_dir(repository::root());
        for name in READ_BY_THE_ENGINE {
            command.env_remove(name);
        }
        Self {
            command,
            stdin: Stdio::null(),
        }
    }

    /// Gives it something to read; without this there is nothing.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working folder.
    #[must_use]
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let outputs = TempDir::with_prefix("engine-run-").expect("a temporary folder");
        let open = |name: &str| File::create(outputs.path().join(name)).expect("a file");
        self.command
            .stdin(self.stdin)
            .stdout(open("stdout"))
            .stderr(open("stderr"));
        let child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {:?}: {error}", self.command),
        };
        Running { child, outputs }
    }

    /// Runs it to its end, for at most `limit`.
    ///
    /// # Panics
    /// If it does not end; with what it said.
    pub fn run(self, limit: Duration) -> Outcome {
        self.start().finish(limit)
    }
}

/// A started engine; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    outputs: TempDir,
}

impl Running {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The pipe that it reads, if [`Engine::stdin`] made it one; given once.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// What it has said on standard error so far.
    pub fn stderr(&self) -> String {
        self.output("stderr")
    }

    /// What it has said on standard output so far.
    pub fn stdout(&self) -> String {
        self.output("stdout")
    }

    /// Both outputs so far.
    pub fn said(&self) -> String {
        self.stdout() + &self.stderr()
    }

    fn output(&self, name: &str) -> String {
        let bytes = fs::read(self.outputs.path().join(name)).expect("the output's file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child's state").is_some()
    }

    /// How it ended; `None` while it runs.
    pub fn outcome(&mut self) -> Option<Outcome> {
        let status = self.child.try_wait().expect("a child's state")?;
        Some(self.ended_with(status))
    }

    /// Asks it to stop in order: SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Stops it in the middle of whatever it does, as a machine that has something better to do would: SIGSTOP. It
    /// goes on at [`Running::resume`].
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`Running::pause`]: SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "kill", name, &id])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "cannot send SIG{name} to {id}"
        );
    }

    /// The most memory it has held so far, in bytes: `VmHWM`. `None` once it has ended.
    pub fn peak_memory(&self) -> Option<u64> {
        process::status_bytes(self.id(), "VmHWM")
    }

    /// `kill -9`. True if that is what ended it.
    pub fn kill9(mut self) -> (bool, Outcome) {
        let alive = !self.ended();
        if alive {
            self.child.kill().expect("a child of ours");
        }
        let outcome = self.finish(Duration::from_secs(30));
        (alive && outcome.signal() == Some(9), outcome)
    }

    /// Waits for its end, for at most `limit`.
    ///
    /// # Panics
    /// If it does not end; with what it said.
    pub fn finish(mut self, limit: Duration) -> Outcome {
        let status = wait::until(limit, || self.child.try_wait().expect("a child's state"));
        let Some(status) = status else {
            panic!("the engine still runs after {limit:?}:\n{}", self.said());
        };
        self.ended_with(status)
    }

    fn ended_with(&self, status: ExitStatus) -> Outcome {
        Outcome {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only for a child that was waited for already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How a call ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// How it ended, in words.
    pub fn end(&self) -> String {
        self.status.to_string()
    }

    /// The exit code; `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// The outcome, if the exit code is `code`.
    ///
    /// # Panics
    /// If it is not; with both outputs.
    pub fn expect_code(self, code: i32) -> Self {
        assert!(
            self.code() == Some(code),
            "expected exit code {code}, the engine ended with {}:\n{}{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts that standard error says all these words, in any order and case.
    pub fn expect_words(self, words: &[&str]) -> Self {
        let said = self.stderr.to_lowercase();
        for word in words {
            assert!(
                said.contains(&word.to_lowercase()),
                "the error does not say {word:?}:\n{}",
                self.stderr
            );
        }
        self
    }
}
