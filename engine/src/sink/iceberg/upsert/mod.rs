//! Upserts into an Iceberg table of format version 2 by our own commit, merged on read or copied on write.
//!
//! For each batch: the data files that can hold one of its keys, by the partitions and bounds in the manifests; of those the key
//! columns alone, to find the rows ([`crate::lake::locate`]); of the files that were hit the position deletes that are there, so
//! that only live rows count. Merged on read, the rows that are found are deleted by their positions, and the rows of the batch go
//! to new data files; copied on write, the files that were hit are written anew ([`rewrite`]). A table may be changed in both ways
//! one after the other.
//!
//! A data file has one delete file of ours, or a few: a new one takes up the positions of those before that are not much larger
//! ([`positions::merged`]), which go. A data file whose rows are all deleted goes too, with its deletes. So what readers and later
//! batches have to look at follows the rows that are there, not the number of commits. Deletes of other writers that are about
//! several data files are left as they are.
//!
//! If another writer was faster, what it did decides: while the files that we delete from and all the deletes that we saw are
//! still there, nobody else deleted from these files, and the data files that came have none of the keys, the same files are
//! committed on top; else the batch is looked up again.
//!
//! Merged on read, a row that is written as it was is written again: to find that out, all its columns would have to be read.
//! Refused are tables with equality deletes, of format version 3 (its deletes are bitmaps), and data files that are no Parquet files.
//!
//! Costs: a manifest is read once; the key columns of every file whose range a key falls into are read; copied on write, all of
//! every file with a changed row is read and written. Memory: some 300 bytes
//! a live file ([`files`]); the batch about three times (rows, keys, encoded files); 16 bytes for each row found.

pub(super) mod bounds;
mod change;
pub(super) mod files;
pub(super) mod lookup;
pub(super) mod positions;
pub(super) mod produce;
pub(super) mod read;
mod rewrite;
mod summary;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use iceberg::spec::{DataContentType, DataFile, FormatVersion};
use sql::change::{NetChange, Position, Span};
use sql::{Error, Result};

use super::IcebergSink;
use super::maintain::Pass;
use super::settle::{COMMIT, Settled, Tries};
use crate::lake::catalog::Failed;
use crate::lake::keys::{KeySet, check_key};
use crate::lake::locate::KeyColumn;
use crate::lake::noted_key::{KEY_PROPERTY, note};
use crate::lake::shape::Missing;
use crate::maintain::{Policy, Report};
use crate::sink::backfill::Backfill;
use crate::sink::protocol::{Standing, check_batch};
use crate::sink::sidecar::Sidecar;
use crate::sink::{Fetched, Receipt, Sink, UpsertSink, failpoint};
use crate::spec::model::{IcebergTableSpec, PartitionField, WriteMode};
use bounds::partition_values;
use change::{key_fields, keys_of, typed_keys};
use files::{LiveDelete, Manifests, State};
use lookup::{Found, Lookup, is_new};
use produce::{Changes, Producer};
use read::LakeReader;
use rewrite::Rewrite;

/// A writer that keeps one Iceberg table equal to its source, for one pipeline.
///
/// [`Sink::write`] appends without looking for keys.
#[derive(Debug)]
pub struct IcebergUpsert {
    sink: IcebergSink,
    key: Vec<String>,
    columns: Vec<KeyColumn>,
    manifests: Manifests,
    reader: LakeReader,
    write_mode: WriteMode,
}

/// The files that make the table what a change wants it to be, and what that was found out from.
#[derive(Debug, Default)]
struct Plan {
    changes: Changes,
    /// Data files whose rows were looked at: they must still be there.
    touched: BTreeSet<String>,
    /// Rows that are new or have changed.
    rows: u64,
    keys: Option<Arc<KeySet>>,
    truncate: bool,
    /// The files of the snapshot that was looked at.
    base: State,
}

