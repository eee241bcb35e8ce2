//! Appends to an Iceberg table and upserts into it ([`IcebergUpsert`]), exactly once.
//!
//! One commit makes one snapshot, also of a batch without rows. Its summary holds the positions that moved, as
//! `engine.<pipeline>.pos.<topic>.<partition>`; table properties of the same names mirror them in the same commit, for
//! when the snapshot has expired. What is compared and swapped is the catalog's metadata location, or on a REST catalog
//! the table's snapshot, taken from the very table whose positions were checked: the library's own transaction would first
//! move to a newer table without looking.

mod append;
mod commit;
mod dated;
mod maintain;
mod progress;
mod settle;
mod upsert;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use iceberg::arrow::{arrow_schema_to_schema_auto_assign_ids, schema_to_arrow_schema};
use iceberg::spec::FormatVersion;
use iceberg::table::Table;
use iceberg::transaction::{AddColumn, ApplyTransactionAction as _, Transaction};
use sql::change::{Position, Span};
use sql::{Error, ErrorKind, Result};

use super::protocol::MAX_ATTEMPTS;
use super::sidecar::{FileIoSidecar, Sidecar};
use super::{Receipt, Sink};
use crate::lake::catalog::{Absent, Loaded, OpenCatalog};
use crate::lake::iceberg::{check_types, iceberg_error, identifier, shown};
use crate::lake::partitions::check_partitions;
use crate::lake::schema::{TableFormat, target_schema, without_metadata};
use crate::lake::shape::{Missing, added_columns, check_shape};
use crate::maintain::{Policy, Report};
use crate::spec::model::{IcebergTableSpec, PartitionField};
use maintain::Pass;
pub use upsert::IcebergUpsert;
use upsert::files::Manifests;
use upsert::read::LakeReader;

/// A writer of one Iceberg table for one pipeline.
#[derive(Debug)]
pub struct IcebergSink {
    place: String,
    pipeline: String,
    catalog: OpenCatalog,
    /// The newest table that was read or made.
    table: Table,
    /// Columns with field ids; files are written with these.
    file_schema: SchemaRef,
    /// The same without ids: the sink's schema.
    schema: SchemaRef,
    /// The columns that the table's rows are kept by, if it is known that they are.
    key: Vec<String>,
    /// The span of our last commit that landed or may have landed.
    sent: Option<Span>,
}

impl IcebergSink {
    /// Opens or creates catalog, namespace and table. `target` has Iceberg's types.
    ///
    /// # Errors
    /// As [`super::open`].
    pub async fn open(
        spec: &IcebergTableSpec,
        pipeline: &str,
        target: &Schema,
        partition_by: &[PartitionField],
        missing: Missing,
    ) -> Result<Self> {
        let ident = identifier(spec)?;
        let catalog = OpenCatalog::open(&spec.catalog, Absent::Create).await?;
        let table = catalog.open_or_create(&ident, target, partition_by).await?;
        let place = shown(spec);
        check_partitions(table.metadata(), partition_by, &place)?;
        let mut sink = Self {
            place,
            pipeline: pipeline.to_owned(),
            catalog,
            table: table.clone(),
            file_schema: Arc::new(Schema::empty()),
            schema: Arc::new(Schema::empty()),
            key: Vec::new(),
            sent: None,
        };
        sink.adopt(table)?;
        check_shape(target, &sink.schema, missing, &sink.place)?;
        if missing == Missing::Add {
            sink.add_columns(target).await?;
        }
        Ok(sink)
    }

    /// The table as it is; `None` if the catalog does not have it. `key` are the columns that its rows are kept by, if known.
    ///
    /// # Errors
    /// As [`super::open_existing`].
    pub async fn existing(
        spec: &IcebergTableSpec,
        pipeline: &str,
        key: &[String],
    ) -> Result<Option<Self>> {
        let catalog = OpenCatalog::open(&spec.catalog, Absent::Refuse).await?;
        let Some(table) = catalog.load(&identifier(spec)?).await? else {
            return Ok(None);
        };
        let mut sink = Self {
            place: shown(spec),
            pipeline: pipeline.to_owned(),
            catalog,
            table: table.clone(),
            file_schema: Arc::new(Schema::empty()),
            schema: Arc::new(Schema::empty()),
            key: key.to_vec(),
            sent: None,
        };
        sink.adopt(table)?;
        Ok(Some(sink))
    }

