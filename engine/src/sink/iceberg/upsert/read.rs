//! Data files through the catalog's storage: for the search, and rows by their numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, ProjectionMask};
use parquet::errors::ParquetError;
use sql::{Error, Result};

use super::files::LiveFile;
use crate::lake::cast::Caster;
pub(in crate::sink::iceberg) use crate::lake::live::LakeReader;
use crate::lake::live::all_but;
use crate::lake::locate::Counted;
use crate::lake::storage::storage_error;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8 * 1024;

impl LakeReader {
    /// The rows of `file`, or only those at `rows` (ascending), with the columns of `schema`, which have field ids. Columns that
    /// came later are null, unless they are among the `constants` of the file's partition. Memory: one batch, and of the row
    /// group that is read the pages that hold the rows.
    pub(super) async fn rows(
        &self,
        file: &LiveFile,
        rows: Option<&[u64]>,
        schema: &SchemaRef,
        constants: Vec<(usize, ArrayRef)>,
    ) -> Result<Rows> {
        let failed = |error: ParquetError| storage_error("read a data file", &file.path, error);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let (reader, metadata) = self.open(&file.path, file.size, options).await?;
        let total = usize::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let stored = stored_columns(metadata.schema(), schema);
        let mask = ProjectionMask::roots(
            metadata.parquet_schema(),
            stored.iter().map(|(place, _)| *place),
        );
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
            stored,
            schema: Arc::clone(schema),
            constants,
            path: file.path.clone(),
        })
    }
}

/// The rows of one file, in its order.
pub(super) struct Rows {
    stream: ParquetRecordBatchStream<Counted>,
    stored: Vec<(usize, String)>,
    schema: SchemaRef,
    constants: Vec<(usize, ArrayRef)>,
    path: String,
}

impl Rows {
    /// The next rows, with the table's columns.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.stream.try_next().await;
        let next = next.map_err(|error| storage_error("read a data file", &self.path, error))?;
        let Some(batch) = next else {
            return Ok(None);
        };
        // Decoding keeps the thread; others have work too.
        tokio::task::yield_now().await;
        let batch = as_table(&batch, &self.stored, &self.schema, &self.constants);
        batch.map(Some).map_err(|error| error.at(&self.path))
    }
}

impl LakeReader {
    /// The rows of `file` that are not among `deleted` (ascending), in their order, as [`Self::rows`] reads them. Memory: a batch, and
    /// the pages of one row group.
    ///
    /// # Errors
    /// Of the storage; [`sql::ErrorKind::Storage`] also for a file that has another number of rows than its manifest says.
    pub(in crate::sink::iceberg) async fn live(
        &self,
        file: &LiveFile,
        deleted: &[u64],
        schema: &SchemaRef,
        constants: Vec<(usize, ArrayRef)>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let path = file.path.clone();
        let failed = move |error: ParquetError| storage_error("read a data file", &path, error);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let (reader, metadata) = self.open(&file.path, file.size, options).await?;
        let rows = metadata.metadata().file_metadata().num_rows();
        file.check_rows(rows)?;
        let total = usize::try_from(rows).unwrap_or(0);
        let stored = stored_columns(metadata.schema(), schema);
        let mask = ProjectionMask::roots(
            metadata.parquet_schema(),
            stored.iter().map(|(place, _)| *place),
        );
        let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .with_row_selection(all_but(deleted, total))
            .build()
            .map_err(&failed)?;
        let (schema, path) = (Arc::clone(schema), file.path.clone());
        let rows = stream.map_err(failed).map(move |batch| {
            as_table(&batch?, &stored, &schema, &constants).map_err(|error| error.at(&path))
        });
        Ok(rows.boxed())
    }
}

/// For each column of the file that the table has its place in the file, in ascending order, and the table's name of it.
fn stored_columns(stored: &Schema, table: &Schema) -> Vec<(usize, String)> {
    fn id(field: &Field) -> Option<&String> {
        field.metadata().get(PARQUET_FIELD_ID_META_KEY)
    }
    let has_ids = stored.fields().iter().any(|field| id(field).is_some());
    let name = |stored: &Field| {
        let own = table.fields().iter().find(|own| {
            if has_ids {
                id(stored).is_some() && id(stored) == id(own)
            } else {
                own.name() == stored.name()
            }
        });
        own.map(|own| own.name().clone())
    };
    let columns = stored.fields().iter().enumerate();
    columns
        .filter_map(|(place, stored)| Some((place, name(stored)?)))
        .collect()
}

fn as_table(
    batch: &RecordBatch,
    stored: &[(usize, String)],
    schema: &SchemaRef,
    constants: &[(usize, ArrayRef)],
) -> Result<RecordBatch> {
    let failed =
        |error| Error::internal("rows of a data file cannot be put together").source(error);
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    let own = batch.schema();
    for ((field, column), (_, name)) in own.fields().iter().zip(batch.columns()).zip(stored) {
        fields.push(field.as_ref().clone().with_name(name));
        columns.push(Arc::clone(column));
    }
    for (place, value) in constants {
        let Some(field) = schema.fields().get(*place) else {
            continue;
        };
        if !fields.iter().any(|own| own.name() == field.name()) {
            let repeated = take(value, &UInt32Array::from(vec![0; batch.num_rows()]), None);
            fields.push(Field::new(field.name(), value.data_type().clone(), true));
            columns.push(repeated.map_err(failed)?);
        }
    }
    let renamed = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&renamed), columns).map_err(failed)?;
    Caster::try_new(&renamed, schema)?.cast(&batch)
}
