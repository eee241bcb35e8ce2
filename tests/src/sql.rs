//! What a workload needs of a database, whichever it is: statements, rows, and sessions that run side by side.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::wait;

/// For how long a statement of a session waits for a lock, in seconds: interleaved transactions never hang.
pub const LOCK_SECONDS: u32 = 2;

/// How long a session may take for one answer: far more than any statement of a test needs.
const ANSWERING: Duration = Duration::from_secs(120);
const CLOSING: Duration = Duration::from_secs(10);

/// A database server that tests write to.
pub trait Sql: Send + Sync {
    /// Runs statements, each in a transaction of its own unless they say `BEGIN`; what they print.
    ///
    /// # Panics
    /// With what the server said, if one fails.
    fn execute(&self, sql: &str) -> String;

    /// The rows of a query whose columns have distinct names, each as a JSON object, in the query's order. JSON numbers
    /// are read as 64-bit ones: cast a number that must keep its digits to text.
    fn rows(&self, query: &str) -> Vec<Value>;

    /// A connection that stays open.
    fn session(&self) -> Box<dyn Session>;
}

/// A connection that stays open, so that several transactions can be under way at once. Dropped, it closes; the server
/// then rolls back what is not committed.
pub trait Session: Send {
    /// Runs statements, and returns once the server has answered them all. A statement waits [`LOCK_SECONDS`] for a lock.
    ///
    /// # Errors
    /// What the server said of those that failed: a deadlock (the transaction is gone), a lock timeout (PostgreSQL: the
    /// transaction can only be rolled back; MariaDB: only the statement is), a violated constraint. The statements after
    /// a failed one do run, as the server lets them. [`LOST`] starts the sentence if the connection is gone.
    fn send(&mut self, sql: &str) -> Result<(), String>;
}

/// How the error of a session starts whose connection is gone: it is not known what became of its transaction.
pub const LOST: &str = "session lost";

/// The parts of a server's URL.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// The role.
    pub user: &'a str,
    /// Its password; may be empty.
    pub password: &'a str,
    /// The host.
    pub host: &'a str,
    /// The port.
    pub port: &'a str,
    /// The database.
    pub database: &'a str,
}

impl<'a> Address<'a> {
    /// The parts of `scheme://user[:password]@host[:port]/database`, with these for what is not in it.
    pub(crate) fn of(url: &'a str, user: &'a str, port: &'a str, database: &'a str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (credentials, rest) = rest.rsplit_once('@').unwrap_or((user, rest));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let (address, database) = rest.split_once('/').unwrap_or((rest, database));
        let (host, port) = address.split_once(':').unwrap_or((address, port));
        let database = database.split('?').next().unwrap_or(database);
        Self {
            user,
            password,
            host,
            port,
            database,
        }
    }
}

/// A database's own command line client, fed by a pipe.
#[derive(Debug)]
pub(crate) struct Console {
    process: Child,
    input: Option<ChildStdin>,
    /// Both outputs, line by line, in the order in which they were written.
    lines: Receiver<String>,
    manners: Manners,
    sent: u64,
    lost: Option<String>,
}

/// How a client talks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// The line that makes the client print a word, before and after that word.
    pub(crate) echo: (&'static str, &'static str),
    /// Whether a line of output tells of an error.
    pub(crate) is_error: fn(&str) -> bool,
    /// Whether such a line says that the connection is gone.
    pub(crate) is_loss: fn(&str) -> bool,
}

impl Console {
    /// Starts the client.
    pub(crate) fn start(mut command: Command, manners: Manners) -> Self {
        // One pipe for both outputs: an error comes before the word that is asked for after it.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let process = command
            .stdin(Stdio::piped())
            .stdout(writer.try_clone().expect("a file handle"))
            .stderr(writer)
            .spawn();
        let mut process = match process {
            Ok(process) => process,
            Err(error) => panic!("cannot start {command:?}: {error}"),
        };
        // With it go this process's own ends of the pipe: only then does the reader see the client's end.
        drop(command);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self {
            input: process.stdin.take(),
            process,
            lines,
            manners,
            sent: 0,
            lost: None,
        }
    }

    fn lose(&mut self, why: &str) -> String {
        self.input = None;
        drop(self.process.kill());
        let said = format!("{LOST}: {why}");
        self.lost = Some(said.clone());
        said
    }

    /// What is printed until the client prints `word`.
    fn answer(&mut self, word: &str) -> Result<Vec<String>, String> {
        let deadline = Instant::now() + ANSWERING;
        let mut said = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line == word => return Ok(said),
                Ok(line) => {
                    let lost = (self.manners.is_loss)(&line);
                    said.push(line);
                    if lost {
                        return Err(self.lose(&said.join("\n")));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.lose(&format!("the client ended\n{}", said.join("\n"))));
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.lose(&format!("no answer within {ANSWERING:?}")));
                }
            }
        }
    }
}

impl Session for Console {
    fn send(&mut self, sql: &str) -> Result<(), String> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        self.sent += 1;
        let word = format!("answered-{}", self.sent);
        let (before, after) = self.manners.echo;
        let input = format!("{sql}\n;\n{before}{word}{after}\n");
        let written = match &mut self.input {
            Some(pipe) => pipe.write_all(input.as_bytes()).and_then(|()| pipe.flush()),
            None => Ok(()),
        };
        // A client that is gone closes its input; its own words say more than the broken pipe.
        drop(written);
        let said = self.answer(&word)?;
        if said.iter().any(|line| (self.manners.is_error)(line)) {
            return Err(said.join("\n"));
        }
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // The end of its input ends a client in order.
        self.input = None;
        let ended = wait::until(CLOSING, || self.process.try_wait().ok().flatten());
        if ended.is_none() {
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

/// Runs a client to its end on `input`.
///
/// # Errors
/// What it said on standard error, if it failed.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<String, String> {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut stdin = process.stdin.take().ok_or("no standard input")?;
    let input = input.to_owned();
    // On a thread of its own: the program may answer before it has read everything.
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = process
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    // A program that failed early closes its input; its own words say more than the broken pipe.
    drop(writer.join());
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
