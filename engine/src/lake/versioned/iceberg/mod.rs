//! Iceberg tables: the changes of each snapshot of the main branch.
//!
//! A version is a sequence number. The version 0 is the table before its first numbered snapshot: empty, or what it was when it was of
//! format version 1. Only ancestors of the main branch are versions: what was written to other branches, and what the main branch was
//! rolled back from, is not. A reader that has read up to a version and goes on asks for that version, too
//! ([`VersionedTable::versions`] with `from` at it): that the table was rolled back behind it is an error then.
//!
//! All that a data file can be is read by this module's own reader, because the library lacks deletion vectors, and with
//! equality deletes is slow and loses rows whose key is null: position deletes, deletion vectors and equality deletes by hash
//! ([`deletes`]); columns by field id, renamed, widened and with defaults ([`columns`]).
//!
//! Memory: the manifests of a snapshot, about 1 KiB a live file; 32 bytes for each row of the files that a version removed and added
//! together, 128 MiB at most ([`difference`]); and the inserted rows of a version that has updates ([`pairs`]).

mod changes;
mod columns;
mod deletes;
mod difference;
mod history;
mod lists;
mod pairs;
mod read;
mod scan;
mod state;
mod vector;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use iceberg::io::FileIOBuilder;
use iceberg::spec::{SchemaId, SnapshotRef};
use iceberg::table::{StaticTable, Table};
use iceberg::{NamespaceIdent, TableIdent};
use iceberg_storage_opendal::OpenDalStorageFactory;
use parking_lot::RwLock;
use sql::versioned::{Readable, Rows, Version, VersionedTable, Wanted};
use sql::{Error, ErrorKind, Result};

use crate::lake::catalog::{Absent, Loaded, OpenCatalog};
use crate::lake::iceberg::{check_types, iceberg_error, identifier, shown};
use crate::lake::live::{LakeReader, LiveFile};
use crate::lake::noted_key::noted;
use crate::spec::model::IcebergTableSpec;
use columns::{Columns, Constants};
use history::History;
pub use lists::{Compared, manifests_schema};
use read::{Which, chained};
use scan::Held;
pub use scan::{IcebergScanExec, IcebergTable, ScanCodec};
use state::{Data, Manifests};

/// An Iceberg table whose versions and changes are read.
pub struct IcebergVersions {
    name: String,
    /// Nothing for a metadata file, which does not change.
    catalog: Option<OpenCatalog>,
    now: RwLock<Arc<Now>>,
    read: Arc<AtomicU64>,
}

/// The table as it was last seen.
#[derive(Debug, Clone)]
struct Now {
    name: String,
    table: Table,
    history: History,
    /// All columns of the newest schema.
    columns: Columns,
    key: Vec<String>,
    /// Whether the table was asked for its key, or somebody else said it.
    own_key: bool,
    manifests: Arc<Manifests>,
    reader: LakeReader,
}

/// Rows of a data file.
#[derive(Debug)]
struct Source {
    data: Data,
    constants: Constants,
    which: Which,
}

fn plain(sources: &[Source]) -> Vec<(LiveFile, Constants, Which)> {
    let parts = |own: &Source| {
        (
            own.data.file.clone(),
            own.constants.clone(),
            own.which.clone(),
        )
    };
    sources.iter().map(parts).collect()
}

impl fmt::Debug for IcebergVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcebergVersions")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl IcebergVersions {
    /// The table that a catalog has.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the catalog or the table is not there, or the table is one that cannot be read: of format version 1,
    /// or with types that the engine does not read; of the storage or catalog.
    pub async fn open(spec: &IcebergTableSpec) -> Result<Self> {
        let catalog = OpenCatalog::open(&spec.catalog, Absent::Refuse).await?;
        let name = shown(spec);
        let Some(table) = catalog.load(&identifier(spec)?).await? else {
            return Err(Error::config(format!("there is no Iceberg table `{name}`"))
                .at(catalog.place())
                .remedy(
                    "Check namespace, table and the catalog's name, which is part of its keys.",
                ));
        };
        Self::new(name, Some(catalog), table)
    }

    /// The table as the metadata file at `location` has it: a path, or a `file://` address. It never changes.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn from_metadata(location: &str) -> Result<Self> {
        let table = static_table(location).await?;
        Self::new(location.to_owned(), None, table)
    }

    fn new(name: String, catalog: Option<OpenCatalog>, table: Table) -> Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let now = Now::new(&name, table, Arc::default(), &read)?;
        Ok(Self {
            name,
            catalog,
            now: RwLock::new(Arc::new(now)),
            read,
        })
    }

    /// The same table, whose rows `key` tells apart, whatever its identifier fields are.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a column that the table has not.
    pub fn with_key(self, key: Vec<String>) -> Result<Self> {
        {
            let mut now = self.now.write();
            now.columns
                .select(&key)
                .map_err(|error| error.at(&self.name))?;
            *now = Arc::new(now.keyed(key));
        }
        Ok(self)
    }

    fn now(&self) -> Arc<Now> {
        Arc::clone(&self.now.read())
    }

    /// How many bytes of data files and delete files were read through this handle, from the start.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The manifests of the version `number` (default: the newest): see [`manifests_schema`].
    ///
    /// # Errors
    /// As [`VersionedTable::versions`].
    pub async fn manifests(&self, number: Option<i64>) -> Result<RecordBatch> {
        let now = self.now();
        now.manifests(now.snapshot(number)?).await
    }

    /// The files that one of two versions has and the other has not, by partition and content. No data file is read.
    ///
    /// # Errors
    /// As [`VersionedTable::versions`].
    pub async fn compare(&self, from: i64, to: i64) -> Result<Vec<Compared>> {
        let now = self.now();
        let (from, to) = (now.snapshot(Some(from))?, now.snapshot(Some(to))?);
        now.compare(from, to).await
    }
}

