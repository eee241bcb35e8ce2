//! Data files: rows in their order, one file per partition.

use std::sync::Arc;

use arrow::array::RecordBatch;
use iceberg::spec::{DataFile, DataFileFormat, PartitionKey, Struct, TableProperties};
use iceberg::writer::base_writer::data_file_writer::{DataFileWriter, DataFileWriterBuilder};
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::DefaultFileNameGenerator;
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::partitioning::PartitioningWriter as _;
use iceberg::writer::partitioning::fanout_writer::FanoutWriter;
use iceberg::writer::{IcebergWriter as _, IcebergWriterBuilder as _};
use sql::{Error, Result};
use uuid::Uuid;

use super::IcebergSink;
use crate::lake::cast::Caster;
use crate::lake::encoding;
use crate::lake::iceberg::iceberg_error;
use crate::lake::partition_values::{Locations, Partitions};

type FileWriterBuilder =
    DataFileWriterBuilder<ParquetWriterBuilder, Locations, DefaultFileNameGenerator>;
/// A writer of files of one partition.
pub(super) type FileWriter =
    DataFileWriter<ParquetWriterBuilder, Locations, DefaultFileNameGenerator>;

impl IcebergSink {
    /// Writes the rows' files. They are no part of the table until they are committed.
    pub(super) async fn write_files(&self, rows: &[RecordBatch]) -> Result<Vec<DataFile>> {
        let batches = rows
            .iter()
            .filter(|batch| batch.num_rows() > 0)
            // By the batch's own columns: the table may have got new ones since it was made.
            .map(|batch| Caster::try_new(batch.schema_ref(), &self.file_schema)?.cast(batch))
            .collect::<Result<Vec<_>>>()?;
        let Some(sample) = batches.iter().max_by_key(|batch| batch.num_rows()) else {
            return Ok(Vec::new());
        };
        let builder = self.file_writer(sample, None)?;
        if self
            .table
            .metadata()
            .default_partition_spec()
            .is_unpartitioned()
        {
            let written = self.write_flat(builder, batches).await;
            written.map_err(|error| self.write_error(error))
        } else {
            self.write_partitioned(builder, batches).await
        }
    }

    /// The partitions of new rows.
    pub(super) fn partitions(&self) -> Result<Partitions> {
        let metadata = self.table.metadata();
        let spec = metadata.default_partition_spec();
        Partitions::try_new(metadata.current_schema(), spec, &self.place)
    }

    /// A writer of files that take the place of one of this partition, in the columns that the table has now, of rows like those of
    /// `sample`. It begins another file after about `most` bytes.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if there is no such partition spec; of the storage.
    pub(super) async fn successor(
        &self,
        spec: i32,
        partition: &Struct,
        sample: &RecordBatch,
        most: Option<usize>,
    ) -> Result<FileWriter> {
        let metadata = self.table.metadata();
        let spec = metadata.partition_spec_by_id(spec).ok_or_else(|| {
            Error::config(format!("the table has no partition spec {spec}")).at(&self.place)
        })?;
        let key = PartitionKey::new(
            spec.as_ref().clone(),
            Arc::clone(metadata.current_schema()),
            partition.clone(),
        );
        let writer = self.file_writer(sample, most)?.build(Some(key)).await;
        writer.map_err(|error| self.write_error(error))
    }

    pub(super) fn write_error(&self, error: iceberg::Error) -> Error {
        iceberg_error("write a data file", &self.place, error)
    }

    /// A writer that begins another file after about `most` bytes.
    fn file_writer(&self, sample: &RecordBatch, most: Option<usize>) -> Result<FileWriterBuilder> {
        let properties = encoding::properties(sample)?.build();
        let metadata = self.table.metadata();
        let schema = Arc::clone(metadata.current_schema());
        let locations = Locations::try_new(metadata)
            .map_err(|error| iceberg_error("name a data file", &self.place, error))?;
        let names = DefaultFileNameGenerator::new(
            Uuid::new_v4().to_string(),
            None,
            DataFileFormat::Parquet,
        );
        let rolling = RollingFileWriterBuilder::new(
            ParquetWriterBuilder::new(properties, schema),
            most.unwrap_or(TableProperties::PROPERTY_WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT),
            self.table.file_io().clone(),
            locations,
            names,
        );
        Ok(DataFileWriterBuilder::new(rolling))
    }

    async fn write_flat(
        &self,
        builder: FileWriterBuilder,
        batches: Vec<RecordBatch>,
    ) -> iceberg::Result<Vec<DataFile>> {
        let metadata = self.table.metadata();
        // Names the spec: a table that was partitioned once has an empty spec that is not its first.
        let key = PartitionKey::new(
            metadata.default_partition_spec().as_ref().clone(),
            Arc::clone(metadata.current_schema()),
            Struct::empty(),
        );
        let mut writer = builder.build(Some(key)).await?;
        for batch in batches {
            writer.write(batch).await?;
        }
        writer.close().await
    }

    async fn write_partitioned(
        &self,
        builder: FileWriterBuilder,
        batches: Vec<RecordBatch>,
    ) -> Result<Vec<DataFile>> {
        let partitions = self.partitions()?;
        let failed = |error| self.write_error(error);
        let mut writer = FanoutWriter::new(builder);
        for batch in batches {
            for (key, rows) in partitions.split(&batch)? {
                writer.write(key, rows).await.map_err(failed)?;
            }
        }
        writer.close().await.map_err(failed)
    }

    /// Deletes files that certainly belong to no snapshot. Only tidiness: failures are ignored.
    pub(super) async fn delete_files(&self, files: &[DataFile]) {
        for file in files {
            self.delete(file.file_path()).await;
        }
    }

    pub(super) async fn delete(&self, path: &str) {
        if let Err(error) = self.table.file_io().delete(path).await {
            tracing::debug!(path, error = %error, "cannot delete an unused file");
        }
    }
}
