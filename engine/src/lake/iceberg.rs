//! Iceberg catalogs on SQLite and their tables: open, create, check, read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use iceberg::arrow::arrow_schema_to_schema_auto_assign_ids;
use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::spec::{PrimitiveType, TableMetadata, Transform, Type, UnboundPartitionSpec};
use iceberg::table::Table;
use iceberg::{
    Catalog as _, CatalogBuilder as _, ErrorKind as IcebergKind, NamespaceIdent, Runtime,
    TableCreation, TableIdent,
};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalog, SqlCatalogBuilder};
use iceberg_datafusion::IcebergStaticTableProvider;
use iceberg_storage_opendal::OpenDalStorageFactory;
use sql::{Error, ErrorKind, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::storage::storage_error;
use crate::spec::model::{
    CatalogKind, CatalogSpec, IcebergTableSpec, PartitionField, PartitionTransform,
};

/// How long SQLite waits for another process's lock before a statement fails.
const BUSY: Duration = Duration::from_secs(5);

/// An open catalog: the library's view of it, and our own connection for compare-and-swap.
#[derive(Debug, Clone)]
pub struct OpenCatalog {
    name: String,
    place: String,
    catalog: Arc<SqlCatalog>,
    pool: SqlitePool,
    file_io: FileIO,
    runtime: Runtime,
}

/// Whether a catalog's file may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// For reading: a file that is not there is an error.
    Refuse,
    /// For writing: folder and file are made.
    Create,
}

/// A table for reading, at its current snapshot.
///
/// # Errors
/// [`ErrorKind::Config`] if the catalog or the table is not there, the catalog's file is no catalog, or the table has types
/// that its format version forbids; [`ErrorKind::Storage`] or [`ErrorKind::Unavailable`] from the storage.
pub async fn iceberg_provider(spec: &IcebergTableSpec) -> Result<Arc<dyn TableProvider>> {
    let catalog = OpenCatalog::open(&spec.catalog, Absent::Refuse).await?;
    let Some(table) = catalog.load(&identifier(spec)?).await? else {
        return Err(
            Error::config(format!("there is no Iceberg table `{}`", shown(spec)))
                .at(catalog.place())
                .remedy(
                    "Check namespace, table and the catalog's name, which is part of its keys.",
                ),
        );
    };
    check_types(table.metadata(), &shown(spec))?;
    let provider = IcebergStaticTableProvider::try_new_from_table(table)
        .await
        .map_err(|error| iceberg_error("read the Iceberg table", &shown(spec), error))?;
    Ok(Arc::new(provider))
}

/// `catalog.namespace.table`, for messages.
pub fn shown(spec: &IcebergTableSpec) -> String {
    format!(
        "{}.{}.{}",
        spec.catalog.name,
        spec.namespace.join("."),
        spec.table
    )
}

pub(crate) fn identifier(spec: &IcebergTableSpec) -> Result<TableIdent> {
    let namespace = NamespaceIdent::from_vec(spec.namespace.clone()).map_err(|error| {
        Error::config("an Iceberg table needs a namespace")
            .at(shown(spec))
            .expected("namespace.table")
            .source(error)
    })?;
    Ok(TableIdent::new(namespace, spec.table.clone()))
}

/// The error of an Iceberg operation on `place`.
pub(crate) fn iceberg_error(doing: &str, place: &str, error: iceberg::Error) -> Error {
    match error.kind() {
        IcebergKind::FeatureUnsupported => {
            Error::config(format!("cannot {doing}: the library does not support it"))
                .at(place)
                .source(error)
        }
        IcebergKind::CatalogCommitConflicts => Error::new(
            ErrorKind::Conflict,
            format!("cannot {doing}: other writers were faster"),
        )
        .at(place)
        .source(error),
        _ => storage_error(doing, place, error),
    }
}

