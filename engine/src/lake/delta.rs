//! Delta tables: open, create, check what the libraries would get silently wrong, read.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use deltalake::kernel::engine::arrow_conversion::{TryIntoArrow as _, TryIntoKernel as _};
use deltalake::kernel::transaction::CommitProperties;
use deltalake::kernel::{Metadata, Protocol, StructType};
use deltalake::logstore::LogStoreRef;
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use sql::{Error, ErrorKind, Result};
use url::Url;

use super::schema::without_metadata;
use super::storage::storage_error;
use crate::spec::model::DeltaTableSpec;

/// Commits between two checkpoints of tables that the engine creates.
pub const CHECKPOINT_INTERVAL: u64 = 10;

/// A table for reading, at its newest version.
///
/// # Errors
/// [`ErrorKind::Config`] if there is no table, or one with a feature that would be read wrongly (deletion vectors);
/// [`ErrorKind::Storage`] or [`ErrorKind::Unavailable`] from the storage.
pub async fn delta_provider(spec: &DeltaTableSpec) -> Result<Arc<dyn TableProvider>> {
    let table = open(spec).await?;
    table
        .table_provider()
        .await
        .map_err(|error| storage_error("read the Delta table", &spec.path, error))
}

/// A table that must exist, with its files known, checked for reading.
///
/// # Errors
/// As [`delta_provider`].
pub async fn open(spec: &DeltaTableSpec) -> Result<DeltaTable> {
    let table = builder(spec)?;
    let Some(table) = load(table, &spec.path).await? else {
        return Err(Error::config("there is no Delta table")
            .at(&spec.path)
            .remedy("Check the path. A pipeline's own target is there after its first run: `engine run --once FILE`."));
    };
    let snapshot = snapshot(&table, &spec.path)?;
    check_readable(snapshot.protocol(), &spec.path)?;
    Ok(table)
}

/// A table for appending: opened if it is there, else created with `columns`. Its files are not loaded.
///
/// # Errors
/// [`ErrorKind::Config`] if the path is a file or the table has features that appending would violate;
/// [`ErrorKind::Storage`] if the storage refuses writes.
pub(crate) async fn open_or_create(
    spec: &DeltaTableSpec,
    columns: &Schema,
    partition_by: &[String],
) -> Result<DeltaTable> {
    if let Some(table) = load(builder(spec)?.without_files(), &spec.path).await? {
        return Ok(table);
    }
    let created = create(spec, columns, partition_by).await;
    // Whoever created it: two engines that start at once both find it now.
    match load(builder(spec)?.without_files(), &spec.path).await? {
        Some(table) => Ok(table),
        None => Err(created.err().unwrap_or_else(|| {
            Error::internal("a Delta table was created and is not there").at(&spec.path)
        })),
    }
}

/// The columns of the table, with Delta's types; `None` if there is none.
///
/// # Errors
/// As [`open_or_create`].
pub(crate) async fn existing_columns(spec: &DeltaTableSpec) -> Result<Option<Schema>> {
    let Some(table) = load(builder(spec)?.without_files(), &spec.path).await? else {
        return Ok(None);
    };
    let columns = snapshot(&table, &spec.path)?.schema();
    let columns: Schema = columns.as_ref().try_into_arrow().map_err(|error| {
        Error::config("the Delta table has columns that the engine does not know")
            .at(&spec.path)
            .source(error)
    })?;
    Ok(Some(without_metadata(&columns)))
}

