//! Appends to a Delta table, and upserts into it, exactly once.
//!
//! One commit holds the rows' files and one `txn` action per topic-partition that moved: `appId`
//! `<pipeline>/<topic>/<partition>`, `version` the next offset. The commit file's name is the next version and is
//! created only if it is not there: that is the compare-and-swap. The positions that were checked are those of the
//! version just below, because after every version that somebody else made its commit is read first.
//!
//! What it does not do, and why: it never uses the library's own commit loop, which retries on a newer version
//! without looking at positions; it lists the log only when it opens the table. An append holds no list of the table's
//! files and costs a few small reads whatever the table's age; [`upsert`] says what an upsert costs.

mod append;
mod commit;
mod files;
mod fill;
mod history;
mod maintain;
mod metadata;
mod progress;
mod spelling;
mod statistics;
mod upsert;
mod write;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use deltalake::DeltaTable;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;
use deltalake::logstore::LogStoreRef;
use deltalake::table::config::TablePropertiesExt as _;
use sql::change::{Position, Span};
use sql::{Error, ErrorKind, Result};

pub use upsert::DeltaUpsert;
use upsert::bounds::can_partition;

use super::sidecar::{Sidecar, StoreSidecar};
use super::{Receipt, Sink};
use crate::lake::delta::{check_writable, open_or_create, reopen, snapshot};
use crate::lake::keys::check_key;
use crate::lake::schema::without_metadata;
use crate::lake::shape::{Missing, check_shape, no_partition_column, same_partitions};
use crate::maintain::{Policy, Report};
use crate::spec::model::{DeltaTableSpec, PartitionField, PartitionTransform};

/// A writer of one Delta table for one pipeline.
#[derive(Debug)]
pub struct DeltaSink {
    spec: DeltaTableSpec,
    path: String,
    pipeline: String,
    table: DeltaTable,
    store: LogStoreRef,
    /// The newest version whose commit was read or made, and the positions there.
    version: u64,
    stored: Position,
    /// Columns as the table's metadata has them; files are written with these.
    file_schema: SchemaRef,
    /// The same without metadata: the sink's schema.
    schema: SchemaRef,
    partition_by: Vec<String>,
    upkeep: maintain::Upkeep,
    /// The table's files, for those who change them: an append holds no list.
    files: Option<files::FileList>,
    /// The span of our last commit that landed or may have landed.
    sent: Option<Span>,
}

/// What can be a partition of a Delta table.
const PARTITIONS: &str = "a column of text, whole numbers, booleans, dates or times";

