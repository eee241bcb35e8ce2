//! Values for rows that were there before their column came ([`crate::sink::backfill`]).
//!
//! Every file that holds a row without the value is written anew, one file for one, in one commit that is an UPDATE. It has no files
//! of the change feed: readers of the feed take the rows of the files that go as deleted and those of the files that come as
//! inserted. The note is taken away after it, in a commit of its own; until then the files are looked at again, and found full.

use std::collections::{BTreeMap, BTreeSet};

use sql::{Error, ErrorKind, Result};

use super::DeltaSink;
use super::files::LiveFile;
use super::maintain::{Group, Purpose};
use super::upsert::read::Reader;
use crate::lake::delta::snapshot;
use crate::maintain::Report;
use crate::sink::backfill::{BACKFILL_PROPERTY, Backfill, Values};
use crate::sink::failpoint;
use crate::sink::protocol::MAX_ATTEMPTS;

impl DeltaSink {
    /// Notes `values` beside what is noted already.
    pub(super) async fn note(&mut self, values: &Backfill) -> Result<()> {
        self.refresh(None).await?;
        let noted = self.noted()?.and(values);
        self.set_note(&noted).await
    }

    fn noted(&self) -> Result<Backfill> {
        let state = snapshot(&self.table, &self.path)?;
        let properties = state.metadata().configuration();
        Backfill::noted(properties.get(BACKFILL_PROPERTY), &self.path)
    }

    async fn set_note(&mut self, noted: &Backfill) -> Result<()> {
        let property = (BACKFILL_PROPERTY.to_owned(), noted.note());
        self.set(&BTreeMap::from([property])).await
    }

    /// Does what is noted. `reader` reads all columns of the table.
    pub(super) async fn fill(&mut self, reader: &Reader) -> Result<u64> {
        self.refresh(None).await?;
        let noted = self.noted()?;
        if noted.is_empty() {
            return Ok(0);
        }
        let values = noted
            .values(&self.file_schema)
            .map_err(|error| error.at(&self.path))?;
        if values.is_empty() {
            // The columns did not come: nothing has to be filled yet.
            return Ok(0);
        }
        let mut filled = 0;
        let mut full = BTreeSet::new();
        for _ in 0..MAX_ATTEMPTS {
            let mut report = Report::default();
            filled += self
                .fill_files(&values, reader, &mut full, &mut report)
                .await?;
            failpoint::hit("after_backfill");
            if report.conflicts == 0 {
                self.set_note(&Backfill::default()).await?;
                return Ok(filled);
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "new columns cannot be filled: other writers change the same files all the time",
        )
        .at(&self.path))
    }

    /// Fills the files that are not among `full`, and adds them.
    async fn fill_files(
        &mut self,
        values: &Values,
        reader: &Reader,
        full: &mut BTreeSet<String>,
        report: &mut Report,
    ) -> Result<u64> {
        let purpose = Purpose::Backfill(values);
        let files = self.file_list().await?.live().clone();
        let (mut waiting, mut filled) = (Vec::new(), 0);
        for (path, file) in files {
            if full.contains(&path) || !lacks(values, reader, &path, &file).await? {
                full.insert(path);
                continue;
            }
            let group = Group {
                partition: file.partition.clone(),
                partition_values: file.partition_values.clone(),
                bytes: file.bytes(),
                parts: 1,
                streams: vec![vec![(path, file)]],
            };
            match self.rewrite(&group, &[], purpose).await {
                Ok(rewritten) => {
                    filled += rewritten.filled;
                    waiting.push(rewritten);
                }
                Err(error) => {
                    self.give_up(&waiting).await;
                    return Err(error);
                }
            }
        }
        if !waiting.is_empty() {
            failpoint::hit("before_backfill");
            self.put_in_place(waiting, purpose, report).await?;
        }
        Ok(filled)
    }
}

/// Whether a row of the file lacks a value.
async fn lacks(values: &Values, reader: &Reader, path: &str, file: &LiveFile) -> Result<bool> {
    let reader = Reader {
        schema: values.columns(&reader.schema, &[]),
        ..reader.clone()
    };
    let mut rows = reader.rows(path, file, None).await?;
    while let Some(batch) = rows.next().await? {
        if values.lack_in(&batch) {
            return Ok(true);
        }
    }
    Ok(false)
}