async fn create(spec: &DeltaTableSpec, columns: &Schema, partition_by: &[String]) -> Result<()> {
    if let Ok(folder) = table_url(&spec.path)?.to_file_path() {
        std::fs::create_dir_all(folder)
            .map_err(|error| storage_error("create the table's folder", &spec.path, error))?;
    }
    let columns: StructType = columns.try_into_kernel().map_err(|error| {
        Error::internal("the target's columns are no Delta columns")
            .at(&spec.path)
            .source(error)
    })?;
    CreateBuilder::new()
        .with_log_store(log_store(spec)?)
        .with_columns(columns.fields().cloned())
        .with_partition_columns(partition_by.iter().cloned())
        .with_configuration(configuration(spec))
        // The spec's parser knows the properties.
        .with_raise_if_key_not_exists(false)
        .with_save_mode(SaveMode::ErrorIfExists)
        // A lost race must not put a second schema on top of the winner's.
        .with_commit_properties(CommitProperties::default().with_max_retries(0))
        .await
        .map_err(|error| storage_error("create the Delta table", &spec.path, error))?;
    Ok(())
}

/// The properties of a new table.
fn configuration(spec: &DeltaTableSpec) -> BTreeMap<String, Option<String>> {
    let ours = [
        ("delta.enableChangeDataFeed", "true".to_owned()),
        ("delta.checkpointInterval", CHECKPOINT_INTERVAL.to_string()),
    ];
    let ours = ours.map(|(key, value)| (key.to_owned(), Some(value)));
    let said = (spec.properties.iter()).map(|(key, value)| (key.clone(), Some(value.clone())));
    ours.into_iter().chain(said).collect()
}

/// The storage of a table, whether it is there or not.
///
/// # Errors
/// [`ErrorKind::Config`] for a path that no storage serves.
pub(crate) fn log_store(spec: &DeltaTableSpec) -> Result<LogStoreRef> {
    builder(spec)?
        .build_storage()
        .map_err(|error| storage_error("open the table's storage", &spec.path, error))
}

/// The handle's snapshot; every handle of this module has one.
pub(crate) fn snapshot<'a>(
    table: &'a DeltaTable,
    path: &str,
) -> Result<&'a deltalake::table::state::DeltaTableState> {
    table.snapshot().map_err(|error| {
        Error::internal("a Delta table has no snapshot")
            .at(path)
            .source(error)
    })
}

async fn load(builder: DeltaTableBuilder, path: &str) -> Result<Option<DeltaTable>> {
    let mut table = builder
        .build()
        .map_err(|error| storage_error("open the table's storage", path, error))?;
    let there = table
        .verify_deltatable_existence()
        .await
        .map_err(|error| storage_error("look for the Delta table", path, error))?;
    if !there {
        return Ok(None);
    }
    match table.load().await {
        Ok(()) => Ok(Some(table)),
        Err(DeltaTableError::NotATable(_)) => Ok(None),
        Err(error) => Err(load_error(error, path)),
    }
}

/// The newest version of a table that was there before, by a new handle: an old one could only go forward along commits
/// that may be gone.
pub(crate) async fn reopen(spec: &DeltaTableSpec) -> Result<DeltaTable> {
    let table = load(builder(spec)?.without_files(), &spec.path).await?;
    table.ok_or_else(|| {
        Error::config("the Delta table is no longer there")
            .at(&spec.path)
            .remedy("Restore it, or start the pipeline again to make a new one from the beginning.")
    })
}

/// A table with its files, as it was at `version`.
pub(crate) async fn open_at(spec: &DeltaTableSpec, version: u64) -> Result<DeltaTable> {
    let loading = builder(spec)?.with_version(version).load();
    let table = loading
        .await
        .map_err(|error| load_error(error, &spec.path))?;
    check_readable(snapshot(&table, &spec.path)?.protocol(), &spec.path)?;
    Ok(table)
}

/// A table as it was at `version`, whatever features it has; `None` if the log does not lead to it any more.
pub(crate) async fn load_at(
    spec: &DeltaTableSpec,
    version: u64,
    files: bool,
) -> Result<Option<DeltaTable>> {
    let builder = builder(spec)?.with_version(version);
    let builder = if files {
        builder
    } else {
        builder.without_files()
    };
    match builder.load().await {
        Ok(table) => Ok(Some(table)),
        Err(DeltaTableError::NotATable(_) | DeltaTableError::InvalidVersion(_)) => Ok(None),
        Err(error) => Err(load_error(error, &spec.path)),
    }
}

