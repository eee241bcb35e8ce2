//! Writing the position-delete file of one data file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use iceberg::metadata_columns::{
    RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS,
};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, PartitionKey,
};
use iceberg::table::Table;
use iceberg::writer::file_writer::location_generator::LocationGenerator as _;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use sql::{Error, Result};
use uuid::Uuid;

use super::files::LiveFile;
use crate::lake::iceberg::iceberg_error;
pub(in crate::sink::iceberg) use crate::lake::live::positions::read;
use crate::lake::live::positions::{PATH, POSITION};
use crate::lake::partition_values::Locations;

/// Rows that are encoded at once.
const BATCH_ROWS: usize = 64 * 1024;
/// A delete file of so many rows costs little more than an empty one.
const SMALL: usize = 32 * 1024;
/// How many times as large as the new one a delete file may be that is taken up.
const LARGER: usize = 4;

/// The rows of a new delete file that deletes `rows`, ascending, and the paths of those of the data file's `own` that it takes up.
///
/// Those that are much larger stay, so that a row is written a few times in all and not by each commit; each of them is more than
/// [`LARGER`] times the next, so that there are few.
pub(super) fn merged(mut rows: Vec<u64>, own: &[(&str, Vec<u64>)]) -> (Vec<u64>, Vec<String>) {
    let mut smallest_first: Vec<_> = own.iter().collect();
    smallest_first.sort_by_key(|(_, positions)| positions.len());
    let mut replaced = Vec::new();
    for (path, positions) in smallest_first {
        if positions.len() > SMALL.max(rows.len().saturating_mul(LARGER)) {
            break;
        }
        rows.extend(positions);
        replaced.push((*path).to_owned());
    }
    // Each file's are sorted: the stable sort merges them.
    rows.sort();
    rows.dedup();
    (rows, replaced)
}

/// Writes the file that deletes the rows `positions` (ascending) of `data`. It is no part of the table until it is committed.
/// Memory: the whole file, a few bytes a position.
pub(super) async fn write(
    table: &Table,
    place: &str,
    data: &LiveFile,
    positions: &[u64],
) -> Result<DataFile> {
    let failed = |error| iceberg_error("write a delete file", place, error);
    let metadata = table.metadata();
    let spec = metadata.partition_spec_by_id(data.spec).ok_or_else(|| {
        Error::config(format!("the table has no partition spec {}", data.spec)).at(place)
    })?;
    let key = PartitionKey::new(
        spec.as_ref().clone(),
        Arc::clone(metadata.current_schema()),
        data.partition.clone(),
    );
    let locations = Locations::try_new(metadata).map_err(failed)?;
    let name = format!("{}-deletes.parquet", Uuid::new_v4());
    let path = locations.generate_location(Some(&key), &name);
    let bytes = encode(&data.path, positions)?;
    let size = bytes.len() as u64;
    let output = table.file_io().new_output(&path).map_err(failed)?;
    output.write(Bytes::from(bytes)).await.map_err(failed)?;
    let bound = |position: Option<&u64>| {
        let position = position.and_then(|position| i64::try_from(*position).ok());
        HashMap::from([
            (
                RESERVED_FIELD_ID_DELETE_FILE_PATH,
                Datum::string(&data.path),
            ),
            (
                RESERVED_FIELD_ID_DELETE_FILE_POS,
                Datum::long(position.unwrap_or(0)),
            ),
        ])
    };
    let count = positions.len() as u64;
    let ids = [
        RESERVED_FIELD_ID_DELETE_FILE_PATH,
        RESERVED_FIELD_ID_DELETE_FILE_POS,
    ];
    DataFileBuilder::default()
        .content(DataContentType::PositionDeletes)
        .file_path(path)
        .file_format(DataFileFormat::Parquet)
        .partition(data.partition.clone())
        .partition_spec_id(data.spec)
        .record_count(count)
        .file_size_in_bytes(size)
        .value_counts(ids.iter().map(|id| (*id, count)).collect())
        .null_value_counts(ids.iter().map(|id| (*id, 0)).collect())
        .lower_bounds(bound(positions.first()))
        .upper_bounds(bound(positions.last()))
        .referenced_data_file(Some(data.path.clone()))
        .build()
        .map_err(|error| Error::internal("a delete file cannot be described").source(error))
}

fn encode(path: &str, positions: &[u64]) -> Result<Vec<u8>> {
    let failed = |error: ParquetError| Error::internal("cannot encode deletes").source(error);
    let field = |name: &str, data_type, id: i32| {
        Field::new(name, data_type, false).with_metadata(HashMap::from([(
            PARQUET_FIELD_ID_META_KEY.to_owned(),
            id.to_string(),
        )]))
    };
    let schema = Arc::new(Schema::new(vec![
        field(PATH, DataType::Utf8, RESERVED_FIELD_ID_DELETE_FILE_PATH),
        field(POSITION, DataType::Int64, RESERVED_FIELD_ID_DELETE_FILE_POS),
    ]));
    let level = ZstdLevel::try_new(1).map_err(failed)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        // Readers compare the path's bounds with data files' paths: never cut them.
        .set_statistics_truncate_length(None)
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).map_err(failed)?;
    let all =
        StringArray::from_iter_values(std::iter::repeat_n(path, positions.len().min(BATCH_ROWS)));
    for chunk in positions.chunks(BATCH_ROWS) {
        let paths = all.slice(0, chunk.len());
        let numbers = chunk
            .iter()
            .map(|position| i64::try_from(*position))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::internal("a position beyond 64 bits").source(error))?;
        let columns: Vec<ArrayRef> = vec![Arc::new(paths), Arc::new(Int64Array::from(numbers))];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
            .map_err(|error| Error::internal("cannot encode deletes").source(error))?;
        writer.write(&batch).map_err(failed)?;
    }
    writer.into_inner().map_err(failed)
}
