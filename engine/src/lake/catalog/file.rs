//! One Iceberg table without a catalog: a metadata file, which is one moment of it. For reading only.

use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::{Runtime, TableIdent};
use iceberg_storage_opendal::OpenDalStorageFactory;
use sql::{Error, Result};
use std::sync::Arc;

use super::{Loaded, table};
use crate::lake::iceberg::iceberg_error;

/// A metadata file.
#[derive(Debug, Clone)]
pub struct MetadataFile {
    place: String,
    file_io: FileIO,
    runtime: Runtime,
}

impl MetadataFile {
    /// The metadata file at `path`, absolute or `file://`.
    pub(super) fn open(path: &str, runtime: Runtime) -> Self {
        Self {
            place: path.to_owned(),
            file_io: FileIOBuilder::new(Arc::new(OpenDalStorageFactory::Fs)).build(),
            runtime,
        }
    }

    /// The file.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The table, whatever it is called; it never changes.
    pub(super) async fn load(&self, ident: &TableIdent, known: Option<&Table>) -> Result<Loaded> {
        if known.is_some() {
            return Ok(Loaded::Same);
        }
        let location = match self.place.contains("://") {
            true => self.place.clone(),
            false => format!("file://{}", self.place),
        };
        let failed = |error| iceberg_error("read the table's metadata", &self.place, error);
        let there = self.file_io.exists(&location).await.map_err(failed)?;
        if !there {
            return Ok(Loaded::Absent);
        }
        let metadata = TableMetadata::read_from(&self.file_io, &location)
            .await
            .map_err(|error| {
                Error::config("this is no metadata file of an Iceberg table")
                    .at(&self.place)
                    .expected("…/metadata/….metadata.json")
                    .source(error)
            })?;
        let files = self.file_io.clone();
        let table = table(files, &self.runtime, ident, location, metadata).map_err(failed)?;
        Ok(Loaded::Table(Box::new(table)))
    }

    /// What writing says.
    pub(super) fn refusal(&self) -> Error {
        Error::internal("a metadata file without a catalog was to be written").at(&self.place)
    }
}