impl IcebergUpsert {
    /// Opens or creates the table, as [`IcebergSink::open`] does. `key` are columns of `target`.
    ///
    /// # Errors
    /// As [`IcebergSink::open`]; [`sql::ErrorKind::Config`] also for a key that no table can be searched by, and for a table of
    /// format version 3.
    pub async fn open(
        spec: &IcebergTableSpec,
        pipeline: &str,
        target: &Schema,
        partition_by: &[PartitionField],
        key: &[String],
        missing: Missing,
    ) -> Result<Self> {
        check_key(key, target)?;
        let mut sink = IcebergSink::open(spec, pipeline, target, partition_by, missing).await?;
        sink.key = key.to_vec();
        check_key(key, &sink.schema)?;
        let fields = key_fields(key, sink.table.metadata(), &sink.schema)?;
        let read = Arc::new(AtomicU64::new(0));
        let columns = key.iter().zip(&fields).map(|(name, (id, _))| KeyColumn {
            name: name.clone(),
            field_id: Some(*id),
        });
        let upsert = Self {
            columns: columns.collect(),
            manifests: Manifests::new(fields, Arc::clone(&read)),
            reader: LakeReader {
                file_io: sink.table.file_io().clone(),
                read,
            },
            key: key.to_vec(),
            sink,
            write_mode: WriteMode::MergeOnRead,
        };
        upsert.check_table()?;
        Ok(upsert)
    }

    /// Changes rows in another way than [`WriteMode::MergeOnRead`].
    #[must_use]
    pub fn with(self, write_mode: WriteMode) -> Self {
        Self { write_mode, ..self }
    }

    /// Bytes of manifests, data files and delete files that were read so far, to look keys up and to fetch rows.
    pub fn bytes_read(&self) -> u64 {
        self.reader.read.load(Ordering::Relaxed)
    }

    /// What an upsert needs beyond what an append needs. Looked at before each change: somebody may have changed the table.
    fn check_table(&self) -> Result<()> {
        let metadata = self.sink.table.metadata();
        if metadata.format_version() != FormatVersion::V2 {
            return Err(Error::config(format!(
                "the Iceberg table has format version {}, into which the engine does not upsert",
                metadata.format_version() as u8
            ))
            .at(&self.sink.place)
            .expected("format version 2")
            .remedy("Write to a table of format version 2, or append."));
        }
        let fields = key_fields(&self.key, metadata, &self.sink.schema)?;
        if fields != self.manifests.key {
            return Err(Error::config(
                "the key's columns have been replaced by others in the table",
            )
            .at(&self.sink.place)
            .remedy("Start the pipeline again."));
        }
        Ok(())
    }

    async fn apply(&mut self, change: &NetChange, span: &Span) -> Result<Receipt> {
        let rows = std::slice::from_ref(change.rows());
        if !check_batch(rows, span, &self.sink.schema)? {
            if change.is_empty() {
                return Ok(self.sink.receipt(&[]));
            }
            return Err(Error::internal("a change without a span for the sink"));
        }
        self.sink.refresh().await?;
        if self.sink.standing(span)? == Standing::Landed {
            return Ok(self.sink.landed_before());
        }
        failpoint::hit("before_write");
        let plan = self.plan(change).await?;
        failpoint::hit("after_files");
        let receipt = self.commit(plan, change, span).await?;
        self.sink.finish(receipt, span)
    }

    async fn commit(&mut self, mut plan: Plan, change: &NetChange, span: &Span) -> Result<Receipt> {
        let mut tries = Tries::new(span);
        loop {
            let attempt = self.attempt(&plan, &tries).await;
            let settled = self.sink.settle(attempt.done, &mut tries).await?;
            if !matches!(settled, Settled::Ours) && tries.certain() {
                for path in &attempt.written {
                    self.sink.delete(path).await;
                }
            }
            let receipt = match settled {
                Settled::Ours => self.receipt(&plan),
                Settled::Again => {
                    if !self.still_holds(&mut plan).await? {
                        if tries.certain() {
                            self.discard(&plan).await;
                        }
                        plan = self.plan(change).await?;
                    }
                    continue;
                }
                Settled::Before => {
                    if tries.certain() {
                        self.discard(&plan).await;
                    }
                    self.sink.landed_before()
                }
                Settled::Failed(error) => {
                    if tries.certain() {
                        self.discard(&plan).await;
                    }
                    return Err(error);
                }
            };
            return Ok(Receipt {
                conflicts: tries.lost,
                ..receipt
            });
        }
    }

    /// Makes a snapshot of the plan and asks the catalog to take it.
    async fn attempt(&mut self, plan: &Plan, tries: &Tries<'_>) -> Attempt {
        let moved = self.sink.moved(tries.span);
        let mut summary = moved.clone();
        summary.insert(COMMIT.to_owned(), tries.mark.clone());
        let mut properties = moved;
        properties.insert(KEY_PROPERTY.to_owned(), note(&self.key));
        let mut producer = Producer::new(&self.sink.table, &plan.base);
        let commit = producer.produce(&plan.changes, summary, properties).await;
        let written = producer.written;
        let done = match commit {
            Ok(commit) => {
                self.sink
                    .swap_updates(&commit.requirements, commit.updates)
                    .await
            }
            Err(error) => Err(Failed::from(error)),
        };
        Attempt { done, written }
    }

