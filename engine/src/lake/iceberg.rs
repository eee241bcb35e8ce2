//! Iceberg tables: names, errors, what the libraries would get silently wrong, reading.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use iceberg::spec::{PrimitiveType, TableMetadata, Type};
use iceberg::{ErrorKind as IcebergKind, NamespaceIdent, TableIdent};
use sql::{Error, ErrorKind, Result};

use super::catalog::{Absent, OpenCatalog};
use super::storage::storage_error;
use super::versioned::iceberg::IcebergTable;
use crate::spec::model::IcebergTableSpec;

/// A table for reading, at its current snapshot.
///
/// # Errors
/// [`ErrorKind::Config`] if the catalog or the table is not there, the catalog's file is no catalog, or the table has types
/// that its format version forbids; [`ErrorKind::Storage`] or [`ErrorKind::Unavailable`] from the storage.
pub async fn iceberg_provider(spec: &IcebergTableSpec) -> Result<Arc<dyn TableProvider>> {
    let catalog = OpenCatalog::open(&spec.catalog, Absent::Refuse).await?;
    let Some(table) = catalog.load(&identifier(spec)?).await? else {
        return Err(
            Error::config(format!("there is no Iceberg table `{}`", shown(spec)))
                .at(catalog.place())
                .remedy(
                    "Check namespace, table and the catalog's name, which is part of its keys.",
                ),
        );
    };
    check_types(table.metadata(), &shown(spec))?;
    let table = IcebergTable::current(shown(spec), table);
    Ok(Arc::new(table.map_err(|error| error.at(shown(spec)))?))
}

/// `catalog.namespace.table`, for messages.
pub fn shown(spec: &IcebergTableSpec) -> String {
    format!(
        "{}.{}.{}",
        spec.catalog.name,
        spec.namespace.join("."),
        spec.table
    )
}

pub(crate) fn identifier(spec: &IcebergTableSpec) -> Result<TableIdent> {
    let namespace = NamespaceIdent::from_vec(spec.namespace.clone()).map_err(|error| {
        Error::config("an Iceberg table needs a namespace")
            .at(shown(spec))
            .expected("namespace.table")
            .source(error)
    })?;
    Ok(TableIdent::new(namespace, spec.table.clone()))
}

/// The error of an Iceberg operation on `place`.
pub(crate) fn iceberg_error(doing: &str, place: &str, error: iceberg::Error) -> Error {
    match error.kind() {
        IcebergKind::FeatureUnsupported => {
            Error::config(format!("cannot {doing}: the library does not support it"))
                .at(place)
                .source(error)
        }
        IcebergKind::CatalogCommitConflicts => Error::new(
            ErrorKind::Conflict,
            format!("cannot {doing}: other writers were faster"),
        )
        .at(place)
        .source(error),
        _ => storage_error(doing, place, error),
    }
}

/// Refuses what the table's format version forbids and the library lets pass.
pub(crate) fn check_types(metadata: &TableMetadata, place: &str) -> Result<()> {
    let nanos = metadata
        .current_schema()
        .as_struct()
        .fields()
        .iter()
        .find(|field| {
            matches!(
                field.field_type.as_ref(),
                Type::Primitive(PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs)
            )
        });
    match nanos {
        Some(field) => Err(Error::config(format!(
            "column `{}` is a timestamp of nanoseconds, which the engine does not read or write",
            field.name
        ))
        .at(place)
        .remedy("Use a table whose timestamps are of microseconds.")),
        None => Ok(()),
    }
}
