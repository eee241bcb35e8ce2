//! Files written anew, without the rows that changed and with what they became.
//!
//! As many files at once as there are cores, at most [`PARALLEL`]; each in its order, one batch at a time. Memory: for each of them one
//! row group being read and one being written; and the rows of the change feed. Whether a file changes at all is found out before anything is written: its first row that may change is
//! read alone, the others only if that one stays as it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::available_parallelism;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use sql::{Error, Result};
use tokio::task::JoinSet;

use super::change::Change;
use super::feed::Feed;
use super::output::{Image, Output};
use super::plan::{Found, Plan, Step, Work};
use super::read::Reader;
use crate::lake::pieces::Pieces;

/// Files that are rewritten at once, at most.
const PARALLEL: usize = 4;

/// What a plan is made with.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) change: Change,
    pub(super) reader: Reader,
    pub(super) output: Output,
}

/// The making of a plan, or of one file's part of it.
#[derive(Debug)]
pub(super) struct Rewrite {
    pub(super) on: Arc<Context>,
    pub(super) plan: Plan,
    pub(super) feed: Feed,
}

impl Rewrite {
    /// Goes on with `plan`.
    pub(super) fn new(on: Arc<Context>, plan: Plan) -> Self {
        Self {
            on,
            plan,
            feed: Feed::default(),
        }
    }

    /// Rewrites the files in which something changes, and writes the rows that are new. After an error the plan still says which
    /// files were written.
    pub(super) async fn run(&mut self, found: Found) -> Result<()> {
        let paths = found.work.iter().map(|work| work.path.clone());
        self.plan.basis.extend(paths);
        self.rewrite_all(found.work).await?;
        self.arrive(found.arrivals).await?;
        self.write_feed().await
    }

