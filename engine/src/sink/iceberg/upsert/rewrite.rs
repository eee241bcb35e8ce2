//! `write_mode: copy_on_write`: data files written anew, without the rows that go and with what others became.
//!
//! One file after the other, in its order, one batch at a time; rows that are deleted by position already are left out, and their
//! delete files go. A row that is updated keeps its place, so that its file keeps its range of keys; one that falls into another
//! partition, or lies in a file of an older partition spec, gets a new file. A row that is written as it was stays where it is, and
//! a file in which no row changes is not written at all: its first row that may change is read alone, the others only if that one
//! stays as it is.
//!
//! Memory: the batch once more in an encoding for comparison; one row group that is read and one that is written.

use std::collections::HashSet;
use std::iter::Peekable;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use iceberg::spec::Struct;
use iceberg::writer::IcebergWriter as _;
use sql::{Error, Result};

use super::lookup::Found;
use super::read::Rows;
use super::{IcebergUpsert, Plan};
use crate::lake::cast::Caster;
use crate::lake::locate::Hit;
use crate::lake::pieces::Pieces;
use crate::lake::same::Same;
use crate::sink::iceberg::write::FileWriter;

/// The making of a plan.
pub(super) struct Rewrite<'a> {
    upsert: &'a IcebergUpsert,
    plan: &'a mut Plan,
    /// The rows of the change, with the table's columns. Key `k` is that of row `k`; beyond them keys are those of deletes.
    rows: RecordBatch,
    same: Same,
    /// Of each row.
    partitions: Vec<Struct>,
    /// The partition spec of new files.
    spec: i32,
    /// Keys whose row has its place in a file that was there.
    home: HashSet<u32>,
}

/// What becomes of a row of a file.
#[derive(Debug, Clone, Copy)]
enum Step {
    Keep,
    Replace(u32),
    Drop,
}

impl<'a> Rewrite<'a> {
    pub(super) fn try_new(
        upsert: &'a IcebergUpsert,
        rows: &RecordBatch,
        plan: &'a mut Plan,
    ) -> Result<Self> {
        // By the batch's own columns: the table may have got new ones since it was made.
        let schema = &upsert.sink.file_schema;
        let rows = Caster::try_new(rows.schema_ref(), schema)?.cast(rows)?;
        Ok(Self {
            same: Same::of(&rows)?,
            partitions: upsert.sink.partitions()?.of(&rows)?,
            spec: upsert.sink.table.metadata().default_partition_spec_id(),
            upsert,
            plan,
            rows,
            home: HashSet::new(),
        })
    }

    /// Rewrites the files in which something changes, and writes the rows that have no place in them.
    pub(super) async fn run(mut self, files: &[Found<'_>]) -> Result<()> {
        for found in files {
            // Also if nothing changes: this plan is right while the rows are there.
            self.plan.touched.insert(found.file.path.clone());
            if self.changes(found).await? {
                self.rewrite(found).await?;
            }
        }
        let keys = (0_u32..).take(self.rows.num_rows());
        let keys: UInt32Array = keys.filter(|key| !self.home.contains(key)).collect();
        let arrivals = take_record_batch(&self.rows, &keys)
            .map_err(|error| Error::internal("cannot take rows").source(error))?;
        self.plan.rows += arrivals.num_rows() as u64;
        let written = self.upsert.sink.write_files(&[arrivals]).await?;
        let written = written.into_iter().map(|file| (file, self.spec));
        self.plan.changes.added.extend(written);
        Ok(())
    }

    fn is_row(&self, key: u32) -> bool {
        (key as usize) < self.rows.num_rows()
    }

    /// Whether a row of the file goes or differs. If not, its rows are at home.
    async fn changes(&mut self, found: &Found<'_>) -> Result<bool> {
        let mut keys = HashSet::new();
        let stays = |hit: &Hit| {
            self.is_row(hit.key) && !self.home.contains(&hit.key) && keys.insert(hit.key)
        };
        if !found.hits.iter().all(stays) {
            return Ok(true);
        }
        let (first, others) = found.hits.split_at(1.min(found.hits.len()));
        if self.differ(found, first).await? || self.differ(found, others).await? {
            return Ok(true);
        }
        self.home.extend(keys);
        Ok(false)
    }

    async fn differ(&self, found: &Found<'_>, hits: &[Hit]) -> Result<bool> {
        if hits.is_empty() {
            return Ok(false);
        }
        let (numbers, mut keys): (Vec<u64>, Vec<u32>) =
            hits.iter().map(|hit| (hit.row, hit.key)).unzip();
        let mut stored = self.stored(found, Some(&numbers)).await?;
        while let Some(batch) = stored.next().await? {
            let here: Vec<u32> = keys.drain(..batch.num_rows().min(keys.len())).collect();
            if self.same.differ(&batch, &here)?.contains(&true) {
                return Ok(true);
            }
        }
        if !keys.is_empty() {
            return Err(too_short(found));
        }
        Ok(false)
    }

    async fn stored(&self, found: &Found<'_>, rows: Option<&[u64]>) -> Result<Rows> {
        let constants = self.upsert.partition_values(found);
        let schema = &self.upsert.sink.file_schema;
        self.upsert
            .reader
            .rows(found.file, rows, schema, constants)
            .await
    }

    async fn rewrite(&mut self, found: &Found<'_>) -> Result<()> {
        let sink = &self.upsert.sink;
        let mut stored = self.stored(found, None).await?;
        let mut writer: Option<FileWriter> = None;
        let mut hits = found.hits.iter().copied().peekable();
        let mut deleted = found.deleted.iter().copied().peekable();
        let mut start = 0_u64;
        while let Some(batch) = stored.next().await? {
            let end = start + batch.num_rows() as u64;
            let mut steps = self.steps(found, &batch, start, &mut hits)?;
            while let Some(row) = deleted.next_if(|row| *row < end) {
                steps.push((within(row, start)?, Step::Drop));
            }
            steps.sort_unstable_by_key(|(row, _)| *row);
            let rows = self.applied(batch, &steps)?;
            start = end;
            if rows.num_rows() == 0 {
                continue;
            }
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(
                    sink.successor(found.file.spec, &found.file.partition, &rows, None)
                        .await?,
                ),
            };
            let written = writer.write(rows).await;
            written.map_err(|error| sink.write_error(error))?;
        }
        if hits.peek().is_some() {
            return Err(too_short(found));
        }
        if let Some(mut writer) = writer {
            let written = writer.close().await;
            let written = written.map_err(|error| sink.write_error(error))?;
            let written = written.into_iter().map(|file| (file, found.file.spec));
            self.plan.changes.added.extend(written);
        }
        let removed = &mut self.plan.changes.removed;
        removed.insert(found.file.path.clone());
        removed.extend(found.own.iter().map(|(path, _)| (*path).to_owned()));
        Ok(())
    }

