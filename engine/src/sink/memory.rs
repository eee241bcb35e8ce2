//! A table in memory: the double of the lake sinks, and the shortest description of what a sink does.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat, concat_batches, filter_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sql::change::{NetChange, Position, Span};
use sql::{Error, ErrorKind, Result};

use super::protocol::{Standing, check_batch, standing};
use super::sidecar::Sidecar;
use super::{Fetched, Receipt, Sink, UpsertSink};
use crate::lake::cast::Caster;
use crate::lake::keys::KeySet;
use crate::lake::shape::added_columns;
use crate::sink::backfill::Backfill;

/// What goes wrong at the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is committed, and the caller is told so.
    BeforeCommit,
    /// It is committed, and the caller is told that it failed.
    LostAnswer,
}

/// A table that several sinks may write, as several engines would.
#[derive(Debug, Clone)]
pub struct MemoryTable(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    schema: SchemaRef,
    rows: Vec<RecordBatch>,
    positions: BTreeMap<String, Position>,
    version: i64,
    fault: Option<Fault>,
    files: BTreeMap<String, Bytes>,
    backfill: Backfill,
}

impl MemoryTable {
    /// An empty table.
    pub fn new(schema: SchemaRef) -> Self {
        Self(Arc::new(Mutex::new(State {
            schema,
            rows: Vec::new(),
            positions: BTreeMap::new(),
            version: 0,
            fault: None,
            files: BTreeMap::new(),
            backfill: Backfill::default(),
        })))
    }

    /// The committed rows, in order of commits.
    pub fn rows(&self) -> Vec<RecordBatch> {
        self.0.lock().rows.clone()
    }

    /// Lets the next write fail.
    pub fn fail_next(&self, fault: Fault) {
        self.0.lock().fault = Some(fault);
    }

    /// The files beside the table.
    pub fn files(&self) -> BTreeMap<String, Bytes> {
        self.0.lock().files.clone()
    }

    /// A writer for `pipeline`.
    pub fn sink(&self, pipeline: impl Into<String>) -> MemorySink {
        MemorySink {
            schema: Arc::clone(&self.0.lock().schema),
            table: self.clone(),
            pipeline: pipeline.into(),
            sent: None,
            key: Vec::new(),
        }
    }

    /// A writer for `pipeline` that keeps the rows of each `key`.
    pub fn upsert_sink(&self, pipeline: impl Into<String>, key: &[String]) -> MemorySink {
        MemorySink {
            key: key.to_vec(),
            ..self.sink(pipeline)
        }
    }
}

/// A writer of a [`MemoryTable`].
#[derive(Debug)]
pub struct MemorySink {
    table: MemoryTable,
    pipeline: String,
    schema: SchemaRef,
    /// The span of our last commit.
    sent: Option<Span>,
    /// Empty for one that appends.
    key: Vec<String>,
}

impl MemorySink {
    /// Moves the positions along `span` and does `apply`, which returns the rows that it added, or neither.
    fn commit(
        &mut self,
        span: &Span,
        apply: impl FnOnce(&mut State) -> Result<u64>,
    ) -> Result<Receipt> {
        let mut state = self.table.0.lock();
        let mut receipt = Receipt {
            version: state.version,
            ..Receipt::default()
        };
        let mut stored = state
            .positions
            .get(&self.pipeline)
            .cloned()
            .unwrap_or_default();
        if standing(&stored, span, self.sent.as_ref(), "memory")? == Standing::Landed {
            receipt.already_landed = true;
            return Ok(receipt);
        }
        let fault = state.fault.take();
        let failed = || Error::new(ErrorKind::Unavailable, "a fault was asked for");
        if fault == Some(Fault::BeforeCommit) {
            return Err(failed());
        }
        stored.try_advance(span)?;
        receipt.rows = apply(&mut state)?;
        state.positions.insert(self.pipeline.clone(), stored);
        state.version += 1;
        self.sent = Some(span.clone());
        if fault == Some(Fault::LostAnswer) {
            return Err(failed());
        }
        receipt.version = state.version;
        Ok(receipt)
    }

