//! The rows of several files as one stream: in the order of the key, or file after file.
//!
//! Files that the engine wrote for a table with a key are sorted by it. Whether a file is, is looked up in its key columns: other
//! writers write what they like, and appends write what comes. A file that is not sorted is sorted first, on disk if it does not fit
//! into [`SORT_MEMORY`]. Should a file be taken for sorted that is not, rows lie in another order than they could; none is lost.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryPool, UnboundedMemoryPool,
};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan as _;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::try_unfold;
use sql::{Error, Result};

use super::choose::{Group, Named};
use crate::sink::delta::upsert::read::{BATCH_ROWS, Reader};

/// What the sorting of one file may hold in memory.
const SORT_MEMORY: usize = 128 << 20;

/// The rows of `group`, sorted by the columns `order` if there are any.
///
/// # Errors
/// Of the storage, while it is found out which files are sorted.
pub(super) async fn merged(
    reader: &Reader,
    group: &Group,
    order: &[String],
) -> Result<SendableRecordBatchStream> {
    let Some(ordering) = ordering(&reader.schema, order)? else {
        let files = group.files().cloned().collect();
        return Ok(one_after_the_other(reader.clone(), files));
    };
    let keys = keys_only(reader, order)?;
    let mut inputs = Vec::new();
    for stream in &group.streams {
        let mut sorted = Vec::new();
        for file in stream {
            if is_sorted(&keys, file).await? {
                sorted.push(file.clone());
            } else {
                inputs.push(sorted_first(reader, file.clone(), &ordering)?);
            }
        }
        if !sorted.is_empty() {
            inputs.push(one_after_the_other(reader.clone(), sorted));
        }
    }
    if inputs.len() == 1 {
        return inputs
            .pop()
            .ok_or_else(|| Error::internal("a merge of no files"));
    }
    let unbounded: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    StreamingMergeBuilder::new()
        .with_streams(inputs)
        .with_schema(Arc::clone(&reader.schema))
        .with_expressions(&ordering)
        .with_metrics(BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0))
        .with_batch_size(BATCH_ROWS)
        // What it holds was bounded when the files were chosen.
        .with_reservation(MemoryConsumer::new("compaction").register(&unbounded))
        .build()
        .map_err(failed)
}

/// The engine's own error, if it is one.
pub(super) fn failed(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => {
                Error::internal("rows cannot be merged").source(DataFusionError::External(other))
            }
        },
        DataFusionError::Context(_, inner) => failed(*inner),
        other => Error::internal("rows cannot be merged").source(other),
    }
}

fn ordering(schema: &SchemaRef, order: &[String]) -> Result<Option<LexOrdering>> {
    let mut expressions = Vec::with_capacity(order.len());
    for name in order {
        let column = Column::new_with_schema(name, schema).map_err(failed)?;
        expressions.push(PhysicalSortExpr::new_default(Arc::new(column)));
    }
    Ok(LexOrdering::new(expressions))
}

/// A reader of the columns `order` alone.
fn keys_only(reader: &Reader, order: &[String]) -> Result<Reader> {
    let fields = order.iter().map(|name| {
        let found = reader.schema.column_with_name(name);
        found
            .map(|(_, field)| field.clone())
            .ok_or_else(|| Error::internal("a table without its key"))
    });
    Ok(Reader {
        schema: Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)),
        ..reader.clone()
    })
}

async fn is_sorted(keys: &Reader, (path, file): &Named) -> Result<bool> {
    let failed = |error| Error::internal("keys cannot be compared").source(error);
    let fields = keys.schema.fields().iter();
    let fields = fields.map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(fields.collect()).map_err(failed)?;
    let mut stored = keys.rows(path, file, None).await?;
    let mut last: Option<arrow::row::OwnedRow> = None;
    while let Some(batch) = stored.next().await? {
        let rows = converter.convert_columns(batch.columns()).map_err(failed)?;
        let mut before = last.as_ref().map(arrow::row::OwnedRow::row);
        for row in &rows {
            if before.is_some_and(|before| before > row) {
                return Ok(false);
            }
            before = Some(row);
        }
        last = before.map(|row| row.owned());
    }
    Ok(true)
}

fn one_after_the_other(reader: Reader, files: Vec<Named>) -> SendableRecordBatchStream {
    let schema = Arc::clone(&reader.schema);
    let rows = try_unfold(
        (reader, files.into_iter(), None),
        |(reader, mut files, mut open)| async move {
            loop {
                let mut rows = match open.take() {
                    Some(rows) => rows,
                    None => match files.next() {
                        Some((path, file)) => {
                            reader.rows(&path, &file, None).await.map_err(external)?
                        }
                        None => return Ok(None),
                    },
                };
                if let Some(batch) = rows.next().await.map_err(external)? {
                    return Ok(Some((batch, (reader, files, Some(rows)))));
                }
            }
        },
    );
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A file whose rows are in no order.
struct Unsorted {
    reader: Reader,
    file: Named,
}

impl fmt::Debug for Unsorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsorted")
            .field("path", &self.file.0)
            .finish_non_exhaustive()
    }
}

impl PartitionStream for Unsorted {
    fn schema(&self) -> &SchemaRef {
        &self.reader.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        one_after_the_other(self.reader.clone(), vec![self.file.clone()])
    }
}

fn sorted_first(
    reader: &Reader,
    file: Named,
    ordering: &LexOrdering,
) -> Result<SendableRecordBatchStream> {
    let schema = Arc::clone(&reader.schema);
    let unsorted: Arc<dyn PartitionStream> = Arc::new(Unsorted {
        reader: reader.clone(),
        file,
    });
    let rows = StreamingTableExec::try_new(schema, vec![unsorted], None, [], false, None)
        .map_err(failed)?;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(SORT_MEMORY)))
        .build_arc()
        .map_err(failed)?;
    let context = TaskContext::default().with_runtime(runtime);
    SortExec::new(ordering.clone(), Arc::new(rows))
        .execute(0, Arc::new(context))
        .map_err(failed)
}
