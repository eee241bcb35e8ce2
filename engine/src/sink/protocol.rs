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

/// Compares what the table at `place` stores with what a batch covers.
///
/// # Errors
/// [`sql::ErrorKind::Fenced`] if it is neither the batch's start nor its end.
pub(super) fn standing(stored: &Position, span: &Span, place: &str) -> Result<Standing> {
    if span.reached_by(stored) {
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
/// [`sql::ErrorKind::Internal`] for rows without a span, or of another schema than the sink's.
pub(super) fn check_batch(rows: &[RecordBatch], span: &Span, schema: &SchemaRef) -> Result<bool> {
    if let Some(batch) = rows
        .iter()
        .find(|batch| batch.schema_ref().fields() != schema.fields())
    {
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
