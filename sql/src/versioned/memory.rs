//! A versioned table in memory: the double for tests, and the shortest template for a new format.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use futures::{StreamExt, stream};
use parking_lot::Mutex;

use super::{
    Readable, Rows, Size, Version, VersionedTable, Wanted, files_schema, snapshots_schema,
};
use crate::change::CHANGE_TYPE;
use crate::error::{Error, ErrorKind, Result};

/// A version, and what it made of the one before.
#[derive(Debug, Clone)]
struct Commit {
    version: Version,
    /// The row's columns, then the type of the change.
    changes: RecordBatch,
    rows: RecordBatch,
}

#[derive(Debug)]
struct State {
    /// The newest schema, and the one that was seen by [`VersionedTable::refresh`].
    schema: SchemaRef,
    seen: SchemaRef,
    key: Vec<String>,
    commits: BTreeMap<i64, Commit>,
    next: i64,
    /// Rows in the batches of a stream.
    batch: usize,
    /// Errors to be returned by the next calls that read.
    failures: Vec<Error>,
    /// Rows that streams handed out.
    delivered: u64,
}

/// A table whose clones are one. Its first version has the number that [`MemoryTable::new`] is told, each further one the next.
#[derive(Debug, Clone)]
pub struct MemoryTable {
    name: String,
    state: Arc<Mutex<State>>,
}

impl MemoryTable {
    /// A table without versions, whose first one will be `first`.
    pub fn new(name: &str, schema: SchemaRef, key: &[&str], first: i64) -> Self {
        Self {
            name: name.to_owned(),
            state: Arc::new(Mutex::new(State {
                seen: Arc::clone(&schema),
                schema,
                key: key.iter().map(|name| (*name).to_owned()).collect(),
                commits: BTreeMap::new(),
                next: first,
                batch: 1024,
                failures: Vec::new(),
                delivered: 0,
            })),
        }
    }

    /// Streams have batches of so many rows.
    pub fn batches_of(&self, rows: usize) {
        self.state.lock().batch = rows.max(1);
    }

    /// The next call that reads fails with `error`; several are returned one after the other.
    pub fn fail(&self, error: Error) {
        self.state.lock().failures.insert(0, error);
    }

    /// The newest schema from the next commit on.
    pub fn evolve(&self, schema: SchemaRef) {
        self.state.lock().schema = schema;
    }

    /// The number of the last version that was made, even if it was rolled back; one less than the first before it.
    pub fn newest(&self) -> i64 {
        self.state.lock().next.saturating_sub(1)
    }

    /// Rows that were handed out so far.
    pub fn delivered(&self) -> u64 {
        self.state.lock().delivered
    }

    /// Commits `changes`: the row's columns, then the type of the change; at `micros` since the epoch. Returns the version.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if a row that goes is not there, or if columns do not fit.
    pub fn commit(&self, changes: RecordBatch, micros: i64) -> Result<i64> {
        let mut state = self.state.lock();
        let number = state.next;
        let rows = match state.commits.last_key_value() {
            Some((_, last)) => read_into(&last.rows, &state.schema)?,
            None => RecordBatch::new_empty(Arc::clone(&state.schema)),
        };
        let columns = row_columns(&changes)?;
        let rows = apply(
            &rows,
            &read_into(&columns, &state.schema)?,
            &types(&changes)?,
        )?;
        let version = Version {
            number,
            committed_micros: micros,
            operation: "WRITE".to_owned(),
            changes_rows: changes.num_rows() > 0,
            size: Size::default(),
        };
        let commit = Commit {
            version,
            changes,
            rows,
        };
        state.commits.insert(number, commit);
        state.next = number.saturating_add(1);
        Ok(number)
    }

    /// A version that rewrites files and changes no row.
    ///
    /// # Errors
    /// As [`MemoryTable::commit`].
    pub fn compact(&self, micros: i64) -> Result<i64> {
        let schema = self.state.lock().schema.clone();
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        fields.push(Arc::new(arrow::datatypes::Field::new(
            CHANGE_TYPE,
            arrow::datatypes::DataType::Utf8,
            true,
        )));
        self.commit(
            RecordBatch::new_empty(Arc::new(Schema::new(fields))),
            micros,
        )
    }

    /// The versions before `first` are gone.
    pub fn expire(&self, first: i64) {
        let mut state = self.state.lock();
        state.commits = state.commits.split_off(&first);
    }

    /// The versions after `to` are no longer of the table's history; the next one has a new number.
    pub fn roll_back(&self, to: i64) {
        let mut state = self.state.lock();
        state.commits.split_off(&to.saturating_add(1));
    }

