//! Iceberg tables as the Iceberg library reads them itself: what the engine's own scan is held against.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use engine::spec::model::{CatalogKind, IcebergTableSpec};
use iceberg::metadata_columns::is_metadata_column_name;
use iceberg::{Catalog as _, CatalogBuilder as _, NamespaceIdent, TableIdent};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalogBuilder};
use iceberg_datafusion::IcebergStaticTableProvider;
use iceberg_storage_opendal::OpenDalStorageFactory;

/// The table of an SQLite catalog. `None` for one of a REST catalog, and for one with a column whose name the library takes for
/// its own.
///
/// # Panics
/// If it is not there, or cannot be read.
pub async fn iceberg(spec: &IcebergTableSpec) -> Option<Arc<dyn TableProvider>> {
    let CatalogKind::Sql { uri, warehouse } = &spec.catalog.kind else {
        return None;
    };
    let catalog = SqlCatalogBuilder::default()
        .uri(uri)
        .warehouse_location(warehouse)
        .sql_bind_style(SqlBindStyle::QMark)
        .with_storage_factory(Arc::new(OpenDalStorageFactory::Fs))
        .load(&spec.catalog.name, HashMap::new())
        .await
        .expect("a catalog");
    let namespace = NamespaceIdent::from_vec(spec.namespace.clone()).expect("a namespace");
    let ident = TableIdent::new(namespace, spec.table.clone());
    let table = catalog.load_table(&ident).await.expect("a table");
    let schema = table.metadata().current_schema().clone();
    let mut names = schema.as_struct().fields().iter();
    if names.any(|field| is_metadata_column_name(&field.name)) {
        return None;
    }
    let provider = IcebergStaticTableProvider::try_new_from_table(table).await;
    Some(Arc::new(provider.expect("a table that can be read")))
}
