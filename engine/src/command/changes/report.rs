//! What a range of versions did, in figures.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};
use chrono::{DateTime, SecondsFormat};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::Expr;
use datafusion::prelude::ident;
use futures::StreamExt;
use serde_json::{Value, json};
use sql::change::{CHANGE_TYPE, COMMIT_VERSION, utc_micros};
use sql::table::Range;
use sql::versioned::{Version, VersionedTable};
use sql::{Error, Result};

use super::{cannot_plan, cannot_run};
use crate::cli::ReportFormat;
use crate::command::print::Output;
use crate::command::show::{Look, Show};

/// Rows by what happened to them, and how many keys they are of.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Rows {
    inserts: i64,
    /// Updates have two images, and are counted once: by the one after, or if only the one before was asked for, by that.
    updates_before: i64,
    updates_after: i64,
    deletes: i64,
    /// Distinct keys; `None` if it is not known what identifies a row.
    keys: Option<i64>,
}

impl Rows {
    fn updates(&self) -> i64 {
        self.updates_before.max(self.updates_after)
    }

    fn images(&self) -> i64 {
        self.inserts + self.updates_before + self.updates_after + self.deletes
    }

    fn count(&mut self, change_type: &str) {
        match change_type {
            "insert" => self.inserts += 1,
            "update_preimage" => self.updates_before += 1,
            "update_postimage" => self.updates_after += 1,
            _ => self.deletes += 1,
        }
    }
}

/// A line of the report.
#[derive(Debug)]
struct Line {
    version: Option<Version>,
    added_files: i64,
    removed_files: i64,
    bytes: i64,
    rows: Rows,
}

/// What a report is of.
pub(super) struct Of<'a> {
    /// What it calls the table.
    pub(super) shown: &'a str,
    /// The table.
    pub(super) table: &'a dyn VersionedTable,
    /// Its versions.
    pub(super) range: Range,
    /// What identifies a row, if it is known.
    pub(super) key: &'a [String],
}

