//! One attempt at a commit, and what came of it: shared by appends and upserts.
//!
//! A caller proposes actions on top of the version that the sink stands at. After anything but a clear success the commits that
//! others made are read before the next attempt, so that the positions that are checked, and the files that an upsert is based
//! on, are always those of the version just below the one that is written.

use std::collections::HashMap;

use bytes::Bytes;
use deltalake::Path;
use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Add, Transaction};
use deltalake::logstore::CommitOrBytes;
use deltalake::logstore::object_store::ObjectStoreExt as _;
use deltalake::protocol::DeltaOperation;
use serde_json::Value;
use sql::change::Span;
use sql::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::progress::app_id;
use super::{DeltaSink, history};
use crate::lake::storage::storage_error;
use crate::sink::protocol::{MAX_ATTEMPTS, Standing, standing};
use crate::sink::{Receipt, failpoint};

/// What a commit does besides moving the positions.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) actions: Vec<Action>,
    pub(super) operation: DeltaOperation,
    /// Whether it is right whatever else is in the table.
    pub(super) blind: bool,
    /// What the table's history says of it.
    pub(super) metrics: Value,
}

/// The attempts of one batch.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    span: &'a Span,
    /// Tells our own commit from another engine's of the same span.
    mark: String,
    /// Attempts that did not land.
    pub(super) lost: u64,
    /// An attempt whose end nobody knows, and which may still land.
    unclear: Option<Error>,
}

impl<'a> Tries<'a> {
    pub(super) fn new(span: &'a Span) -> Self {
        Self {
            span,
            mark: Uuid::new_v4().to_string(),
            lost: 0,
            unclear: None,
        }
    }

    /// Whether no attempt can still land: the files of lost attempts may be deleted.
    pub(super) fn certain(&self) -> bool {
        self.unclear.is_none()
    }

    pub(super) fn exhausted(&self) -> bool {
        self.lost >= MAX_ATTEMPTS
    }

    pub(super) fn into_error(self, path: &str) -> Error {
        self.unclear.unwrap_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                format!("the commit lost against other writers {MAX_ATTEMPTS} times"),
            )
            .at(path)
        })
    }
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Settled {
    /// It is a version of the table.
    Ours,
    /// An attempt of an earlier call had landed.
    Before,
    /// Another writer took the version; the table still stands where the batch starts. The proposal must be looked at again
    /// before it is made on the new version.
    Lost,
    /// Nobody knows, and no version came since: the very same proposal must be made again, so that whichever attempt lands says
    /// the same.
    Again,
    /// Another engine moved the positions.
    Fenced(Error),
}

enum Attempt {
    Done,
    Taken,
    Unclear(Error),
}

impl DeltaSink {
    pub(super) fn standing(&self, span: &Span) -> Result<Standing> {
        standing(&self.stored, span, self.sent.as_ref(), &self.path)
    }

    /// Tries to commit `proposal` and the positions of the span as the next version.
    ///
    /// # Errors
    /// Of the storage while it is read what others did. Nothing is known then, no file may be deleted.
    pub(super) async fn settle(
        &mut self,
        proposal: &Proposal,
        tries: &mut Tries<'_>,
    ) -> Result<Settled> {
        let base = self.version;
        match self.attempt(proposal, tries).await? {
            Attempt::Done => {
                self.stored.try_advance(tries.span)?;
                return Ok(Settled::Ours);
            }
            Attempt::Taken => {}
            Attempt::Unclear(error) => {
                self.sent = Some(tries.span.clone());
                tries.unclear = Some(error);
            }
        }
        let ours = self.refresh(Some(&tries.mark)).await?;
        if ours {
            // An object store that repeats a request takes its own first success for somebody else's.
            self.sent = Some(tries.span.clone());
        }
        match self.standing(tries.span) {
            Ok(Standing::Landed) if ours => Ok(Settled::Ours),
            Ok(Standing::Landed) => {
                tries.lost += 1;
                Ok(Settled::Before)
            }
            Ok(Standing::Ready) => {
                tries.lost += 1;
                if self.version == base {
                    return Ok(Settled::Again);
                }
                // The version that the unclear attempt wanted is somebody else's now.
                tries.unclear = None;
                Ok(Settled::Lost)
            }
            Err(fenced) => Ok(Settled::Fenced(fenced)),
        }
    }

    async fn attempt(&mut self, proposal: &Proposal, tries: &Tries<'_>) -> Result<Attempt> {
        let info = history::commit_info(self, proposal, tries.span, &tries.mark)?;
        let actions = std::iter::once(Action::CommitInfo(info))
            .chain(proposal.actions.iter().cloned())
            .collect();
        let positions = tries
            .span
            .to()
            .iter()
            .map(|(partition, next)| Transaction::new(app_id(&self.pipeline, partition), next))
            .collect();
        let operation = proposal.operation.clone();
        let bytes = self.written_down(actions, operation, positions)?;
        let written = self
            .store
            .write_commit_entry(
                self.version + 1,
                CommitOrBytes::LogBytes(bytes.clone()),
                Uuid::new_v4(),
            )
            .await;
        Ok(match written {
            Ok(()) => match failpoint::lose_answer("in_commit") {
                Ok(()) => {
                    self.version += 1;
                    // It is committed, whatever is thought of it here.
                    if self.take_files(&bytes).is_err()
                        && let Some(files) = &mut self.files
                    {
                        files.forget();
                    }
                    Attempt::Done
                }
                Err(error) => Attempt::Unclear(error),
            },
            Err(TransactionError::VersionAlreadyExists(_)) => Attempt::Taken,
            Err(error) => Attempt::Unclear(storage_error(
                "commit to the Delta table",
                &self.path,
                error,
            )),
        })
    }

    /// The bytes of a commit.
    pub(super) fn written_down(
        &self,
        actions: Vec<Action>,
        operation: DeltaOperation,
        positions: Vec<Transaction>,
    ) -> Result<Bytes> {
        let bytes = CommitData::new(actions, operation, HashMap::new(), positions)
            .get_bytes()
            .map_err(|error| Error::internal("a commit cannot be written down").source(error))?;
        match &self.files {
            Some(files) => files.spellings().repeat(bytes),
            None => Ok(bytes),
        }
    }

    /// Deletes files that certainly belong to no version. Only tidiness: failures are ignored.
    pub(super) async fn delete_files(&self, paths: &[String]) {
        let store = self.store.object_store(None);
        for path in paths {
            if let Ok(parsed) = Path::parse(path)
                && let Err(error) = store.delete(&parsed).await
            {
                tracing::debug!(path, error = %error, "cannot delete an unused data file");
            }
        }
    }

    pub(super) fn receipt<'a>(
        &self,
        files: impl IntoIterator<Item = &'a Add>,
        rows: u64,
    ) -> Receipt {
        let mut receipt = Receipt {
            version: i64::try_from(self.version).unwrap_or(i64::MAX),
            rows,
            ..Receipt::default()
        };
        for file in files {
            receipt.files += 1;
            receipt.bytes += u64::try_from(file.size).unwrap_or(0);
        }
        receipt
    }

    pub(super) fn landed_before(&self) -> Receipt {
        Receipt {
            already_landed: true,
            ..self.receipt(&[], 0)
        }
    }
}
