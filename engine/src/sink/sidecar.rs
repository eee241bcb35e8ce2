//! Small files beside a table, in folders that readers, VACUUM and the removal of orphan files leave alone: their names
//! start with an underscore.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::logstore::object_store::{DynObjectStore, ObjectStoreExt as _};
use deltalake::{ObjectStoreError, Path};
use iceberg::io::FileIO;
use sql::Result;

use crate::lake;
use crate::lake::catalog::{Absent, OpenCatalog};
use crate::lake::iceberg::iceberg_error;
use crate::lake::listing;
use crate::lake::storage::storage_error;
use crate::lake::versioned::VersionedSpec;

/// Files beside a table. Paths are relative to the table's folder.
#[async_trait]
pub trait Sidecar: fmt::Debug + Send + Sync {
    /// Where the folder is, for messages.
    fn place(&self) -> &str;

    /// The file's content; `None` if it is not there.
    ///
    /// # Errors
    /// From the table's storage.
    async fn read(&self, path: &str) -> Result<Option<Bytes>>;

    /// Writes the file, over one that is there. When it returns, the file is as durable as the table's data files are.
    ///
    /// # Errors
    /// From the table's storage.
    async fn write(&self, path: &str, content: Bytes) -> Result<()>;

    /// Deletes the file, if it is there.
    ///
    /// # Errors
    /// From the table's storage.
    async fn delete(&self, path: &str) -> Result<()>;

    /// The names of the files that are directly in `folder`, in no particular order; none if it is not there. `None` if the storage
    /// cannot list.
    ///
    /// # Errors
    /// From the table's storage.
    async fn list(&self, folder: &str) -> Result<Option<Vec<String>>>;
}

/// The files beside a table that is read.
///
/// # Errors
/// [`sql::ErrorKind::Config`] if there is no such table; of its storage or catalog.
pub async fn of_table(table: &VersionedSpec) -> Result<Arc<dyn Sidecar>> {
    Ok(match table {
        VersionedSpec::Delta(spec) => {
            let store = lake::delta::log_store(spec)?.object_store(None);
            Arc::new(StoreSidecar::new(store, &spec.path))
        }
        VersionedSpec::Iceberg(spec) => {
            let catalog = OpenCatalog::open(&spec.catalog, Absent::Refuse).await?;
            let table = catalog.load(&lake::iceberg::identifier(spec)?).await?;
            let table = table.ok_or_else(|| {
                sql::Error::config("there is no such Iceberg table").at(lake::iceberg::shown(spec))
            })?;
            let location = table.metadata().location();
            Arc::new(FileIoSidecar::new(table.file_io().clone(), location))
        }
    })
}

/// Through the object store of a Delta table.
#[derive(Debug)]
pub(super) struct StoreSidecar {
    store: Arc<DynObjectStore>,
    place: String,
}

impl StoreSidecar {
    /// `store` is rooted at the table's folder, which is at `place`.
    pub(super) fn new(store: Arc<DynObjectStore>, place: &str) -> Self {
        Self {
            store,
            place: place.trim_end_matches('/').to_owned(),
        }
    }

    fn failed(&self, doing: &str, path: &str, error: ObjectStoreError) -> sql::Error {
        storage_error(doing, &format!("{}/{path}", self.place), error)
    }
}

#[async_trait]
impl Sidecar for StoreSidecar {
    fn place(&self) -> &str {
        &self.place
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        let read = match self.store.get(&Path::from(path)).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match read {
            Ok(content) => Ok(Some(content)),
            Err(ObjectStoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read a file beside the table", path, error)),
        }
    }

    async fn write(&self, path: &str, content: Bytes) -> Result<()> {
        match self.store.put(&Path::from(path), content.into()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed("write a file beside the table", path, error)),
        }
    }

    async fn delete(&self, path: &str) -> Result<()> {
        match self.store.delete(&Path::from(path)).await {
            Ok(()) | Err(ObjectStoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete a file beside the table", path, error)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Option<Vec<String>>> {
        let prefix = Path::from(folder);
        let listed = self.store.list_with_delimiter(Some(&prefix));
        let listed = listed
            .await
            .map_err(|error| self.failed("list files beside the table", folder, error))?;
        let names = listed.objects.iter();
        let names = names.filter_map(|object| object.location.filename().map(str::to_owned));
        Ok(Some(names.collect()))
    }
}

/// Through the file access of an Iceberg catalog.
#[derive(Debug)]
pub(super) struct FileIoSidecar {
    files: FileIO,
    place: String,
}

impl FileIoSidecar {
    /// `location` is the table's.
    pub(super) fn new(files: FileIO, location: &str) -> Self {
        Self {
            files,
            place: location.trim_end_matches('/').to_owned(),
        }
    }

    fn location(&self, path: &str) -> String {
        format!("{}/{path}", self.place)
    }

    fn failed(&self, doing: &str, path: &str, error: iceberg::Error) -> sql::Error {
        iceberg_error(doing, &self.location(path), error)
    }
}

#[async_trait]
impl Sidecar for FileIoSidecar {
    fn place(&self) -> &str {
        &self.place
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        let location = self.location(path);
        let read = async {
            if !self.files.exists(&location).await? {
                return Ok(None);
            }
            self.files.new_input(&location)?.read().await.map(Some)
        };
        read.await
            .map_err(|error| self.failed("read a file beside the table", path, error))
    }

    async fn write(&self, path: &str, content: Bytes) -> Result<()> {
        let write = async {
            self.files
                .new_output(self.location(path))?
                .write(content)
                .await
        };
        write
            .await
            .map_err(|error| self.failed("write a file beside the table", path, error))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let location = self.location(path);
        let delete = async {
            if self.files.exists(&location).await? {
                self.files.delete(&location).await?;
            }
            Ok(())
        };
        delete
            .await
            .map_err(|error| self.failed("delete a file beside the table", path, error))
    }

    async fn list(&self, folder: &str) -> Result<Option<Vec<String>>> {
        let location = self.location(folder);
        let Some(files) = listing::files_of(&location).await? else {
            return Ok(None);
        };
        let names = files.into_iter().filter_map(|file| {
            let name = file.location.strip_prefix(&location)?;
            let name = name.trim_start_matches('/');
            (!name.contains('/')).then(|| name.to_owned())
        });
        Ok(Some(names.collect()))
    }
}