impl OpenCatalog {
    /// Opens a SQL catalog on SQLite.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the file is not there (with [`Absent::Refuse`]), is no SQLite database, or is one that holds
    /// other things; [`ErrorKind::Storage`] if it cannot be made; [`ErrorKind::Unavailable`] while another process locks it.
    pub async fn open(spec: &CatalogSpec, absent: Absent) -> Result<Self> {
        let CatalogKind::Sql { uri, warehouse } = &spec.kind;
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
        let runtime = Runtime::try_current()
            .map_err(|error| Error::internal("no runtime to read tables on").source(error))?;
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
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn inner(&self) -> &Arc<SqlCatalog> {
        &self.catalog
    }

    pub(crate) fn file_io(&self) -> &FileIO {
        &self.file_io
    }

    /// The table, or `None` if the catalog does not have it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Storage`] from catalog or storage.
    pub async fn load(&self, ident: &TableIdent) -> Result<Option<Table>> {
        match self.location(ident).await? {
            Some(location) => self.read(ident, location).await.map(Some),
            None => Ok(None),
        }
    }

    /// Where the table's current metadata file is.
    pub(crate) async fn location(&self, ident: &TableIdent) -> Result<Option<String>> {
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

    pub(crate) async fn read(&self, ident: &TableIdent, location: String) -> Result<Table> {
        let metadata = TableMetadata::read_from(&self.file_io, &location)
            .await
            .map_err(|error| iceberg_error("read the table's metadata", &location, error))?;
        Table::builder()
            .file_io(self.file_io.clone())
            .identifier(ident.clone())
            .metadata_location(location.clone())
            .metadata(metadata)
            .runtime(self.runtime.clone())
            .build()
            .map_err(|error| iceberg_error("open the table", &location, error))
    }

    /// Moves the table from the metadata file `from` to `to`, if it still stands there: the one atomic step of a commit.
    ///
    /// One statement that commits itself: the library's own update ignores a failed `COMMIT` and reports success.
    ///
    /// # Errors
    /// The database's error; the caller finds out by looking whether the step was made.
    pub(crate) async fn swap(
        &self,
        ident: &TableIdent,
        from: &str,
        to: &str,
    ) -> Result<bool, sqlx::Error> {
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
        self.create_namespaces(ident.namespace()).await?;
        let creation = TableCreation::builder()
            .name(ident.name().to_owned())
            .schema(schema)
            .partition_spec(spec)
            .build();
        self.catalog
            .create_table(ident.namespace(), creation)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn create_namespaces(&self, namespace: &NamespaceIdent) -> Result<()> {
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

/// The folder that a warehouse's `file://` URL or path names.
pub(crate) fn local_path(location: &str) -> Result<PathBuf> {
    match location.strip_prefix("file://") {
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
pub(crate) fn catalog_error(doing: &str, place: &str, error: sqlx::Error) -> Error {
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

/// Refuses what the table's format version forbids and the library lets pass.
pub(crate) fn check_types(metadata: &TableMetadata, place: &str) -> Result<()> {
    let nanos = metadata
        .current_schema()
        .as_struct()
        .fields()
        .iter()
        .find(|field| {
            matches!(
                field.field_type.as_ref(),
                Type::Primitive(PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs)
            )
        });
    match nanos {
        Some(field) => Err(Error::config(format!(
            "column `{}` is a timestamp of nanoseconds, which the engine does not read or write",
            field.name
        ))
        .at(place)
        .remedy("Use a table whose timestamps are of microseconds.")),
        None => Ok(()),
    }
}

fn transform(transform: PartitionTransform) -> Transform {
    match transform {
        PartitionTransform::Identity => Transform::Identity,
        PartitionTransform::Year => Transform::Year,
        PartitionTransform::Month => Transform::Month,
        PartitionTransform::Day => Transform::Day,
        PartitionTransform::Hour => Transform::Hour,
        PartitionTransform::Bucket(buckets) => Transform::Bucket(buckets),
        PartitionTransform::Truncate(width) => Transform::Truncate(width),
    }
}

fn partition_name(column: &str, transform: &Transform) -> String {
    match transform {
        Transform::Identity => column.to_owned(),
        Transform::Bucket(_) => format!("{column}_bucket"),
        Transform::Truncate(_) => format!("{column}_trunc"),
        other => format!("{column}_{other}"),
    }
}

/// Whether a new table with `columns` can be partitioned by `partition_by`.
///
/// # Errors
/// [`ErrorKind::Config`] for a column that is not there and for a transform that its type does not have.
pub fn check_new_partitions(columns: &Schema, partition_by: &[PartitionField]) -> Result<()> {
    let schema = arrow_schema_to_schema_auto_assign_ids(columns)
        .map_err(|error| iceberg_error("map the columns", "sink", error))?;
    partition_spec(&schema, partition_by).map(drop)
}

/// The partition spec of `partition_by` over `schema`.
///
/// # Errors
/// [`ErrorKind::Config`] for a column that is not there and for a transform that its type does not have.
pub(crate) fn partition_spec(
    schema: &iceberg::spec::Schema,
    partition_by: &[PartitionField],
) -> Result<UnboundPartitionSpec> {
    let mut builder = UnboundPartitionSpec::builder();
    for field in partition_by {
        let Some(source) = schema.field_by_name(&field.column) else {
            return Err(super::shape::no_partition_column(field));
        };
        let transform = transform(field.transform);
        transform.result_type(&source.field_type).map_err(|error| {
            Error::config(format!(
                "column `{}` of type {} cannot be partitioned by {transform}",
                field.column, source.field_type
            ))
            .at(&field.at)
            .expected("a date or a timestamp for `year`, `month`, `day` and `hour`; a number, a text or bytes for `truncate`")
            .remedy("partition by another column or transform, or CAST the column in the SQL")
            .source(error)
        })?;
        let name = partition_name(&field.column, &transform);
        builder = builder
            .add_partition_field(source.id, name, transform)
            .map_err(|error| {
                Error::config(format!("cannot partition by column `{}`", field.column))
                    .at(&field.at)
                    .source(error)
            })?;
    }
    Ok(builder.build())
}

/// Refuses a table that is partitioned otherwise than `partition_by` says. Saying nothing takes the table as it is.
pub(crate) fn check_partitions(
    metadata: &TableMetadata,
    partition_by: &[PartitionField],
    place: &str,
) -> Result<()> {
    if partition_by.is_empty() {
        return Ok(());
    }
    let schema = metadata.current_schema();
    let there: Vec<String> = metadata
        .default_partition_spec()
        .fields()
        .iter()
        .map(|field| {
            let column = schema.name_by_field_id(field.source_id).unwrap_or("?");
            shown_partition(column, &field.transform)
        })
        .collect();
    let wanted: Vec<String> = partition_by
        .iter()
        .map(|field| shown_partition(&field.column, &transform(field.transform)))
        .collect();
    super::shape::same_partitions(&there, &wanted, place)
}

fn shown_partition(column: &str, transform: &Transform) -> String {
    match transform {
        Transform::Identity => column.to_owned(),
        Transform::Bucket(buckets) => format!("bucket({buckets}, {column})"),
        Transform::Truncate(width) => format!("truncate({width}, {column})"),
        other => format!("{other}({column})"),
    }
}
