//! Appending: the rows' files are written once, and committed on whatever version is the newest.

use arrow::array::RecordBatch;
use deltalake::kernel::{Action, Add};
use deltalake::protocol::{DeltaOperation, SaveMode};
use sql::Result;
use sql::change::Span;

use super::commit::{Proposal, Settled, Tries};
use super::{DeltaSink, history};
use crate::sink::protocol::{Standing, check_batch};
use crate::sink::{Receipt, failpoint};

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
        self.finish(receipt, span).await
    }

    /// What follows a commit.
    pub(super) async fn finish(&mut self, receipt: Receipt, span: &Span) -> Result<Receipt> {
        self.sent = Some(span.clone());
        if !receipt.already_landed {
            failpoint::hit("after_commit");
            failpoint::lose_answer("after_commit")?;
            self.keep_up().await;
        }
        Ok(receipt)
    }

    async fn commit(
        &mut self,
        files: &[Add],
        rows: &[RecordBatch],
        span: &Span,
    ) -> Result<Receipt> {
        let added: u64 = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        let proposal = self.appended(files, added);
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        let mut tries = Tries::new(span);
        while !tries.exhausted() {
            match self.settle(&proposal, &mut tries).await? {
                Settled::Ours => {
                    return Ok(Receipt {
                        conflicts: tries.lost,
                        ..self.receipt(files, added)
                    });
                }
                Settled::Lost | Settled::Again => {}
                Settled::Before => {
                    if tries.certain() {
                        self.delete_files(&paths).await;
                    }
                    return Ok(Receipt {
                        conflicts: tries.lost,
                        ..self.landed_before()
                    });
                }
                Settled::Fenced(error) => {
                    if tries.certain() {
                        self.delete_files(&paths).await;
                    }
                    return Err(error);
                }
            }
        }
        if tries.certain() {
            self.delete_files(&paths).await;
        }
        Err(tries.into_error(&self.path))
    }

    fn appended(&self, files: &[Add], rows: u64) -> Proposal {
        Proposal {
            actions: files.iter().cloned().map(Action::Add).collect(),
            operation: DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: (!self.partition_by.is_empty()).then(|| self.partition_by.clone()),
                predicate: None,
            },
            blind: true,
            metrics: history::of_append(files, rows),
        }
    }
}