    /// What becomes of the rows of `batch`, whose first is the file's row `start`, that have keys.
    fn steps(
        &mut self,
        found: &Found<'_>,
        batch: &RecordBatch,
        start: u64,
        hits: &mut Peekable<impl Iterator<Item = Hit>>,
    ) -> Result<Vec<(usize, Step)>> {
        let end = start + batch.num_rows() as u64;
        let mut steps = Vec::new();
        let (mut rows, mut keys) = (Vec::new(), Vec::new());
        while let Some(hit) = hits.next_if(|hit| hit.row < end) {
            let row = within(hit.row, start)?;
            if self.is_row(hit.key) {
                rows.push(u32::try_from(row).unwrap_or(u32::MAX));
                keys.push(hit.key);
            } else {
                steps.push((row, Step::Drop));
            }
        }
        if keys.is_empty() {
            return Ok(steps);
        }
        let rows = UInt32Array::from(rows);
        let old = take_record_batch(batch, &rows)
            .map_err(|error| Error::internal("cannot take rows").source(error))?;
        let differs = self.same.differ(&old, &keys)?;
        for ((row, key), differs) in rows.values().iter().zip(keys).zip(differs) {
            let step = if self.home.contains(&key) {
                // The key is there a second time.
                Step::Drop
            } else if !differs {
                self.home.insert(key);
                Step::Keep
            } else if self.stays(found, key) {
                self.home.insert(key);
                self.plan.rows += 1;
                Step::Replace(key)
            } else {
                Step::Drop
            };
            steps.push((*row as usize, step));
        }
        Ok(steps)
    }

    /// Whether the new row of a key belongs where the file is.
    fn stays(&self, found: &Found<'_>, key: u32) -> bool {
        found.file.spec == self.spec
            && self.partitions.get(key as usize) == Some(&found.file.partition)
    }

    /// `batch` after `steps`, ascending by row.
    fn applied(&self, batch: RecordBatch, steps: &[(usize, Step)]) -> Result<RecordBatch> {
        let kept = |(_, step): &(usize, Step)| matches!(step, Step::Keep);
        if steps.iter().all(kept) {
            return Ok(batch);
        }
        let mut rows = Pieces::of(&batch, &self.rows);
        for (row, step) in steps {
            match step {
                Step::Keep => {}
                Step::Replace(key) => rows.replace(*row, *key as usize),
                Step::Drop => rows.leave_out(*row),
            }
        }
        rows.together()
    }
}

/// The place of a file's row in a batch that begins at `start`.
fn within(row: u64, start: u64) -> Result<usize> {
    let place = row
        .checked_sub(start)
        .and_then(|row| usize::try_from(row).ok());
    place.ok_or_else(|| Error::internal("rows of a file are not in order"))
}

fn too_short(found: &Found<'_>) -> Error {
    Error::config("a data file has fewer rows than its keys").at(&found.file.path)
}
