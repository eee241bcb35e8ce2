//! Data files: rows in their order, one file per partition.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use deltalake::kernel::Add;
use deltalake::operations::write::writer::{DeltaWriter, WriterConfig};
use deltalake::table::config::TablePropertiesExt as _;
use sql::{Error, Result};

use super::DeltaSink;
use super::statistics::without_inexact_bounds;
use crate::lake::cast::Caster;
use crate::lake::delta::snapshot;
use crate::lake::encoding;
use crate::lake::storage::storage_error;

impl DeltaSink {
    /// Writes the rows' files. They are no part of the table until they are committed.
    pub(super) async fn write_files(&self, rows: &[RecordBatch]) -> Result<Vec<Add>> {
        if rows.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(Vec::new());
        }
        let failed = |error| storage_error("write a data file", &self.path, error);
        let sample = rows.iter().max_by_key(|batch| batch.num_rows());
        let sample = sample.ok_or_else(|| Error::internal("no rows were left"))?;
        let mut writer = self.writer(sample)?;
        for batch in rows.iter().filter(|batch| batch.num_rows() > 0) {
            // By the batch's own columns: the table may have got new ones since it was made.
            let batch = Caster::try_new(batch.schema_ref(), &self.file_schema)?.cast(batch)?;
            for part in self.split(&batch)? {
                writer.write(&part).await.map_err(failed)?;
            }
        }
        let mut files = writer.close().await.map_err(failed)?;
        // The library closes its writers in no order.
        files.sort_by(|a, b| a.path.cmp(&b.path));
        without_inexact_bounds(&mut files, self.file_schema.fields())?;
        Ok(files)
    }

    /// A writer of rows like those of `sample`.
    fn writer(&self, sample: &RecordBatch) -> Result<DeltaWriter> {
        let properties = encoding::properties(sample)?.build();
        let indexed = snapshot(&self.table, &self.path)?
            .table_config()
            .num_indexed_cols();
        let config = WriterConfig::new(
            Arc::clone(&self.file_schema),
            self.partition_by.clone(),
            Some(properties),
            None,
            None,
            indexed,
            None,
        );
        Ok(DeltaWriter::new(self.store.object_store(None), config))
    }

    /// One batch per partition value, in order of first appearance, rows in their order: the library's own split
    /// sorts the rows by partition, and its sort is not stable.
    fn split(&self, batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
        if self.partition_by.is_empty() {
            return Ok(vec![batch.clone()]);
        }
        let failed = |error| Error::internal("cannot split rows by their partition").source(error);
        let columns: Vec<ArrayRef> = self
            .partition_by
            .iter()
            .filter_map(|name| batch.column_by_name(name).cloned())
            .collect();
        let fields = columns
            .iter()
            .map(|column| SortField::new(column.data_type().clone()))
            .collect();
        let converter = RowConverter::new(fields).map_err(failed)?;
        let keys = converter.convert_columns(&columns).map_err(failed)?;
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut group_of = HashMap::new();
        for (row, key) in (0_u32..).zip(keys.iter()) {
            let group = *group_of.entry(key.owned()).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(group) {
                group.push(row);
            }
        }
        groups
            .into_iter()
            .map(|rows| take_record_batch(batch, &UInt32Array::from(rows)).map_err(failed))
            .collect()
    }
}
