//! The table's versions and files as rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use serde_json::Value;
use sql::versioned::{files_schema, snapshots_schema};
use sql::{Error, Result};

use super::columns::Columns;
use super::commit::{Commit, DataFile};

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// `snapshots('t')`: `current` is the newest version.
pub(super) fn snapshots(commits: &[Arc<Commit>], current: i64) -> Result<RecordBatch> {
    let versions: Vec<_> = commits.iter().map(|commit| commit.as_version()).collect();
    let numbers = |of: fn(&sql::versioned::Version) -> Option<u64>| -> ArrayRef {
        let numbers = versions.iter().map(|version| of(version).map(signed));
        Arc::new(numbers.collect::<Int64Array>())
    };
    let unknown = || numbers(|_| None);
    let times = versions.iter().map(|version| version.committed_micros);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let operations = versions.iter().map(|v| Some(v.operation.as_str()));
    let current = versions
        .iter()
        .map(|version| Some(version.number == current));
    let summaries = commits.iter().map(|commit| {
        let info = (!commit.info.is_empty()).then(|| Value::Object(commit.info.clone()));
        info.map(|info| info.to_string())
    });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            versions.iter().map(|v| v.number),
        )),
        unknown(),
        unknown(),
        Arc::new(times),
        Arc::new(operations.collect::<StringArray>()),
        Arc::new(current.collect::<BooleanArray>()),
        numbers(|version| Some(version.size.added_files)),
        numbers(|version| Some(version.size.removed_files)),
        numbers(|version| version.size.added_rows),
        numbers(|version| version.size.removed_rows),
        unknown(),
        unknown(),
        unknown(),
        Arc::new(summaries.collect::<StringArray>()),
    ];
    RecordBatch::try_new(snapshots_schema(), columns)
        .map_err(|error| Error::internal("versions make no batch").source(error))
}

/// `files('t')`.
pub(super) fn files(files: &[DataFile], columns: &Columns) -> Result<RecordBatch> {
    let partition = |file: &DataFile| {
        let values = file
            .partition
            .as_ref()
            .filter(|values| !values.is_empty())?;
        let named: BTreeMap<_, _> = (values.iter())
            .map(|(name, value)| (columns.logical(name).unwrap_or(name), value))
            .collect();
        serde_json::to_string(&named).ok()
    };
    let numbers = |of: fn(&DataFile) -> Option<u64>| -> ArrayRef {
        let numbers = files.iter().map(|file| of(file).map(signed));
        Arc::new(numbers.collect::<Int64Array>())
    };
    let paths = files.iter().map(|file| Some(file.path.as_str()));
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(paths.collect::<StringArray>()),
        Arc::new(files.iter().map(|_| Some("data")).collect::<StringArray>()),
        Arc::new(files.iter().map(partition).collect::<StringArray>()),
        numbers(|file| file.rows),
        numbers(|file| file.size),
        numbers(|_| None),
        numbers(|file| Some(file.deleted_rows())),
        Arc::new(files.iter().map(|_| None).collect::<Int32Array>()),
    ];
    RecordBatch::try_new(files_schema(), arrays)
        .map_err(|error| Error::internal("files make no batch").source(error))
}
