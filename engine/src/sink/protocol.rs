//! The part of the commit protocol that all sinks share.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use sql::change::{Position, Span};
use sql::{Error, Result};

/// Attempts at one commit against other writers of the same table.
pub(super) const MAX_ATTEMPTS: u64 = 20;

/// Where a table stands for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Exactly where the batch starts.
    Ready,
    /// Exactly where it ends: it landed.
    Landed,
}

/// Compares what the table at `place` stores with what a batch covers. `sent` is the span of the last commit of ours
/// that may have landed: only that one can have brought the table to the batch's end. Two engines that cut the same
/// batches would otherwise take each other's commits for their own and never notice.
///
/// # Errors
/// [`sql::ErrorKind::Fenced`] if it is neither the batch's start nor its end, or its end without us.
pub(super) fn standing(
    stored: &Position,
    span: &Span,
    sent: Option<&Span>,
    place: &str,
) -> Result<Standing> {
    if span.reached_by(stored) && sent == Some(span) {
        return Ok(Standing::Landed);
    }
    match stored.clone().try_advance(span) {
        Ok(()) => Ok(Standing::Ready),
        Err(fenced) => Err(fenced.at(place).remedy(
            "Another engine runs this pipeline on this table. Stop one of the two; the one that is left goes on where the table stands.",
        )),
    }
}

/// Whether there is anything to write.
///
/// # Errors
/// [`sql::ErrorKind::Internal`] for rows without a span, or with columns that the sink does not have. A batch may lack
/// columns: another engine may have added them to the table since the batch was planned.
pub(super) fn check_batch(rows: &[RecordBatch], span: &Span, schema: &SchemaRef) -> Result<bool> {
    let fits = |batch: &RecordBatch| {
        batch.schema_ref().fields().iter().all(|field| {
            schema
                .column_with_name(field.name())
                .is_some_and(|(_, own)| own.data_type() == field.data_type())
        })
    };
    if let Some(batch) = rows.iter().find(|batch| !fits(batch)) {
        return Err(Error::internal(format!(
            "a batch for the sink has the columns {:?}, the sink's are {:?}",
            shown(batch.schema_ref()),
            shown(schema)
        )));
    }
    if !span.is_empty() {
        return Ok(true);
    }
    if rows.iter().any(|batch| batch.num_rows() > 0) {
        return Err(Error::internal("rows without a span for the sink"));
    }
    Ok(false)
}

fn shown(schema: &SchemaRef) -> Vec<String> {
    schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect()
}