    fn receipt(&self, plan: &Plan) -> Receipt {
        let data: Vec<DataFile> = plan
            .changes
            .added
            .iter()
            .filter(|(file, _)| file.content_type() == DataContentType::Data)
            .map(|(file, _)| file.clone())
            .collect();
        Receipt {
            rows: plan.rows,
            ..self.sink.receipt(&data)
        }
    }

    async fn discard(&self, plan: &Plan) {
        for (file, _) in &plan.changes.added {
            self.sink.delete(file.file_path()).await;
        }
    }

    /// Whether a plan is right for the snapshot that another writer made. If so, it is based on that one from now on.
    async fn still_holds(&mut self, plan: &mut Plan) -> Result<bool> {
        self.check_table()?;
        let state = self
            .manifests
            .state(&self.sink.table, &self.sink.place)
            .await?;
        let holds = {
            let (before, now) = (plan.base.paths(), state.paths());
            let needed = plan.touched.iter().chain(&plan.changes.removed);
            let mut deletes = plan.base.deletes();
            if plan.truncate {
                before == now
            } else if !needed.into_iter().all(|path| now.contains(path.as_str()))
                || !deletes.all(|delete| now.contains(delete.file.path.as_str()))
                || plan.is_deleted_from(&state, &before)
            {
                false
            } else if let Some(keys) = &plan.keys {
                let found = self.lookup(keys).find(&state, is_new(&before)).await?;
                found.is_empty()
            } else {
                true
            }
        };
        if holds {
            plan.base = state;
        }
        Ok(holds)
    }

    fn lookup<'a>(&'a self, keys: &'a Arc<KeySet>) -> Lookup<'a> {
        Lookup {
            table: &self.sink.table,
            place: &self.sink.place,
            reader: &self.reader,
            keys,
            columns: &self.columns,
            key: &self.manifests.key,
        }
    }

    /// Writes the files that make the table, as the sink last saw it, what `change` wants it to be.
    async fn plan(&mut self, change: &NetChange) -> Result<Plan> {
        self.check_table()?;
        let state = self
            .manifests
            .state(&self.sink.table, &self.sink.place)
            .await?;
        let mut plan = Plan {
            base: state.clone(),
            truncate: change.truncate(),
            ..Plan::default()
        };
        if change.is_empty() {
            return Ok(plan);
        }
        let keys = Arc::new(keys_of(change, &self.key, &self.sink.schema)?);
        plan.keys = Some(Arc::clone(&keys));
        let done = self.write_plan(change, &state, &keys, &mut plan).await;
        if let Err(error) = done {
            self.discard(&plan).await;
            return Err(error);
        }
        Ok(plan)
    }

    async fn write_plan(
        &self,
        change: &NetChange,
        state: &State,
        keys: &Arc<KeySet>,
        plan: &mut Plan,
    ) -> Result<()> {
        if change.truncate() {
            plan.changes.removed = state.paths().into_iter().map(str::to_owned).collect();
        } else {
            let found = self.lookup(keys).find(state, |_| true).await?;
            if self.write_mode == WriteMode::CopyOnWrite {
                let rewrite = Rewrite::try_new(self, change.rows(), plan)?;
                return rewrite.run(&found).await;
            }
            for found in found {
                self.delete_rows(&found, plan).await?;
            }
        }
        let spec = self.sink.table.metadata().default_partition_spec_id();
        let written = self
            .sink
            .write_files(std::slice::from_ref(change.rows()))
            .await?;
        let written = written.into_iter().map(|file| (file, spec));
        plan.changes.added.extend(written);
        plan.rows = change.rows().num_rows() as u64;
        Ok(())
    }

    /// Deletes the rows found in one data file.
    async fn delete_rows(&self, found: &Found<'_>, plan: &mut Plan) -> Result<()> {
        let gone = found.deleted.len() + found.hits.len();
        let own = || found.own.iter().map(|(path, _)| (*path).to_owned());
        if gone as u64 >= found.file.rows {
            plan.changes.removed.insert(found.file.path.clone());
            plan.changes.removed.extend(own());
            return Ok(());
        }
        let hits = found.hits.iter().map(|hit| hit.row);
        let (rows, replaced) = positions::merged(hits.collect(), &found.own);
        plan.changes.removed.extend(replaced);
        let written =
            positions::write(&self.sink.table, &self.sink.place, found.file, &rows).await?;
        plan.changes.added.push((written, found.file.spec));
        plan.touched.insert(found.file.path.clone());
        Ok(())
    }

