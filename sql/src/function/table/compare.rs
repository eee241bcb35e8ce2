//! `compare('t', from, to)`: two versions of a table by their files.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;

use crate::error::{Error, Result};

/// What a partition gained and lost.
#[derive(Debug, Default)]
struct Difference {
    added: Sum,
    removed: Sum,
    kept: i64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    files: i64,
    /// `None` once a file does not say it.
    rows: Option<i64>,
    bytes: Option<i64>,
}

impl Sum {
    fn add(&mut self, file: &File) {
        let plus = |sum: Option<i64>, value: Option<i64>, first: bool| match (sum, value) {
            (None, value) if first => value,
            (sum, value) => Some(sum?.saturating_add(value?)),
        };
        let first = self.files == 0;
        self.rows = plus(self.rows, file.rows, first);
        self.bytes = plus(self.bytes, file.bytes, first);
        self.files += 1;
    }

    fn rows(self) -> Option<i64> {
        if self.files == 0 { Some(0) } else { self.rows }
    }

    fn bytes(self) -> Option<i64> {
        if self.files == 0 { Some(0) } else { self.bytes }
    }
}

/// What counts of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    partition: Option<String>,
    content: String,
    rows: Option<i64>,
    bytes: Option<i64>,
}

/// Files, rows and bytes by partition and content that are in only one of two versions, given as
/// [`crate::versioned::files_schema`] says. Partitions whose files are all in both are left out.
///
/// | column | type | meaning |
/// |---|---|---|
/// | `partition` | Utf8 | as in `files('t')` |
/// | `content` | Utf8 | as in `files('t')` |
/// | `added_files` `added_rows` `added_bytes` | Int64 | of files that only the second version has; null where the log does not say |
/// | `removed_files` `removed_rows` `removed_bytes` | Int64 | of files that only the first version has |
/// | `kept_files` | Int64 | that both have |
///
/// Rows are those of the files: a row that a rewrite carried over is among the added and the removed.
///
/// # Errors
/// [`crate::ErrorKind::Internal`] if the batches are no lists of files.
pub fn compare(from: &RecordBatch, to: &RecordBatch) -> Result<RecordBatch> {
    let (before, after) = (files(from)?, files(to)?);
    let mut found: BTreeMap<(Option<String>, String), Difference> = BTreeMap::new();
    for (path, file) in &after {
        let difference = found
            .entry((file.partition.clone(), file.content.clone()))
            .or_default();
        match before.contains_key(path) {
            true => difference.kept += 1,
            false => difference.added.add(file),
        }
    }
    for (path, file) in &before {
        if !after.contains_key(path) {
            let key = (file.partition.clone(), file.content.clone());
            found.entry(key).or_default().removed.add(file);
        }
    }
    found.retain(|_, difference| difference.added.files + difference.removed.files > 0);
    listed(&found)
}

fn listed(found: &BTreeMap<(Option<String>, String), Difference>) -> Result<RecordBatch> {
    let count = |value: &dyn Fn(&Difference) -> Option<i64>| -> ArrayRef {
        Arc::new(Int64Array::from_iter(found.values().map(value)))
    };
    let partitions = found.keys().map(|(partition, _)| partition.as_deref());
    let contents = found.keys().map(|(_, content)| content.as_str());
    let columns: [(&str, ArrayRef); 9] = [
        ("partition", Arc::new(StringArray::from_iter(partitions))),
        ("content", Arc::new(StringArray::from_iter_values(contents))),
        ("added_files", count(&|d| Some(d.added.files))),
        ("added_rows", count(&|d| d.added.rows())),
        ("added_bytes", count(&|d| d.added.bytes())),
        ("removed_files", count(&|d| Some(d.removed.files))),
        ("removed_rows", count(&|d| d.removed.rows())),
        ("removed_bytes", count(&|d| d.removed.bytes())),
        ("kept_files", count(&|d| Some(d.kept))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .map_err(|error| {
            Error::internal("a comparison of files does not fit together").source(error)
        })
}

fn files(list: &RecordBatch) -> Result<HashMap<String, File>> {
    let text = |name: &str| {
        let column = list.column_by_name(name);
        column.and_then(|column| column.as_string_opt::<i32>())
    };
    let long = |name: &str| {
        let column = list.column_by_name(name);
        column.and_then(|column| column.as_primitive_opt::<Int64Type>())
    };
    let (Some(paths), Some(contents), Some(partitions), Some(rows), Some(bytes)) = (
        text("path"),
        text("content"),
        text("partition"),
        long("rows"),
        long("bytes"),
    ) else {
        return Err(Error::internal("a list of files lacks a column"));
    };
    let mut found = HashMap::with_capacity(list.num_rows());
    for ((((path, content), partition), rows), bytes) in paths
        .iter()
        .zip(contents)
        .zip(partitions)
        .zip(rows)
        .zip(bytes)
    {
        let content = content.unwrap_or_default().to_owned();
        let path = path.unwrap_or_default();
        // Deletion vectors may share a file.
        let key = format!("{content} {path}");
        let partition = partition.map(str::to_owned);
        let file = File {
            partition,
            content,
            rows,
            bytes,
        };
        found.insert(key, file);
    }
    Ok(found)
}
