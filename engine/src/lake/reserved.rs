//! Reading Iceberg tables that have a column of a name which the format reserves, such as `_partition`.
//!
//! Such a table is valid, and readers find its columns by their ids. But the library's scan takes the name for the
//! metadata column of that name, which it cannot read. So the scan sees a copy of the metadata in which the column is
//! called otherwise, and a view over the scan gives it its own name back.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use iceberg::metadata_columns::is_metadata_column_name;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::{ErrorKind as IcebergKind, Runtime};
use iceberg_datafusion::IcebergStaticTableProvider;
use serde_json::Value;
use sql::{Error, Result};

use super::iceberg::iceberg_error;

/// `table` for reading, with all its columns under their own names. `place` is for messages.
///
/// # Errors
/// What the library says about metadata that it cannot read.
pub(super) async fn provider(table: Table, place: &str) -> Result<Arc<dyn TableProvider>> {
    let failed = |error| iceberg_error("read the Iceberg table", place, error);
    let names: Vec<String> = (table
        .metadata()
        .current_schema()
        .as_struct()
        .fields()
        .iter())
    .map(|field| field.name.clone())
    .collect();
    if !names.iter().any(|name| is_metadata_column_name(name)) {
        let provider = IcebergStaticTableProvider::try_new_from_table(table).await;
        return Ok(Arc::new(provider.map_err(failed)?));
    }
    let table = renamed(&table).map_err(failed)?;
    let scan = IcebergStaticTableProvider::try_new_from_table(table)
        .await
        .map_err(failed)?;
    view(Arc::new(scan), &names).map_err(|error| {
        Error::internal("an Iceberg table's columns cannot be named").source(error)
    })
}

/// The same table as the scan may see it.
fn renamed(table: &Table) -> Result<Table, iceberg::Error> {
    let broken = |error: serde_json::Error| {
        iceberg::Error::new(IcebergKind::DataInvalid, "the metadata cannot be copied")
            .with_source(error)
    };
    let mut metadata = serde_json::to_value(table.metadata()).map_err(broken)?;
    let current = metadata.get_mut("schema").into_iter();
    current.for_each(rename_fields);
    let all = metadata.get_mut("schemas").and_then(Value::as_array_mut);
    all.into_iter().flatten().for_each(rename_fields);
    let metadata: TableMetadata = serde_json::from_value(metadata).map_err(broken)?;
    let mut builder = Table::builder()
        .file_io(table.file_io().clone())
        .metadata(metadata)
        .identifier(table.identifier().clone())
        .runtime(Runtime::try_current()?)
        .readonly(true);
    if let Some(location) = table.metadata_location() {
        builder = builder.metadata_location(location);
    }
    builder.build()
}

fn rename_fields(schema: &mut Value) {
    let fields = schema.get_mut("fields").and_then(Value::as_array_mut);
    for field in fields.into_iter().flatten() {
        if let Some(Value::String(name)) = field.get_mut("name")
            && is_metadata_column_name(name)
        {
            *name = inner_name(name);
        }
    }
}

/// Names that Iceberg reserves begin with one underscore.
fn inner_name(name: &str) -> String {
    format!("column{name}")
}

fn view(
    scan: Arc<dyn TableProvider>,
    names: &[String],
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    const SCAN: &str = "iceberg";
    let columns = names.iter().map(|name| {
        let of = |name: &str| Expr::Column(Column::new(Some(SCAN), name));
        match is_metadata_column_name(name) {
            true => of(&inner_name(name)).alias(name),
            false => of(name),
        }
    });
    let plan = LogicalPlanBuilder::scan(SCAN, provider_as_source(scan), None)?
        .project(columns)?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