    fn receipt(&self) -> Receipt {
        Receipt {
            version: self.table.0.lock().version,
            ..Receipt::default()
        }
    }
}

impl State {
    fn append(&mut self, rows: &[RecordBatch]) -> Result<u64> {
        let mut fitted = Vec::with_capacity(rows.len());
        for batch in rows.iter().filter(|batch| batch.num_rows() > 0) {
            // The table may have got columns since the batch was made.
            fitted.push(Caster::try_new(batch.schema_ref(), &self.schema)?.cast(batch)?);
        }
        self.rows.extend(fitted);
        Ok(rows.iter().map(|batch| batch.num_rows() as u64).sum())
    }

    /// Calls `hit(batch, row, key)` for each row that has one of the keys.
    fn probe(
        &self,
        key: &[String],
        keys: &KeySet,
        mut hit: impl FnMut(usize, usize, usize),
    ) -> Result<()> {
        for (at, batch) in self.rows.iter().enumerate() {
            keys.probe(&columns(batch, key)?, |row, key| hit(at, row, key))?;
        }
        Ok(())
    }

    fn upsert(&mut self, change: &NetChange, key: &[String]) -> Result<u64> {
        let rows =
            Caster::try_new(change.rows().schema_ref(), &self.schema)?.cast(change.rows())?;
        let own = columns(&rows, key)?;
        let keys = own.iter().zip(change.deletes().columns()).zip(key);
        let keys = keys.map(|((own, deleted), name)| {
            let all = concat(&[own.as_ref(), deleted.as_ref()]);
            let all = all.map_err(|error| Error::internal("keys of two types").source(error))?;
            Ok((name.clone(), all))
        });
        let keys = RecordBatch::try_from_iter(keys.collect::<Result<Vec<_>>>()?)
            .map_err(|error| Error::internal("keys that are no batch").source(error))?;
        let keys = KeySet::try_new(&keys)?;
        if keys.has_repeats() {
            return Err(Error::internal("a net change has a key twice"));
        }
        let mut old: Vec<Vec<(usize, usize)>> = vec![Vec::new(); keys.len()];
        self.probe(key, &keys, |batch, row, key| {
            if let Some(old) = old.get_mut(key) {
                old.push((batch, row));
            }
        })?;
        let same = |new: usize, (batch, row): (usize, usize)| {
            let old = self.rows.get(batch).into_iter().flat_map(|b| b.columns());
            old.zip(rows.columns())
                .all(|(old, own)| old.slice(row, 1).to_data() == own.slice(new, 1).to_data())
        };
        let kept = (0..rows.num_rows()).filter(|new| {
            old.get(*new)
                .and_then(|old| old.first())
                .is_some_and(|old| same(*new, *old))
        });
        let written = rows.num_rows() - kept.count();
        if change.truncate() {
            self.rows.clear();
        }
        for (at, batch) in self.rows.iter_mut().enumerate() {
            let gone: Vec<usize> = old
                .iter()
                .flatten()
                .filter(|o| o.0 == at)
                .map(|o| o.1)
                .collect();
            let mut mask = vec![true; batch.num_rows()];
            for row in gone {
                if let Some(mask) = mask.get_mut(row) {
                    *mask = false;
                }
            }
            *batch = filter_record_batch(batch, &BooleanArray::from(mask))
                .map_err(|error| Error::internal("cannot leave rows out").source(error))?;
        }
        self.rows.push(rows);
        self.rows.retain(|batch| batch.num_rows() > 0);
        Ok(written as u64)
    }
}

fn columns(batch: &RecordBatch, key: &[String]) -> Result<Vec<ArrayRef>> {
    let columns = key.iter().map(|name| batch.column_by_name(name).cloned());
    let columns: Option<Vec<_>> = columns.collect();
    columns
        .filter(|columns| !columns.is_empty())
        .ok_or_else(|| Error::internal("rows without the columns of the key"))
}

