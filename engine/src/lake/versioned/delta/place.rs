//! Where the files of a table lie, and what is said when one is gone.

use std::error::Error as StdError;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use deltalake::ObjectStore;
use deltalake::logstore::LogStoreRef;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use sql::{Error, ErrorKind, Result};
use url::Url;

use crate::lake::locate::{Counted, ParquetFiles as _, StoreFiles};
use crate::lake::storage::storage_error;

/// The files of one table.
#[derive(Debug, Clone)]
pub(super) struct Place {
    table: String,
    root: Url,
    files: Arc<dyn ObjectStore>,
    /// The whole store: files may lie outside of the table's folder.
    all: Arc<dyn ObjectStore>,
    /// Bytes of data files, feed files and deletion vectors that were read.
    read: Arc<AtomicU64>,
}

impl Place {
    pub(super) fn new(table: &str, store: &LogStoreRef) -> Self {
        Self {
            table: table.to_owned(),
            root: store.root_url().clone(),
            files: store.object_store(None),
            all: store.root_object_store(None),
            read: Arc::default(),
        }
    }

    /// What messages call the table.
    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// Bytes that were read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The store and the path in it of a file that the log calls `path`: relative to the table, or a URL of the same store.
    fn find(&self, path: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let wrong = || {
            Error::config("a file of the Delta table lies in another store")
                .at(path)
                .expected("files in the table's own store")
                .remedy("Copy the table (a deep clone), and read the copy.")
        };
        let url = if path.starts_with('/') {
            Url::from_file_path(path).ok()
        } else {
            path.contains("://")
                .then(|| Url::parse(path).ok())
                .flatten()
        };
        if let Some(url) = url {
            let own = url.scheme() == self.root.scheme()
                && url.host_str() == self.root.host_str()
                && url.port() == self.root.port();
            if !own {
                return Err(wrong());
            }
            let path = Path::from_url_path(url.path()).map_err(|error| wrong().source(error))?;
            return Ok((Arc::clone(&self.all), path));
        }
        let path = Path::parse(path).map_err(|error| wrong().source(error))?;
        Ok((Arc::clone(&self.files), path))
    }

    /// Opens a Parquet file; looks for its size if the log did not say it.
    pub(super) async fn parquet(&self, path: &str, size: Option<u64>) -> Result<Counted> {
        let (store, own) = self.find(path)?;
        let size = match size {
            Some(size) => size,
            None => {
                store
                    .head(&own)
                    .await
                    .map_err(|e| self.failed(path, e))?
                    .size
            }
        };
        let opened = StoreFiles(store).open(own.as_ref(), size).await?;
        Ok(Counted::new(opened, size, Arc::clone(&self.read)))
    }

    /// A part of a file.
    pub(super) async fn bytes(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let (store, own) = self.find(path)?;
        let got = store.get_range(&own, range).await;
        let bytes = got.map_err(|error| self.failed(path, error))?;
        self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    /// The error of reading a file that the log says is there.
    pub(super) fn failed(
        &self,
        path: &str,
        error: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        let error = error.into();
        if !is_missing(error.as_ref()) {
            return storage_error("read a data file", path, error);
        }
        Error::new(
            ErrorKind::DataLoss,
            "a file that the Delta table's log names is gone: it was vacuumed, and with it the changes that it held",
        )
        .at(format!("{}: {path}", self.table))
        .remedy("Start at a later version; for the rows that are there now, read the table itself. Keep files longer with delta.deletedFileRetentionDuration.")
        .source(error)
    }
}

/// Whether a file that is not there caused the error.
pub(super) fn is_missing(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let of_store = error.downcast_ref::<object_store::Error>();
        if of_store.is_some_and(|error| matches!(error, object_store::Error::NotFound { .. })) {
            return true;
        }
        let of_system = error.downcast_ref::<std::io::Error>();
        if of_system.is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return true;
        }
        cause = error.source();
    }
    false
}
