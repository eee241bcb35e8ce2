//! Files written anew as fewer ones, and the commit that puts them in the others' place.
//!
//! The commit removes and adds with `dataChange: false` and has no files of the change feed: readers of changes pass over it.
//! Before it the rows are counted: those that the log says the old files have, those that were read, and those that the new files'
//! statistics tell must be the same number, else nothing is committed.
//!
//! Against other writers: what they add does not matter, what they take away does. When a commit of theirs was first, the files that
//! are still all there are committed on top of it, and a group that has lost a file is given up: its rows have changed. An upsert
//! that loses to such a commit finds that its files went and looks its keys up again, as after any other writer.

use std::num::NonZero;
use std::sync::Arc;

use bytes::Bytes;
use deltalake::kernel::transaction::TransactionError;
use deltalake::kernel::{Action, Add, Remove};
use deltalake::logstore::CommitOrBytes;
use deltalake::protocol::DeltaOperation;
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use sql::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::choose::Group;
use super::merge::{failed, merged};
use crate::lake::storage::storage_error;
use crate::maintain::Report;
use crate::sink::backfill::Values;
use crate::sink::delta::commit::Proposal;
use crate::sink::delta::upsert::bounds::row_count;
use crate::sink::delta::upsert::output::Output;
use crate::sink::delta::upsert::plan::removal;
use crate::sink::delta::upsert::read::Reader;
use crate::sink::delta::{DeltaSink, history};
use crate::sink::failpoint;
use crate::sink::protocol::MAX_ATTEMPTS;

/// A group and the files that take its place, which are written and not committed.
#[derive(Debug)]
pub(in crate::sink::delta) struct Rewritten {
    adds: Vec<Add>,
    removes: Vec<Remove>,
    rows: u64,
    /// Rows that were given a value.
    pub(in crate::sink::delta) filled: u64,
    pub(super) bytes: u64,
    /// Paths of the new files.
    written: Vec<String>,
}

/// What files are written anew for.
#[derive(Debug, Clone, Copy)]
pub(in crate::sink::delta) enum Purpose<'a> {
    /// Fewer files, of this size.
    Compaction(u64),
    /// Values for rows that have none.
    Backfill(&'a Values),
}

impl Purpose<'_> {
    fn target(self) -> u64 {
        match self {
            Self::Compaction(target) => target,
            // A file stays one file.
            Self::Backfill(_) => u64::from(u32::MAX),
        }
    }

    fn changes_data(self) -> bool {
        matches!(self, Self::Backfill(_))
    }

    fn operation(self) -> DeltaOperation {
        match self {
            Self::Compaction(target) => DeltaOperation::Optimize {
                predicate: None,
                target_size: i64::try_from(target).unwrap_or(i64::MAX),
            },
            Self::Backfill(_) => DeltaOperation::Update { predicate: None },
        }
    }
}

impl DeltaSink {
    /// Writes the rows of `group` to new files, sorted by `order` if there are such columns.
    pub(in crate::sink::delta) async fn rewrite(
        &self,
        group: &Group,
        order: &[String],
        purpose: Purpose<'_>,
    ) -> Result<Rewritten> {
        let key = self.files.as_ref().map_or(&[][..], |files| files.key());
        let output = Output::new(self, key)?;
        let mut written = Vec::new();
        let done = self
            .write_merged(group, order, purpose, &output, &mut written)
            .await;
        let checked = done.and_then(|(adds, rows, filled)| {
            counted(group, &adds, rows).map_err(|error| error.at(&self.path))?;
            Ok((adds, rows, filled))
        });
        let (adds, rows, filled) = match checked {
            Ok(done) => done,
            Err(error) => {
                self.delete_files(&written).await;
                return Err(error);
            }
        };
        let removes = group.files().map(|(path, file)| Remove {
            data_change: purpose.changes_data(),
            ..removal(path, file)
        });
        Ok(Rewritten {
            adds,
            removes: removes.collect(),
            rows,
            filled,
            bytes: group.bytes,
            written,
        })
    }

