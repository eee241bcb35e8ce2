//! The commit: rows and positions, or neither.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use iceberg::spec::DataFile;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use sql::change::Span;
use sql::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::IcebergSink;
use super::progress::{has_commit, key, positions};
use crate::lake::iceberg::iceberg_error;
use crate::sink::protocol::{MAX_ATTEMPTS, Standing, check_batch, standing};
use crate::sink::{Receipt, failpoint};

/// In a snapshot's summary: tells our own commit from another engine's of the same span.
const COMMIT: &str = "engine.commit";
/// Attempts whose end nobody knows. Each may have waited for the catalog's lock.
const MAX_UNCLEAR: u32 = 5;

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
        self.sent = Some(span.clone());
        if !receipt.already_landed {
            failpoint::hit("after_commit");
            failpoint::lose_answer("after_commit")?;
        }
        Ok(receipt)
    }

    fn standing(&self, span: &Span) -> Result<Standing> {
        let stored = positions(&self.table.metadata_ref(), &self.pipeline);
        standing(&stored, span, self.sent.as_ref(), &self.place)
    }

    async fn commit(&mut self, files: &[DataFile], span: &Span) -> Result<Receipt> {
        let mark = Uuid::new_v4().to_string();
        let mut unclear = 0;
        for conflicts in 0..MAX_ATTEMPTS {
            let transaction = self.transaction(files, span, &mark)?;
            let Err(failed) = self.swap(transaction).await else {
                return Ok(Receipt {
                    conflicts,
                    ..self.receipt(files)
                });
            };
            if failed.unclear {
                self.sent = Some(span.clone());
                unclear += 1;
            } else if !failed.is_conflict() {
                // Nothing was asked of the catalog: no snapshot has the files.
                if unclear == 0 {
                    self.delete_files(files).await;
                }
                return Err(iceberg_error(
                    "commit to the Iceberg table",
                    &self.place,
                    failed.error,
                ));
            }
            self.refresh().await?;
            let ours = has_commit(&self.table.metadata_ref(), COMMIT, &mark);
            if ours {
                self.sent = Some(span.clone());
            }
            match self.standing(span) {
                Ok(Standing::Landed) if ours => {
                    return Ok(Receipt {
                        conflicts,
                        ..self.receipt(files)
                    });
                }
                Ok(Standing::Ready) if unclear < MAX_UNCLEAR => {}
                Ok(Standing::Ready) => {
                    return Err(iceberg_error(
                        "commit to the Iceberg table",
                        &self.place,
                        failed.error,
                    ));
                }
                other => {
                    // An attempt whose end nobody knows may still land: its files must stay.
                    if unclear == 0 {
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
        if unclear == 0 {
            self.delete_files(files).await;
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("the commit lost against other writers {MAX_ATTEMPTS} times"),
        )
        .at(&self.place))
    }

    fn transaction(&self, files: &[DataFile], span: &Span, mark: &str) -> Result<Transaction> {
        let failed = |error| iceberg_error("prepare a commit", &self.place, error);
        let transaction = Transaction::new(&self.table);
        let mut properties = transaction.update_table_properties();
        let mut summary = HashMap::from([(COMMIT.to_owned(), mark.to_owned())]);
        for (partition, next) in span.to().iter() {
            let key = key(&self.pipeline, partition);
            properties = properties.set(key.clone(), next.to_string());
            summary.insert(key, next.to_string());
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

    fn receipt(&self, files: &[DataFile]) -> Receipt {
        Receipt {
            version: self.table.metadata().last_sequence_number(),
            rows: files.iter().map(DataFile::record_count).sum(),
            files: files.len() as u64,
            bytes: files.iter().map(DataFile::file_size_in_bytes).sum(),
            conflicts: 0,
            already_landed: false,
        }
    }

    fn landed_before(&self) -> Receipt {
        Receipt {
            already_landed: true,
            ..self.receipt(&[])
        }
    }
}
