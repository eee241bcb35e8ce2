//! The commit: rows and positions, or neither.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Add, Transaction};
use deltalake::logstore::CommitOrBytes;
use sql::change::Span;
use sql::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::progress::app_id;
use super::{DeltaSink, history};
use crate::lake::storage::storage_error;
use crate::sink::protocol::{MAX_ATTEMPTS, Standing, check_batch, standing};
use crate::sink::{Receipt, failpoint};

/// How one attempt ended.
enum Attempt {
    Done,
    /// The version was taken: the next one may be free.
    Taken,
    /// Nobody knows.
    Unclear(Error),
}

impl DeltaSink {
    pub(super) async fn append(&mut self, rows: &[RecordBatch], span: &Span) -> Result<Receipt> {
        if !check_batch(rows, span, &self.schema)? {
            return Ok(self.receipt(&[], 0));
        }
        self.refresh(None).await?;
        if self.standing(span)? == Standing::Landed {
            return Ok(self.landed_before());
        }
        failpoint::hit("before_write");
        let files = self.write_files(rows).await?;
        failpoint::hit("after_files");
        let receipt = self.commit(&files, rows, span).await?;
        self.sent = Some(span.clone());
        if !receipt.already_landed {
            failpoint::hit("after_commit");
            failpoint::lose_answer("after_commit")?;
            self.keep_up().await;
        }
        Ok(receipt)
    }

    fn standing(&self, span: &Span) -> Result<Standing> {
        standing(&self.stored, span, self.sent.as_ref(), &self.path)
    }

    async fn commit(
        &mut self,
        files: &[Add],
        rows: &[RecordBatch],
        span: &Span,
    ) -> Result<Receipt> {
        // Tells our own commit from another engine's of the same span.
        let mark = Uuid::new_v4().to_string();
        let added: u64 = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        let mut unclear = None;
        for conflicts in 0..MAX_ATTEMPTS {
            match self.attempt(files, added, span, &mark).await? {
                Attempt::Done => {
                    self.version += 1;
                    self.stored.try_advance(span)?;
                    return Ok(Receipt {
                        conflicts,
                        ..self.receipt(files, added)
                    });
                }
                Attempt::Taken => {}
                Attempt::Unclear(error) => {
                    self.sent = Some(span.clone());
                    unclear = Some(error);
                }
            }
            let ours = self.refresh(Some(&mark)).await?;
            if ours {
                // An object store that repeats a request takes its own first success for somebody else's.
                self.sent = Some(span.clone());
            }
            match self.standing(span) {
                Ok(Standing::Landed) if ours => {
                    return Ok(Receipt {
                        conflicts,
                        ..self.receipt(files, added)
                    });
                }
                Ok(Standing::Ready) => {}
                other => {
                    // An attempt whose end nobody knows may still land: its files must stay.
                    if unclear.is_none() {
                        self.delete_files(files).await;
                    }
                    other?;
                    return Ok(Receipt {
                        conflicts: conflicts + 1,
                        ..self.landed_before()
                    });
                }
            }
        }
        Err(match unclear {
            Some(error) => error,
            None => {
                self.delete_files(files).await;
                Error::new(
                    ErrorKind::Conflict,
                    format!("the commit lost against other writers {MAX_ATTEMPTS} times"),
                )
                .at(&self.path)
            }
        })
    }

    async fn attempt(&self, files: &[Add], rows: u64, span: &Span, mark: &str) -> Result<Attempt> {
        let history = history::commit_info(self, files, rows, span, mark)?;
        let actions = std::iter::once(Action::CommitInfo(history))
            .chain(files.iter().cloned().map(Action::Add))
            .collect();
        let positions = span
            .to()
            .iter()
            .map(|(partition, next)| Transaction::new(app_id(&self.pipeline, partition), next))
            .collect();
        let bytes = CommitData::new(actions, history::operation(self), HashMap::new(), positions)
            .get_bytes()
            .map_err(|error| Error::internal("a commit cannot be written down").source(error))?;
        let next = self.version + 1;
        let written = self
            .store
            .write_commit_entry(next, CommitOrBytes::LogBytes(bytes), Uuid::new_v4())
            .await;
        Ok(match written {
            Ok(()) => match failpoint::lose_answer("in_commit") {
                Ok(()) => Attempt::Done,
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

    fn receipt(&self, files: &[Add], rows: u64) -> Receipt {
        Receipt {
            version: i64::try_from(self.version).unwrap_or(i64::MAX),
            rows,
            files: files.len() as u64,
            bytes: files
                .iter()
                .map(|file| u64::try_from(file.size).unwrap_or(0))
                .sum(),
            conflicts: 0,
            already_landed: false,
        }
    }

    fn landed_before(&self) -> Receipt {
        Receipt {
            already_landed: true,
            ..self.receipt(&[], 0)
        }
    }
}
