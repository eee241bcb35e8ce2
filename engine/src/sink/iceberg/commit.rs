//! The compare-and-swap of a commit, on the table that was checked and on no other.
//!
//! The library's transaction loads the table anew before it applies its actions, and swaps with the catalog's own
//! update, which loads it once more. [`Guard`] hands it the table whose positions were checked, and swaps from that
//! one's metadata file. So check and swap use one base, and a commit reads nothing that it has already.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::transaction::Transaction;
use iceberg::{
    Catalog, Error as IcebergError, ErrorKind as IcebergKind, MetadataLocation, Namespace,
    NamespaceIdent, Result as IcebergResult, TableCommit, TableCreation, TableIdent,
    TableRequirement, TableUpdate,
};

use super::{IcebergSink, dated};
use crate::clock;
use crate::lake::catalog::OpenCatalog;
use crate::sink::failpoint;

/// A failed swap.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(super) struct Failed {
    #[source]
    pub(super) error: IcebergError,
    /// Whether it may have been made all the same.
    pub(super) unclear: bool,
}

impl Failed {
    /// Whether another writer was faster, for certain.
    pub(super) fn is_conflict(&self) -> bool {
        !self.unclear && self.error.kind() == IcebergKind::CatalogCommitConflicts
    }
}

#[derive(Debug)]
struct Guard<'a> {
    catalog: &'a OpenCatalog,
    base: &'a Table,
    /// What the library may see in its place.
    aged: Option<Table>,
    /// The swap was asked for and not answered.
    unclear: AtomicBool,
}

impl OpenCatalog {
    /// `base` after `updates`, whose snapshots are dated no earlier than `base`.
    fn staged(
        &self,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
        base: &Table,
    ) -> IcebergResult<Table> {
        for requirement in requirements {
            requirement.check(Some(base.metadata()))?;
        }
        let metadata = dated::applied(updates, base)?;
        let location = MetadataLocation::from_str(base.metadata_location_result()?)?
            .with_next_version()
            .with_new_metadata(&metadata)
            .to_string();
        self.table(base.identifier(), location, metadata)
    }
}

impl IcebergSink {
    /// The table as it would be had its commits not been made by a clock that was ahead of this one; `None` if they
    /// were not. See [`dated`].
    fn aged(&self) -> Result<Option<Table>, IcebergError> {
        let now = clock::now_micros() / 1000;
        let metadata = self.table.metadata();
        if dated::newest(metadata) <= now {
            return Ok(None);
        }
        let aged = dated::aged(metadata, now)?;
        let location = self.table.metadata_location_result()?.to_owned();
        let table = self
            .catalog
            .table(self.table.identifier(), location, aged)?;
        Ok(Some(table))
    }

    /// Commits `transaction`, which was made from the sink's table, to that very table.
    pub(super) async fn swap(&mut self, transaction: Transaction) -> Result<(), Failed> {
        let aged = self.aged().map_err(|error| Failed {
            error,
            unclear: false,
        })?;
        let guard = Guard::new(&self.catalog, &self.table, aged);
        let done = transaction.commit(&guard).await;
        let unclear = guard.unclear.load(Ordering::Relaxed);
        let table = done.map_err(|error| Failed { error, unclear })?;
        self.moved_to(table).await
    }

    /// Commits `updates`, which were made from the sink's table, to that very table.
    pub(super) async fn swap_updates(
        &mut self,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
    ) -> Result<(), Failed> {
        let guard = Guard::new(&self.catalog, &self.table, None);
        let staged = self.catalog.staged(requirements, updates, &self.table);
        let done = match staged {
            Ok(staged) => guard.exchange(staged).await,
            Err(error) => Err(error),
        };
        let unclear = guard.unclear.load(Ordering::Relaxed);
        let table = done.map_err(|error| Failed { error, unclear })?;
        self.moved_to(table).await
    }

    async fn moved_to(&mut self, table: Table) -> Result<(), Failed> {
        let old = dropped_metadata(self.table.metadata(), table.metadata());
        self.table = table;
        for location in old {
            self.delete(&location).await;
        }
        Ok(())
    }
}

/// Metadata files that left the log of a table that wants them deleted.
fn dropped_metadata(old: &TableMetadata, new: &TableMetadata) -> Vec<String> {
    let wanted = new
        .properties()
        .get("write.metadata.delete-after-commit.enabled")
        .is_some_and(|value| value == "true");
    if !wanted {
        return Vec::new();
    }
    let kept: HashSet<&str> = new
        .metadata_log()
        .iter()
        .map(|entry| entry.metadata_file.as_str())
        .collect();
    old.metadata_log()
        .iter()
        .map(|entry| entry.metadata_file.clone())
        .filter(|location| !kept.contains(location.as_str()))
        .collect()
}