/// The table as a metadata file has it.
async fn static_table(location: &str) -> Result<Table> {
    let failed = |error| iceberg_error("read the table's metadata", location, error);
    let files = FileIOBuilder::new(Arc::new(OpenDalStorageFactory::Fs)).build();
    let input = files.new_input(location).map_err(failed)?;
    if !input.exists().await.map_err(failed)? {
        return Err(Error::config("there is no such Iceberg metadata file")
            .at(location)
            .expected("a file such as TABLE/metadata/00001-….metadata.json"));
    }
    let ident = TableIdent::new(NamespaceIdent::new("file".to_owned()), location.to_owned());
    let table = StaticTable::from_metadata_file(location, ident, files).await;
    Ok(table.map_err(failed)?.into_table())
}

impl Now {
    fn new(
        name: &str,
        table: Table,
        manifests: Arc<Manifests>,
        read: &Arc<AtomicU64>,
    ) -> Result<Self> {
        let metadata = table.metadata();
        check_types(metadata, name)?;
        let schema = metadata.current_schema();
        let columns = Columns::new(metadata, schema.as_struct().fields().to_vec());
        let columns = columns.map_err(|error| error.at(name))?;
        let top = schema.as_struct().fields().iter();
        let identifiers: Vec<i32> = schema.identifier_field_ids().collect();
        let key: Vec<String> = top
            .filter(|field| identifiers.contains(&field.id))
            .map(|field| field.name.clone())
            .collect();
        let names = schema.as_struct().fields().iter();
        Ok(Self {
            name: name.to_owned(),
            history: History::of(metadata, name)?,
            columns,
            key: if identifiers.is_empty() {
                noted(
                    metadata.properties(),
                    names.map(|field| field.name.as_str()),
                )
            } else if key.len() == identifiers.len() {
                key
            } else {
                // A key with a part inside of a struct is none that rows can be told apart by here.
                Vec::new()
            },
            own_key: true,
            manifests,
            reader: LakeReader {
                file_io: table.file_io().clone(),
                read: Arc::clone(read),
            },
            table,
        })
    }

    fn keyed(&self, key: Vec<String>) -> Self {
        Self {
            key,
            own_key: false,
            ..self.clone()
        }
    }

    fn snapshot(&self, number: Option<i64>) -> Result<Option<&SnapshotRef>> {
        match number {
            Some(number) => self.history.table(number),
            None => Ok(self.history.versions().last()),
        }
    }

    fn held(&self) -> Held {
        Held {
            name: self.name.clone(),
            table: self.table.clone(),
            manifests: Arc::clone(&self.manifests),
            reader: self.reader.clone(),
        }
    }

    /// A snapshot's id, and the id of the schema that the table had at it.
    fn schema_at(&self, snapshot: Option<&SnapshotRef>) -> (Option<i64>, SchemaId) {
        let own = snapshot.and_then(|snapshot| snapshot.schema_id());
        let current = self.table.metadata().current_schema_id();
        let id = snapshot.map(|snapshot| snapshot.snapshot_id());
        (id, own.unwrap_or(current))
    }
}

#[async_trait]
impl VersionedTable for IcebergVersions {
    fn name(&self) -> &str {
        &self.name
    }

    fn format(&self) -> &'static str {
        "iceberg"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.now().columns.schema())
    }

    fn key(&self) -> Vec<String> {
        self.now().key.clone()
    }

    async fn refresh(&self) -> Result<Readable> {
        let now = self.now();
        let Some(catalog) = &self.catalog else {
            return Ok(now.history.readable());
        };
        match catalog.newer(&now.table).await? {
            Loaded::Same => Ok(now.history.readable()),
            Loaded::Table(table) => {
                let manifests = Arc::clone(&now.manifests);
                let mut next = Now::new(&self.name, *table, manifests, &self.read)?;
                if !now.own_key {
                    next.columns.select(&now.key)?;
                    next = next.keyed(now.key.clone());
                }
                let readable = next.history.readable();
                *self.now.write() = Arc::new(next);
                Ok(readable)
            }
            Loaded::Absent => Err(Error::new(ErrorKind::Config, "the Iceberg table is gone")
                .at(&self.name)
                .remedy("Check whether it was dropped or renamed.")),
        }
    }

    async fn versions(&self, from: i64, to: i64) -> Result<Vec<Version>> {
        self.now().history.range(from, to)
    }

    async fn version_at(&self, micros: i64) -> Result<Option<i64>> {
        let now = self.now();
        let versions = now.history.versions().iter().rev();
        let mut then = versions.filter(|own| own.timestamp_ms().saturating_mul(1000) <= micros);
        Ok(then.next().map(|own| own.sequence_number()))
    }

    async fn changes(&self, number: i64, wanted: &Wanted) -> Result<Rows> {
        self.now().changes(number, wanted).await
    }

    async fn rows(&self, number: i64, columns: &[String]) -> Result<Rows> {
        let now = self.now();
        let columns = now.columns.select(columns)?;
        let sources = now.all(now.history.table(number)?).await?;
        Ok(chained(&now.reader, plain(&sources), &columns))
    }

    async fn at(&self, number: i64) -> Result<Arc<dyn TableProvider>> {
        let now = self.now();
        let (id, schema) = now.schema_at(now.history.table(number)?);
        Ok(Arc::new(IcebergTable::new(now.held(), id, schema)?))
    }

    async fn snapshots(&self) -> Result<RecordBatch> {
        self.now().snapshots()
    }

    async fn files(&self, number: Option<i64>) -> Result<RecordBatch> {
        let now = self.now();
        now.files(now.snapshot(number)?).await
    }
}
