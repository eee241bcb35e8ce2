//! Changes of the table's metadata, each in a commit of its own: new columns, properties.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::Schema;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::{DeltaTable, DeltaTableError};
use sql::{Error, ErrorKind, Result};

use super::DeltaSink;
use crate::lake::delta::snapshot;
use crate::lake::shape::added_columns;
use crate::sink::protocol::MAX_ATTEMPTS;

/// One try only: the table is read again and asked what is left to do.
fn once() -> CommitProperties {
    CommitProperties::default()
        .with_max_retries(0)
        .with_create_checkpoint(false)
        .with_cleanup_expired_logs(Some(false))
}

impl DeltaSink {
    /// Adds the columns of `target` that the table does not have.
    pub(super) async fn add_columns(&mut self, target: &Schema) -> Result<()> {
        let mut failed = None;
        for _ in 0..MAX_ATTEMPTS {
            let added = added_columns(target, &self.schema, &self.path)?;
            if added.fields().is_empty() {
                return Ok(());
            }
            let added: StructType = (&added).try_into_kernel().map_err(|error| {
                Error::internal("new columns are no Delta columns").source(error)
            })?;
            let done = self
                .table
                .clone()
                .add_columns()
                .with_fields(added.fields().cloned().collect::<Vec<_>>())
                .with_commit_properties(once())
                .await;
            failed = self.settled(done).await?;
        }
        Err(self.lost("cannot add columns to the Delta table", failed))
    }

    /// Sets the properties of the pipeline's file that the table has not, or has otherwise.
    pub(super) async fn set_properties(&mut self) -> Result<()> {
        let said = self.spec.properties.clone();
        self.set(&said).await
    }

    /// Sets those of `said` that the table has not, or has otherwise.
    pub(super) async fn set(&mut self, said: &BTreeMap<String, String>) -> Result<()> {
        let mut failed = None;
        for _ in 0..MAX_ATTEMPTS {
            let missing = self.missing_properties(said)?;
            if missing.is_empty() {
                return Ok(());
            }
            tracing::info!(path = self.path, properties = ?missing, "setting table properties");
            let done = self
                .table
                .clone()
                .set_tbl_properties()
                .with_properties(missing)
                // The spec's parser knows the properties.
                .with_raise_if_not_exists(false)
                .with_commit_properties(once())
                .await;
            failed = self.settled(done).await?;
        }
        Err(self.lost("cannot set the Delta table's properties", failed))
    }

    fn missing_properties(
        &self,
        said: &BTreeMap<String, String>,
    ) -> Result<HashMap<String, String>> {
        let state = snapshot(&self.table, &self.path)?;
        let there = state.metadata().configuration();
        Ok(said
            .iter()
            .filter(|(key, value)| there.get(*key) != Some(*value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    /// Whatever the answer was: the table says what is there.
    async fn settled(
        &mut self,
        done: std::result::Result<DeltaTable, DeltaTableError>,
    ) -> Result<Option<DeltaTableError>> {
        self.reload().await?;
        Ok(done.err())
    }

    fn lost(&self, what: &str, failed: Option<DeltaTableError>) -> Error {
        let conflict = Error::new(ErrorKind::Conflict, what).at(&self.path);
        match failed {
            Some(error) => conflict.source(error),
            None => conflict,
        }
    }
}