    fn failure(&self) -> Result<()> {
        match self.state.lock().failures.pop() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn lost(&self, state: &State, asked: i64) -> Error {
        let range = match (
            state.commits.first_key_value(),
            state.commits.last_key_value(),
        ) {
            (Some((first, _)), Some((last, _))) => format!("{first} to {last} can be read"),
            _ => "there is none".to_owned(),
        };
        Error::new(
            ErrorKind::DataLoss,
            format!("version {asked} of {} is not there: {range}", self.name),
        )
    }

    fn commit_of(&self, number: i64) -> Result<Commit> {
        self.failure()?;
        let state = self.state.lock();
        let found = state.commits.get(&number).cloned();
        found.ok_or_else(|| self.lost(&state, number))
    }

    /// `rows` in batches, counted as they are taken; a failure that was asked for comes before the next batch.
    fn stream(&self, rows: &RecordBatch) -> Rows {
        let size = self.state.lock().batch;
        let starts = (0..rows.num_rows()).step_by(size);
        let parts: Vec<RecordBatch> = starts
            .map(|start| rows.slice(start, size.min(rows.num_rows() - start)))
            .collect();
        let table = self.clone();
        stream::iter(parts)
            .map(move |part| {
                table.failure()?;
                table.state.lock().delivered += part.num_rows() as u64;
                Ok(part)
            })
            .boxed()
    }
}

#[async_trait]
impl VersionedTable for MemoryTable {
    fn name(&self) -> &str {
        &self.name
    }

    fn format(&self) -> &'static str {
        "memory"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.state.lock().seen)
    }

    fn key(&self) -> Vec<String> {
        self.state.lock().key.clone()
    }

    async fn refresh(&self) -> Result<Readable> {
        self.failure()?;
        let mut state = self.state.lock();
        state.seen = Arc::clone(&state.schema);
        let first = state.commits.keys().next().copied();
        let last = state.commits.keys().next_back().copied();
        Ok(match (first, last) {
            (Some(first), Some(last)) => Readable { first, last },
            _ => Readable {
                first: state.next,
                last: state.next.saturating_sub(1),
            },
        })
    }

    async fn versions(&self, from: i64, to: i64) -> Result<Vec<Version>> {
        self.failure()?;
        let state = self.state.lock();
        let first = state.commits.keys().next().copied();
        if first.is_none_or(|first| from < first) {
            return Err(self.lost(&state, from));
        }
        let found = state.commits.range(from..=to.max(from));
        let found = found.filter(|(number, _)| **number <= to);
        Ok(found.map(|(_, commit)| commit.version.clone()).collect())
    }

    async fn version_at(&self, micros: i64) -> Result<Option<i64>> {
        self.failure()?;
        let state = self.state.lock();
        let mut newest = state.commits.values().rev();
        let found = newest.find(|commit| commit.version.committed_micros <= micros);
        Ok(found.map(|commit| commit.version.number))
    }

    async fn changes(&self, number: i64, wanted: &Wanted) -> Result<Rows> {
        let commit = self.commit_of(number)?;
        let schema = self.schema();
        let rows = read_into(&row_columns(&commit.changes)?, &schema)?;
        let rows = project(&rows, &wanted.columns)?;
        let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
        let mut columns = rows.columns().to_vec();
        let changes = commit.changes.schema();
        let (kind, _) = changes
            .fields()
            .iter()
            .enumerate()
            .next_back()
            .ok_or_else(|| Error::internal("changes have no type"))?;
        fields.push(Arc::clone(&changes.fields()[kind]));
        columns.push(Arc::clone(commit.changes.column(kind)));
        let all = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(broken)?;
        let kinds = types(&all)?;
        let asked = |kind: &String| {
            let types = wanted.change_types.as_ref();
            types.is_none_or(|types| types.contains(kind))
        };
        let kept = (0_u32..)
            .zip(&kinds)
            .filter(|(_, kind)| asked(kind))
            .map(|(row, _)| row);
        let kept = arrow::array::UInt32Array::from_iter_values(kept);
        Ok(self.stream(&take_record_batch(&all, &kept).map_err(broken)?))
    }

    async fn rows(&self, number: i64, columns: &[String]) -> Result<Rows> {
        let commit = self.commit_of(number)?;
        let rows = read_into(&commit.rows, &self.schema())?;
        Ok(self.stream(&project(&rows, columns)?))
    }

    async fn at(&self, number: i64) -> Result<Arc<dyn TableProvider>> {
        let commit = self.commit_of(number)?;
        let rows = read_into(&commit.rows, &self.schema())?;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])
            .map_err(|error| Error::internal("rows in memory are no table").source(error))?;
        Ok(Arc::new(table))
    }

    async fn snapshots(&self) -> Result<RecordBatch> {
        let state = self.state.lock();
        let last = state.commits.keys().next_back().copied();
        let schema = snapshots_schema();
        let rows = state.commits.values().map(|commit| &commit.version);
        let scalar = |name: &str, version: &Version| match name {
            // The double's ids are its numbers with a thousand before them.
            "version" => ScalarValue::Int64(Some(version.number)),
            "snapshot_id" => ScalarValue::Int64(Some(version.number.saturating_add(1000))),
            "committed_at" => ScalarValue::TimestampMicrosecond(
                Some(version.committed_micros),
                Some("UTC".into()),
            ),
            "operation" => ScalarValue::Utf8(Some(version.operation.clone())),
            "is_current" => ScalarValue::Boolean(Some(last == Some(version.number))),
            "summary" => ScalarValue::Utf8(None),
            _ => ScalarValue::Int64(None),
        };
        let columns = schema.fields().iter().map(|field| {
            let values = rows.clone().map(|version| scalar(field.name(), version));
            let values: Vec<ScalarValue> = values.collect();
            if values.is_empty() {
                return Ok(new_null_array(field.data_type(), 0));
            }
            ScalarValue::iter_to_array(values)
                .map_err(|error| Error::internal("versions are no column").source(error))
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        RecordBatch::try_new(Arc::clone(&schema), columns).map_err(broken)
    }

    async fn files(&self, number: Option<i64>) -> Result<RecordBatch> {
        if let Some(number) = number {
            self.commit_of(number)?;
        }
        Ok(RecordBatch::new_empty(files_schema()))
    }
}

/// Everything but the type of the change.
fn row_columns(changes: &RecordBatch) -> Result<RecordBatch> {
    let last = changes.num_columns().saturating_sub(1);
    let columns: Vec<usize> = (0..last).collect();
    changes.project(&columns).map_err(broken)
}

fn types(changes: &RecordBatch) -> Result<Vec<String>> {
    let column = changes
        .column_by_name(CHANGE_TYPE)
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| Error::internal("changes have no type"))?;
    Ok(column
        .iter()
        .map(|kind| kind.unwrap_or_default().to_owned())
        .collect())
}

