//! Parquet files behind a store, with every byte that is read of them counted.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetObjectReader};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use sql::Result;

use crate::lake::storage::storage_error;

/// What is read from a file's end to find its footer: enough for most footers, so that one request does.
const TAIL: usize = 16 * 1024;

/// A place that holds Parquet files.
#[async_trait]
pub trait ParquetFiles: fmt::Debug + Send + Sync {
    /// A reader of the file at `path`, which has `size` bytes. Nothing needs to be read yet: an error may also come later.
    ///
    /// # Errors
    /// Of the storage.
    async fn open(&self, path: &str, size: u64) -> Result<Box<dyn AsyncFileReader>>;
}

/// Files of an object store, by their paths in it.
#[derive(Debug, Clone)]
pub struct StoreFiles(pub Arc<dyn ObjectStore>);

#[async_trait]
impl ParquetFiles for StoreFiles {
    async fn open(&self, path: &str, size: u64) -> Result<Box<dyn AsyncFileReader>> {
        let parsed =
            Path::parse(path).map_err(|error| storage_error("open a data file", path, error))?;
        let reader = ParquetObjectReader::new(Arc::clone(&self.0), parsed).with_file_size(size);
        Ok(Box::new(reader))
    }
}

/// A reader that counts.
pub struct Counted {
    inner: Box<dyn AsyncFileReader>,
    size: u64,
    read: Arc<AtomicU64>,
}

impl Counted {
    /// Reads `inner`, a file of `size` bytes, and adds what is read to `read`.
    pub fn new(inner: Box<dyn AsyncFileReader>, size: u64, read: Arc<AtomicU64>) -> Self {
        Self { inner, size, read }
    }

    /// The file's footer, without the index of its pages.
    ///
    /// # Errors
    /// Of the storage, and if it is no Parquet file.
    pub async fn footer(&mut self) -> ParquetResult<ParquetMetaData> {
        let size = self.size;
        ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Skip)
            .with_prefetch_hint(Some(TAIL))
            .load_and_finish(self, size)
            .await
    }

    /// Adds the index of the file's pages to its footer, where the file has one.
    ///
    /// # Errors
    /// Of the storage.
    pub async fn page_index(&mut self, footer: ParquetMetaData) -> ParquetResult<ParquetMetaData> {
        let mut reader = ParquetMetaDataReader::new_with_metadata(footer)
            .with_page_index_policy(PageIndexPolicy::Optional);
        reader.load_page_index(self).await?;
        reader.finish()
    }
}

impl AsyncFileReader for Counted {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.read
            .fetch_add(range.end.saturating_sub(range.start), Ordering::Relaxed);
        self.inner.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let bytes = ranges
            .iter()
            .map(|range| range.end.saturating_sub(range.start))
            .sum();
        self.read.fetch_add(bytes, Ordering::Relaxed);
        self.inner.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move { self.footer().await.map(Arc::new) }.boxed()
    }
}
