//! Iceberg catalogs: open them, load and create tables, and the one atomic step of a commit.
//!
//! | catalog | where a table stands | the atomic step |
//! |---|---|---|
//! | [`SqliteCatalog`] | a row of an SQLite file names the metadata file | our metadata file, then one `UPDATE … WHERE` the row still names the old one |
//! | [`RestCatalog`] | the server says it | a `POST` of changes and of what must hold; the server writes the metadata |
//! | [`MetadataFile`] | in that metadata file, without a catalog | none: it is read only |
//!
//! [`OpenCatalog::commit`] gives either the very table whose positions were checked, and tells apart what nobody else can: a
//! commit that was certainly not made, one that lost to another writer, and one whose end nobody knows.

mod file;
mod rest;
mod sqlite;

use arrow::datatypes::Schema;
use iceberg::arrow::arrow_schema_to_schema_auto_assign_ids;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadataRef;
use iceberg::table::Table;
use iceberg::{
    Error as IcebergError, ErrorKind as IcebergKind, Result as IcebergResult, Runtime,
    TableCreation, TableIdent, TableRequirement, TableUpdate,
};
use sql::{Error, ErrorKind, Result};

use super::iceberg::iceberg_error;
use super::partitions::partition_spec;
use crate::spec::model::{CatalogKind, CatalogSpec, PartitionField};
pub use file::MetadataFile;
pub use rest::RestCatalog;
pub use sqlite::SqliteCatalog;
pub(crate) use sqlite::{catalog_file, local_path};

const COMMITTING: &str = "commit to the Iceberg table";

/// An open catalog.
#[derive(Debug, Clone)]
pub enum OpenCatalog {
    /// `type: sql`, on SQLite.
    Sqlite(SqliteCatalog),
    /// `type: rest`.
    Rest(RestCatalog),
    /// No catalog: one metadata file.
    File(MetadataFile),
}

/// Whether a catalog's file may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// For reading: a file that is not there is an error.
    Refuse,
    /// For writing: folder and file are made.
    Create,
}

/// What a catalog says of a table.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// It is the one that is known.
    Same,
    /// It is this one.
    Table(Box<Table>),
    /// There is no such table.
    Absent,
}

/// A commit that was not made, or nobody knows.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Why. Its place is empty where the caller knows better.
    pub(crate) error: Error,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Refused,
    Conflict,
    Unclear,
}

impl Failed {
    /// It was certainly not made, and not because of another writer.
    fn refused(error: Error) -> Self {
        let end = End::Refused;
        Self { error, end }
    }

    /// It may have been made all the same.
    pub(crate) fn unclear(error: Error) -> Self {
        let end = End::Unclear;
        Self { error, end }
    }

    fn conflict(table: &TableIdent) -> Self {
        let message = format!("another writer committed {table} first");
        Self {
            error: Error::new(ErrorKind::Conflict, message),
            end: End::Conflict,
        }
    }

    /// Whether another writer was faster, for certain.
    pub(crate) fn is_conflict(&self) -> bool {
        self.end == End::Conflict
    }

    /// Whether it may have been made all the same.
    pub(crate) fn is_unclear(&self) -> bool {
        self.end == End::Unclear
    }
}

impl From<IcebergError> for Failed {
    /// An error before the catalog was asked.
    fn from(error: IcebergError) -> Self {
        let end = match error.kind() {
            IcebergKind::CatalogCommitConflicts => End::Conflict,
            _ => End::Refused,
        };
        let error = iceberg_error(COMMITTING, "", error);
        Self { error, end }
    }
}

impl OpenCatalog {
    /// Opens a catalog.
    ///
    /// # Errors
    /// On SQLite: [`ErrorKind::Config`] if the file is not there (with [`Absent::Refuse`]), is no SQLite database, or is one that
    /// holds other things; [`ErrorKind::Storage`] if it cannot be made; [`ErrorKind::Unavailable`] while another process locks it.
    /// Of a REST catalog: [`ErrorKind::Unavailable`] if it does not answer, [`ErrorKind::Denied`] if it refuses us,
    /// [`ErrorKind::Config`] if there is none at its address.
    pub async fn open(spec: &CatalogSpec, absent: Absent) -> Result<Self> {
        let runtime = Runtime::try_current()
            .map_err(|error| Error::internal("no runtime to read tables on").source(error))?;
        Ok(match &spec.kind {
            CatalogKind::Sql { uri, warehouse } => {
                let catalog = SqliteCatalog::open(spec, uri, warehouse, absent, runtime);
                Self::Sqlite(catalog.await?)
            }
            CatalogKind::Rest(rest) => {
                let storage = &spec.storage_options;
                Self::Rest(RestCatalog::open(rest, storage, runtime).await?)
            }
            CatalogKind::File { metadata } => Self::File(MetadataFile::open(metadata, runtime)),
        })
    }