/// Prints the report of the versions whose change rows are `frame`. Reads of them what counts: the key's columns, the
/// image and the version. Memory: the distinct keys of the range.
pub(super) async fn report(
    out: &mut Output,
    format: ReportFormat,
    of: &Of<'_>,
    frame: DataFrame,
) -> Result<()> {
    let Of {
        shown,
        table,
        range,
        key,
    } = *of;
    let to = range
        .to
        .ok_or_else(|| Error::internal("a report of versions that never end"))?;
    let versions = match range.is_empty() {
        true => Vec::new(),
        false => table.versions(range.from, to).await?,
    };
    let (mut counted, total) = count(frame, key).await?;
    let mut lines: Vec<Line> = versions
        .into_iter()
        .map(|version| {
            let rows = counted.remove(&version.number).unwrap_or_else(|| Rows {
                keys: (!key.is_empty()).then_some(0),
                ..Rows::default()
            });
            Line {
                added_files: whole(version.size.added_files),
                removed_files: whole(version.size.removed_files),
                bytes: whole(version.size.bytes),
                version: Some(version),
                rows,
            }
        })
        .collect();
    let sum = |value: fn(&Line) -> i64| lines.iter().map(value).sum();
    let total = Line {
        version: None,
        added_files: sum(|line| line.added_files),
        removed_files: sum(|line| line.removed_files),
        bytes: sum(|line| line.bytes),
        rows: total,
    };
    match format {
        ReportFormat::Json => {
            let lines: Vec<Value> = lines.iter().map(as_json).collect();
            out.line(json!({
                "table": shown,
                "format": table.format(),
                "from": range.from,
                "to": to,
                "key": key,
                "versions": lines,
                "total": as_json(&total),
            }))
        }
        ReportFormat::Table => {
            lines.push(total);
            let rows = as_rows(&lines)?;
            let look = Look::here(out.is_terminal());
            let mut show = Show::table(&rows.schema(), look, false, false);
            show.rows(&rows, out)?;
            show.finish(out)
        }
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The rows of each version, and of all.
async fn count(frame: DataFrame, key: &[String]) -> Result<(BTreeMap<i64, Rows>, Rows)> {
    let columns = [CHANGE_TYPE, COMMIT_VERSION].map(ident).into_iter();
    let columns: Vec<Expr> = columns.chain(key.iter().map(ident)).collect();
    let frame = frame.select(columns).map_err(cannot_plan)?;
    let mut stream = frame.execute_stream().await.map_err(cannot_run)?;
    let mut keys = Keys::new(
        &stream
            .schema()
            .fields()
            .iter()
            .skip(2)
            .map(|f| f.data_type().clone())
            .collect::<Vec<_>>(),
    )?;
    let mut counted: BTreeMap<i64, Rows> = BTreeMap::new();
    let mut total = Rows::default();
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(cannot_run)?;
        let lacks = || Error::internal("the changes lack a column");
        let types = batch
            .columns()
            .first()
            .and_then(|c| c.as_string_opt::<i32>());
        let types = types.ok_or_else(lacks)?;
        let numbers = batch.columns().get(1);
        let numbers = numbers.and_then(|c| c.as_primitive_opt::<Int64Type>());
        let numbers = numbers.ok_or_else(lacks)?;
        keys.take(&batch, numbers)?;
        for (kind, number) in types.iter().zip(numbers.values()) {
            let kind = kind.unwrap_or_default();
            counted.entry(*number).or_default().count(kind);
            total.count(kind);
        }
    }
    if let Some((of_versions, all)) = keys.distinct() {
        for (number, rows) in &mut counted {
            rows.keys = Some(of_versions.get(number).copied().unwrap_or_default());
        }
        total.keys = Some(all);
    }
    Ok((counted, total))
}

/// Distinct keys of each version, which come in order, and of all.
struct Keys {
    converter: Option<RowConverter>,
    current: Option<i64>,
    of_current: HashSet<OwnedRow>,
    of_versions: BTreeMap<i64, i64>,
    all: HashSet<OwnedRow>,
}

impl Keys {
    fn new(types: &[DataType]) -> Result<Self> {
        let fields: Vec<SortField> = types.iter().cloned().map(SortField::new).collect();
        let converter = match fields.is_empty() {
            true => None,
            false => Some(RowConverter::new(fields).map_err(broken)?),
        };
        Ok(Self {
            converter,
            current: None,
            of_current: HashSet::new(),
            of_versions: BTreeMap::new(),
            all: HashSet::new(),
        })
    }

    fn take(&mut self, batch: &RecordBatch, numbers: &Int64Array) -> Result<()> {
        let Some(converter) = &self.converter else {
            return Ok(());
        };
        let columns = batch.columns().get(2..).unwrap_or_default();
        let rows = converter.convert_columns(columns).map_err(broken)?;
        for (row, number) in rows.iter().zip(numbers.values()) {
            if self.current != Some(*number) {
                self.current = Some(*number);
                self.of_current.clear();
            }
            if self.of_current.insert(row.owned()) {
                *self.of_versions.entry(*number).or_default() += 1;
                self.all.insert(row.owned());
            }
        }
        Ok(())
    }

    fn distinct(self) -> Option<(BTreeMap<i64, i64>, i64)> {
        self.converter.as_ref()?;
        Some((
            self.of_versions,
            i64::try_from(self.all.len()).unwrap_or(i64::MAX),
        ))
    }
}

fn as_json(line: &Line) -> Value {
    let mut object = json!({
        "inserts": line.rows.inserts,
        "updates": line.rows.updates(),
        "deletes": line.rows.deletes,
        "images": line.rows.images(),
        "keys": line.rows.keys,
        "added_files": line.added_files,
        "removed_files": line.removed_files,
        "bytes": line.bytes,
    });
    if let (Some(version), Some(fields)) = (&line.version, object.as_object_mut()) {
        let instant = DateTime::from_timestamp_micros(version.committed_micros);
        let instant = instant.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true));
        fields.insert("version".to_owned(), version.number.into());
        fields.insert("committed_at".to_owned(), instant.into());
        fields.insert("operation".to_owned(), version.operation.as_str().into());
    }
    object
}

fn as_rows(lines: &[Line]) -> Result<RecordBatch> {
    let long = |value: &dyn Fn(&Line) -> Option<i64>| -> ArrayRef {
        Arc::new(Int64Array::from_iter(lines.iter().map(value)))
    };
    let instants = lines.iter().map(|line| {
        line.version
            .as_ref()
            .map(|version| version.committed_micros)
    });
    let instants = TimestampMicrosecondArray::from_iter(instants).with_data_type(utc_micros());
    let operations = lines.iter().map(|line| match &line.version {
        Some(version) => version.operation.as_str(),
        None => "total",
    });
    let columns: [(&str, ArrayRef); 11] = [
        (
            "version",
            long(&|line| line.version.as_ref().map(|v| v.number)),
        ),
        ("committed_at", Arc::new(instants)),
        (
            "operation",
            Arc::new(StringArray::from_iter_values(operations)),
        ),
        ("inserts", long(&|line| Some(line.rows.inserts))),
        ("updates", long(&|line| Some(line.rows.updates()))),
        ("deletes", long(&|line| Some(line.rows.deletes))),
        ("images", long(&|line| Some(line.rows.images()))),
        ("keys", long(&|line| line.rows.keys)),
        ("added_files", long(&|line| Some(line.added_files))),
        ("removed_files", long(&|line| Some(line.removed_files))),
        ("bytes", long(&|line| Some(line.bytes))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .map_err(broken)
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal("a report of changes does not fit together").source(error)
}