#[async_trait]
impl Sink for MemorySink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn progress(&mut self) -> Result<Position> {
        let state = self.table.0.lock();
        Ok(state
            .positions
            .get(&self.pipeline)
            .cloned()
            .unwrap_or_default())
    }

    async fn write(&mut self, rows: &[RecordBatch], span: &Span) -> Result<Receipt> {
        if !check_batch(rows, span, &self.schema)? {
            return Ok(self.receipt());
        }
        self.commit(span, |state| state.append(rows))
    }

    async fn evolve(&mut self, schema: &SchemaRef) -> Result<()> {
        let mut state = self.table.0.lock();
        let added = added_columns(schema, &state.schema, "memory")?;
        let fields = state.schema.fields().iter().chain(added.fields()).cloned();
        let evolved = Schema::new(fields.collect::<Vec<_>>());
        // Old rows fill up with nulls, as readers of a lake table see them.
        let caster = Caster::try_new(&state.schema, &evolved)?;
        state.rows = state
            .rows
            .iter()
            .map(|batch| caster.cast(batch))
            .collect::<Result<_>>()?;
        state.schema = Arc::new(evolved);
        self.schema = Arc::clone(&state.schema);
        Ok(())
    }

    fn sidecar(&self) -> Option<Arc<dyn Sidecar>> {
        Some(Arc::new(self.table.clone()))
    }
}

#[async_trait]
impl Sidecar for MemoryTable {
    fn place(&self) -> &str {
        "memory"
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        Ok(self.0.lock().files.get(path).cloned())
    }

    async fn write(&self, path: &str, content: Bytes) -> Result<()> {
        self.0.lock().files.insert(path.to_owned(), content);
        Ok(())
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.0.lock().files.remove(path);
        Ok(())
    }

    async fn list(&self, folder: &str) -> Result<Option<Vec<String>>> {
        let state = self.0.lock();
        let names = state.files.keys().filter_map(|path| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            (!name.contains('/')).then(|| name.to_owned())
        });
        Ok(Some(names.collect()))
    }
}

#[async_trait]
impl UpsertSink for MemorySink {
    fn key(&self) -> &[String] {
        &self.key
    }

    async fn note_backfill(&mut self, values: &Backfill) -> Result<()> {
        let mut state = self.table.0.lock();
        state.backfill = std::mem::take(&mut state.backfill).and(values);
        Ok(())
    }

    async fn backfill(&mut self) -> Result<u64> {
        let mut state = self.table.0.lock();
        let values = state.backfill.values(&state.schema)?;
        if values.is_empty() {
            return Ok(0);
        }
        let mut filled = 0;
        for batch in &mut state.rows {
            let (rows, count) = values.fill(batch)?;
            *batch = rows;
            filled += count;
        }
        state.backfill = Backfill::default();
        Ok(filled)
    }

    async fn fetch(&mut self, keys: &RecordBatch) -> Result<Fetched> {
        let state = self.table.0.lock();
        let keys = KeySet::try_new(keys)?;
        let mut places: Vec<Option<usize>> = vec![None; keys.len()];
        let mut found = Vec::new();
        state.probe(&self.key, &keys, |batch, row, key| {
            if let (Some(place @ None), Some(batch)) = (places.get_mut(key), state.rows.get(batch))
            {
                *place = Some(found.len());
                found.push(batch.slice(row, 1));
            }
        })?;
        let rows = concat_batches(&state.schema, &found)
            .map_err(|error| Error::internal("rows cannot be put together").source(error))?;
        let found = (0..keys.len()).map(|key| places.get(keys.first(key)).copied().flatten());
        Ok(Fetched {
            rows,
            found: found.collect(),
        })
    }

    async fn upsert(&mut self, change: &NetChange, span: &Span) -> Result<Receipt> {
        if !check_batch(std::slice::from_ref(change.rows()), span, &self.schema)? {
            if change.is_empty() {
                return Ok(self.receipt());
            }
            return Err(Error::internal("a change without a span for the sink"));
        }
        let key = self.key.clone();
        self.commit(span, |state| state.upsert(change, &key))
    }
}
