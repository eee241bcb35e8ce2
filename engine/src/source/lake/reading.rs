//! One version, being read: batches that end between changes, never between the images of one update.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::StreamExt;
use sql::versioned::{Rows, Version, VersionedTable, Wanted};
use sql::{Error, ErrorKind, Result};

use super::images::{Image, images};
use super::place::Within;

/// What a reading of a version is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// All rows of the version: the initial snapshot.
    Snapshot,
    /// Its changes, one after the other.
    Changes,
    /// Its changes, all in one batch if they fit.
    Whole,
    /// What it takes away, by key.
    Removals,
    /// What it brings.
    Additions,
}

/// A version, being read.
pub(super) struct Reading {
    pub(super) version: Version,
    pub(super) pass: Pass,
    /// Rows of the pass that were taken.
    pub(super) taken: i64,
    /// Rows of [`Pass::Whole`] that were taken, and wait for the others.
    pub(super) whole: Vec<RecordBatch>,
    /// Bytes of a row, about.
    pub(super) row_bytes: usize,
    stream: Option<Rows>,
    skip: i64,
    pending: Option<RecordBatch>,
    /// An image before, whose image after is in the next batch of the stream.
    tail: Option<RecordBatch>,
    ended: bool,
}

impl Reading {
    pub(super) fn new(version: Version, pass: Pass, taken: i64) -> Self {
        Self {
            version,
            pass,
            taken,
            whole: Vec::new(),
            row_bytes: 0,
            stream: None,
            skip: 0,
            pending: None,
            tail: None,
            ended: false,
        }
    }

    /// Begins another pass over the version.
    pub(super) fn restart(&mut self, pass: Pass) {
        self.pass = pass;
        self.taken = 0;
        self.whole.clear();
        self.reopen();
    }

    /// The stream is opened anew where it stands: it broke.
    pub(super) fn reopen(&mut self) {
        self.stream = None;
        self.pending = None;
        self.tail = None;
        self.ended = false;
    }

    /// How far the version is, as the position says it. What [`Pass::Whole`] took counts for nothing before all of it is there.
    pub(super) fn within(&self) -> Within {
        match self.pass {
            Pass::Whole => Within::Start,
            Pass::Additions => Within::Additions(self.taken),
            Pass::Snapshot | Pass::Changes | Pass::Removals if self.taken == 0 => Within::Start,
            Pass::Snapshot | Pass::Changes | Pass::Removals => Within::Rows(self.taken),
        }
    }

    /// Rows that can be taken now.
    pub(super) fn pending(&self) -> usize {
        self.pending.as_ref().map_or(0, RecordBatch::num_rows)
    }

    /// Reads on, with these columns, unless there are rows to be taken. False at the end of the pass.
    pub(super) async fn fetch(
        &mut self,
        table: &dyn VersionedTable,
        columns: &[String],
    ) -> Result<bool> {
        while self.pending() == 0 {
            if self.ended {
                return Ok(false);
            }
            let mut stream = match self.stream.take() {
                Some(stream) => stream,
                None => {
                    self.skip = self.taken;
                    self.open(table, columns).await?
                }
            };
            match stream.next().await {
                Some(batch) => {
                    self.stream = Some(stream);
                    self.offer(batch?)?;
                }
                None => self.end(table)?,
            }
        }
        Ok(true)
    }

    async fn open(&mut self, table: &dyn VersionedTable, columns: &[String]) -> Result<Rows> {
        let number = self.version.number;
        if self.pass == Pass::Snapshot {
            return table.rows(number, columns).await;
        }
        // All types, whatever the pipeline wants: rows are counted, and their numbers must not depend on it.
        let wanted = Wanted {
            columns: columns.to_vec(),
            change_types: None,
        };
        table.changes(number, &wanted).await
    }

    fn offer(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        if let Some(bytes) = batch.get_array_memory_size().checked_div(rows) {
            self.row_bytes = bytes.max(1);
        }
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rows);
        self.skip -= i64::try_from(skipped).unwrap_or(0);
        let mut batch = batch.slice(skipped, rows - skipped);
        if let Some(tail) = self.tail.take() {
            batch = concat_batches(&tail.schema(), [&tail, &batch]).map_err(|error| {
                Error::internal("the batches of a version do not fit together").source(error)
            })?;
        }
        let rows = batch.num_rows();
        if rows > 0 && self.pass != Pass::Snapshot {
            let last = batch.slice(rows - 1, 1);
            if images(&last)? == [Image::Before] {
                self.tail = Some(last);
                batch = batch.slice(0, rows - 1);
            }
        }
        self.pending = Some(batch);
        Ok(())
    }

    fn end(&mut self, table: &dyn VersionedTable) -> Result<()> {
        if self.skip > 0 {
            let number = self.version.number;
            return Err(Error::new(
                ErrorKind::DataLoss,
                format!(
                    "{} rows of version {number} of {} were read before, but now it has {} less",
                    self.taken,
                    table.name(),
                    self.skip
                ),
            )
            .at(format!("{} version {number}", table.name()))
            .expected("the same rows whenever a version is read")
            .remedy("The table was deleted and made again. To load it again, write to a new table with `start: snapshot`."));
        }
        self.pending = self.tail.take();
        self.ended = true;
        Ok(())
    }

    /// Takes `wanted` rows, or what there is; one more rather than an image before without its image after.
    pub(super) fn take(&mut self, wanted: usize) -> Result<Option<RecordBatch>> {
        let Some(pending) = self.pending.take() else {
            return Ok(None);
        };
        let rows = pending.num_rows();
        let mut take = wanted.clamp(1, rows.max(1)).min(rows);
        let ends_before = |take: usize| -> Result<bool> {
            Ok(images(&pending.slice(take - 1, 1))? == [Image::Before])
        };
        if self.pass != Pass::Snapshot && take > 0 && take < rows && ends_before(take)? {
            take += 1;
        }
        if take < rows {
            self.pending = Some(pending.slice(take, rows - take));
        }
        self.taken = self
            .taken
            .saturating_add(i64::try_from(take).unwrap_or(i64::MAX));
        Ok(Some(pending.slice(0, take)))
    }
}
