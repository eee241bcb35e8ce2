//! Tables that remember what changed: the two formats behind [`sql::versioned::VersionedTable`].

pub mod delta;
pub mod iceberg;

use std::sync::Arc;

use sql::versioned::VersionedTable;
use sql::{Error, Result};

use crate::spec::model::{DeltaTableSpec, IcebergTableSpec};

/// A table of either format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionedSpec {
    /// A Delta table.
    Delta(DeltaTableSpec),
    /// An Iceberg table.
    Iceberg(IcebergTableSpec),
}

/// What is done with a version that rewrote files while the table kept no change feed: Delta's property
/// `delta.enableChangeDataFeed`, which an Iceberg table does not need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingFeed {
    /// An error that says which versions can be read.
    #[default]
    Error,
    /// The rows of the removed and of the added files are compared: rows that stand in both are no change. What is left of the removed
    /// files was deleted, what is left of the added ones inserted. Memory: 24 bytes for each row of the version's removed files.
    Diff,
}

/// Opens a table for reading its versions and changes.
///
/// # Errors
/// [`sql::ErrorKind::Config`] if there is no such table, or one that cannot be read correctly; of the storage or catalog.
pub async fn open(
    spec: &VersionedSpec,
    missing_feed: MissingFeed,
) -> Result<Arc<dyn VersionedTable>> {
    let _ = missing_feed;
    match spec {
        VersionedSpec::Delta(spec) => {
            Err(Error::config("the changes of Delta tables are not read yet").at(&spec.path))
        }
        VersionedSpec::Iceberg(spec) => Ok(Arc::new(iceberg::IcebergVersions::open(spec).await?)),
    }
}