    async fn rewrite_all(&mut self, work: Vec<Work>) -> Result<()> {
        let parallel = available_parallelism().map_or(1, usize::from).min(PARALLEL);
        let mut waiting = work.into_iter().enumerate();
        let mut running = JoinSet::new();
        let mut parts = BTreeMap::new();
        let mut failed = None;
        loop {
            while failed.is_none()
                && running.len() < parallel
                && let Some((place, work)) = waiting.next()
            {
                let mut part = Self::new(Arc::clone(&self.on), Plan::default());
                running.spawn(async move {
                    let done = part.rewrite_if_changed(&work).await;
                    (place, part, done)
                });
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            let done = ended.map_or_else(
                |error| Err(Error::internal("a rewrite ended early").source(error)),
                |(place, part, done)| {
                    parts.insert(place, part);
                    done
                },
            );
            if let Err(error) = done {
                failed.get_or_insert(error);
            }
        }
        for part in parts.into_values() {
            self.plan.append(part.plan);
            self.feed.append(part.feed);
        }
        failed.map_or(Ok(()), Err)
    }

    async fn rewrite_if_changed(&mut self, work: &Work) -> Result<()> {
        if self.changes(work).await? {
            self.rewrite(work).await?;
        }
        Ok(())
    }

    /// Writes the rows of the change feed that have come together.
    pub(super) async fn write_feed(&mut self) -> Result<()> {
        let feed = std::mem::take(&mut self.feed);
        let files = feed.write(&self.on.output, &mut self.plan.written).await?;
        self.plan.feed.extend(files);
        Ok(())
    }

    async fn changes(&self, work: &Work) -> Result<bool> {
        let mut kept = Vec::with_capacity(work.steps.len());
        for (row, step) in &work.steps {
            match step {
                Step::Replace(key) => kept.push((*row, *key)),
                Step::Delete | Step::Move => return Ok(true),
            }
        }
        let (first, others) = kept.split_at(1.min(kept.len()));
        Ok(self.differ(work, first).await? || self.differ(work, others).await?)
    }

    /// Whether a row of the file differs from what it should be.
    async fn differ(&self, work: &Work, rows: &[(u64, u32)]) -> Result<bool> {
        if rows.is_empty() {
            return Ok(false);
        }
        let (numbers, mut keys): (Vec<u64>, Vec<u32>) = rows.iter().copied().unzip();
        let reader = &self.on.reader;
        let mut stored = reader.rows(&work.path, &work.file, Some(&numbers)).await?;
        while let Some(batch) = stored.next().await? {
            let here: Vec<u32> = keys.drain(..batch.num_rows().min(keys.len())).collect();
            if self.on.change.differs(&batch, &here)?.contains(&true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn rewrite(&mut self, work: &Work) -> Result<()> {
        let mut stored = self.on.reader.rows(&work.path, &work.file, None).await?;
        let mut file = self.on.output.successor(&work.file.partition);
        let mut steps = work.steps.iter().copied().peekable();
        let mut start = 0_u64;
        while let Some(batch) = stored.next().await? {
            let end = start + batch.num_rows() as u64;
            let mut here = Vec::new();
            while let Some((row, step)) = steps.next_if(|(row, _)| *row < end) {
                let row = usize::try_from(row - start)
                    .map_err(|error| Error::internal("a batch too large").source(error))?;
                here.push((row, step));
            }
            let rows = if here.is_empty() {
                self.plan.counts.copied += batch.num_rows() as u64;
                batch
            } else {
                self.changed(work, &batch, &here)?
            };
            if rows.num_rows() > 0 {
                self.on.output.write(&mut file, &rows, None).await?;
            }
            start = end;
        }
        if steps.peek().is_some() {
            return Err(Error::config("a data file has fewer rows than its keys").at(&work.path));
        }
        let written = &mut self.plan.written;
        let mut adds = self.on.output.close(file, written).await?;
        for add in &mut adds {
            // Spelt as before, whoever wrote them.
            add.partition_values.clone_from(&work.file.partition_values);
        }
        self.plan.adds.extend(adds);
        self.plan.removes.push(work.remove());
        Ok(())
    }

    /// `batch` after the steps that concern it.
    fn changed(
        &mut self,
        work: &Work,
        batch: &RecordBatch,
        steps: &[(usize, Step)],
    ) -> Result<RecordBatch> {
        let differs = self.replaced_differ(batch, steps)?;
        let mut rows = Pieces::of(batch, &self.on.change.rows);
        let (mut events, mut images) = (Vec::new(), Vec::new());
        let counts = &mut self.plan.counts;
        let mut next = 0;
        for ((row, step), differs) in steps.iter().copied().zip(differs) {
            counts.copied += (row - next) as u64;
            next = row + 1;
            match step {
                Step::Replace(key) if differs => {
                    counts.updated += 1;
                    rows.replace(row, key as usize);
                    events.extend([(0, row), (1, key as usize)]);
                    images.extend([Image::Before, Image::After]);
                }
                Step::Replace(_) => {
                    counts.copied += 1;
                }
                Step::Delete => {
                    counts.deleted += 1;
                    rows.leave_out(row);
                    events.push((0, row));
                    images.push(Image::Delete);
                }
                // Counted, and its other image written, where it arrives.
                Step::Move => {
                    rows.leave_out(row);
                    events.push((0, row));
                    images.push(Image::Before);
                }
            }
        }
        counts.copied += (batch.num_rows() - next) as u64;
        if self.on.output.feed && !events.is_empty() {
            let events = mixed(&[batch, &self.on.change.rows], &events)?;
            self.feed.push(&work.file.partition, events, images);
        }
        rows.together()
    }

    /// For each step whether it replaces a row by another one.
    fn replaced_differ(&self, batch: &RecordBatch, steps: &[(usize, Step)]) -> Result<Vec<bool>> {
        let mut keys = Vec::with_capacity(steps.len());
        let mut rows = Vec::with_capacity(steps.len());
        for (row, step) in steps {
            if let Step::Replace(key) = step {
                keys.push(*key);
                rows.push(u32::try_from(*row).unwrap_or(u32::MAX));
            }
        }
        let old = take_record_batch(batch, &UInt32Array::from(rows))
            .map_err(|error| Error::internal("cannot take rows").source(error))?;
        let mut differs = self.on.change.differs(&old, &keys)?.into_iter();
        Ok(steps
            .iter()
            .map(|(_, step)| match step {
                Step::Replace(_) => differs.next().unwrap_or(true),
                Step::Delete | Step::Move => true,
            })
            .collect())
    }

    /// Writes rows that get a new place: sorted by key, one file for each partition.
    pub(super) async fn arrive(&mut self, arrivals: Vec<(u32, bool)>) -> Result<()> {
        for (_, moved) in &arrivals {
            if *moved {
                self.plan.counts.updated += 1;
            } else {
                self.plan.counts.inserted += 1;
            }
        }
        let events = arrivals
            .iter()
            .map(|(key, moved)| (*key, if *moved { Image::After } else { Image::Insert }));
        let events: Vec<_> = events.collect();
        self.place(arrivals.iter().map(|(key, _)| *key).collect())
            .await?;
        if self.on.output.feed {
            self.tell(events)?;
        }
        Ok(())
    }

    /// Writes the rows of `keys` to new files.
    pub(super) async fn place(&mut self, keys: Vec<u32>) -> Result<()> {
        for keys in self.by_partition(keys) {
            let Some(first) = keys.first() else { continue };
            let mut file = self.on.output.data(self.on.change.partition(*first));
            let rows = self.on.change.take(&keys)?;
            self.on.output.write(&mut file, &rows, None).await?;
            let written = &mut self.plan.written;
            let adds = self.on.output.close(file, written).await?;
            self.plan.adds.extend(adds);
        }
        Ok(())
    }

    /// Puts rows of the change into the feed.
    pub(super) fn tell(&mut self, events: Vec<(u32, Image)>) -> Result<()> {
        let images: std::collections::HashMap<u32, Image> = events.iter().copied().collect();
        for keys in self.by_partition(events.into_iter().map(|(key, _)| key).collect()) {
            let Some(first) = keys.first() else { continue };
            let rows = self.on.change.take(&keys)?;
            let images = keys.iter().filter_map(|key| images.get(key).copied());
            let partition = self.on.change.partition(*first);
            self.feed.push(partition, rows, images.collect());
        }
        Ok(())
    }

    /// Sorted by key, and one after the other for each partition.
    fn by_partition(&self, mut keys: Vec<u32>) -> Vec<Vec<u32>> {
        self.on.change.keys.sort(&mut keys);
        let mut places = std::collections::HashMap::new();
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for key in keys {
            let place = *places
                .entry(self.on.change.partition(key))
                .or_insert_with(|| {
                    groups.push(Vec::new());
                    groups.len() - 1
                });
            if let Some(group) = groups.get_mut(place) {
                group.push(key);
            }
        }
        groups
    }
}

/// Rows of several batches with the same columns, by batch and row.
pub(super) fn mixed(batches: &[&RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch> {
    let schemas = batches.first().map(|batch| batch.schema());
    let same = batches.iter().all(|batch| {
        schemas
            .as_ref()
            .is_some_and(|s| Arc::ptr_eq(s, batch.schema_ref()) || **s == *batch.schema())
    });
    if !same {
        return Err(Error::internal("rows with other columns than the table's"));
    }
    interleave_record_batch(batches, rows)
        .map_err(|error| Error::internal("rows cannot be put together").source(error))
}
