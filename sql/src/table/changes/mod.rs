//! The changes of a table that remembers them, as a table.
//!
//! [`ChangesTable`] narrows the range of versions by the filters that reach it and makes a [`ChangesExec`], which holds
//! plain data and finds the live table at execution, in the session's [`Slots`](super::Slots). Rows come in the order of
//! the versions, and within a version as [`VersionedTable::changes`] gives them.

mod exec;
mod read;

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result as DfResult, internal_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use serde::{Deserialize, Serialize};

pub use exec::ChangesExec;

use super::Slots;
use super::narrow;
use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, utc_micros};
use crate::error::{Error, Result};
use crate::versioned::VersionedTable;

/// Versions of a table, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first version.
    pub from: i64,
    /// The last version; `None`: the range never ends, and new versions are read as they come.
    pub to: Option<i64>,
}

impl Range {
    /// Whether it has no version.
    pub fn is_empty(&self) -> bool {
        self.to.is_some_and(|to| to < self.from)
    }
}

/// The changes of a range of versions: the row's columns, then `_change_type`, `_commit_version`, `_commit_timestamp`.
#[derive(Debug, Clone)]
pub struct ChangesTable {
    slot: String,
    table: Arc<dyn VersionedTable>,
    range: Range,
    schema: SchemaRef,
}

impl ChangesTable {
    /// The changes of `table` in `range`. `slot` is what plans call it, and unique in a session among tables.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Config`] if a column of the table has the name of one that is added.
    pub fn try_new(
        slot: impl Into<String>,
        table: Arc<dyn VersionedTable>,
        range: Range,
    ) -> Result<Self> {
        let schema = changes_schema(table.name(), &table.schema())?;
        Ok(Self {
            slot: slot.into(),
            table,
            range,
            schema,
        })
    }
}

/// The columns of the changes of a table with the columns `row`.
///
/// # Errors
/// [`crate::ErrorKind::Config`] if a column of the row has the name of one that is added.
fn changes_schema(name: &str, row: &Schema) -> Result<SchemaRef> {
    // Read in the order of versions, and never null: an ORDER BY over it costs nothing.
    let added = [
        Field::new(CHANGE_TYPE, DataType::Utf8, true),
        Field::new(COMMIT_VERSION, DataType::Int64, false),
        Field::new(COMMIT_TIMESTAMP, utc_micros(), false),
    ];
    let mut fields: Vec<Field> = row.fields().iter().map(|f| f.as_ref().clone()).collect();
    for field in added {
        if row.column_with_name(field.name()).is_some() {
            return Err(Error::config(format!(
                "the table's own column `{}` has the name of a column that its changes have beside the row",
                field.name()
            ))
            .at(name)
            .remedy("rename the column in the table; its versions can still be read with at('t', version)"));
        }
        fields.push(field);
    }
    Ok(Arc::new(Schema::new(fields)))
}

#[async_trait]
impl TableProvider for ChangesTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters choose versions and images; the rows that come are filtered again.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match narrow::subject(filter) {
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(slots) = state.config().get_extension::<Slots>() else {
            return internal_err!("the session was not made by sql::session");
        };
        let range = narrow::versions(state, self.table.as_ref(), self.range, filters).await?;
        let types = narrow::change_types(state, filters)?;
        let nothing = types.as_ref().is_some_and(Vec::is_empty);
        if range.is_empty() || nothing {
            let schema = match projection {
                Some(indices) => Arc::new(self.schema.project(indices)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        slots.put_table(self.slot.clone(), Arc::clone(&self.table));
        let exec = ChangesExec::try_new(
            self.slot.clone(),
            &self.schema,
            projection.cloned(),
            range,
            types,
        )?;
        Ok(Arc::new(exec.limited(limit)))
    }
}

pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
