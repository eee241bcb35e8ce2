//! The batch that is being decoded: columns, what stands beside the rows, and what became no row.

use std::sync::Arc;

use arrow::array::ArrayRef;
use sql::Result;
use sql::change::{BEFORE, BatchCounts, Op, Reject, RowMeta, SOURCE};

use super::DecoderOptions;
use super::column::Column;
use super::keyed::PendingKeys;
use super::metadata;
use super::origin::Known;
use super::outputs::Outputs;
use crate::format::{Decoded, RawMessage};

/// Pending rows.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The distinct projected row columns.
    pub(super) columns: Vec<Column>,
    /// `_before` and `_source`, if projected.
    pub(super) before: Option<Column>,
    pub(super) source: Option<Column>,
    pub(super) meta: RowMeta,
    /// Row and row field, for each value that the source did not send.
    pub(super) unavailable: Vec<(usize, usize)>,
    /// The row fields of the message that is being decoded.
    pub(super) marks: Vec<usize>,
    pub(super) rejects: Vec<Reject>,
    pub(super) counts: BatchCounts,
    /// Only where the target is kept by key.
    pub(super) keys: Option<PendingKeys>,
}

/// What a decoded message says beside its columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowFacts {
    pub(super) op: Op,
    pub(super) commit_micros: Option<i64>,
    pub(super) known: Known,
}

impl Pending {
    /// Empty columns for `outputs`.
    pub(super) fn try_new(outputs: &Outputs, options: &DecoderOptions) -> Result<Self> {
        let keys = || PendingKeys::try_new(outputs, &options.key);
        Ok(Self {
            keys: options.keyed.then(keys).transpose()?,
            columns: outputs.empty_columns()?,
            before: outputs.empty_metadata(BEFORE)?,
            source: outputs.empty_metadata(SOURCE)?,
            meta: empty_meta(options.keep_raw),
            ..Self::default()
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.meta.ops.len()
    }

    /// The event at hand may have been applied before.
    pub(super) fn note_again(&mut self, pass: u32) {
        let row = self.rows();
        if let Some(keys) = &mut self.keys {
            keys.note_again(row, pass);
        }
    }

    /// Forgets what a message left in the row's columns.
    pub(super) fn rollback_row(&mut self) {
        let rows = self.rows();
        for column in &mut self.columns {
            column.truncate(rows);
        }
        self.marks.clear();
    }

    /// Forgets what a message left anywhere.
    pub(super) fn rollback(&mut self) {
        self.rollback_row();
        let rows = self.rows();
        for column in self.before.iter_mut().chain(&mut self.source) {
            column.truncate(rows);
        }
    }

    /// Makes the message a row: columns that it had no value for get a null.
    pub(super) fn commit(&mut self, message: &RawMessage<'_>, facts: RowFacts) {
        let row = self.rows();
        let columns = self.columns.iter_mut();
        for column in columns.chain(&mut self.before).chain(&mut self.source) {
            if column.len() == row {
                column.append_null();
            }
        }
        let marks = self.marks.drain(..);
        self.unavailable.extend(marks.map(|field| (row, field)));
        let meta = &mut self.meta;
        meta.ops.push(facts.op);
        meta.offsets.push(message.offset);
        meta.commit_micros
            .push(facts.commit_micros.unwrap_or(i64::MIN));
        let partition = meta
            .partitions
            .iter()
            .rposition(|partition| partition == message.partition)
            .unwrap_or_else(|| {
                meta.partitions.push(message.partition.clone());
                meta.partitions.len() - 1
            });
        meta.partition
            .push(u32::try_from(partition).unwrap_or(u32::MAX));
        if let Some(raw) = &mut meta.raw {
            raw.push(message.to_record());
        }
    }

    /// Takes the batch out; the columns stay, empty.
    pub(super) fn finish(&mut self, outputs: &Outputs, ingested_at: i64) -> Result<Decoded> {
        let rows = self.rows();
        let row_columns = self
            .columns
            .iter_mut()
            .map(Column::finish)
            .collect::<Result<Vec<ArrayRef>>>()?;
        let before = self.before.as_mut().map(Column::finish).transpose()?;
        let source = self.source.as_mut().map(Column::finish).transpose()?;
        let keep_raw = self.meta.raw.is_some();
        let mut meta = std::mem::replace(&mut self.meta, empty_meta(keep_raw));
        let unavailable = std::mem::take(&mut self.unavailable);
        let keys = self.keys.as_mut();
        meta.keyed = keys
            .map(|keys| keys.finish(outputs, &unavailable))
            .transpose()?;
        let made = metadata::Made {
            meta: &meta,
            row: &outputs.row,
            unavailable: &unavailable,
            ingested_at,
            before,
            source,
        };
        let columns = outputs
            .projected
            .fields()
            .iter()
            .zip(&outputs.sources)
            .map(
                |(field, from)| match from.and_then(|at| row_columns.get(at)) {
                    Some(column) => Ok(Arc::clone(column)),
                    None => made.column(field.name()),
                },
            )
            .collect::<Result<Vec<ArrayRef>>>()?;
        Ok(Decoded {
            rows: outputs.batch(columns, rows)?,
            meta,
            rejects: std::mem::take(&mut self.rejects),
            counts: std::mem::take(&mut self.counts),
        })
    }
}

fn empty_meta(keep_raw: bool) -> RowMeta {
    RowMeta {
        raw: keep_raw.then(Vec::new),
        ..RowMeta::default()
    }
}