/// The error of reading a table's log: of the storage, or of what stands there.
fn load_error(error: DeltaTableError, path: &str) -> Error {
    let mut of_storage = false;
    let mut cause: Option<&dyn StdError> = Some(&error);
    while let Some(error) = cause {
        of_storage |= error.is::<std::io::Error>() || error.is::<deltalake::ObjectStoreError>();
        cause = error.source();
    }
    let of_kernel = matches!(
        &error,
        DeltaTableError::KernelError(_) | DeltaTableError::Kernel { .. }
    );
    if of_storage || !of_kernel {
        return storage_error("read the Delta table's log", path, error);
    }
    Error::config("the Delta table's log cannot be understood")
        .at(path)
        .remedy(
            "Drop table features that need newer readers, repair the log, or use another table.",
        )
        .source(error)
}

/// The address of a table: a local folder (absolute or not) or a URL.
///
/// # Errors
/// [`ErrorKind::Config`] if the path is a file, or a URL that no built-in store serves.
pub fn table_url(path: &str) -> Result<Url> {
    if path.contains("://") {
        let url = Url::parse(path).map_err(|error| {
            Error::config("the table's URL is wrong")
                .at(path)
                .source(error)
        })?;
        if url.scheme() != "file" && url.scheme() != "memory" {
            return Err(
                Error::config(format!("no storage for `{}://` is built in", url.scheme()))
                    .at(path)
                    .expected("a local path or a file:// URL"),
            );
        }
        if let Ok(local) = url.to_file_path() {
            refuse_file(&local, path)?;
        }
        return Ok(url);
    }
    let local = std::path::absolute(path)
        .map_err(|error| storage_error("make the table's path absolute", path, error))?;
    refuse_file(&local, path)?;
    Url::from_directory_path(&local)
        .map_err(|()| Error::config("the table's path is not a folder's path").at(path))
}

fn refuse_file(local: &Path, path: &str) -> Result<()> {
    if local.is_file() {
        return Err(Error::config("the table's path is a file")
            .at(path)
            .expected("a folder, or a path where one can be made")
            .remedy("Name another path, or move the file out of the way."));
    }
    Ok(())
}

fn builder(spec: &DeltaTableSpec) -> Result<DeltaTableBuilder> {
    let options: HashMap<String, String> = spec.storage_options.clone().into_iter().collect();
    Ok(DeltaTableBuilder::from_url(table_url(&spec.path)?)
        .map_err(|error| storage_error("open the table's storage", &spec.path, error))?
        .with_storage_options(options))
}

/// Reader features under which every reader of the engine returns the right rows.
const READABLE: [&str; 2] = ["timestampNtz", "columnMapping"];
/// Writer features that an append honours.
const WRITABLE: [&str; 4] = ["appendOnly", "changeDataFeed", "timestampNtz", "invariants"];

/// Refuses tables that the readers would read wrongly.
///
/// # Errors
/// [`ErrorKind::Config`] naming the features.
pub(crate) fn check_readable(protocol: &Protocol, path: &str) -> Result<()> {
    check_features(protocol, &READABLE, path)
}

/// Refuses tables that a reader which knows the features `readable` would read wrongly.
///
/// # Errors
/// [`ErrorKind::Config`] naming the features.
pub(crate) fn check_features(protocol: &Protocol, readable: &[&str], path: &str) -> Result<()> {
    let foreign = unknown(protocol.reader_features(), readable);
    if foreign.is_empty() {
        return Ok(());
    }
    Err(Error::config(format!(
        "the Delta table has {}, which the engine cannot read correctly",
        features(&foreign)
    ))
    .at(path)
    .remedy(remedy_of(&foreign)))
}

