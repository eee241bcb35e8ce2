//! A batch of rows with some of them replaced or left out.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, interleave_record_batch};
use sql::{Error, Result};

/// With so many rows a piece, or more, pieces are copied whole: below, row by row is faster.
const WORTH_COPYING: usize = 8;

/// What becomes of a batch. Rows are told of in their order; the others stay.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    batch: &'a RecordBatch,
    others: &'a RecordBatch,
    pieces: Vec<Piece>,
    /// The first row of the batch that nothing was said of.
    next: usize,
}

#[derive(Debug)]
enum Piece {
    Kept(Range<usize>),
    Other(usize),
}

impl<'a> Pieces<'a> {
    /// All of `batch`, whose rows may be replaced by rows of `others`, with the same columns.
    pub(crate) fn of(batch: &'a RecordBatch, others: &'a RecordBatch) -> Self {
        Self {
            batch,
            others,
            pieces: Vec::new(),
            next: 0,
        }
    }

    /// The row `other` of the others stands in the place of `row`.
    pub(crate) fn replace(&mut self, row: usize, other: usize) {
        self.leave_out(row);
        self.pieces.push(Piece::Other(other));
    }

    /// `row` goes.
    pub(crate) fn leave_out(&mut self, row: usize) {
        if self.next < row {
            self.pieces.push(Piece::Kept(self.next..row));
        }
        self.next = row + 1;
    }

    /// The rows.
    ///
    /// # Errors
    /// If the batches have not the same columns.
    pub(crate) fn together(mut self) -> Result<RecordBatch> {
        let failed = |error| Error::internal("rows cannot be put together").source(error);
        let rows = self.batch.num_rows();
        if self.next < rows {
            self.pieces.push(Piece::Kept(self.next..rows));
        }
        let Self { batch, others, .. } = self;
        if self.pieces.is_empty() {
            return Ok(batch.slice(0, 0));
        }
        if self.pieces.len() * WORTH_COPYING <= rows {
            let slices = self.pieces.into_iter().map(|piece| match piece {
                Piece::Kept(rows) => batch.slice(rows.start, rows.len()),
                Piece::Other(row) => others.slice(row, 1),
            });
            let slices: Vec<_> = slices.collect();
            return concat_batches(batch.schema_ref(), &slices).map_err(failed);
        }
        let mut places = Vec::with_capacity(rows);
        for piece in self.pieces {
            match piece {
                Piece::Kept(rows) => places.extend(rows.map(|row| (0, row))),
                Piece::Other(row) => places.push((1, row)),
            }
        }
        interleave_record_batch(&[batch, others], &places).map_err(failed)
    }
}
