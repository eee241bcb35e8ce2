//! Iceberg catalogs on SQLite, as pyiceberg's SQL catalog and Java's JDBC catalog keep them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::{
    Catalog as _, CatalogBuilder as _, Error as IcebergError, ErrorKind as IcebergKind,
    MetadataLocation, NamespaceIdent, Result as IcebergResult, Runtime, TableCreation, TableIdent,
    TableRequirement, TableUpdate,
};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalog, SqlCatalogBuilder};
use iceberg_storage_opendal::OpenDalStorageFactory;
use sql::{Error, ErrorKind, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::{Absent, COMMITTING, Failed, Loaded, table};
use crate::lake::iceberg::iceberg_error;
use crate::lake::storage::storage_error;
use crate::spec::model::CatalogSpec;

/// How long SQLite waits for another process's lock before a statement fails.
const BUSY: Duration = Duration::from_secs(5);

/// The library's view of an SQLite catalog, and our own connection for compare-and-swap.
#[derive(Debug, Clone)]
pub struct SqliteCatalog {
    name: String,
    place: String,
    catalog: Arc<SqlCatalog>,
    pool: SqlitePool,
    file_io: FileIO,
    runtime: Runtime,
}

impl SqliteCatalog {
    /// Opens the catalog `spec` in the SQLite file that `uri` names, whose tables are made in `warehouse`.
    ///
    /// # Errors
    /// As [`super::OpenCatalog::open`].
    pub(super) async fn open(
        spec: &CatalogSpec,
        uri: &str,
        warehouse: &str,
        absent: Absent,
        runtime: Runtime,
    ) -> Result<Self> {
        let options = SqliteConnectOptions::from_str(uri)
            .map_err(|error| {
                Error::config("the catalog's uri is wrong")
                    .at(uri)
                    .expected("sqlite:///absolute/path.db")
                    .source(error)
            })?
            .busy_timeout(BUSY);
        let file = options.get_filename().to_path_buf();
        let place = file.display().to_string();
        prepare(&file, warehouse, absent)?;
        let pool = SqlitePoolOptions::new()
            .max_connections(2)
            .connect_with(options.create_if_missing(absent == Absent::Create))
            .await
            .map_err(|error| catalog_error("open the catalog", &place, error))?;
        check_catalog(&pool, &place, absent).await?;
        let factory = Arc::new(OpenDalStorageFactory::Fs);
        let mut props: HashMap<String, String> = spec.storage_options.clone().into_iter().collect();
        let file_io = FileIOBuilder::new(factory.clone())
            .with_props(props.clone())
            .build();
        props.insert("pool.max-connections".to_owned(), "2".to_owned());
        let catalog = SqlCatalogBuilder::default()
            .uri(uri)
            .warehouse_location(warehouse.trim_end_matches('/'))
            .sql_bind_style(SqlBindStyle::QMark)
            .with_storage_factory(factory)
            .load(&spec.name, props)
            .await
            .map_err(|error| iceberg_error("open the catalog", &place, error))?;
        Ok(Self {
            name: spec.name.clone(),
            place,
            catalog: Arc::new(catalog),
            pool,
            file_io,
            runtime,
        })
    }

    /// The catalog's file.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The table as it is now, unless it is `known`.
    pub(super) async fn load(&self, ident: &TableIdent, known: Option<&Table>) -> Result<Loaded> {
        let Some(location) = self.location(ident).await? else {
            return Ok(Loaded::Absent);
        };
        if known.is_some_and(|known| known.metadata_location() == Some(location.as_str())) {
            return Ok(Loaded::Same);
        }
        let table = self.read(ident, location).await?;
        Ok(Loaded::Table(Box::new(table)))
    }

    /// Where the table's current metadata file is.
    async fn location(&self, ident: &TableIdent) -> Result<Option<String>> {
        let row: Option<(Option<String>,)> = sqlx::query_as(
            "SELECT metadata_location FROM iceberg_tables \
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? \
             AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)",
        )
        .bind(&self.name)
        .bind(ident.namespace().join("."))
        .bind(ident.name())
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| catalog_error("look a table up in the catalog", &self.place, error))?;
        Ok(row.and_then(|(location,)| location))
    }

    async fn read(&self, ident: &TableIdent, location: String) -> Result<Table> {
        let metadata = TableMetadata::read_from(&self.file_io, &location)
            .await
            .map_err(|error| iceberg_error("read the table's metadata", &location, error))?;
        let files = self.file_io.clone();
        table(files, &self.runtime, ident, location.clone(), metadata)
            .map_err(|error| iceberg_error("open the table", &location, error))
    }

    /// Writes the metadata file of `base` after `updates` and moves the table to it, if it still stands at `base`.
    pub(super) async fn commit(
        &self,
        base: &Table,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
    ) -> Result<Table, Failed> {
        let staged = self.staged(base, requirements, updates)?;
        let from = base.metadata_location_result()?;
        let to = staged.metadata_location_result()?;
        let file = MetadataLocation::from_str(to)?;
        staged.metadata().write_to(&self.file_io, &file).await?;
        match self.swap(base.identifier(), from, to).await {
            Ok(true) => Ok(staged),
            Ok(false) => {
                if let Err(error) = self.file_io.delete(to).await {
                    tracing::debug!(path = to, error = %error, "cannot delete an unused file");
                }
                Err(Failed::conflict(base.identifier()))
            }
            Err(error) => {
                let error =
                    IcebergError::new(IcebergKind::Unexpected, "the catalog did not answer")
                        .with_source(error);
                Err(Failed::unclear(iceberg_error(COMMITTING, "", error)))
            }
        }
    }

    /// `base` after `updates`, at the place of its next metadata file.
    fn staged(
        &self,
        base: &Table,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
    ) -> IcebergResult<Table> {
        for requirement in requirements {
            requirement.check(Some(base.metadata()))?;
        }
        let location = base.metadata_location_result()?.to_owned();
        let mut builder = base.metadata().clone().into_builder(Some(location.clone()));
        for update in updates {
            builder = update.apply(builder)?;
        }
        let metadata = builder.build()?.metadata;
        let location = MetadataLocation::from_str(&location)?
            .with_next_version()
            .with_new_metadata(&metadata)
            .to_string();
        let files = self.file_io.clone();
        table(files, &self.runtime, base.identifier(), location, metadata)
    }

    /// Moves the table from the metadata file `from` to `to`, if it still stands there: the one atomic step of a commit.
    ///
    /// One statement that commits itself: the library's own update ignores a failed `COMMIT` and reports success.
    ///
    /// # Errors
    /// The database's error; the caller finds out by looking whether the step was made.
    async fn swap(&self, ident: &TableIdent, from: &str, to: &str) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? \
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? \
             AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL) AND metadata_location = ?",
        )
        .bind(to)
        .bind(from)
        .bind(&self.name)
        .bind(ident.namespace().join("."))
        .bind(ident.name())
        .bind(from)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Makes a table.
    pub(super) async fn create(
        &self,
        namespace: &NamespaceIdent,
        creation: TableCreation,
    ) -> IcebergResult<()> {
        self.catalog.create_table(namespace, creation).await?;
        Ok(())
    }

    /// Makes a namespace and those above it, if they are not there.
    pub(super) async fn create_namespaces(&self, namespace: &NamespaceIdent) -> Result<()> {
        let levels = namespace.as_ref();
        for depth in 1..=levels.len() {
            let level = levels.iter().take(depth).cloned().collect();
            let level = NamespaceIdent::from_vec(level)
                .map_err(|error| iceberg_error("name a namespace", &self.place, error))?;
            let failed = |error| iceberg_error("create a namespace", &self.place, error);
            if self
                .catalog
                .namespace_exists(&level)
                .await
                .map_err(failed)?
            {
                continue;
            }
            let made = self.catalog.create_namespace(&level, HashMap::new()).await;
            if made.is_err()
                && !self
                    .catalog
                    .namespace_exists(&level)
                    .await
                    .map_err(failed)?
            {
                made.map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// The file of a catalog's `uri`; `None` if it names none.
pub(crate) fn catalog_file(uri: &str) -> Option<PathBuf> {
    let options = SqliteConnectOptions::from_str(uri).ok()?;
    Some(options.get_filename().to_path_buf())
}

/// Makes folder and warehouse, or checks that the file is there.
fn prepare(file: &Path, warehouse: &str, absent: Absent) -> Result<()> {
    let place = file.display().to_string();
    if file.is_dir() {
        return Err(Error::config("the catalog's path is a folder")
            .at(place)
            .expected("a SQLite file, or a path where one can be made"));
    }
    if absent == Absent::Refuse {
        if !file.exists() {
            return Err(Error::config("there is no catalog file").at(place).remedy(
                "Check the path. A pipeline's own catalog is there after its first run: `engine run --once FILE`.",
            ));
        }
        return Ok(());
    }
    let warehouse = local_path(warehouse)?;
    if warehouse.is_file() {
        return Err(Error::config("the warehouse's path is a file")
            .at(warehouse.display().to_string())
            .expected("a folder, or a path where one can be made"));
    }
    for folder in [file.parent(), Some(warehouse.as_path())]
        .into_iter()
        .flatten()
    {
        std::fs::create_dir_all(folder).map_err(|error| {
            storage_error("create a folder", &folder.display().to_string(), error)
        })?;
    }
    Ok(())
}

/// The folder that a path names or a URL of a file: `file:///path`, or `file:/path` as Java writes it.
pub(crate) fn local_path(location: &str) -> Result<PathBuf> {
    let path = location
        .strip_prefix("file://")
        .or_else(|| location.strip_prefix("file:"));
    match path {
        Some(path) => Ok(PathBuf::from(path)),
        None if location.contains("://") => {
            Err(Error::config("no storage for the warehouse is built in")
                .at(location)
                .expected("a local path or a file:// URL"))
        }
        None => Ok(PathBuf::from(location)),
    }
}

async fn check_catalog(pool: &SqlitePool, place: &str, absent: Absent) -> Result<()> {
    let tables: Vec<(String,)> =
        sqlx::query_as("SELECT name FROM sqlite_master WHERE type = 'table'")
            .fetch_all(pool)
            .await
            .map_err(|error| catalog_error("read the catalog", place, error))?;
    let is_catalog = tables.iter().any(|(name,)| name == "iceberg_tables");
    if is_catalog || (tables.is_empty() && absent == Absent::Create) {
        return Ok(());
    }
    Err(
        Error::config("the file is a SQLite database, but no Iceberg catalog")
            .at(place)
            .expected("a database with the table `iceberg_tables`, or a path where one can be made")
            .remedy("Name the catalog's file, or a new one."),
    )
}

/// The error of a statement on the catalog's database.
fn catalog_error(doing: &str, place: &str, error: sqlx::Error) -> Error {
    let code = match &error {
        sqlx::Error::Database(database) => {
            database.code().and_then(|code| code.parse::<i32>().ok())
        }
        _ => None,
    };
    // SQLite's primary result code is the low byte of the extended one.
    match code.map(|code| code & 0xff) {
        Some(26 | 11) => Error::config(format!(
            "cannot {doing}: the file is no intact SQLite database"
        ))
        .at(place)
        .remedy("Restore it from a backup, or name another file.")
        .source(error),
        Some(5 | 6) => Error::new(
            ErrorKind::Unavailable,
            format!("cannot {doing}: another process holds its lock"),
        )
        .at(place)
        .source(error),
        Some(8 | 14) => Error::new(
            ErrorKind::Storage,
            format!("cannot {doing}: the file cannot be opened or written"),
        )
        .at(place)
        .remedy(
            "Give the user that runs the engine the right to write there, or name another file.",
        )
        .source(error),
        _ => storage_error(doing, place, error),
    }
}
