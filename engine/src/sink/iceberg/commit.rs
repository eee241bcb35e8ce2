//! The compare-and-swap of a commit, on the table that was checked and on no other.
//!
//! The library's transaction loads the table anew before it applies its actions, and swaps with the catalog's own
//! update, which may load it once more. [`Guard`] hands it the table whose positions were checked, and swaps from that
//! one. So check and swap use one base, and a commit reads nothing that it has already.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::transaction::Transaction;
use iceberg::{
    Catalog, Error as IcebergError, ErrorKind as IcebergKind, Namespace, NamespaceIdent,
    Result as IcebergResult, TableCommit, TableCreation, TableIdent, TableRequirement, TableUpdate,
};
use parking_lot::Mutex;

use super::{IcebergSink, dated};
use crate::clock;
use crate::lake::catalog::{Failed, OpenCatalog};
use crate::sink::failpoint;

#[derive(Debug)]
struct Guard<'a> {
    catalog: &'a OpenCatalog,
    base: &'a Table,
    /// What the library may see in its place.
    aged: Option<Table>,
    /// What the library's own error cannot say.
    failed: Mutex<Option<Failed>>,
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
        self.catalog.with_metadata(&self.table, aged).map(Some)
    }

    /// Commits `transaction`, which was made from the sink's table, to that very table.
    pub(super) async fn swap(&mut self, transaction: Transaction) -> Result<(), Failed> {
        let aged = self.aged()?;
        let guard = Guard::new(&self.catalog, &self.table, aged);
        let done = transaction.commit(&guard).await;
        let table = match (done, guard.failed.into_inner()) {
            (Ok(table), _) => table,
            (Err(_), Some(failed)) => return Err(failed),
            (Err(error), None) => return Err(Failed::from(error)),
        };
        self.moved_to(table).await;
        Ok(())
    }

    /// Commits `updates`, which were made from the sink's table, to that very table.
    pub(super) async fn swap_updates(
        &mut self,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
    ) -> Result<(), Failed> {
        let guard = Guard::new(&self.catalog, &self.table, None);
        let table = guard.exchange(requirements, updates).await?;
        self.moved_to(table).await;
        Ok(())
    }

    async fn moved_to(&mut self, table: Table) {
        let old = if self.catalog.leaves_metadata_files() {
            dropped_metadata(self.table.metadata(), table.metadata())
        } else {
            Vec::new()
        };
        self.table = table;
        for location in old {
            self.delete(&location).await;
        }
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
            failed: Mutex::new(None),
        }
    }

    async fn exchange(
        &self,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
    ) -> Result<Table, Failed> {
        let updates = dated::dated(updates, self.base.metadata())?;
        let table = self
            .catalog
            .commit(self.base, requirements, updates)
            .await?;
        failpoint::lose_answer("in_commit").map_err(Failed::unclear)?;
        Ok(table)
    }
}

#[async_trait]
impl Catalog for Guard<'_> {
    async fn load_table(&self, _table: &TableIdent) -> IcebergResult<Table> {
        Ok(self.aged.as_ref().unwrap_or(self.base).clone())
    }

    async fn update_table(&self, mut commit: TableCommit) -> IcebergResult<Table> {
        let requirements = commit.take_requirements();
        let done = self.exchange(&requirements, commit.take_updates()).await;
        done.map_err(|failed| {
            *self.failed.lock() = Some(failed);
            // Not marked as retryable: only the sink may try again, after it has looked at the positions.
            IcebergError::new(IcebergKind::Unexpected, "the commit failed")
        })
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
