//! Files of a table through its storage, with every byte that is read counted.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use iceberg::arrow::ArrowFileReader;
use iceberg::io::{FileIO, FileMetadata};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use sql::Result;

use crate::lake::iceberg::iceberg_error;
use crate::lake::locate::{Counted, ParquetFiles};
use crate::lake::storage::storage_error;

/// Reads files of one table and counts the bytes.
#[derive(Debug, Clone)]
pub(crate) struct LakeReader {
    pub(crate) file_io: FileIO,
    pub(crate) read: Arc<AtomicU64>,
}

#[async_trait]
impl ParquetFiles for LakeReader {
    async fn open(&self, path: &str, size: u64) -> Result<Box<dyn AsyncFileReader>> {
        let failed = |error| iceberg_error("open a data file", path, error);
        let input = self.file_io.new_input(path).map_err(failed)?;
        let reader = input.reader().await.map_err(failed)?;
        Ok(Box::new(ArrowFileReader::new(
            FileMetadata { size },
            reader,
        )))
    }
}

impl LakeReader {
    /// A file's reader and its footer, with the index of its pages where it has one.
    pub(crate) async fn open(
        &self,
        path: &str,
        size: u64,
        options: ArrowReaderOptions,
    ) -> Result<(Counted, ArrowReaderMetadata)> {
        let failed = |error: ParquetError| storage_error("read a data file", path, error);
        let opened = ParquetFiles::open(self, path, size).await?;
        let mut reader = Counted::new(opened, size, Arc::clone(&self.read));
        let mut footer = reader.footer().await.map_err(failed)?;
        if has_page_index(&footer) {
            footer = reader.page_index(footer).await.map_err(failed)?;
        }
        let metadata = ArrowReaderMetadata::try_new(Arc::new(footer), options).map_err(failed)?;
        Ok((reader, metadata))
    }
}

/// All rows but `deleted`, which ascend.
pub(crate) fn all_but(deleted: &[u64], total: usize) -> RowSelection {
    let deleted = deleted.iter().filter_map(|row| usize::try_from(*row).ok());
    let ends = deleted.chain([total]);
    let ranges = ends.scan(0, |from, end| {
        let range = *from..end.max(*from);
        *from = end + 1;
        Some(range)
    });
    let ranges = ranges.filter(|range| !range.is_empty());
    RowSelection::from_consecutive_ranges(ranges, total)
}

fn has_page_index(footer: &ParquetMetaData) -> bool {
    footer.row_groups().iter().all(|group| {
        let mut columns = group.columns().iter();
        columns.all(|column| column.offset_index_offset().is_some())
    })
}