    async fn write_merged(
        &self,
        group: &Group,
        order: &[String],
        purpose: Purpose<'_>,
        output: &Output,
        written: &mut Vec<String>,
    ) -> Result<(Vec<Add>, u64, u64)> {
        let reader = Reader {
            store: self.store.object_store(None),
            schema: Arc::clone(&self.file_schema),
            partition_by: self.partition_by.clone(),
            read: Arc::default(),
        };
        let most = group
            .rows()
            .map_or(u64::MAX, |rows| rows.div_ceil(group.parts.max(1)).max(1));
        // Files are cut by their rows, and by their size only where those turn out much larger than they were.
        let limit = NonZero::new(purpose.target().saturating_mul(2)).unwrap_or(NonZero::<u64>::MAX);
        let mut stream = merged(&reader, group, order).await?;
        let (mut adds, mut rows, mut filled) = (Vec::new(), 0_u64, 0_u64);
        let mut open = None;
        while let Some(mut batch) = stream.try_next().await.map_err(failed)? {
            rows += batch.num_rows() as u64;
            if let Purpose::Backfill(values) = purpose {
                let (whole, count) = values.fill(&batch)?;
                batch = whole;
                filled += count;
            }
            while batch.num_rows() > 0 {
                let (mut file, so_far) = match open.take() {
                    Some(open) => open,
                    None => (output.compacted(&group.partition, limit), 0),
                };
                let fits = usize::try_from(most - so_far).unwrap_or(usize::MAX);
                let here = batch.slice(0, fits.min(batch.num_rows()));
                output.write(&mut file, &here, None).await?;
                batch = batch.slice(here.num_rows(), batch.num_rows() - here.num_rows());
                let so_far = so_far + here.num_rows() as u64;
                if so_far >= most {
                    adds.extend(output.close(file, written).await?);
                } else {
                    open = Some((file, so_far));
                }
            }
        }
        if let Some((file, _)) = open {
            adds.extend(output.close(file, written).await?);
        }
        for add in &mut adds {
            add.data_change = purpose.changes_data();
            // Spelt as before, whoever wrote them.
            add.partition_values.clone_from(&group.partition_values);
        }
        Ok((adds, rows, filled))
    }

    /// Commits what is still right of `groups`; what is not is deleted.
    pub(in crate::sink::delta) async fn put_in_place(
        &mut self,
        mut groups: Vec<Rewritten>,
        purpose: Purpose<'_>,
        report: &mut Report,
    ) -> Result<()> {
        let mark = Uuid::new_v4().to_string();
        let mut unclear = None;
        let mut commit: Option<Bytes> = None;
        for _ in 0..MAX_ATTEMPTS {
            if commit.is_none() {
                self.give_up_changed(&mut groups, report).await?;
                if groups.is_empty() {
                    return Ok(());
                }
            }
            let bytes = match commit.take() {
                Some(bytes) => bytes,
                None => self.maintenance_commit(&groups, purpose, &mark)?,
            };
            let base = self.version;
            match self.try_commit(&bytes).await {
                Ok(()) => {
                    self.landed(&bytes);
                    return self.told(&groups, report);
                }
                Err(TransactionError::VersionAlreadyExists(_)) => {}
                Err(error) => {
                    let doing = "commit the compaction of the Delta table";
                    unclear = Some(storage_error(doing, &self.path, error));
                }
            }
            // An object store that repeats a request takes its own first success for somebody else's.
            if self.refresh(Some(&mark)).await? {
                return self.told(&groups, report);
            }
            if self.version == base {
                // It may still land: only the very same commit may be tried in its place.
                commit = Some(bytes);
            } else {
                unclear = None;
            }
        }
        if let Some(error) = unclear {
            // The files may be part of the table yet. If they are not, they go as all files that nobody knows.
            return Err(error);
        }
        report.conflicts += groups.len() as u64;
        self.give_up(&groups).await;
        Ok(())
    }

    /// Deletes the files of `groups`, which are not committed.
    pub(in crate::sink::delta) async fn give_up(&self, groups: &[Rewritten]) {
        for group in groups {
            self.delete_files(&group.written).await;
        }
    }

