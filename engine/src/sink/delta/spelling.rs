//! How the log spells the paths of the table's files.
//!
//! A path in the log is a URI, and one path has several spellings: Spark escapes a space and leaves an `ä` as it is, the Delta
//! library does the opposite. Readers tell files apart by the text: a `remove` that spells the path otherwise than its `add`
//! did removes nothing for them, and the rows of the file are there twice. So a commit repeats the log's own words.

use std::collections::HashMap;

use arrow::array::AsArray as _;
use arrow::datatypes::DataType;
use bytes::Bytes;
use deltalake::kernel::Add;
use deltalake::table::state::DeltaTableState;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;
use sql::{Error, Result};

use crate::lake::storage::storage_error;

/// The spellings of the paths that have more than one.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    /// What the log says, by the path that it means.
    by_path: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Line {
    add: Option<Logged>,
}

#[derive(Deserialize)]
struct Logged {
    path: String,
}

impl Spellings {
    /// Those of the files of a table, which are `adds`.
    ///
    /// # Errors
    /// If the list of files cannot be had from `state`, or lacks one of them.
    pub(super) fn of(state: &DeltaTableState, adds: &[Add], place: &str) -> Result<Self> {
        let mut spellings = Self::default();
        if !adds.iter().any(|add| has_several(&add.path)) {
            return Ok(spellings);
        }
        let batches = state
            .add_actions_batches(false)
            .map_err(|error| storage_error("list the files of the Delta table", place, error))?;
        for batch in &batches {
            let column = batch.column_by_name("path");
            let column = column.filter(|column| column.data_type() == &DataType::Utf8);
            let column = column.ok_or_else(|| Error::internal("a list of files without paths"))?;
            for logged in column.as_string::<i32>().iter().flatten() {
                let path = meant(logged);
                if has_several(&path) {
                    spellings.by_path.insert(path, logged.to_owned());
                }
            }
        }
        Ok(spellings)
    }

    /// Notes that of `path`, which `line` of a commit adds.
    pub(super) fn note(&mut self, path: &str, line: &[u8]) -> serde_json::Result<()> {
        if has_several(path) {
            let line: Line = serde_json::from_slice(line)?;
            let logged = line.add.map(|add| add.path);
            self.by_path
                .extend(logged.map(|logged| (path.to_owned(), logged)));
        }
        Ok(())
    }

    /// Forgets that of a file that is gone.
    pub(super) fn forget(&mut self, path: &str) {
        self.by_path.remove(path);
    }

    /// A commit whose removes name their files as the log does.
    ///
    /// # Errors
    /// If the commit is not one action a line.
    pub(super) fn repeat(&self, commit: Bytes) -> Result<Bytes> {
        if self.by_path.is_empty() {
            return Ok(commit);
        }
        let failed = |error| Error::internal("a commit that is no JSON").source(error);
        let mut lines = Vec::new();
        for line in commit.split(|byte| *byte == b'\n') {
            if !line.starts_with(br#"{"remove""#) {
                lines.push(line.to_vec());
                continue;
            }
            let mut action: Value = serde_json::from_slice(line).map_err(failed)?;
            let path = action.pointer_mut("/remove/path");
            if let Some(Value::String(path)) = path
                && let Some(logged) = self.by_path.get(&meant(path))
            {
                path.clone_from(logged);
            }
            lines.push(serde_json::to_vec(&action).map_err(failed)?);
        }
        Ok(lines.join(&b'\n').into())
    }
}

/// The path that a text of the log means.
fn meant(logged: &str) -> String {
    percent_decode_str(logged).decode_utf8_lossy().into_owned()
}

/// Whether a path may be spelt in several ways. Letters, digits and the marks of usual file names never are.
fn has_several(path: &str) -> bool {
    !path
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/=._-".contains(&byte))
}
