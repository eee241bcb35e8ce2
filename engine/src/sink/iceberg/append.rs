//! The commit: rows and positions, or neither.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use iceberg::spec::DataFile;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use sql::Result;
use sql::change::Span;

use super::IcebergSink;
use super::progress::key;
use super::settle::{COMMIT, Settled, Tries};
use crate::lake::iceberg::iceberg_error;
use crate::sink::protocol::{Standing, check_batch};
use crate::sink::{Receipt, failpoint};

impl IcebergSink {
    pub(super) async fn append(&mut self, rows: &[RecordBatch], span: &Span) -> Result<Receipt> {
        if !check_batch(rows, span, &self.schema)? {
            return Ok(self.receipt(&[]));
        }
        self.refresh().await?;
        if self.standing(span)? == Standing::Landed {
            return Ok(self.landed_before());
        }
        failpoint::hit("before_write");
        let files = self.write_files(rows).await?;
        failpoint::hit("after_files");
        let receipt = self.commit(&files, span).await?;
        self.finish(receipt, span)
    }

    /// After a commit: remembers it, and is the last chance of crash tests.
    pub(super) fn finish(&mut self, receipt: Receipt, span: &Span) -> Result<Receipt> {
        self.sent = Some(span.clone());
        if !receipt.already_landed {
            failpoint::hit("after_commit");
            failpoint::lose_answer("after_commit")?;
        }
        Ok(receipt)
    }

    async fn commit(&mut self, files: &[DataFile], span: &Span) -> Result<Receipt> {
        let mut tries = Tries::new(span);
        loop {
            let transaction = self.transaction(files, &tries)?;
            let done = self.swap(transaction).await;
            let settled = self.settle(done, &mut tries).await?;
            // An attempt whose end nobody knows may still land: its files must stay.
            if matches!(settled, Settled::Before | Settled::Failed(_)) && tries.certain() {
                self.delete_files(files).await;
            }
            let receipt = match settled {
                Settled::Again => continue,
                Settled::Ours => self.receipt(files),
                Settled::Before => self.landed_before(),
                Settled::Failed(error) => return Err(error),
            };
            return Ok(Receipt {
                conflicts: tries.lost,
                ..receipt
            });
        }
    }

    fn transaction(&self, files: &[DataFile], tries: &Tries<'_>) -> Result<Transaction> {
        let failed = |error| iceberg_error("prepare a commit", &self.place, error);
        let transaction = Transaction::new(&self.table);
        let mut properties = transaction.update_table_properties();
        let mut summary = HashMap::from([(COMMIT.to_owned(), tries.mark.clone())]);
        for (key, next) in self.moved(tries.span) {
            properties = properties.set(key.clone(), next.clone());
            summary.insert(key, next);
        }
        let transaction = properties.apply(transaction).map_err(failed)?;
        transaction
            .fast_append()
            .with_check_duplicate(false)
            .set_snapshot_properties(summary)
            .add_data_files(files.iter().cloned())
            .apply(transaction)
            .map_err(failed)
    }

    /// Where `span` ends, as summary and properties say it.
    pub(super) fn moved(&self, span: &Span) -> HashMap<String, String> {
        let moved = span.to().iter();
        moved
            .map(|(partition, next)| (key(&self.pipeline, partition), next.to_string()))
            .collect()
    }

    pub(super) fn receipt(&self, files: &[DataFile]) -> Receipt {
        Receipt {
            version: self.table.metadata().last_sequence_number(),
            rows: files.iter().map(DataFile::record_count).sum(),
            files: files.len() as u64,
            bytes: files.iter().map(DataFile::file_size_in_bytes).sum(),
            conflicts: 0,
            already_landed: false,
        }
    }
}
