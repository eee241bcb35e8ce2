//! Pipeline files in a folder, and the engine run on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::engine::{Engine, Outcome, Running};
use tests::{http, wait};

use super::job::{append, insert};

pub const LIMIT: Duration = Duration::from_secs(120);
pub const T: &str = "shop.items";

/// A folder with pipeline files and the messages that they read.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::with_prefix("engine-loop-").unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A pipeline file NAME.yaml from NAME.jsonl with `count` inserts into a Delta table NAME. `more` is blocks.
    pub fn pipeline(&self, name: &str, count: i64, more: &str) -> PathBuf {
        let yaml = format!(
            "pipeline: {{ name: {name}, trigger: {{ interval: 50ms }} }}\n\
             source:\n  type: kafka\n  name: items\n  bootstrap_servers: file:{name}.jsonl\n  topics: [{T}]\n  columns: |\n    id BIGINT NOT NULL PRIMARY KEY, name TEXT\n\
             transform: SELECT id, name, _op, _offset FROM items\n{more}\n\
             sink: {{ type: delta, path: \"${{WAREHOUSE}}/{name}\", mode: append }}\n"
        );
        let file = self.path().join(format!("{name}.yaml"));
        fs::write(&file, yaml).unwrap();
        fs::write(self.messages(name), "").unwrap();
        for offset in 0..count {
            self.put(name, offset);
        }
        file
    }

    pub fn messages(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.jsonl"))
    }

    pub fn put(&self, name: &str, offset: i64) {
        append(&self.messages(name), &insert(T, 0, offset, Some("x")));
    }

    fn engine(&self, args: &[&str]) -> Engine {
        Engine::new(args)
            .current_dir(self.path())
            .env("WAREHOUSE", self.path().join("warehouse"))
    }

    pub fn run(&self, args: &[&str]) -> Outcome {
        self.engine(&[&["run"], args].concat()).run(LIMIT)
    }

    pub fn start(&self, args: &[&str]) -> Running {
        self.engine(&[&["run"], args].concat()).start()
    }

    /// Commits of a pipeline's table that are in its log.
    pub fn commits(&self, name: &str) -> usize {
        let log = self.path().join("warehouse").join(name).join("_delta_log");
        let files = fs::read_dir(log).into_iter().flatten().flatten();
        files
            .filter(|f| f.file_name().to_string_lossy().ends_with(".json"))
            .count()
    }

    pub fn rows(&self, name: &str) -> String {
        let sql = format!("SELECT count(*) AS n FROM delta.{name}");
        let outcome = self.engine(&["sql", ".", "--format", "csv", "-c", &sql]);
        let said = outcome.run(LIMIT).expect_code(0).stdout;
        said.lines().nth(1).unwrap_or_default().to_owned()
    }
}

pub const FREE_PORTS: &str = "observability: { metrics: \"127.0.0.1:0\", health: \"127.0.0.1:0\" }";

/// The events logged so far; what is no JSON fails the test.
pub fn events(stderr: &str) -> Vec<Value> {
    // The last line may still be being written.
    let complete = stderr.rfind('\n').map_or("", |end| &stderr[..end]);
    complete
        .lines()
        .map(|line| match serde_json::from_str(line) {
            Ok(event) => event,
            Err(error) => panic!("{error}: {line}"),
        })
        .collect()
}

pub fn said(stderr: &str, message: &str) -> Vec<Value> {
    let mut events = events(stderr);
    events.retain(|event| {
        event["message"]
            .as_str()
            .is_some_and(|m| m.starts_with(message))
    });
    events
}

/// Waits until so many events of this message were logged.
pub fn wait_for(running: &mut Running, message: &str, count: usize) -> Vec<Value> {
    let seen = wait::until(LIMIT, || {
        let events = said(&running.stderr(), message);
        (events.len() >= count || running.ended()).then_some(events)
    });
    let seen = seen.unwrap_or_default();
    assert!(seen.len() >= count, "no `{message}`:\n{}", running.stderr());
    seen
}

pub fn get(listening: &Value, endpoint: &str, path: &str) -> http::Answer {
    let base = format!("http://{}", listening[endpoint].as_str().unwrap());
    http::request("GET", &base, path, None).unwrap()
}
