//! An Iceberg table at one snapshot as a table of SQL, read by as many tasks as the session has partitions.
//!
//! Files are left out by the bounds and partitions in their manifests, row groups by their statistics; deletes of all kinds are
//! applied while reading ([`super::deletes`]). Filters only leave out: whoever asks filters the rows again.

mod codec;
mod exec;
mod pieces;
mod prune;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Result as DfResult, Statistics};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use iceberg::spec::SchemaId;
use iceberg::table::Table;
use sql::{Error, Result};
use tokio::sync::OnceCell;

use super::columns::Columns;
use super::deletes::Deletes;
use super::state::{Data, Manifests, State};
use crate::lake::live::LakeReader;
pub use codec::ScanCodec;
pub use exec::IcebergScanExec;
use exec::Scan;

/// An Iceberg table at one snapshot.
pub struct IcebergTable {
    snapshot: Snapshot,
    schema: SchemaRef,
    files: Arc<OnceCell<Files>>,
    held: Held,
}

/// A table's metadata, and what its files are read with.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// For messages.
    pub(super) name: String,
    pub(super) table: Table,
    pub(super) manifests: Arc<Manifests>,
    pub(super) reader: LakeReader,
}

impl Held {
    /// Nothing of it was read before.
    fn new(name: String, table: Table) -> Self {
        Self {
            name,
            reader: LakeReader {
                file_io: table.file_io().clone(),
                read: Arc::default(),
            },
            table,
            manifests: Arc::default(),
        }
    }
}

/// Which rows of which table: plain data, because metadata files never change.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Snapshot {
    /// For messages.
    name: String,
    /// The metadata file.
    metadata: String,
    /// Its id; nothing for a table without snapshots.
    id: Option<i64>,
    version: i64,
    schema: SchemaId,
}

/// The files of a snapshot, ready to be read.
#[derive(Debug)]
struct Files {
    reader: LakeReader,
    data: BTreeMap<String, Data>,
    deletes: Deletes,
    columns: Columns,
    delete_files: usize,
}

impl fmt::Debug for IcebergTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcebergTable")
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}

impl Files {
    /// # Errors
    /// Of the storage; [`sql::ErrorKind::Config`] if the metadata has no such snapshot or schema.
    async fn load(held: &Held, snapshot: &Snapshot) -> Result<Self> {
        let metadata = held.table.metadata_ref();
        let schema = metadata.schema_by_id(snapshot.schema);
        let gone = |what: &str| {
            Error::config(format!("the Iceberg metadata file has no such {what}"))
                .at(&snapshot.metadata)
        };
        let fields = schema.ok_or_else(|| gone("schema"))?.as_struct().fields();
        let columns = Columns::new(&metadata, fields.to_vec())?;
        let own = match snapshot.id {
            Some(id) => {
                let own = metadata.snapshot_by_id(id);
                Some(own.ok_or_else(|| gone("snapshot"))?)
            }
            None => None,
        };
        let state = held.manifests.state(&held.table, &held.name, own).await?;
        let State { data, deletes } = state;
        let delete_files = deletes.len();
        Ok(Self {
            deletes: Deletes::new(&metadata, &held.reader, deletes.into_values()),
            reader: held.reader.clone(),
            data,
            columns,
            delete_files,
        })
    }
}

impl IcebergTable {
    /// The table at its current snapshot, whatever its format version is.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for a column of a type that the engine does not read.
    pub(crate) fn current(name: String, table: Table) -> Result<Self> {
        let metadata = table.metadata();
        let (id, schema) = (metadata.current_snapshot_id(), metadata.current_schema_id());
        Self::new(Held::new(name, table), id, schema)
    }

    pub(super) fn new(held: Held, id: Option<i64>, schema: SchemaId) -> Result<Self> {
        let metadata = held.table.metadata();
        let version = id.and_then(|id| metadata.snapshot_by_id(id));
        let version = version.map_or(0, |own| own.sequence_number());
        let fields = metadata.schema_by_id(schema);
        let fields = fields.ok_or_else(|| Error::config("a snapshot without its schema"))?;
        let columns = Columns::new(metadata, fields.as_struct().fields().to_vec())?;
        let location = held
            .table
            .metadata_location()
            .unwrap_or_default()
            .to_owned();
        Ok(Self {
            snapshot: Snapshot {
                name: held.name.clone(),
                metadata: location,
                id,
                version,
                schema,
            },
            schema: Arc::clone(columns.schema()),
            files: Arc::default(),
            held,
        })
    }
}

#[async_trait]
impl TableProvider for IcebergTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let load = || Files::load(&self.held, &self.snapshot);
        let files = self.files.get_or_try_init(load).await.map_err(external)?;
        let candidates: Vec<&Data> = files
            .data
            .values()
            .filter(|own| own.file.rows > 0)
            .collect();
        let kept = prune::files(files, &self.schema, &candidates, filters)?;
        let chosen: Vec<&Data> = candidates
            .iter()
            .zip(kept)
            .filter_map(|(data, kept)| kept.then_some(*data))
            .collect();
        let (rows, exact) = counted(files, &chosen);
        let partitions = state.config().target_partitions();
        let scan = Scan {
            snapshot: self.snapshot.clone(),
            projection: projection.cloned(),
            filters: filters.to_vec(),
            parts: pieces::balanced(files, &chosen, partitions),
            files: chosen.len(),
            of_files: candidates.len(),
            delete_files: files.delete_files,
            // Filters leave out row groups, too.
            rows: (rows, exact && filters.is_empty()),
        };
        let cell = Arc::clone(&self.files);
        Ok(Arc::new(IcebergScanExec::try_new(
            scan,
            &self.schema,
            cell,
        )?))
    }

    fn statistics(&self) -> Option<Statistics> {
        let files = self.files.get()?;
        let all: Vec<&Data> = files.data.values().collect();
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = precision(counted(files, &all));
        Some(statistics)
    }
}

/// How many rows `chosen` have, and whether that is exact.
fn counted(files: &Files, chosen: &[&Data]) -> (usize, bool) {
    let (mut rows, mut exact) = (0_u64, true);
    for data in chosen {
        exact &= files.deletes.is_counted(data);
        let deleted = files.deletes.count(data).unwrap_or(0);
        rows += data.file.rows.saturating_sub(deleted);
    }
    (usize::try_from(rows).unwrap_or(usize::MAX), exact)
}

fn precision((rows, exact): (usize, bool)) -> Precision<usize> {
    if exact {
        Precision::Exact(rows)
    } else {
        Precision::Inexact(rows)
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What a decoded plan reads: the same metadata file again.
async fn reopened(snapshot: &Snapshot) -> Result<Files> {
    let table = super::static_table(&snapshot.metadata).await?;
    Files::load(&Held::new(snapshot.name.clone(), table), snapshot).await
}
