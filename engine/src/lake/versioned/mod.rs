//! Tables that remember what changed: the two formats behind [`sql::versioned::VersionedTable`].

pub mod delta;
mod hash;
pub mod iceberg;

use std::sync::Arc;

use sql::Result;
use sql::versioned::VersionedTable;

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
    /// files was deleted, what is left of the added ones inserted. Memory: about 100 bytes for each row of the version's
    /// removed files.
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
    match spec {
        VersionedSpec::Delta(spec) => {
            let table = delta::DeltaVersions::open(spec).await?;
            Ok(Arc::new(table.with_missing_feed(missing_feed)))
        }
        VersionedSpec::Iceberg(spec) => Ok(Arc::new(iceberg::IcebergVersions::open(spec).await?)),
    }
}
