//! The rows of a range of changes as they are read: version by version, several opened ahead.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Result as DfResult, internal_err};
use datafusion::error::DataFusionError;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};

use super::{Range, external};
use crate::change::{COMMIT_TIMESTAMP, COMMIT_VERSION, utc_micros};
use crate::error::Result;
use crate::versioned::{Rows, Version, VersionedTable, Wanted};

/// Versions whose first rows are read while an earlier one is still being used. Each holds one batch.
const AHEAD: usize = 4;
/// How often a range without an end looks for new versions.
const POLL: Duration = Duration::from_millis(500);

/// What is read of each version, and into which columns.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) table: Arc<dyn VersionedTable>,
    pub(super) wanted: Wanted,
    pub(super) schema: SchemaRef,
}

impl Reading {
    /// The rows of `range`, in the order of its versions. Dropping the stream ends all that it began.
    pub(super) fn rows(self, range: Range) -> BoxStream<'static, DfResult<RecordBatch>> {
        match range.to {
            Some(to) => self.span(range.from, to),
            None => self.follow(range.from),
        }
    }

    fn span(self, from: i64, to: i64) -> BoxStream<'static, DfResult<RecordBatch>> {
        let table = Arc::clone(&self.table);
        let versions = async move { table.versions(from, to).await.map_err(external) };
        stream::once(versions)
            .map_ok(move |versions| self.clone().versions(versions))
            .try_flatten()
            .boxed()
    }

    fn versions(self, versions: Vec<Version>) -> impl Stream<Item = DfResult<RecordBatch>> + Send {
        stream::iter(versions.into_iter().filter(|version| version.changes_rows))
            .map(move |version| self.clone().begin(version))
            .buffered(AHEAD)
            .try_flatten()
    }

    /// Opens a version in a task of its own, so that it goes on while the rows of earlier ones are used.
    async fn begin(
        self,
        version: Version,
    ) -> DfResult<impl Stream<Item = DfResult<RecordBatch>> + Send> {
        let (table, wanted) = (Arc::clone(&self.table), self.wanted.clone());
        let number = version.number;
        let opened = SpawnedTask::spawn(async move { first(table, number, &wanted).await });
        let (first, rest) = opened
            .await
            .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
            .map_err(external)?;
        let rows = stream::iter(first.map(Ok)).chain(rest.map_err(external));
        Ok(rows.map(move |batch| complete(&batch?, &self.schema, &version)))
    }

    fn follow(self, from: i64) -> BoxStream<'static, DfResult<RecordBatch>> {
        stream::try_unfold(from, move |next| {
            let reading = self.clone();
            async move {
                let last = reading.wait_for(next).await?;
                let rows = reading.span(next, last);
                Ok::<_, DataFusionError>(Some((rows, last.saturating_add(1))))
            }
        })
        .try_flatten()
        .boxed()
    }

    /// The newest version, once it is `next` or later.
    async fn wait_for(&self, next: i64) -> DfResult<i64> {
        loop {
            let readable = self.table.refresh().await.map_err(external)?;
            if readable.last >= next {
                return Ok(readable.last);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The rows of a version, the first batch of them read.
async fn first(
    table: Arc<dyn VersionedTable>,
    number: i64,
    wanted: &Wanted,
) -> Result<(Option<RecordBatch>, Rows)> {
    let mut rows = table.changes(number, wanted).await?;
    let first = rows.next().await.transpose()?;
    Ok((first, rows))
}

/// The columns of `schema`: those of the rows by name, and what is said of their version.
fn complete(rows: &RecordBatch, schema: &SchemaRef, version: &Version) -> DfResult<RecordBatch> {
    let count = rows.num_rows();
    let columns = schema.fields().iter().map(|field| -> DfResult<ArrayRef> {
        match field.name().as_str() {
            COMMIT_VERSION => Ok(Arc::new(Int64Array::from_value(version.number, count))),
            COMMIT_TIMESTAMP => Ok(Arc::new(
                TimestampMicrosecondArray::from_value(version.committed_micros, count)
                    .with_data_type(utc_micros()),
            )),
            name => match rows.column_by_name(name) {
                Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
                Some(column) => internal_err!(
                    "column {name} was read as {}, and the plan reads {}",
                    column.data_type(),
                    field.data_type()
                ),
                None => internal_err!("column {name} was not read"),
            },
        }
    });
    let columns = columns.collect::<DfResult<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}
