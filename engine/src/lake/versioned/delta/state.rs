//! What the table says of itself at a version: columns, features, properties.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;
use deltalake::kernel::{Metadata, Protocol};
use sql::{Error, Result};

use super::columns::{Columns, Naming};
use crate::lake::delta::check_features;
use crate::lake::noted_key::noted;

/// Features of readers under which rows and changes are read right here.
const READABLE: [&str; 4] = [
    "timestampNtz",
    "columnMapping",
    "deletionVectors",
    "vacuumProtocolCheck",
];

/// Metadata and protocol that were in force at a version.
#[derive(Debug, Clone)]
pub(super) struct State {
    metadata: Metadata,
    protocol: Protocol,
    pub(super) columns: Arc<Columns>,
}

impl State {
    /// # Errors
    /// [`sql::ErrorKind::Config`] for features and columns that cannot be read.
    pub(super) fn try_new(metadata: Metadata, protocol: Protocol, place: &str) -> Result<Self> {
        check_features(&protocol, &READABLE, place)?;
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::config("the Delta table has columns that the engine does not know")
                .at(place)
                .source(error)
        };
        let kernel = metadata.parse_schema().map_err(|e| failed(e.into()))?;
        let schema: Schema = (&kernel).try_into_arrow().map_err(|e| failed(e.into()))?;
        let mode = metadata.configuration().get("delta.columnMapping.mode");
        let naming = match mode.map(String::as_str) {
            None | Some("none") => Naming::Logical,
            Some("name") => Naming::Physical,
            Some("id") => Naming::Id,
            Some(other) => {
                return Err(Error::config(format!(
                    "the Delta table maps its columns in a mode that the engine does not know, `{other}`"
                ))
                .at(place)
                .expected("`none`, `name` or `id`"));
            }
        };
        Ok(Self {
            columns: Arc::new(Columns::new(&schema, naming)),
            metadata,
            protocol,
        })
    }

    /// The state after a commit that says something new.
    ///
    /// # Errors
    /// As [`Self::try_new`].
    pub(super) fn after(
        &self,
        metadata: Option<&Metadata>,
        protocol: Option<&Protocol>,
        place: &str,
    ) -> Result<Self> {
        let metadata = metadata.unwrap_or(&self.metadata).clone();
        let protocol = protocol.unwrap_or(&self.protocol).clone();
        Self::try_new(metadata, protocol, place)
    }

    /// The row's columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.columns.schema()
    }

    /// Whether writers kept a change feed.
    pub(super) fn feed(&self) -> bool {
        self.is_set("delta.enableChangeDataFeed")
    }

    /// What an upsert noted as the key.
    pub(super) fn key(&self) -> Vec<String> {
        let columns = self.schema().fields().iter();
        noted(
            self.metadata.configuration(),
            columns.map(|field| field.name().as_str()),
        )
    }

    fn is_set(&self, property: &str) -> bool {
        let value = self.metadata.configuration().get(property);
        value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn is_partitioned(&self) -> bool {
        !self.metadata.partition_columns().is_empty()
    }
}