fn conflict(table: &TableIdent) -> IcebergError {
    // Not marked as retryable: only the sink may try again, after it has looked at the positions.
    IcebergError::new(
        IcebergKind::CatalogCommitConflicts,
        format!("another writer committed {table} first"),
    )
}

fn foreign<T>(what: &str) -> IcebergResult<T> {
    Err(IcebergError::new(
        IcebergKind::FeatureUnsupported,
        format!("a commit does not {what}"),
    ))
}

impl<'a> Guard<'a> {
    fn new(catalog: &'a OpenCatalog, base: &'a Table, aged: Option<Table>) -> Self {
        Self {
            catalog,
            base,
            aged,
            unclear: AtomicBool::new(false),
        }
    }

    /// Writes the metadata file of `staged` and moves the catalog to it, if it still stands at the base.
    async fn exchange(&self, staged: Table) -> IcebergResult<Table> {
        let ident = staged.identifier().clone();
        let from = self.base.metadata_location_result()?.to_owned();
        let to = staged.metadata_location_result()?.to_owned();
        staged
            .metadata()
            .write_to(self.catalog.file_io(), &MetadataLocation::from_str(&to)?)
            .await?;
        self.unclear.store(true, Ordering::Relaxed);
        let swapped = self
            .catalog
            .swap(&ident, &from, &to)
            .await
            .map_err(|error| {
                IcebergError::new(IcebergKind::Unexpected, "the catalog did not answer")
                    .with_source(error)
            })?;
        failpoint::lose_answer("in_commit").map_err(|error| {
            IcebergError::new(IcebergKind::Unexpected, "the catalog did not answer")
                .with_source(error)
        })?;
        self.unclear.store(false, Ordering::Relaxed);
        if swapped {
            return Ok(staged);
        }
        let unused = self.catalog.file_io().delete(&to).await;
        if let Err(error) = unused {
            tracing::debug!(path = to, error = %error, "cannot delete an unused file");
        }
        Err(conflict(&ident))
    }
}

#[async_trait]
impl Catalog for Guard<'_> {
    async fn load_table(&self, _table: &TableIdent) -> IcebergResult<Table> {
        Ok(self.aged.as_ref().unwrap_or(self.base).clone())
    }

    async fn update_table(&self, mut commit: TableCommit) -> IcebergResult<Table> {
        let staged = match self.aged {
            None => commit.apply(self.base.clone())?,
            Some(_) => {
                let requirements = commit.take_requirements();
                let updates = commit.take_updates();
                self.catalog.staged(&requirements, updates, self.base)?
            }
        };
        self.exchange(staged).await
    }

    async fn list_namespaces(
        &self,
        _parent: Option<&NamespaceIdent>,
    ) -> IcebergResult<Vec<NamespaceIdent>> {
        foreign("list namespaces")
    }

    async fn create_namespace(
        &self,
        _namespace: &NamespaceIdent,
        _properties: HashMap<String, String>,
    ) -> IcebergResult<Namespace> {
        foreign("create namespaces")
    }

    async fn get_namespace(&self, _namespace: &NamespaceIdent) -> IcebergResult<Namespace> {
        foreign("read namespaces")
    }

    async fn namespace_exists(&self, _namespace: &NamespaceIdent) -> IcebergResult<bool> {
        foreign("read namespaces")
    }

    async fn update_namespace(
        &self,
        _namespace: &NamespaceIdent,
        _properties: HashMap<String, String>,
    ) -> IcebergResult<()> {
        foreign("change namespaces")
    }

    async fn drop_namespace(&self, _namespace: &NamespaceIdent) -> IcebergResult<()> {
        foreign("drop namespaces")
    }

    async fn list_tables(&self, _namespace: &NamespaceIdent) -> IcebergResult<Vec<TableIdent>> {
        foreign("list tables")
    }

    async fn create_table(
        &self,
        _namespace: &NamespaceIdent,
        _creation: TableCreation,
    ) -> IcebergResult<Table> {
        foreign("create tables")
    }

    async fn drop_table(&self, _table: &TableIdent) -> IcebergResult<()> {
        foreign("drop tables")
    }

    async fn purge_table(&self, _table: &TableIdent) -> IcebergResult<()> {
        foreign("drop tables")
    }

    async fn table_exists(&self, _table: &TableIdent) -> IcebergResult<bool> {
        foreign("look for tables")
    }

    async fn rename_table(&self, _src: &TableIdent, _dest: &TableIdent) -> IcebergResult<()> {
        foreign("rename tables")
    }

    async fn register_table(
        &self,
        _table: &TableIdent,
        _metadata_location: String,
    ) -> IcebergResult<Table> {
        foreign("register tables")
    }
}
