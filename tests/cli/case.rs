//! One call of the engine with something wrong, and what it has to say.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tests::engine::{Engine, Outcome};
use tests::repository;

const LIMIT: Duration = Duration::from_secs(120);

/// A folder with a copy of a shipped pipeline and its data, to be spoilt.
pub(super) struct Case {
    folder: TempDir,
    engine: Engine,
}

impl Case {
    /// `engine ARGS… PIPELINE` on a copy of `pipelines/PIPELINE`, with a warehouse of its own.
    pub(super) fn new(pipeline: &str, args: &[&str]) -> Self {
        let folder = TempDir::with_prefix("engine-case-").unwrap();
        let shipped = repository::root().join("pipelines");
        fs::copy(shipped.join(pipeline), folder.path().join("pipeline.yaml")).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let data = "data/customers.jsonl";
        fs::copy(shipped.join(data), folder.path().join(data)).unwrap();
        let engine = Engine::new(args)
            .args(["pipeline.yaml"])
            .current_dir(folder.path())
            .env("WAREHOUSE", folder.path().join("warehouse"));
        Self { folder, engine }
    }

    /// Replaces `from`, which the pipeline's file holds, by `to`.
    pub(super) fn edit(self, from: &str, to: &str) -> Self {
        let file = self.folder.path().join("pipeline.yaml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "the pipeline holds no `{from}`");
        fs::write(file, text.replace(from, to)).unwrap();
        self
    }

    /// Replaces the captured messages.
    pub(super) fn messages(self, lines: &[String]) -> Self {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.folder.path().join("data/customers.jsonl"), text).unwrap();
        self
    }

    /// Sets a value of the pipeline.
    pub(super) fn set(mut self, key_value: &str) -> Self {
        self.engine = self.engine.args(["--set", key_value]);
        self
    }

    /// Sets a variable.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.engine = self.engine.env(name, value);
        self
    }

    /// The case's folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the case's folder.
    pub(super) fn file(self, name: &str, text: &str) -> Self {
        let path: PathBuf = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Runs it: it ends with `code` and says each of `says` on standard error. Returns what it said.
    pub(super) fn ends(self, code: i32, says: &[&str]) -> (Outcome, TempDir) {
        let outcome = self.engine.run(LIMIT);
        assert_says(&outcome, code, says);
        (outcome, self.folder)
    }
}

/// Asserts the exit code and that every text of `says` is on standard error, wherever its lines break.
pub(super) fn assert_says(outcome: &Outcome, code: i32, says: &[&str]) {
    let said = &outcome.stderr;
    assert_eq!(outcome.code(), Some(code), "exit code; it said:\n{said}\n{}", outcome.stdout);
    for text in says {
        assert!(said.contains(text), "it does not say `{text}`:\n{said}");
    }
    assert!(!said.contains("panicked"), "it panicked:\n{said}");
}
