//! The positions in position-delete files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type};
use futures::TryStreamExt as _;
use iceberg::metadata_columns::{
    RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS,
};
use iceberg::spec::DataFileFormat;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, ProjectionMask};
use parquet::errors::ParquetError;
use sql::{Error, Result};

use super::{LakeReader, LiveFile};
use crate::lake::storage::storage_error;

pub(crate) const PATH: &str = "file_path";
pub(crate) const POSITION: &str = "pos";

/// The positions in a delete file, by data file, ascending.
pub(crate) async fn read(
    reader: &LakeReader,
    file: &LiveFile,
) -> Result<HashMap<String, Vec<u64>>> {
    let failed = |error: ParquetError| storage_error("read a delete file", &file.path, error);
    if file.format != DataFileFormat::Parquet {
        return Err(Error::config("a delete file is no Parquet file")
            .at(&file.path)
            .expected("position deletes in Parquet"));
    }
    let (opened, metadata) = reader
        .open(&file.path, file.size, ArrowReaderOptions::new())
        .await?;
    let columns = [
        (PATH, RESERVED_FIELD_ID_DELETE_FILE_PATH),
        (POSITION, RESERVED_FIELD_ID_DELETE_FILE_POS),
    ]
    .map(|(name, id)| {
        let by_id = |field: &Arc<Field>| {
            let own = field.metadata().get(PARQUET_FIELD_ID_META_KEY);
            own.is_some_and(|own| *own == id.to_string())
        };
        let fields = metadata.schema().fields();
        let at = fields.iter().position(by_id);
        at.or_else(|| fields.iter().position(|field| field.name() == name))
            .ok_or_else(|| {
                Error::config(format!("a delete file has no column `{name}`")).at(&file.path)
            })
    });
    let [path_at, position_at] = columns;
    let (path_at, position_at) = (path_at?, position_at?);
    let mask = ProjectionMask::roots(metadata.parquet_schema(), [path_at, position_at]);
    let mut stream = ParquetRecordBatchStreamBuilder::new_with_metadata(opened, metadata)
        .with_projection(mask)
        .build()
        .map_err(failed)?;
    let mut found: HashMap<String, Vec<u64>> = HashMap::new();
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        let (first, second) = if path_at < position_at {
            (0, 1)
        } else {
            (1, 0)
        };
        let typed = |column: usize, data_type: &DataType| -> Result<ArrayRef> {
            cast(batch.column(column), data_type).map_err(|error| {
                Error::config("a delete file has columns of other types")
                    .at(&file.path)
                    .source(error)
            })
        };
        let paths = typed(first, &DataType::Utf8)?;
        let positions = typed(second, &DataType::Int64)?;
        let pairs = paths
            .as_string::<i32>()
            .iter()
            .zip(positions.as_primitive::<Int64Type>());
        for (path, position) in pairs {
            let (Some(path), Some(position)) = (path, position) else {
                return Err(Error::config("a delete file has a null").at(&file.path));
            };
            let position = u64::try_from(position)
                .map_err(|error| Error::config("a negative position").source(error))?;
            match found.get_mut(path) {
                Some(positions) => positions.push(position),
                None => {
                    found.insert(path.to_owned(), vec![position]);
                }
            }
        }
    }
    for positions in found.values_mut() {
        positions.sort_unstable();
        positions.dedup();
    }
    Ok(found)
}
