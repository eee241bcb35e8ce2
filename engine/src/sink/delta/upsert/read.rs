//! Rows of the table's files, with the table's columns, in the file's order.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use deltalake::ObjectStore;
use futures::TryStreamExt as _;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use sql::{Error, Result};

use crate::lake::cast::Caster;
use crate::lake::locate::{Counted, ParquetFiles as _, StoreFiles};
use crate::lake::storage::storage_error;
use crate::sink::delta::files::{LiveFile, one};

/// Rows that are decoded at once.
pub(in crate::sink::delta) const BATCH_ROWS: usize = 8 * 1024;

/// Reads files of one table.
#[derive(Debug, Clone)]
pub(in crate::sink::delta) struct Reader {
    pub(in crate::sink::delta) store: Arc<dyn ObjectStore>,
    /// The table's columns.
    pub(in crate::sink::delta) schema: SchemaRef,
    pub(in crate::sink::delta) partition_by: Vec<String>,
    /// Bytes that were read.
    pub(in crate::sink::delta) read: Arc<AtomicU64>,
}

/// The rows of one file.
pub(in crate::sink::delta) struct Rows {
    stream: ParquetRecordBatchStream<Counted>,
    caster: Option<Caster>,
    stored: SchemaRef,
    schema: SchemaRef,
    /// For each column of the table its value, if it is a partition column.
    constants: Vec<Option<ArrayRef>>,
    path: String,
}

impl Reader {
    /// The rows of `file`; only `rows` (ascending), if they are given. Memory: one row group, compressed, and one batch.
    pub(in crate::sink::delta) async fn rows(
        &self,
        path: &str,
        file: &LiveFile,
        rows: Option<&[u64]>,
    ) -> Result<Rows> {
        let failed = |error: ParquetError| read_error(path, error);
        let size = u64::try_from(file.size).unwrap_or(0);
        let opened = StoreFiles(Arc::clone(&self.store)).open(path, size).await?;
        let mut reader = Counted::new(opened, size, Arc::clone(&self.read));
        let mut footer = reader.footer().await.map_err(failed)?;
        if rows.is_some() && has_page_index(&footer) {
            footer = reader.page_index(footer).await.map_err(failed)?;
        }
        let total = usize::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        let metadata = arrow_metadata(footer, &self.schema).map_err(failed)?;
        let mut constants = Vec::new();
        let mut kept = Vec::new();
        for field in self.schema.fields() {
            let place = self
                .partition_by
                .iter()
                .position(|name| name == field.name());
            constants.push(match place.and_then(|place| file.partition.get(place)) {
                Some(value) => Some(one(value)?),
                None => {
                    kept.push(Arc::clone(field));
                    None
                }
            });
        }
        let roots = metadata.schema().fields().iter().enumerate();
        let roots = roots.filter(|(_, root)| kept.iter().any(|field| field.name() == root.name()));
        let mask = roots.map(|(at, _)| at).collect::<Vec<_>>();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), mask);
        let mut stream = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS);
        if let Some(rows) = rows {
            let single = rows.iter().filter_map(|row| usize::try_from(*row).ok());
            let ranges = single.map(|row| row..row + 1);
            stream =
                stream.with_row_selection(RowSelection::from_consecutive_ranges(ranges, total));
        }
        Ok(Rows {
            stream: stream.build().map_err(failed)?,
            caster: None,
            stored: Arc::new(Schema::new(kept)),
            schema: Arc::clone(&self.schema),
            constants,
            path: path.to_owned(),
        })
    }
}

impl Rows {
    /// The next rows, with the table's columns.
    pub(in crate::sink::delta) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.stream.try_next().await;
        let Some(batch) = next.map_err(|error| read_error(&self.path, error))? else {
            return Ok(None);
        };
        // Decoding keeps the thread; others have work too.
        tokio::task::yield_now().await;
        let caster = match &self.caster {
            Some(caster) => caster,
            None => self.caster.insert(
                Caster::try_new(batch.schema_ref(), &self.stored)
                    .map_err(|error| error.at(&self.path))?,
            ),
        };
        let stored = caster.cast(&batch).map_err(|error| error.at(&self.path))?;
        let mut stored = stored.columns().iter();
        let mut columns = Vec::with_capacity(self.constants.len());
        for constant in &self.constants {
            columns.push(match constant {
                Some(value) => take(value, &UInt32Array::from(vec![0; batch.num_rows()]), None)
                    .map_err(|error| Error::internal("cannot repeat a value").source(error))?,
                None => Arc::clone(
                    stored
                        .next()
                        .ok_or_else(|| Error::internal("a column was lost while casting"))?,
                ),
            });
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map(Some)
            .map_err(|error| {
                Error::config("a data file does not fit the table's columns")
                    .at(&self.path)
                    .source(error)
            })
    }
}

fn has_page_index(footer: &ParquetMetaData) -> bool {
    footer.row_groups().iter().all(|group| {
        group
            .columns()
            .iter()
            .all(|column| column.offset_index_offset().is_some())
    })
}

/// The columns as Parquet has them. Times of 96 bits, which Spark writes, say neither unit nor zone: they are the table's.
fn arrow_metadata(
    footer: ParquetMetaData,
    schema: &SchemaRef,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::try_new(Arc::new(footer), options.clone())?;
    let roots = metadata.parquet_schema().root_schema().get_fields();
    let old_time = |at: usize| {
        roots
            .get(at)
            .is_some_and(|root| root.is_primitive() && root.get_physical_type() == Type::INT96)
    };
    let fields = metadata.schema().fields().iter().enumerate();
    let mut changed = false;
    let fields: Vec<_> = fields
        .map(|(at, field)| match schema.column_with_name(field.name()) {
            Some((_, own)) if old_time(at) => {
                changed = true;
                let typed = Field::new(field.name(), own.data_type().clone(), field.is_nullable());
                Arc::new(typed)
            }
            _ => Arc::clone(field),
        })
        .collect();
    if !changed {
        return Ok(metadata);
    }
    let footer = Arc::clone(metadata.metadata());
    ArrowReaderMetadata::try_new(footer, options.with_schema(Arc::new(Schema::new(fields))))
}

fn read_error(path: &str, error: ParquetError) -> Error {
    storage_error("read a data file", path, error)
}