/// The columns of `partition_by` for a Delta table.
///
/// # Errors
/// [`ErrorKind::Config`] for a transform, which Delta does not have, for a column that is not there or whose values do not survive
/// being text, and for a table that would have no other column.
pub fn partition_columns(partition_by: &[PartitionField], target: &Schema) -> Result<Vec<String>> {
    let columns = partition_by
        .iter()
        .map(|field| {
            if field.transform != PartitionTransform::Identity {
                return Err(Error::config(format!(
                    "a Delta table has no partition transforms, but `{}` is partitioned by one",
                    field.column
                ))
                .at(&field.at)
                .remedy("Compute the partition's value as a column in the SQL, for example CAST(ts AS DATE) AS day, and partition by that."));
            }
            match target.column_with_name(&field.column) {
                None => Err(no_partition_column(field)),
                Some((_, column)) if column.data_type().is_nested() => Err(Error::config(format!(
                    "column `{}` of type {} cannot be a partition",
                    field.column,
                    column.data_type()
                ))
                .at(&field.at)),
                Some((_, column)) if !can_partition(column.data_type()) => Err(Error::config(format!(
                    "column `{}` of type {} cannot be a partition of a Delta table: its values cannot be read back exactly",
                    field.column,
                    column.data_type()
                ))
                .at(&field.at)
                .expected(PARTITIONS)
                .remedy("CAST the column in the SQL, or partition by another one.")),
                Some(_) => Ok(field.column.clone()),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    if !columns.is_empty() && columns.len() == target.fields().len() {
        return Err(
            Error::config("every column of the table is a partition column")
                .remedy("Leave at least one column out of `partition_by`."),
        );
    }
    Ok(columns)
}

impl DeltaSink {
    /// Opens or creates the table and reads where `pipeline` stands in it. `target` has Delta's types.
    ///
    /// # Errors
    /// As [`super::open`].
    pub async fn open(
        spec: &DeltaTableSpec,
        pipeline: &str,
        target: &Schema,
        partition_by: &[String],
        missing: Missing,
    ) -> Result<Self> {
        let table = open_or_create(spec, target, partition_by).await?;
        let mut sink = Self {
            spec: spec.clone(),
            path: spec.path.clone(),
            pipeline: pipeline.to_owned(),
            store: table.log_store(),
            table,
            version: 0,
            stored: Position::new(),
            file_schema: Arc::new(Schema::empty()),
            schema: Arc::new(Schema::empty()),
            partition_by: Vec::new(),
            upkeep: maintain::Upkeep::default(),
            files: None,
            sent: None,
        };
        if sink.store.name() != "DefaultLogStore" {
            return Err(Error::config("this kind of storage is not built in").at(&sink.path));
        }
        sink.adopt().await?;
        sink.check_partitions()?;
        if !partition_by.is_empty() {
            same_partitions(&sink.partition_by, partition_by, &sink.path)?;
        }
        check_shape(target, &sink.schema, missing, &sink.path)?;
        if missing == Missing::Add {
            sink.add_columns(target).await?;
        }
        sink.set_properties().await?;
        Ok(sink)
    }

    /// Opens a table that is there, as it is, to maintain it. Its rows are kept by `key`, if that is known.
    ///
    /// # Errors
    /// As [`super::open`].
    pub async fn existing(
        spec: &DeltaTableSpec,
        pipeline: &str,
        columns: &Schema,
        key: &[String],
    ) -> Result<Self> {
        let mut sink = Self::open(spec, pipeline, columns, &[], Missing::Refuse).await?;
        if check_key(key, &sink.schema).is_ok() {
            sink.files = Some(files::FileList::new(key));
        }
        Ok(sink)
    }

    /// Whether the values of the partition columns can be told from their text.
    fn check_partitions(&self) -> Result<()> {
        for name in &self.partition_by {
            let column = self.schema.column_with_name(name);
            let data_type = column.map(|(_, field)| field.data_type());
            if let Some(data_type) = data_type.filter(|data_type| !can_partition(data_type)) {
                return Err(Error::config(format!(
                    "the Delta table is partitioned by `{name}` of type {data_type}, whose values cannot be read back exactly"
                ))
                .at(&self.path)
                .expected(PARTITIONS)
                .remedy("Write to a table that is partitioned otherwise."));
            }
        }
        Ok(())
    }

    /// Takes over what the freshly loaded handle says.
    async fn adopt(&mut self) -> Result<()> {
        let state = snapshot(&self.table, &self.path)?;
        check_writable(state.protocol(), state.metadata(), &self.path)?;
        let file_schema: Schema = state.schema().as_ref().try_into_arrow().map_err(|error| {
            Error::config("the Delta table has columns that the engine does not know")
                .at(&self.path)
                .source(error)
        })?;
        self.partition_by = state.metadata().partition_columns().to_vec();
        self.version = state.version();
        let settings = state.table_config();
        self.upkeep.configure(
            settings.checkpoint_interval,
            settings.enable_expired_log_cleanup(),
        );
        self.schema = Arc::new(without_metadata(&file_schema));
        self.file_schema = Arc::new(file_schema);
        let replayed = progress::replay(&self.store, &self.pipeline, self.version, &self.path);
        let (stored, checkpoint) = replayed.await?;
        self.stored = stored;
        self.upkeep.checkpoint = checkpoint;
        Ok(())
    }

    /// Loads the table anew: somebody changed its metadata, or cleaned the log under us.
    async fn reload(&mut self) -> Result<()> {
        let before = Arc::clone(&self.schema);
        let partitions = std::mem::take(&mut self.partition_by);
        self.table = reopen(&self.spec).await?;
        self.store = self.table.log_store();
        if let Some(files) = &mut self.files {
            files.forget();
        }
        self.adopt().await?;
        if self.partition_by != partitions {
            return Err(Error::new(
                ErrorKind::Conflict,
                "somebody changed the partitions of the Delta table while it was written",
            )
            .at(&self.path));
        }
        // Only columns may have come; anything else would not take the batches that are under way.
        check_shape(&before, &self.schema, Missing::Refuse, &self.path)
    }
}

#[async_trait]
impl Sink for DeltaSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn progress(&mut self) -> Result<Position> {
        self.refresh(None).await?;
        Ok(self.stored.clone())
    }

    async fn write(&mut self, rows: &[RecordBatch], span: &Span) -> Result<Receipt> {
        self.append(rows, span).await
    }

    async fn evolve(&mut self, schema: &SchemaRef) -> Result<()> {
        let target =
            crate::lake::schema::target_schema(schema, crate::lake::schema::TableFormat::Delta)?;
        self.refresh(None).await?;
        self.add_columns(&target).await
    }

    fn sidecar(&self) -> Option<Arc<dyn Sidecar>> {
        let store = self.store.object_store(None);
        Some(Arc::new(StoreSidecar::new(store, &self.path)))
    }

    async fn maintain(&mut self, policy: &Policy) -> Result<Report> {
        self.pass(policy).await
    }
}
