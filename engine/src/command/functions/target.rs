//! The table that the first argument of a function names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::sql::TableReference;
use sql::versioned::VersionedTable;
use sql::{Error, Result};

use crate::command::maintain;
use crate::command::query::external::{External, ExternalKind};
use crate::command::query::{not_there_yet, several, unknown};
use crate::command::tables::{KnownKind, KnownTable, KnownTables};
use crate::lake::versioned::{self, MissingFeed, VersionedSpec};
use crate::spec::model::{CatalogKind, CatalogSpec, DeltaTableSpec, IcebergTableSpec, SourceSpec};

/// What a statement may name.
#[derive(Debug)]
pub struct Names<'a> {
    /// The tables of the pipelines.
    pub known: &'a KnownTables,
    /// The tables that the session made.
    pub externals: Vec<Arc<External>>,
}

impl Names<'_> {
    /// The table of the session that `reference` names.
    pub fn external(&self, reference: &TableReference) -> Option<&Arc<External>> {
        self.externals.iter().find(|table| &table.name == reference)
    }

    /// Whether `reference` may mean a source that is read live.
    pub fn is_live(&self, reference: &TableReference) -> bool {
        let known = || self.known.named(reference);
        self.external(reference).is_none()
            && known()
                .iter()
                .any(|table| matches!(table.kind, KnownKind::Source))
    }
}

/// A table that remembers what changed.
#[derive(Debug)]
pub struct Target {
    /// What plans and messages call it.
    pub shown: String,
    /// The table.
    pub table: Arc<dyn VersionedTable>,
    /// The columns that identify a row: what the table says, else what the pipeline keeps it by. None if neither does.
    pub key: Vec<String>,
}

/// Opens the table `text`: a name that `SHOW TABLES` shows (bare where it is unique), or the path of a Delta table or of
/// an Iceberg table's metadata file.
///
/// # Errors
/// [`sql::ErrorKind::Config`] if there is no such table, or it remembers nothing; of the storage or catalog.
pub async fn versioned(names: &Names<'_>, text: &str) -> Result<Target> {
    let (shown, spec, known) = spec(names, text)?;
    let opened = versioned::open(&spec, MissingFeed::Error).await;
    let table = opened.map_err(|error| match known {
        Some(known) if error.message().starts_with("there is no ") => not_there_yet(known, error),
        _ => error,
    })?;
    let mut key = table.key();
    if let (true, Some(known)) = (key.is_empty(), known)
        // The key of what it writes is neither that of its rejects nor that of what it reads.
        && matches!(known.kind, KnownKind::Delta(_) | KnownKind::Iceberg(_))
    {
        key = maintain::key(&known.pipeline).await;
    }
    Ok(Target { shown, table, key })
}

/// What `text` names, without opening it.
///
/// # Errors
/// [`sql::ErrorKind::Config`] if it names nothing, or nothing that remembers its versions.
pub fn spec<'a>(
    names: &Names<'a>,
    text: &str,
) -> Result<(String, VersionedSpec, Option<&'a KnownTable>)> {
    let reference = TableReference::parse_str(text);
    if let Some(external) = names.external(&reference) {
        return match &external.kind {
            ExternalKind::Versioned(spec) => Ok((external.shown(), spec.as_ref().clone(), None)),
            ExternalKind::Files(_) => Err(remembers_nothing(&external.shown(), external.word())),
        };
    }
    let mut found = names.known.named(&reference);
    if found.len() > 1 {
        // A live source has no versions of its own: a name that it shares means the other.
        found.retain(|table| !matches!(table.kind, KnownKind::Source));
    }
    match found.as_slice() {
        [table] => {
            let spec = match &table.kind {
                KnownKind::Delta(delta) | KnownKind::Quarantine(delta) => {
                    VersionedSpec::Delta(delta.clone())
                }
                KnownKind::Iceberg(iceberg) => VersionedSpec::Iceberg(iceberg.clone()),
                KnownKind::Source => match &table.pipeline.source {
                    SourceSpec::Lake(lake) => lake.table.clone(),
                    SourceSpec::Kafka(_) => return Err(remembers_nothing(&table.shown(), "topic")),
                },
            };
            Ok((table.shown(), spec, Some(table)))
        }
        [] => match of_path(text) {
            Some(spec) => Ok((text.to_owned(), spec, None)),
            None => Err(unknown(&reference, names)),
        },
        many => Err(several(&reference, many)),
    }
}

fn remembers_nothing(shown: &str, what: &str) -> Error {
    let error = Error::config(format!("`{shown}` is a {what}, and has no versions"))
        .expected("a Delta table or an Iceberg table");
    match what {
        "topic" => error
            .remedy("read its messages with kafka('topic'), or the table that the pipeline writes"),
        _ => error.remedy("select from it as it is"),
    }
}

/// The table at a path, if the text looks like one.
fn of_path(text: &str) -> Option<VersionedSpec> {
    let looks_like_one = text.contains(['/', '\\']) || Path::new(text).is_dir();
    if text.ends_with(".metadata.json") {
        return Some(VersionedSpec::Iceberg(metadata_file(text)));
    }
    looks_like_one.then(|| {
        VersionedSpec::Delta(DeltaTableSpec {
            path: text.to_owned(),
            storage_options: BTreeMap::new(),
            properties: BTreeMap::new(),
        })
    })
}

/// The Iceberg table of a metadata file.
pub fn metadata_file(path: &str) -> IcebergTableSpec {
    let absolute = match path.contains("://") {
        true => path.to_owned(),
        false => std::path::absolute(path)
            .map_or_else(|_| path.to_owned(), |path| path.display().to_string()),
    };
    // …/TABLE/metadata/FILE
    let mut folders = path.rsplit('/').skip(2);
    let table = folders.next().filter(|name| !name.is_empty());
    IcebergTableSpec {
        catalog: CatalogSpec {
            name: "file".to_owned(),
            kind: CatalogKind::File { metadata: absolute },
            storage_options: BTreeMap::new(),
        },
        namespace: vec!["metadata".to_owned()],
        table: table.unwrap_or("table").to_owned(),
    }
}
