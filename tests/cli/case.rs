//! One pipeline with something wrong, the engine's calls on it, and what they have to say.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::engine::{Engine, Outcome, Running};
use tests::repository;
use tests::terminal::Terminal;

const LIMIT: Duration = Duration::from_secs(180);

/// The name of the pipeline's file in the case's folder, which is the calls' working folder.
pub(super) const FILE: &str = "pipeline.yaml";

/// The Iceberg pipeline's and the Delta pipeline's tables, as SQL names them.
pub(super) const ICEBERG_TABLE: &str = "iceberg.analytics.customers";
pub(super) const DELTA_TABLE: &str = "delta.customers_delta";

/// The rows that the shipped messages make.
pub(super) const SHIPPED_ROWS: i64 = 1600;

/// A folder with a copy of a shipped pipeline and its messages, to be spoilt.
pub(super) struct Case {
    folder: TempDir,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Case {
    /// `pipelines/customers.yaml`, with a warehouse of its own.
    pub(super) fn iceberg() -> Self {
        Self::of("customers.yaml")
    }

    /// `pipelines/customers_delta.yaml`, with a warehouse of its own.
    pub(super) fn delta() -> Self {
        Self::of("customers_delta.yaml")
    }

    fn of(pipeline: &str) -> Self {
        let folder = TempDir::with_prefix("engine-case-").unwrap();
        let shipped = repository::root().join("pipelines");
        fs::copy(shipped.join(pipeline), folder.path().join(FILE)).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let data = "data/customers.jsonl";
        fs::copy(shipped.join(data), folder.path().join(data)).unwrap();
        let warehouse = folder.path().join("warehouse").display().to_string();
        Self {
            folder,
            env: vec![("WAREHOUSE".to_owned(), warehouse)],
            wrapper: Vec::new(),
        }
    }

    /// Replaces `from`, which the pipeline's file holds, by `to`.
    pub(super) fn edit(self, from: &str, to: &str) -> Self {
        let file = self.path(FILE);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "the pipeline holds no `{from}`");
        fs::write(file, text.replace(from, to)).unwrap();
        self
    }

    /// Replaces the whole SQL.
    pub(super) fn transform(self, sql: &str) -> Self {
        let text = fs::read_to_string(self.path(FILE)).unwrap();
        let start = text.find("transform: |").unwrap();
        let end = start + text[start..].find("FROM customers\n").unwrap();
        let sql: String = sql.lines().map(|line| format!("  {line}\n")).collect();
        let new = format!(
            "{}transform: |\n{sql}{}",
            &text[..start],
            &text[end + "FROM customers\n".len()..]
        );
        fs::write(self.path(FILE), new).unwrap();
        self
    }

    /// Replaces the captured messages.
    pub(super) fn messages<S: AsRef<str>>(self, lines: &[S]) -> Self {
        let text: String = lines
            .iter()
            .map(|line| format!("{}\n", line.as_ref()))
            .collect();
        self.file("data/customers.jsonl", &text)
    }

    /// The captured messages.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("data/customers.jsonl")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Sets a variable.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Calls the engine through another program.
    pub(super) fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Writes a file of the case's folder, and the folders that it is in.
    pub(super) fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Makes a folder in the case's folder.
    pub(super) fn folder(self, name: &str) -> Self {
        fs::create_dir_all(self.path(name)).unwrap();
        self
    }

    /// A place in the case's folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn engine<S: AsRef<OsStr>>(&self, args: &[S]) -> Engine {
        let engine = Engine::under(&self.wrapper, args).current_dir(self.folder.path());
        self.env
            .iter()
            .fold(engine, |engine, (name, value)| engine.env(name, value))
    }

    /// `engine ARGS…` in the case's folder.
    pub(super) fn call(&self, args: &[&str]) -> Outcome {
        let outcome = self.engine(args).run(LIMIT);
        assert_calm(&outcome);
        outcome
    }

    /// `engine ARGS…` in the case's folder, on a terminal; its history is the case's.
    pub(super) fn terminal(&self, args: &[&str]) -> Terminal {
        Terminal::start(
            self.engine(args)
                .env("ENGINE_HISTORY", self.path("history")),
        )
    }

    /// `engine ARGS…` in the case's folder, which reads `text`.
    pub(super) fn piped(&self, args: &[&str], text: &str) -> Outcome {
        let input = self.path("input");
        fs::write(&input, text).unwrap();
        let input = fs::File::open(input).unwrap();
        let outcome = self.engine(args).stdin(input).run(LIMIT);
        assert_calm(&outcome);
        outcome
    }

    /// `engine run --once pipeline.yaml`, started.
    pub(super) fn start(&self) -> Running {
        self.engine(&["run", "--once", FILE]).start()
    }

    /// `engine run --once pipeline.yaml`.
    pub(super) fn run(&self) -> Outcome {
        self.call(&["run", "--once", FILE])
    }

    /// The run ends with `code` and says each of `says`.
    pub(super) fn runs(&self, code: i32, says: &[&str]) -> Outcome {
        let outcome = self.run();
        assert_says(&outcome, code, says);
        outcome
    }

    /// `engine validate` refuses the file, saying each of `says`; and so does `engine run`, which makes nothing.
    pub(super) fn refused(&self, says: &[&str]) {
        let validated = self.call(&["validate", FILE]);
        assert_says(&validated, 2, says);
        assert_eq!(validated.stdout, "");
        let before = self.files();
        assert_says(&self.run(), 2, says);
        assert_eq!(self.files(), before, "a refused pipeline made something");
    }

    /// Every file and folder of the case but the pipeline's file and data, relative and sorted.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.path("warehouse"), &mut found);
        found.sort();
        found
    }

    /// The rows of a query over the pipeline's tables.
    pub(super) fn query(&self, sql: &str) -> Vec<Value> {
        let args = ["sql", FILE, "--format", "json", "-c", sql];
        let engine = Engine::new(args).current_dir(self.folder.path());
        let engine = engine.env("WAREHOUSE", self.path("warehouse"));
        let outcome = engine.run(LIMIT);
        assert_says(&outcome, 0, &[]);
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    /// How many rows `table` has, each offset of a partition once.
    pub(super) fn rows(&self, table: &str) -> i64 {
        let sql = format!(
            "SELECT count(*) AS n, count(DISTINCT concat(_partition, '@', _offset)) AS d FROM {table}"
        );
        let found = self.query(&sql);
        assert_eq!(found[0]["n"], found[0]["d"], "rows that are there twice");
        found[0]["n"].as_i64().unwrap()
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        }
        found.push(path);
    }
}

/// Asserts that nothing panicked, and that no backtrace is shown to a user.
pub(super) fn assert_calm(outcome: &Outcome) {
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    for word in [
        "panicked",
        "stack backtrace",
        "RUST_BACKTRACE",
        "::with_backtrace",
    ] {
        assert!(!said.contains(word), "it says `{word}`:\n{said}");
    }
}

/// Asserts the exit code, and that every text of `says` is on standard error.
pub(super) fn assert_says(outcome: &Outcome, code: i32, says: &[&str]) {
    let said = &outcome.stderr;
    assert_eq!(
        outcome.code(),
        Some(code),
        "exit code; it said:\n{said}\n{}",
        outcome.stdout
    );
    for text in says {
        assert!(said.contains(text), "it does not say `{text}`:\n{said}");
    }
    if code != 0 {
        assert!(said.contains("error: "), "no error is told:\n{said}");
    }
    assert_calm(outcome);
}
