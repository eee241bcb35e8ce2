//! Upserts into a Delta table by our own copy-on-write commit.
//!
//! For each batch: the files that can hold one of its keys, by partition and statistics in the log; of those the key columns alone,
//! to find the rows ([`crate::lake::locate`]); then the files in which a row changes are written anew, in their order, and the
//! new keys go to one new file for each partition. One commit holds it all: files that go and come, the change feed's files if the
//! table wants them, the positions. Files in which nothing changes are not touched, so that ranges of keys stay narrow.
//!
//! If another writer takes the version, what it did decides: while the files in which keys were found are still there, and the
//! files that came have none of the keys, the same files are committed on the new version; else the batch is looked up again.
//!
//! Costs: the keys of every file whose range they fall into are read, and every file with a changed row is rewritten whole. Emptying
//! the table reads it only if it has a change feed. Memory: the list of the table's files; the batch about four times (its rows, their
//! encoding for comparison, both images in the feed); for each file that is rewritten at
//! the same time one row group that is read and one that is written.

pub(super) mod bounds;
mod change;
mod feed;
pub(super) mod output;
pub(super) mod plan;
pub(super) mod read;
mod rewrite;
mod truncate;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use deltalake::table::config::TablePropertiesExt as _;
use sql::change::{NetChange, Position, Span};
use sql::{Error, Result};

use super::DeltaSink;
use super::commit::{Settled, Tries};
use super::files::FileList;
use crate::clock::now_micros;
use crate::lake::cast::Caster;
use crate::lake::delta::snapshot;
use crate::lake::keys::{KeySet, check_key};
use crate::lake::noted_key::{KEY_PROPERTY, note};
use crate::lake::shape::Missing;
use crate::maintain::{Policy, Report};
use crate::sink::backfill::Backfill;
use crate::sink::protocol::{Standing, check_batch};
use crate::sink::sidecar::Sidecar;
use crate::sink::{Fetched, Receipt, Sink, UpsertSink, failpoint};
use crate::spec::model::DeltaTableSpec;
use change::Change;
use output::Output;
use plan::{Counts, Found, Plan};
use read::Reader;
use rewrite::{Context, Rewrite};

/// A writer that keeps one Delta table equal to its source, for one pipeline.
///
/// [`Sink::write`] appends without looking for keys.
#[derive(Debug)]
pub struct DeltaUpsert {
    sink: DeltaSink,
    key: Vec<String>,
    /// Bytes of data files that were read.
    read: Arc<AtomicU64>,
}

impl DeltaUpsert {
    /// Opens or creates the table, as [`DeltaSink::open`] does, and reads the list of its files. `key` are columns of `target`.
    ///
    /// # Errors
    /// As [`DeltaSink::open`]; [`sql::ErrorKind::Config`] also for a key that no table can be searched by, and for a table that allows
    /// appends only.
    pub async fn open(
        spec: &DeltaTableSpec,
        pipeline: &str,
        target: &Schema,
        partition_by: &[String],
        key: &[String],
        missing: Missing,
    ) -> Result<Self> {
        let mut spec = spec.clone();
        (spec.properties).insert(KEY_PROPERTY.to_owned(), note(key));
        let sink = DeltaSink::open(&spec, pipeline, target, partition_by, missing).await?;
        check_key(key, &sink.schema)?;
        let mut upsert = Self {
            sink,
            key: key.to_vec(),
            read: Arc::default(),
        };
        upsert.sink.files = Some(FileList::new(key));
        upsert.check_table()?;
        upsert.sink.file_list().await?;
        Ok(upsert)
    }

    /// Bytes of data files that were read so far, to look keys up, to rewrite files and to fetch rows.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// What an upsert needs beyond what an append needs. Looked at before each change: somebody may have changed the table.
    fn check_table(&self) -> Result<()> {
        let sink = &self.sink;
        let settings = snapshot(&sink.table, &sink.path)?.table_config();
        if settings.append_only() {
            return Err(Error::config("the Delta table allows appends only")
                .at(&sink.path)
                .remedy("Set its property delta.appendOnly to false, or write to another table."));
        }
        if settings.enable_change_data_feed() {
            for name in ["_change_type", "_commit_version", "_commit_timestamp"] {
                if sink.schema.column_with_name(name).is_some() {
                    return Err(Error::config(format!(
                        "the Delta table has a change feed and a column `{name}`, which the feed has too"
                    ))
                    .at(&sink.path)
                    .remedy("Rename the column with AS in the SELECT list and write to another table."));
                }
            }
        }
        Ok(())
    }