    /// The catalog's file or address.
    pub fn place(&self) -> &str {
        match self {
            Self::Sqlite(catalog) => catalog.place(),
            Self::Rest(catalog) => catalog.place(),
            Self::File(file) => file.place(),
        }
    }

    /// The table, or `None` if the catalog does not have it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Storage`] from catalog or storage; [`ErrorKind::Denied`] from a REST catalog.
    pub async fn load(&self, ident: &TableIdent) -> Result<Option<Table>> {
        match self.look(ident, None).await? {
            Loaded::Table(table) => Ok(Some(*table)),
            Loaded::Same | Loaded::Absent => Ok(None),
        }
    }

    /// The table as it is now, unless it is `known`: then only that is found out, which is cheap.
    ///
    /// # Errors
    /// As [`OpenCatalog::load`].
    pub(crate) async fn newer(&self, known: &Table) -> Result<Loaded> {
        self.look(known.identifier(), Some(known)).await
    }

    async fn look(&self, ident: &TableIdent, known: Option<&Table>) -> Result<Loaded> {
        match self {
            Self::Sqlite(catalog) => catalog.load(ident, known).await,
            Self::Rest(catalog) => catalog.load(ident, known).await,
            Self::File(file) => file.load(ident, known).await,
        }
    }

    /// A table like `base` that has other metadata.
    pub(crate) fn with_metadata(
        &self,
        base: &Table,
        metadata: impl Into<TableMetadataRef>,
    ) -> IcebergResult<Table> {
        let runtime = match self {
            Self::Sqlite(catalog) => catalog.runtime(),
            Self::Rest(catalog) => catalog.runtime(),
            Self::File(file) => file.runtime(),
        };
        let location = base.metadata_location_result()?.to_owned();
        let files = base.file_io().clone();
        table(files, runtime, base.identifier(), location, metadata)
    }

    /// Whether writers delete metadata files that left a table's log. A REST server does that by itself.
    pub(crate) fn leaves_metadata_files(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Makes `updates` to `base`, if the table still is what `requirements` say and its main branch where `base` has it.
    ///
    /// On SQLite any other commit to the table is in the way, so that a commit is made to `base` or not at all. A REST server
    /// compares the snapshot: a commit that moves positions must bring one.
    pub(crate) async fn commit(
        &self,
        base: &Table,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
    ) -> Result<Table, Failed> {
        match self {
            Self::Sqlite(catalog) => catalog.commit(base, requirements, updates).await,
            Self::Rest(catalog) => catalog.commit(base, requirements, updates).await,
            Self::File(file) => Err(Failed::refused(file.refusal())),
        }
    }

    /// The table, created with `columns` if it is not there; its namespaces too.
    pub(crate) async fn open_or_create(
        &self,
        ident: &TableIdent,
        columns: &Schema,
        partition_by: &[PartitionField],
    ) -> Result<Table> {
        if let Some(table) = self.load(ident).await? {
            return Ok(table);
        }
        let created = self.create(ident, columns, partition_by).await;
        // Whoever created it: two engines that start at once both find it now.
        match self.load(ident).await? {
            Some(table) => Ok(table),
            None => Err(created.err().unwrap_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    "the catalog did not keep the new Iceberg table",
                )
                .at(ident.to_string())
            })),
        }
    }

    async fn create(
        &self,
        ident: &TableIdent,
        columns: &Schema,
        partition_by: &[PartitionField],
    ) -> Result<()> {
        let failed = |error| iceberg_error("create the Iceberg table", &ident.to_string(), error);
        let schema = arrow_schema_to_schema_auto_assign_ids(columns).map_err(failed)?;
        let spec = partition_spec(&schema, partition_by)?;
        let creation = TableCreation::builder()
            .name(ident.name().to_owned())
            .schema(schema)
            .partition_spec(spec)
            .properties([
                // Each commit writes the whole metadata anew: without these every version stays for ever.
                (
                    "write.metadata.delete-after-commit.enabled".to_owned(),
                    "true".to_owned(),
                ),
                (
                    "write.metadata.previous-versions-max".to_owned(),
                    "100".to_owned(),
                ),
            ])
            .build();
        let namespace = ident.namespace();
        match self {
            Self::Sqlite(catalog) => {
                catalog.create_namespaces(namespace).await?;
                catalog.create(namespace, creation).await.map_err(failed)
            }
            Self::Rest(catalog) => {
                catalog.create_namespaces(namespace).await?;
                catalog.create(namespace, creation).await
            }
            Self::File(file) => Err(file.refusal()),
        }
    }
}

fn table(
    files: FileIO,
    runtime: &Runtime,
    ident: &TableIdent,
    location: String,
    metadata: impl Into<TableMetadataRef>,
) -> IcebergResult<Table> {
    Table::builder()
        .file_io(files)
        .identifier(ident.clone())
        .metadata_location(location)
        .metadata(metadata)
        .runtime(runtime.clone())
        .build()
}
