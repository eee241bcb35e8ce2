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

use super::{LakeReader, LiveDelete, Scope};
use crate::lake::storage::storage_error;

pub(crate) const PATH: &str = "file_path";
pub(crate) const POSITION: &str = "pos";

/// The positions in a delete file, by data file, ascending. Of one that is about a single data file the paths are not read: they
/// are all the same.
///
/// # Errors
/// Of the storage; [`sql::ErrorKind::Config`] for a file that is no file of position deletes.
pub(crate) async fn read(
    reader: &LakeReader,
    delete: &LiveDelete,
) -> Result<HashMap<String, Vec<u64>>> {
    let file = &delete.file;
    let failed = |error: ParquetError| storage_error("read a delete file", &file.path, error);
    if file.format != DataFileFormat::Parquet {
        return Err(Error::config("a delete file is no Parquet file")
            .at(&file.path)
            .expected("position deletes in Parquet"));
    }
    let (opened, metadata) = reader
        .open(&file.path, file.size, ArrowReaderOptions::new())
        .await?;
    let place = |name: &str, id: i32| {
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
    };
    let position_at = place(POSITION, RESERVED_FIELD_ID_DELETE_FILE_POS)?;
    let path_at = match &delete.scope {
        Scope::File(_) => None,
        Scope::Between(..) => Some(place(PATH, RESERVED_FIELD_ID_DELETE_FILE_PATH)?),
    };
    let wanted = path_at.into_iter().chain([position_at]);
    let mask = ProjectionMask::roots(metadata.parquet_schema(), wanted);
    let mut stream = ParquetRecordBatchStreamBuilder::new_with_metadata(opened, metadata)
        .with_projection(mask)
        .build()
        .map_err(failed)?;
    let typed = |column: &ArrayRef, data_type: &DataType| -> Result<ArrayRef> {
        cast(column, data_type).map_err(|error| {
            Error::config("a delete file has columns of other types")
                .at(&file.path)
                .source(error)
        })
    };
    let mut found = Found::default();
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        let before = path_at.is_some_and(|path_at| path_at < position_at);
        let positions = typed(batch.column(usize::from(before)), &DataType::Int64)?;
        let positions = positions.as_primitive::<Int64Type>();
        let done = match (&delete.scope, path_at) {
            (Scope::File(path), _) => found.add(path, positions.iter()),
            (Scope::Between(..), _) => {
                let paths = typed(batch.column(usize::from(!before)), &DataType::Utf8)?;
                let mut pairs = paths.as_string::<i32>().iter().zip(positions);
                pairs.try_for_each(|(path, position)| match path {
                    Some(path) => found.add(path, [position]),
                    None => Err(Error::config("a delete file has a null")),
                })
            }
        };
        done.map_err(|error| error.at(&file.path))?;
    }
    Ok(found.sorted())
}

/// Positions by path. Files are sorted by path, so the last one is the likeliest.
#[derive(Default)]
struct Found {
    places: HashMap<String, usize>,
    positions: Vec<(String, Vec<u64>)>,
    last: usize,
}

impl Found {
    fn add(&mut self, path: &str, positions: impl IntoIterator<Item = Option<i64>>) -> Result<()> {
        let is_last = |(own, _): &(String, _)| own == path;
        if !self.positions.get(self.last).is_some_and(is_last) {
            let next = self.positions.len();
            self.last = *self.places.entry(path.to_owned()).or_insert(next);
            if self.last == next {
                self.positions.push((path.to_owned(), Vec::new()));
            }
        }
        let own = self.positions.get_mut(self.last);
        let (_, own) = own.ok_or_else(|| Error::internal("a path was lost"))?;
        for position in positions {
            let position = position.ok_or_else(|| Error::config("a delete file has a null"))?;
            let position = u64::try_from(position)
                .map_err(|error| Error::config("a negative position").source(error))?;
            own.push(position);
        }
        Ok(())
    }

    fn sorted(self) -> HashMap<String, Vec<u64>> {
        let mut found: HashMap<_, _> = self.positions.into_iter().collect();
        for positions in found.values_mut() {
            positions.sort_unstable();
            positions.dedup();
        }
        found
    }
}