    /// Takes over what a newer table says.
    fn adopt(&mut self, table: Table) -> Result<()> {
        let metadata = table.metadata();
        check_types(metadata, &self.place)?;
        if metadata.format_version() == FormatVersion::V1 {
            return Err(Error::config("the Iceberg table has format version 1")
                .at(&self.place)
                .expected("format version 2 or 3")
                .remedy(
                    "Raise the table property `format-version` to 2, or write to another table.",
                ));
        }
        let file_schema = schema_to_arrow_schema(metadata.current_schema()).map_err(|error| {
            Error::config("the Iceberg table has columns that the engine does not know")
                .at(&self.place)
                .source(error)
        })?;
        self.schema = Arc::new(without_metadata(&file_schema));
        self.file_schema = Arc::new(file_schema);
        self.table = table;
        Ok(())
    }

    /// Takes over the table as it is now, if it has changed.
    async fn refresh(&mut self) -> Result<()> {
        let table = match self.catalog.newer(&self.table).await? {
            Loaded::Same => return Ok(()),
            Loaded::Table(table) => *table,
            Loaded::Absent => {
                return Err(Error::config("the table is no longer in its catalog")
                    .at(&self.place)
                    .remedy(
                        "Restore it, or start the pipeline again to make a new one from the beginning.",
                    ));
            }
        };
        let before = Arc::clone(&self.schema);
        self.adopt(table)?;
        // Only columns may have come; anything else would not take the batches that are under way.
        check_shape(&before, &self.schema, Missing::Refuse, &self.place)
    }

    async fn add_columns(&mut self, target: &Schema) -> Result<()> {
        let place = self.place.clone();
        let failed = |error| iceberg_error("add columns to the Iceberg table", &place, error);
        let mut lost = None;
        for _ in 0..MAX_ATTEMPTS {
            let added = added_columns(target, &self.schema, &self.place)?;
            if added.fields().is_empty() {
                return Ok(());
            }
            let added = arrow_schema_to_schema_auto_assign_ids(&added).map_err(failed)?;
            let transaction = Transaction::new(&self.table);
            let mut action = transaction.update_schema();
            for field in added.as_struct().fields() {
                let column = AddColumn::optional(&field.name, field.field_type.as_ref().clone());
                action = action.add_column(column);
            }
            let transaction = action.apply(transaction).map_err(failed)?;
            let done = self.swap(transaction).await;
            // Whatever the answer was: the table says whether the columns are there.
            self.refresh().await?;
            self.adopt(self.table.clone())?;
            lost = match done {
                Err(failed) if !failed.is_conflict() && !failed.is_unclear() => {
                    return Err(self.commit_error(failed));
                }
                done => done.err().map(|failed| failed.error),
            };
        }
        Err(self.outrun("cannot add columns to the Iceberg table", lost))
    }

    /// Other writers were faster at every attempt, the last of which failed with `lost`.
    fn outrun(&self, what: &str, lost: Option<Error>) -> Error {
        let conflict = Error::new(ErrorKind::Conflict, what).at(&self.place);
        match lost {
            Some(error) => conflict.source(error),
            None => conflict,
        }
    }
}

#[async_trait]
impl Sink for IcebergSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn progress(&mut self) -> Result<Position> {
        self.refresh().await?;
        Ok(progress::positions(
            &self.table.metadata_ref(),
            &self.pipeline,
        ))
    }

    async fn write(&mut self, rows: &[RecordBatch], span: &Span) -> Result<Receipt> {
        self.append(rows, span).await
    }

    async fn evolve(&mut self, schema: &SchemaRef) -> Result<()> {
        let target = target_schema(schema, TableFormat::Iceberg)?;
        self.refresh().await?;
        self.add_columns(&target).await
    }

    async fn maintain(&mut self, policy: &Policy) -> Result<Report> {
        let read = Arc::new(AtomicU64::new(0));
        let mut manifests = Manifests::new(Vec::new(), Arc::clone(&read));
        let reader = LakeReader {
            file_io: self.table.file_io().clone(),
            read,
        };
        Pass::new(self, &mut manifests, &reader, policy).run().await
    }

    fn sidecar(&self) -> Option<Arc<dyn Sidecar>> {
        let files = self.table.file_io().clone();
        let location = self.table.metadata().location();
        Some(Arc::new(FileIoSidecar::new(files, location)))
    }
}
