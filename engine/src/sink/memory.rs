//! A table in memory: the double of the lake sinks, and the shortest description of what a sink does.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sql::change::{Position, Span};
use sql::{Error, ErrorKind, Result};

use super::protocol::{Standing, check_batch, standing};
use super::sidecar::Sidecar;
use super::{Receipt, Sink};
use crate::lake::cast::Caster;
use crate::lake::shape::added_columns;

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
        let mut state = self.table.0.lock();
        let mut receipt = Receipt {
            version: state.version,
            ..Receipt::default()
        };
        if !check_batch(rows, span, &self.schema)? {
            return Ok(receipt);
        }
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
        state.positions.insert(self.pipeline.clone(), stored);
        for batch in rows.iter().filter(|batch| batch.num_rows() > 0) {
            // The table may have got columns since the batch was made.
            let batch = Caster::try_new(batch.schema_ref(), &state.schema)?.cast(batch)?;
            state.rows.push(batch);
        }
        state.version += 1;
        self.sent = Some(span.clone());
        if fault == Some(Fault::LostAnswer) {
            return Err(failed());
        }
        receipt.version = state.version;
        receipt.rows = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        Ok(receipt)
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
}