    async fn apply(&mut self, change: &NetChange, span: &Span) -> Result<Receipt> {
        if !check_batch(std::slice::from_ref(change.rows()), span, &self.sink.schema)? {
            if change.is_empty() {
                return Ok(self.sink.receipt(&[], 0));
            }
            return Err(Error::internal("a change without a span for the sink"));
        }
        self.sink.refresh(None).await?;
        if self.sink.standing(span)? == Standing::Landed {
            return Ok(self.sink.landed_before());
        }
        failpoint::hit("before_write");
        let plan = self.plan(change).await?;
        failpoint::hit("after_files");
        let receipt = self.commit(plan, change, span).await?;
        self.sink.finish(receipt, span).await
    }

    async fn commit(&mut self, mut plan: Plan, change: &NetChange, span: &Span) -> Result<Receipt> {
        let mut proposal = plan.proposal(&self.key);
        let mut tries = Tries::new(span);
        while !tries.exhausted() {
            match self.sink.settle(&proposal, &mut tries).await? {
                Settled::Ours => {
                    let rows = plan.counts.inserted + plan.counts.updated;
                    return Ok(Receipt {
                        conflicts: tries.lost,
                        ..self.sink.receipt(&plan.adds, rows)
                    });
                }
                Settled::Again => {}
                Settled::Lost => {
                    match self.still_holds(&plan).await {
                        Ok(true) => continue,
                        Ok(false) => self.discard(&plan).await,
                        Err(error) => {
                            self.discard(&plan).await;
                            return Err(error);
                        }
                    }
                    plan = self.plan(change).await?;
                    proposal = plan.proposal(&self.key);
                }
                Settled::Before => {
                    if tries.certain() {
                        self.discard(&plan).await;
                    }
                    return Ok(Receipt {
                        conflicts: tries.lost,
                        ..self.sink.landed_before()
                    });
                }
                Settled::Fenced(error) => {
                    if tries.certain() {
                        self.discard(&plan).await;
                    }
                    return Err(error);
                }
            }
        }
        if tries.certain() {
            self.discard(&plan).await;
        }
        Err(tries.into_error(&self.sink.path))
    }

    /// Whether a plan is right for the version that another writer made. If so, what happens from now on is watched.
    async fn still_holds(&mut self, plan: &Plan) -> Result<bool> {
        let list = self.sink.file_list().await?;
        let news = list.news();
        let moved = !news.added.is_empty() || !news.removed.is_empty();
        if news.unknown || (plan.truncate && moved) || !news.removed.is_disjoint(&plan.basis) {
            return Ok(false);
        }
        let added = news.added.clone();
        list.watch();
        let Some(keys) = plan.keys.as_ref().filter(|_| !added.is_empty()) else {
            return Ok(true);
        };
        Ok(self
            .sink
            .look_up(keys, &self.key, Some(&added), &self.read)
            .await?
            .is_empty())
    }

    async fn discard(&self, plan: &Plan) {
        self.sink.delete_files(&plan.written).await;
    }

    /// Writes the files that make the table, at the version that the sink stands at, what `change` wants it to be.
    async fn plan(&mut self, change: &NetChange) -> Result<Plan> {
        self.check_table()?;
        self.sink.file_list().await?.watch();
        let plan = Plan {
            truncate: change.truncate(),
            begun: now_micros(),
            counts: Counts {
                source: (change.rows().num_rows() + change.deletes().num_rows()) as u64,
                ..Counts::default()
            },
            ..Plan::default()
        };
        if change.is_empty() {
            return Ok(plan);
        }
        let output = Output::new(&self.sink, &self.key)?;
        let (plan, done) = self.write_plan(change, output, plan).await;
        if let Err(error) = done {
            self.discard(&plan).await;
            return Err(error);
        }
        Ok(plan)
    }

    /// The plan with the files that it takes; after an error with those that were written.
    async fn write_plan(
        &mut self,
        change: &NetChange,
        output: Output,
        mut plan: Plan,
    ) -> (Plan, Result<()>) {
        let looked = self.look(change, &mut plan).await;
        let (change, found) = match looked {
            Ok(looked) => looked,
            Err(error) => return (plan, Err(error)),
        };
        let truncate = change.truncate;
        let on = Context {
            change,
            reader: self.reader(),
            output,
        };
        let mut rewrite = Rewrite::new(Arc::new(on), plan);
        let done = if truncate {
            match self.sink.file_list().await {
                Ok(list) => rewrite.run_anew(&self.key, list.live()).await,
                Err(error) => Err(error),
            }
        } else {
            rewrite.run(found).await
        };
        (rewrite.plan, done)
    }