/// Refuses tables whose rules an append would break.
///
/// # Errors
/// [`ErrorKind::Config`] naming the features or constraints.
pub(crate) fn check_writable(protocol: &Protocol, metadata: &Metadata, path: &str) -> Result<()> {
    let mut foreign = unknown(protocol.reader_features(), &["timestampNtz"]);
    for name in unknown(protocol.writer_features(), &WRITABLE) {
        // Listed by tables whose protocol was raised; they bind only tables that use them, see below.
        let dormant = ["checkConstraints", "generatedColumns"].contains(&name.as_str());
        if !dormant && !foreign.contains(&name) {
            foreign.push(name);
        }
    }
    let set = |key: &str, off: &str| {
        metadata
            .configuration()
            .get(key)
            .is_some_and(|value| !value.eq_ignore_ascii_case(off))
    };
    if set("delta.columnMapping.mode", "none") && !foreign.iter().any(|f| f == "columnMapping") {
        foreign.push("columnMapping".to_owned());
    }
    if !foreign.is_empty() {
        return Err(Error::config(format!(
            "the Delta table has {}, which the engine cannot write",
            features(&foreign)
        ))
        .at(path)
        .remedy(remedy_of(&foreign)));
    }
    check_rules(metadata, path)
}

/// Rules over values that an append would have to enforce and does not.
fn check_rules(metadata: &Metadata, path: &str) -> Result<()> {
    let refuse = |what: String| {
        Err(
            Error::new(ErrorKind::Config, format!("the Delta table has {what}, which the engine does not enforce"))
                .at(path)
                .remedy("Drop it from the table and state it under `rules:` in the pipeline, or write to another table."),
        )
    };
    if let Some(name) = metadata
        .configuration()
        .keys()
        .find_map(|key| key.strip_prefix("delta.constraints."))
    {
        return refuse(format!("the CHECK constraint `{name}`"));
    }
    let schema = metadata.parse_schema().map_err(|error| {
        Error::config("the Delta table's schema cannot be read")
            .at(path)
            .source(error)
    })?;
    for field in schema.fields() {
        for (key, what) in [
            ("delta.generationExpression", "generated column"),
            ("delta.invariants", "invariant on column"),
            ("delta.identity.start", "identity column"),
        ] {
            if field.metadata().contains_key(key) {
                return refuse(format!("the {what} `{}`", field.name()));
            }
        }
    }
    Ok(())
}

/// The value of a partition column, out of its text in the log.
///
/// # Errors
/// [`ErrorKind::Config`] if it cannot be understood: guessing would lose rows.
pub(crate) fn partition_value(
    name: &str,
    raw: Option<&str>,
    data_type: &DataType,
) -> Result<ScalarValue> {
    // The protocol's rule: the empty text is null for every type.
    let raw = raw.filter(|raw| !raw.is_empty());
    let text: ArrayRef = Arc::new(StringArray::from(vec![raw]));
    let wrong = || {
        Error::config(format!(
            "the partition column `{name}` of the Delta table has a value that is no {data_type}"
        ))
        .remedy("Rewrite that partition, or write to another table.")
    };
    let options = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    let value =
        cast_with_options(&text, data_type, &options).map_err(|error| wrong().source(error))?;
    if raw.is_some() && value.is_null(0) {
        return Err(wrong());
    }
    ScalarValue::try_from_array(&value, 0).map_err(|error| wrong().source(error))
}

fn unknown<T: std::fmt::Display>(features: Option<&[T]>, known: &[&str]) -> Vec<String> {
    features
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .filter(|name| !known.contains(&name.as_str()))
        .collect()
}

fn features(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [one] => format!("the table feature {one}"),
        many => format!("the table features {}", many.join(", ")),
    }
}

fn remedy_of(names: &[String]) -> &'static str {
    if names.iter().any(|name| name == "deletionVectors") {
        "Set delta.enableDeletionVectors=false, run REORG TABLE … APPLY (PURGE), then ALTER TABLE … DROP FEATURE deletionVectors; or use another table."
    } else {
        "Drop the feature with ALTER TABLE … DROP FEATURE where that is possible, or use another table."
    }
}
