//! One Spark that is asked again and again, because a start takes longer than most statements.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Spark, View};
use crate::process;
use crate::python::{Location, Table};
use crate::wait;

/// How long Spark may be silent: its start, or one attempt at a statement.
const ANSWERING: Duration = Duration::from_secs(300);
const STOPPING: Duration = Duration::from_secs(30);

/// A running Spark that writes and reads. It ends when dropped, and when this process ends: its input is over then.
#[derive(Debug)]
pub struct Session {
    process: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    log: PathBuf,
    _folder: TempDir,
}

/// What a statement did.
#[derive(Debug)]
pub struct Ran {
    /// What it returned.
    pub rows: Vec<Value>,
    /// Why attempts lost against other writers, in the order of the attempts.
    pub conflicts: Vec<String>,
}

impl Spark {
    /// Starts a Spark that is asked more than once.
    pub fn talk(&self) -> Session {
        let folder = TempDir::with_prefix("engine-spark-").expect("a temporary folder");
        let log = folder.path().join("spark.log");
        let mut script = self.script("tests/readers/talk_spark.py", folder.path(), &[&self.jars]);
        script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a temporary folder is writable"))
            .process_group(0);
        let mut process = match script.spawn() {
            Ok(process) => process,
            Err(error) => panic!("cannot start {script:?}: {error}"),
        };
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        let (said, answers) = channel();
        thread::spawn(move || {
            // Ends with the process, or when nobody listens any more.
            let lines = output.lines().map_while(Result::ok);
            lines
                .map(|line| said.send(line))
                .take_while(Result::is_ok)
                .for_each(drop);
        });
        Session {
            input: process.stdin.take(),
            process,
            answers,
            log,
            _folder: folder,
        }
    }
}

impl Session {
    /// Runs a statement in which `{t}` stands for the table.
    ///
    /// # Panics
    /// With what Spark said if it fails, also if another writer was faster.
    pub fn run(&mut self, table: &Location, statement: &str) -> Vec<Value> {
        self.insist(table, statement, 1, |_| ()).rows
    }

    /// The same, again for up to `tries` times if another writer was faster. `begun` is called when an attempt begins, with its
    /// number from 1 on.
    ///
    /// # Panics
    /// With what Spark said if the last attempt fails, or one for another reason.
    pub fn insist(
        &mut self,
        table: &Location,
        statement: &str,
        tries: u32,
        mut begun: impl FnMut(u64),
    ) -> Ran {
        let statement = statement.replace("{t}", &name(table));
        let at = View::table(table).request();
        self.ask(&json!({"ask": "run", "at": at, "statement": statement, "tries": tries}));
        loop {
            let mut answer = self.answer(&statement);
            if let Some(number) = answer["attempt"].as_u64() {
                begun(number);
                continue;
            }
            let list = |value: Value| serde_json::from_value(value).expect("a list");
            return Ran {
                rows: list(answer["rows"].take()),
                conflicts: serde_json::from_value(answer["conflicts"].take()).expect("sentences"),
            };
        }
    }

    /// Deletes the rows of an unpartitioned Iceberg table that have one of `values` in `column`, a BIGINT, by an equality
    /// delete: what Flink writes and Spark never does. Returns the file that holds the values.
    ///
    /// # Panics
    /// With what Spark said if it fails.
    pub fn equality_delete(&mut self, table: &Location, column: &str, values: &[i64]) -> String {
        let at = View::table(table).request();
        let ask = json!({"ask": "equality_delete", "at": at, "column": column, "values": values});
        self.ask(&ask);
        let answer = self.answer("an equality delete");
        answer["path"].as_str().expect("a path").to_owned()
    }

    /// Reads a table or its changes.
    ///
    /// # Panics
    /// With what Spark said if it fails.
    pub fn read(&mut self, view: &View<'_>) -> Table {
        let mut request = view.request();
        request["ask"] = json!("read");
        self.ask(&request);
        let header = self.answer("a table");
        let rows = header["rows"].as_u64().expect("a number of rows");
        let rows = (0..rows).map(|_| self.answer("a row")).collect();
        Table::new(header, rows)
    }

    fn ask(&mut self, request: &Value) {
        let input = self.input.as_mut().expect("open until dropped");
        if writeln!(input, "{request}").is_err() {
            self.fail("has ended");
        }
    }

    fn answer(&self, to: &str) -> Value {
        let Ok(line) = self.answers.recv_timeout(ANSWERING) else {
            self.fail(&format!("does not answer: {to}"));
        };
        let Ok(answer) = serde_json::from_str::<Value>(&line) else {
            self.fail(&format!("says: {line}"));
        };
        match answer["error"].as_str() {
            Some(error) => self.fail(&format!("fails: {to}\n{error}")),
            None => answer,
        }
    }

    fn fail(&self, sentence: &str) -> ! {
        let tail = process::tail(&self.log);
        panic!("Spark {sentence}\n--- last lines of its log\n{tail}");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.input.take());
        let ended = wait::until(STOPPING, || {
            self.process.try_wait().expect("a child's state")
        });
        if ended.is_none() {
            // Fails only for a child that was waited for already. The JVM ends with it.
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

/// How a statement names the table.
fn name(table: &Location) -> String {
    match table {
        Location::Delta(path) => format!("delta.`{}`", path.display()),
        Location::Iceberg { name, table, .. } => format!("{name}.{table}"),
    }
}