    async fn look(&mut self, change: &NetChange, plan: &mut Plan) -> Result<(Change, Found)> {
        let sink = &mut self.sink;
        let change = Change::try_new(change, &self.key, &sink.file_schema, &sink.partition_by)?;
        plan.keys = Some(Arc::clone(&change.keys));
        if change.truncate {
            return Ok((change, Found::default()));
        }
        let files = sink.look_up(&change.keys, &self.key, None, &self.read);
        let found = Found::new(&change, files.await?);
        Ok((change, found))
    }

    fn reader(&self) -> Reader {
        Reader {
            store: self.sink.store.object_store(None),
            schema: Arc::clone(&self.sink.file_schema),
            partition_by: self.sink.partition_by.clone(),
            read: Arc::clone(&self.read),
        }
    }

    async fn rows_of(&mut self, keys: &RecordBatch) -> Result<Fetched> {
        self.sink.refresh(None).await?;
        let fields = self.key.iter().filter_map(|name| {
            let (_, field) = self.sink.schema.column_with_name(name)?;
            Some(field.as_ref().clone().with_nullable(true))
        });
        let fields = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let keys = Caster::try_new(keys.schema_ref(), &fields)?.cast(keys)?;
        let keys = Arc::new(KeySet::try_new(&keys)?);
        let mut places: Vec<Option<usize>> = vec![None; keys.len()];
        let mut found = Vec::new();
        let mut count = 0;
        let reader = self.reader();
        for (path, file, hits) in self
            .sink
            .look_up(&keys, &self.key, None, &self.read)
            .await?
        {
            let mut rows = Vec::new();
            for hit in hits {
                // One row a key, also where the table has several.
                if let Some(place @ None) = places.get_mut(hit.key as usize) {
                    *place = Some(count);
                    count += 1;
                    rows.push(hit.row);
                }
            }
            if rows.is_empty() {
                continue;
            }
            let mut stored = reader.rows(&path, &file, Some(&rows)).await?;
            while let Some(batch) = stored.next().await? {
                found.push(batch);
            }
        }
        let rows = concat_batches(&self.sink.file_schema, &found)
            .and_then(|rows| rows.with_schema(Arc::clone(&self.sink.schema)))
            .map_err(|error| Error::internal("rows cannot be put together").source(error))?;
        if rows.num_rows() != count {
            return Err(Error::internal("fewer rows were read than found").at(&self.sink.path));
        }
        let found = (0..keys.len()).map(|key| places.get(keys.first(key)).copied().flatten());
        Ok(Fetched {
            rows,
            found: found.collect(),
        })
    }
}

#[async_trait]
impl Sink for DeltaUpsert {
    fn schema(&self) -> SchemaRef {
        self.sink.schema()
    }

    async fn progress(&mut self) -> Result<Position> {
        self.sink.progress().await
    }

    async fn write(&mut self, rows: &[RecordBatch], span: &Span) -> Result<Receipt> {
        self.sink.append(rows, span).await
    }

    async fn evolve(&mut self, schema: &SchemaRef) -> Result<()> {
        self.sink.evolve(schema).await
    }

    fn sidecar(&self) -> Option<Arc<dyn Sidecar>> {
        self.sink.sidecar()
    }

    async fn maintain(&mut self, policy: &Policy) -> Result<Report> {
        self.sink.maintain(policy).await
    }
}

#[async_trait]
impl UpsertSink for DeltaUpsert {
    fn key(&self) -> &[String] {
        &self.key
    }

    async fn note_backfill(&mut self, values: &Backfill) -> Result<()> {
        self.sink.note(values).await
    }

    async fn backfill(&mut self) -> Result<u64> {
        let reader = self.reader();
        self.sink.fill(&reader).await
    }

    async fn fetch(&mut self, keys: &RecordBatch) -> Result<Fetched> {
        self.rows_of(keys).await
    }

    async fn upsert(&mut self, change: &NetChange, span: &Span) -> Result<Receipt> {
        self.apply(change, span).await
    }
}
