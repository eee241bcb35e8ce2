//! The live rows of a group of data files, written again.
//!
//! Rows keep the order of their files; if the table's key is known and several files become one, they are sorted by it, so that
//! searches can leave pages and files out. Memory: a batch that is read and the row group that is written; sorting takes
//! [`SORT_MEMORY`] more and goes to temporary files beyond that.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan as _, SendableRecordBatchStream};
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::spec::DataFile;
use iceberg::writer::IcebergWriter as _;
use parking_lot::Mutex;
use sql::{Error, Result};

use super::super::IcebergSink;
use super::super::upsert::bounds::partition_values;
use super::super::upsert::positions;
use super::super::upsert::read::LakeReader;
use super::choose::Group;
use crate::maintain::Policy;
use crate::sink::backfill::Values;

/// What sorting may take before it uses temporary files, in bytes.
const SORT_MEMORY: usize = 256 << 20;

type Rows = BoxStream<'static, Result<RecordBatch>>;

/// A group and the files that hold its live rows.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) group: Group,
    pub(super) added: Vec<DataFile>,
    pub(super) rows: u64,
    /// Rows that were given a value.
    pub(super) filled: u64,
}

/// Writes the live rows of `group` to new files, with `values` where they lack one. The files are no part of the table until they are
/// committed.
///
/// # Errors
/// Of the storage; [`sql::ErrorKind::Internal`] if not all live rows were written: then nothing of it may be committed.
pub(super) async fn rewrite(
    sink: &IcebergSink,
    reader: &LakeReader,
    group: Group,
    policy: &Policy,
    values: Option<&Values>,
) -> Result<Rewritten> {
    let deleted = deleted(reader, &group).await?;
    let of = |path: &str| deleted.get(path).map_or(0, Vec::len) as u64;
    let live: u64 = group
        .files
        .iter()
        .map(|file| file.rows.saturating_sub(of(&file.path)))
        .sum();
    let mut added = None;
    if group.files.len() > 1 && !sink.key.is_empty() {
        match write(sink, reader, &group, &deleted, policy, None, true).await {
            Ok((files, _)) => added = Some(files),
            // Such as no place for temporary files: order is a favour, fewer files are the point.
            Err(error) => tracing::debug!(
                table = sink.place,
                error = %error,
                "rows cannot be sorted while files are compacted"
            ),
        }
    }
    let (added, filled) = match added {
        Some(added) => (added, 0),
        None => write(sink, reader, &group, &deleted, policy, values, false).await?,
    };
    let written: u64 = added.iter().map(DataFile::record_count).sum();
    if written != live {
        sink.delete_files(&added).await;
        return Err(Error::internal(format!(
            "compaction read {live} live rows and wrote {written}: nothing was committed"
        ))
        .at(&sink.place));
    }
    Ok(Rewritten {
        group,
        added,
        rows: live,
        filled,
    })
}

/// The deleted rows of each of the group's files, ascending.
async fn deleted(reader: &LakeReader, group: &Group) -> Result<HashMap<String, Vec<u64>>> {
    let mut deleted: HashMap<String, Vec<u64>> = HashMap::new();
    for delete in &group.deletes {
        let found = positions::read(reader, delete).await?;
        for file in group.files.iter().filter(|file| delete.applies_to(file)) {
            if let Some(rows) = found.get(&file.path) {
                let own = deleted.entry(file.path.clone()).or_default();
                own.extend(rows.iter().filter(|row| **row < file.rows));
            }
        }
    }
    for rows in deleted.values_mut() {
        rows.sort_unstable();
        rows.dedup();
    }
    Ok(deleted)
}

async fn write(
    sink: &IcebergSink,
    reader: &LakeReader,
    group: &Group,
    deleted: &HashMap<String, Vec<u64>>,
    policy: &Policy,
    values: Option<&Values>,
    sort: bool,
) -> Result<(Vec<DataFile>, u64)> {
    let mut rows = live_rows(sink, reader, group, deleted, &sink.file_schema);
    if sort {
        rows = sorted(rows, &sink.file_schema, &sink.key)?;
    }
    let failed = |error| sink.write_error(error);
    let target = usize::try_from(policy.target_file_size).unwrap_or(usize::MAX);
    let (mut writer, mut filled) = (None, 0);
    while let Some(mut batch) = rows.try_next().await? {
        if batch.num_rows() == 0 {
            continue;
        }
        if let Some(values) = values {
            let (whole, count) = values.fill(&batch)?;
            batch = whole;
            filled += count;
        }
        if writer.is_none() {
            let opened = sink.successor(group.spec, &group.partition, &batch, Some(target));
            writer = Some(opened.await?);
        }
        if let Some(writer) = &mut writer {
            writer.write(batch).await.map_err(failed)?;
        }
    }
    match writer {
        Some(mut writer) => Ok((writer.close().await.map_err(failed)?, filled)),
        None => Ok((Vec::new(), filled)),
    }
}

/// The rows of the group's files that are not deleted, file by file, in the columns of `schema`.
pub(super) fn live_rows(
    sink: &IcebergSink,
    reader: &LakeReader,
    group: &Group,
    deleted: &HashMap<String, Vec<u64>>,
    schema: &SchemaRef,
) -> Rows {
    let sources: Vec<_> = group
        .files
        .iter()
        .map(|file| {
            let constants = partition_values(sink.table.metadata(), schema, file);
            let gone = deleted.get(&file.path).cloned().unwrap_or_default();
            (file.clone(), gone, constants)
        })
        .collect();
    let reader = reader.clone();
    let schema = Arc::clone(schema);
    stream::iter(sources)
        .then(move |(file, gone, constants)| {
            let (reader, schema) = (reader.clone(), Arc::clone(&schema));
            async move { reader.live(&file, &gone, &schema, constants).await }
        })
        .try_flatten()
        .boxed()
}

/// `rows` in the order of the key.
fn sorted(rows: Rows, schema: &SchemaRef, key: &[String]) -> Result<Rows> {
    let failed = |error: DataFusionError| Error::internal("rows cannot be sorted").source(error);
    let mut order = Vec::with_capacity(key.len());
    for name in key {
        let at = schema
            .index_of(name)
            .map_err(|error| Error::internal("the table lacks its key").source(error))?;
        let options = SortOptions {
            descending: false,
            nulls_first: true,
        };
        order.push(PhysicalSortExpr::new(
            Arc::new(Column::new(name, at)),
            options,
        ));
    }
    let order = LexOrdering::new(order).ok_or_else(|| Error::internal("a key of no columns"))?;
    let source = Once {
        rows: Mutex::new(Some(rows)),
        schema: Arc::clone(schema),
    };
    let source: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(source)];
    let source = StreamingTableExec::try_new(Arc::clone(schema), source, None, [], false, None)
        .map_err(failed)?;
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(SORT_MEMORY, 1.0);
    let context = TaskContext::default().with_runtime(runtime.build_arc().map_err(failed)?);
    let sorted = SortExec::new(order, Arc::new(source))
        .execute(0, Arc::new(context))
        .map_err(failed)?;
    Ok(sorted.map_err(failed).boxed())
}

/// A stream that a plan reads once.
struct Once {
    rows: Mutex<Option<Rows>>,
    schema: SchemaRef,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().take();
        let rows = rows.unwrap_or_else(|| {
            let again = Error::internal("a stream of rows is read twice");
            stream::once(async move { Err(again) }).boxed()
        });
        let rows = rows.map_err(|error| DataFusionError::External(Box::new(error)));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            rows,
        ))
    }
}
