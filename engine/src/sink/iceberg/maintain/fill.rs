//! Values for rows that were there before their column came ([`crate::sink::backfill`]).
//!
//! Every data file that holds a live row without the value is written anew, without its deleted rows, in one snapshot that takes the
//! note away, too: all of it is there, or nothing.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use iceberg::{TableRequirement, TableUpdate};
use sql::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::super::progress;
use super::super::settle::COMMIT;
use super::super::upsert::files::{LiveDelete, LiveFile, State};
use super::super::upsert::lookup::DeleteIndex;
use super::choose::Group;
use super::compact::changes;
use super::rewrite::{Rewritten, live_rows, rewrite};
use super::{MAX_ATTEMPTS, Pass};
use crate::lake::catalog::Failed;
use crate::sink::backfill::{BACKFILL_PROPERTY, Backfill, Values};
use crate::sink::failpoint;
use crate::sink::iceberg::IcebergSink;

impl IcebergSink {
    fn noted(&self) -> Result<Backfill> {
        let properties = self.table.metadata().properties();
        Backfill::noted(properties.get(BACKFILL_PROPERTY), &self.place)
    }

    /// Notes `values` beside what is noted already.
    pub(in crate::sink::iceberg) async fn note(&mut self, values: &Backfill) -> Result<()> {
        self.set_note(|noted| noted.and(values)).await
    }

    async fn set_note(&mut self, next: impl Fn(Backfill) -> Backfill) -> Result<()> {
        self.refresh().await?;
        let mut lost = None;
        for _ in 0..MAX_ATTEMPTS {
            let noted = next(self.noted()?);
            if noted == self.noted()? {
                return Ok(());
            }
            let update = TableUpdate::SetProperties {
                updates: property(&noted),
            };
            let same = TableRequirement::UuidMatch {
                uuid: self.table.metadata().uuid(),
            };
            let done = self.swap_updates(&[same], vec![update]).await;
            // Whatever the answer was: the table says what is there.
            self.refresh().await?;
            lost = match done {
                Err(failed) if !failed.is_conflict() && !failed.is_unclear() => {
                    return Err(self.commit_error(failed));
                }
                done => done.err().map(|failed| failed.error),
            };
        }
        Err(self.outrun("cannot set a property of the Iceberg table", lost))
    }
}

fn property(noted: &Backfill) -> HashMap<String, String> {
    HashMap::from([(BACKFILL_PROPERTY.to_owned(), noted.note())])
}

impl Pass<'_> {
    /// Does what is noted.
    pub(in crate::sink::iceberg) async fn fill(mut self) -> Result<u64> {
        self.sink.refresh().await?;
        for _ in 0..MAX_ATTEMPTS {
            let noted = self.sink.noted()?;
            let values = noted.values(&self.sink.schema);
            let values = values.map_err(|error| error.at(&self.sink.place))?;
            if values.is_empty() {
                return Ok(0);
            }
            let state = self.state().await?;
            if let Some(why) = self.unfit(&state) {
                return Err(
                    Error::config(format!("new columns cannot be filled: {why}"))
                        .at(&self.sink.place),
                );
            }
            let done = self.filled(&values, &state).await?;
            if done.is_empty() {
                // All rows have their values, or there are none.
                self.sink.set_note(|_| Backfill::default()).await?;
                return Ok(0);
            }
            failpoint::hit("before_backfill");
            if let Some(rows) = self.commit_fill(done, &state).await? {
                failpoint::hit("after_backfill");
                return Ok(rows);
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "new columns cannot be filled: other writers change the same table all the time",
        )
        .at(&self.sink.place))
    }

    async fn filled(&mut self, values: &Values, state: &State) -> Result<Vec<Rewritten>> {
        let index = DeleteIndex::new(state);
        let mut done = Vec::new();
        for file in state.data() {
            let group = alone(file, index.of(file).cloned().collect());
            let written = async {
                if self.lacks(values, &group).await? {
                    let filled = rewrite(self.sink, self.reader, group, self.policy, Some(values));
                    return filled.await.map(Some);
                }
                Ok(None)
            };
            match written.await {
                Ok(written) => done.extend(written),
                Err(error) => {
                    self.discard(&done).await;
                    return Err(error);
                }
            }
        }
        Ok(done)
    }

    /// Whether a row of the file lacks a value.
    async fn lacks(&self, values: &Values, group: &Group) -> Result<bool> {
        // With the key, so that there is something to read of a file without any of the columns.
        let columns = values.columns(&self.sink.file_schema, &self.sink.key);
        let mut rows = live_rows(self.sink, self.reader, group, &HashMap::new(), &columns);
        while let Some(batch) = rows.try_next().await? {
            if values.lack_in(&batch) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many rows were filled; `None` if another writer was faster: nothing of `done` is in the table then.
    async fn commit_fill(&mut self, done: Vec<Rewritten>, state: &State) -> Result<Option<u64>> {
        let mark = Uuid::new_v4().to_string();
        let changes = changes(&done, state, false);
        let without = property(&Backfill::default());
        let attempt = self.attempt(&changes, state, &mark, false, without).await;
        let Err(failed) = attempt.done else {
            return Ok(Some(done.iter().map(|written| written.filled).sum()));
        };
        if failed.is_unclear() {
            self.sink.refresh().await?;
            let metadata = self.sink.table.metadata_ref();
            if progress::has_commit(&metadata, COMMIT, &mark) {
                return Ok(Some(done.iter().map(|written| written.filled).sum()));
            }
            // It may land yet: its files must stay.
            return Err(self.failed(failed));
        }
        for path in &attempt.written {
            self.sink.delete(path).await;
        }
        self.discard(&done).await;
        self.lost(failed).await
    }

    async fn lost(&mut self, failed: Failed) -> Result<Option<u64>> {
        if !failed.is_conflict() {
            return Err(self.failed(failed));
        }
        self.sink.refresh().await?;
        Ok(None)
    }
}

fn alone(file: &LiveFile, deletes: Vec<LiveDelete>) -> Group {
    Group {
        spec: file.spec,
        partition: file.partition.clone(),
        files: vec![file.clone()],
        deletes,
    }
}