    async fn rows_of(&mut self, keys: &RecordBatch) -> Result<Fetched> {
        self.sink.refresh().await?;
        self.check_table()?;
        let state = self
            .manifests
            .state(&self.sink.table, &self.sink.place)
            .await?;
        let keys = typed_keys(keys, &self.key, &self.sink.schema)?;
        let keys = Arc::new(KeySet::try_new(&keys)?);
        let mut places: HashMap<usize, usize> = HashMap::new();
        let mut batches = Vec::new();
        for found in self.lookup(&keys).find(&state, |_| true).await? {
            let mut rows = Vec::new();
            for hit in &found.hits {
                let count = places.len();
                // One row a key, also where the table has several.
                places.entry(hit.key as usize).or_insert_with(|| {
                    rows.push(hit.row);
                    count
                });
            }
            if !rows.is_empty() {
                let constants = self.partition_values(&found);
                let schema = &self.sink.file_schema;
                let read = self.reader.rows(found.file, Some(&rows), schema, constants);
                let mut stored = read.await?;
                while let Some(batch) = stored.next().await? {
                    batches.push(batch);
                }
            }
        }
        let rows = concat_batches(&self.sink.file_schema, &batches)
            .and_then(|rows| {
                RecordBatch::try_new(Arc::clone(&self.sink.schema), rows.columns().to_vec())
            })
            .map_err(|error| Error::internal("rows cannot be put together").source(error))?;
        if rows.num_rows() != places.len() {
            return Err(Error::internal("fewer rows were read than found").at(&self.sink.place));
        }
        let found = (0..keys.len()).map(|key| places.get(&keys.first(key)).copied());
        Ok(Fetched {
            rows,
            found: found.collect(),
        })
    }

    /// Columns of the table that the file's partition fixes.
    fn partition_values(&self, found: &Found<'_>) -> Vec<(usize, ArrayRef)> {
        partition_values(self.sink.table.metadata(), &self.sink.schema, found.file)
    }
}

impl Plan {
    /// Whether deletes that are not among `before` are about files that this plan deletes from, or removes.
    fn is_deleted_from(&self, state: &State, before: &HashSet<&str>) -> bool {
        let new: Vec<&LiveDelete> = state
            .deletes()
            .filter(|delete| !before.contains(delete.file.path.as_str()))
            .collect();
        let mut ours = state.data().filter(|file| {
            self.touched.contains(&file.path) || self.changes.removed.contains(&file.path)
        });
        !new.is_empty() && ours.any(|file| new.iter().any(|delete| delete.applies_to(file)))
    }
}

/// One attempt at a commit.
struct Attempt {
    done: Result<(), Failed>,
    /// Its manifests: garbage if it did not land.
    written: Vec<String>,
}

#[async_trait]
impl Sink for IcebergUpsert {
    fn schema(&self) -> SchemaRef {
        self.sink.schema()
    }

    fn sidecar(&self) -> Option<Arc<dyn Sidecar>> {
        self.sink.sidecar()
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

    async fn maintain(&mut self, policy: &Policy) -> Result<Report> {
        Pass::new(&mut self.sink, &mut self.manifests, &self.reader, policy)
            .run()
            .await
    }
}

#[async_trait]
impl UpsertSink for IcebergUpsert {
    fn key(&self) -> &[String] {
        &self.key
    }

    async fn note_backfill(&mut self, values: &Backfill) -> Result<()> {
        self.sink.note(values).await
    }

    async fn backfill(&mut self) -> Result<u64> {
        let policy = Policy {
            // A file stays one file.
            target_file_size: u64::from(u32::MAX),
            ..Policy::default()
        };
        Pass::new(&mut self.sink, &mut self.manifests, &self.reader, &policy)
            .fill()
            .await
    }

    async fn fetch(&mut self, keys: &RecordBatch) -> Result<Fetched> {
        self.rows_of(keys).await
    }

    async fn upsert(&mut self, change: &NetChange, span: &Span) -> Result<Receipt> {
        self.apply(change, span).await
    }
}