    async fn try_commit(&self, bytes: &Bytes) -> std::result::Result<(), TransactionError> {
        self.store
            .write_commit_entry(
                self.version + 1,
                CommitOrBytes::LogBytes(bytes.clone()),
                Uuid::new_v4(),
            )
            .await
    }

    fn landed(&mut self, bytes: &[u8]) {
        self.version += 1;
        // It is committed, whatever is thought of it here.
        if self.take_files(bytes).is_err()
            && let Some(files) = &mut self.files
        {
            files.forget();
        }
    }

    fn told(&self, groups: &[Rewritten], report: &mut Report) -> Result<()> {
        for group in groups {
            report.files_compacted += group.removes.len() as u64;
            report.bytes_compacted += group.bytes;
            report.files_added += group.adds.len() as u64;
            report.bytes_added += size_of(&group.adds);
            report.rows += group.rows;
        }
        report.commits += 1;
        failpoint::hit("after_compaction");
        failpoint::lose_answer("after_compaction")
    }

    /// Leaves out the groups that are no longer the table's files.
    async fn give_up_changed(
        &mut self,
        groups: &mut Vec<Rewritten>,
        report: &mut Report,
    ) -> Result<()> {
        let live = self.file_list().await?.live();
        let there = |group: &Rewritten| group.removes.iter().all(|r| live.contains_key(&r.path));
        let (kept, lost): (Vec<_>, Vec<_>) = std::mem::take(groups).into_iter().partition(there);
        *groups = kept;
        for group in lost {
            report.conflicts += 1;
            self.delete_files(&group.written).await;
        }
        Ok(())
    }

    fn maintenance_commit(
        &self,
        groups: &[Rewritten],
        purpose: Purpose<'_>,
        mark: &str,
    ) -> Result<Bytes> {
        let removes = groups.iter().flat_map(|group| &group.removes).cloned();
        let adds = groups.iter().flat_map(|group| &group.adds).cloned();
        let proposal = Proposal {
            actions: Vec::new(),
            operation: purpose.operation(),
            blind: false,
            metrics: metrics(groups),
        };
        let info = Action::CommitInfo(history::of_maintenance(self, &proposal, mark));
        let actions = std::iter::once(info)
            .chain(removes.map(Action::Remove))
            .chain(adds.map(Action::Add))
            .collect();
        self.written_down(actions, proposal.operation, Vec::new())
    }
}

/// As Spark names them, and as texts, as Spark has them.
fn metrics(groups: &[Rewritten]) -> Value {
    let adds = || groups.iter().flat_map(|group| &group.adds);
    let removes = || groups.iter().flat_map(|group| &group.removes);
    let removed: i64 = removes().filter_map(|remove| remove.size).sum();
    let added: i64 = adds().map(|add| add.size).sum();
    json!({
        "numAddedFiles": adds().count().to_string(),
        "numRemovedFiles": removes().count().to_string(),
        "numAddedBytes": added.to_string(),
        "numRemovedBytes": removed.to_string(),
        "numOutputRows": groups.iter().map(|group| group.rows).sum::<u64>().to_string(),
    })
}

fn size_of(adds: &[Add]) -> u64 {
    let sizes = adds.iter().map(|add| u64::try_from(add.size).unwrap_or(0));
    sizes.sum()
}

/// # Errors
/// [`ErrorKind::Config`] if the log and the files disagree, [`ErrorKind::Internal`] if what was written is not what was read.
fn counted(group: &Group, adds: &[Add], read: u64) -> Result<()> {
    if let Some(told) = group.rows()
        && told != read
    {
        return Err(Error::new(
            ErrorKind::Config,
            format!("the Delta log says that the files to compact have {told} rows, and they have {read}"),
        )
        .remedy("A data file was changed after it was committed: restore it."));
    }
    let written: Option<u64> = adds
        .iter()
        .map(|add| add.stats.as_deref().and_then(row_count))
        .sum();
    if written != Some(read) {
        return Err(Error::internal(format!(
            "{read} rows were read to be compacted, and {written:?} were written"
        )));
    }
    Ok(())
}
