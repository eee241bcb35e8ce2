//! The tables that `engine sql` knows: what the pipelines write, and what they read.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::sql::TableReference;
use sql::{Error, Result};

use super::files::{environment, expand};
use crate::sink::quarantine;
use crate::spec;
use crate::spec::model::{DeltaTableSpec, IcebergTableSpec, PipelineSpec, SinkTarget};

/// One table that SQL may name.
#[derive(Debug, Clone)]
pub struct KnownTable {
    /// Its full name.
    pub name: TableReference,
    /// What it is.
    pub kind: KnownKind,
    /// The pipeline that it belongs to.
    pub pipeline: Arc<PipelineSpec>,
}

/// What a known table is.
#[derive(Debug, Clone)]
pub enum KnownKind {
    /// A Delta table that a pipeline writes.
    Delta(DeltaTableSpec),
    /// An Iceberg table that a pipeline writes.
    Iceberg(IcebergTableSpec),
    /// The messages that a pipeline set aside.
    Quarantine(DeltaTableSpec),
    /// A pipeline's source, read live.
    Source,
}

impl KnownTable {
    /// Its full name as SQL must write it: with quotes where they are needed.
    pub fn shown(&self) -> String {
        self.name.to_quoted_string()
    }
}

impl KnownKind {
    /// The kind in a word, as `SHOW TABLES` prints it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Delta(_) => "delta",
            Self::Iceberg(_) => "iceberg",
            Self::Quarantine(_) => "quarantine",
            Self::Source => "source",
        }
    }
}

/// Every known table.
#[derive(Debug, Clone, Default)]
pub struct KnownTables(Vec<KnownTable>);

impl KnownTables {
    /// The tables of the pipelines in `paths`. A file that is wrong is left out with a warning: a query over another
    /// pipeline's table does not need it.
    ///
    /// # Errors
    /// A path that does not exist.
    pub fn of(paths: &[PathBuf]) -> Result<Self> {
        let mut tables = Vec::new();
        if let Some(missing) = paths.iter().find(|path| !path.exists()) {
            return Err(Error::config("there is no such file or folder")
                .at(missing.display().to_string())
                .expected("pipeline files, or folders of them")
                .remedy("check the path; without one it is `pipelines` in the working folder"));
        }
        for file in expand(paths)? {
            match spec::parse(&file, &environment, &[]) {
                Ok(spec) => add(&mut tables, Arc::new(spec)),
                Err(error) => {
                    tracing::warn!(error = %error, file = %file.display(), "pipeline file left out");
                }
            }
        }
        Ok(Self(tables))
    }

    /// Every table, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &KnownTable> {
        self.0.iter()
    }

    /// The tables that `name` may mean: exactly one if the name is full or unique.
    pub fn named(&self, name: &TableReference) -> Vec<&KnownTable> {
        let full: Vec<_> = self.0.iter().filter(|t| &t.name == name).collect();
        if !full.is_empty() {
            return full;
        }
        let fits = |known: &TableReference| {
            name.table() == known.table()
                && name
                    .schema()
                    .is_none_or(|schema| known.schema() == Some(schema))
                && name
                    .catalog()
                    .is_none_or(|catalog| known.catalog() == Some(catalog))
        };
        let bare = name.schema().is_none();
        let may_mean = |known: &&KnownTable| {
            // A pipeline's name is its table's: the quarantine is not what a bare name asks for.
            fits(&known.name) && !(bare && matches!(known.kind, KnownKind::Quarantine(_)))
        };
        self.0.iter().filter(may_mean).collect()
    }
}

fn add(tables: &mut Vec<KnownTable>, pipeline: Arc<PipelineSpec>) {
    let (name, kind) = match &pipeline.sink.target {
        SinkTarget::Delta(delta) => (
            TableReference::partial("delta", pipeline.pipeline.name.as_str()),
            KnownKind::Delta(delta.clone()),
        ),
        SinkTarget::Iceberg(iceberg) => (
            TableReference::full(
                iceberg.catalog.name.as_str(),
                iceberg.namespace.join("."),
                iceberg.table.as_str(),
            ),
            KnownKind::Iceberg(iceberg.clone()),
        ),
    };
    // Two pipelines may write one table: it is one table.
    if !tables.iter().any(|table| table.name == name) {
        tables.push(KnownTable {
            name,
            kind,
            pipeline: pipeline.clone(),
        });
    }
    // A checked file always has one.
    if let Ok(rejects) = quarantine::table(&pipeline.pipeline, &pipeline.sink) {
        tables.push(KnownTable {
            name: TableReference::partial("quarantine", pipeline.pipeline.name.as_str()),
            kind: KnownKind::Quarantine(rejects),
            pipeline: pipeline.clone(),
        });
    }
    let source = TableReference::partial(pipeline.pipeline.name.as_str(), pipeline.source.name());
    tables.push(KnownTable {
        name: source,
        kind: KnownKind::Source,
        pipeline,
    });
}