/// `rows` with the columns of `schema`: null where they have none.
fn read_into(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match rows.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()).map_err(broken),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(broken)
}

fn project(rows: &RecordBatch, columns: &[String]) -> Result<RecordBatch> {
    let indices = columns
        .iter()
        .map(|name| rows.schema().index_of(name).map_err(broken));
    let indices = indices.collect::<Result<Vec<_>>>()?;
    rows.project(&indices).map_err(broken)
}

/// What `changes` make of `rows`.
fn apply(rows: &RecordBatch, changes: &RecordBatch, kinds: &[String]) -> Result<RecordBatch> {
    let values = |batch: &RecordBatch, row: usize| -> Result<Vec<ScalarValue>> {
        let columns = batch.columns().iter();
        let values = columns.map(|column| ScalarValue::try_from_array(column, row));
        values
            .collect::<datafusion::common::Result<_>>()
            .map_err(|error| Error::internal("a row cannot be compared").source(error))
    };
    let all = concat_batches(&rows.schema(), [rows, changes]).map_err(broken)?;
    let before = rows.num_rows();
    let mut living: Vec<usize> = (0..before).collect();
    for (row, kind) in kinds.iter().enumerate() {
        let place = before + row;
        if matches!(kind.as_str(), "insert" | "update_postimage") {
            living.push(place);
            continue;
        }
        let gone = values(&all, place)?;
        let mut found = None;
        for (index, candidate) in living.iter().enumerate() {
            if values(&all, *candidate)? == gone {
                found = Some(index);
                break;
            }
        }
        let found = found
            .ok_or_else(|| Error::internal(format!("a row that goes is not there: {gone:?}")))?;
        living.remove(found);
    }
    let indices = living
        .iter()
        .map(|row| u32::try_from(*row).unwrap_or(u32::MAX));
    let indices = arrow::array::PrimitiveArray::<UInt32Type>::from_iter_values(indices);
    take_record_batch(&all, &indices).map_err(broken)
}

fn broken(error: ArrowError) -> Error {
    Error::internal("the rows of a table in memory do not fit together").source(error)
}
