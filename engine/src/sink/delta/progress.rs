//! Positions out of the log: `txn` actions of checkpoints and commits.
//!
//! The library finds the version of one application at a time, each by its own replay of the log. A pipeline does
//! not know beforehand which partitions a table knows, so this reads all of them at once.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use deltalake::logstore::object_store::ObjectStoreExt as _;
use deltalake::logstore::{LogStoreRef, commit_uri_from_version};
use deltalake::{ObjectStoreError, Path};
use futures::TryStreamExt as _;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStreamBuilder};
use serde::Deserialize;
use sql::change::{Partition, Position};
use sql::{Error, Result};

use super::DeltaSink;
use crate::lake::storage::storage_error;

/// The application id of a position.
pub(super) fn app_id(pipeline: &str, partition: &Partition) -> String {
    format!("{pipeline}/{partition}")
}

fn partition_of(app_id: &str, pipeline: &str) -> Option<Partition> {
    app_id
        .strip_prefix(pipeline)?
        .strip_prefix('/')?
        .parse()
        .ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    txn: Option<Txn>,
    meta_data: Option<serde::de::IgnoredAny>,
    protocol: Option<serde::de::IgnoredAny>,
}

/// Takes the positions of one commit. Returns whether it changed the table's metadata or protocol.
fn take_commit(bytes: &[u8], pipeline: &str, into: &mut Position) -> Result<bool> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::config("a commit of the Delta log is no text").source(error))?;
    let mut changed = false;
    for line in text.lines() {
        // Most lines are files; they are not worth parsing.
        if !["\"txn\"", "\"metaData\"", "\"protocol\""]
            .iter()
            .any(|key| line.contains(key))
        {
            continue;
        }
        let line: Line = serde_json::from_str(line).map_err(|error| {
            Error::config("a commit of the Delta log is no valid JSON").source(error)
        })?;
        changed |= line.meta_data.is_some() || line.protocol.is_some();
        if let Some(txn) = line.txn
            && let Some(partition) = partition_of(&txn.app_id, pipeline)
        {
            into.set(partition, txn.version);
        }
    }
    Ok(changed)
}

/// The positions of `pipeline` at `version`, and the version of the newest checkpoint.
pub(super) async fn replay(
    store: &LogStoreRef,
    pipeline: &str,
    version: u64,
    path: &str,
) -> Result<(Position, Option<u64>)> {
    let mut positions = Position::new();
    let checkpoint = newest_checkpoint(store, version, path).await?;
    let mut next = 0;
    if let Some((at, parts)) = &checkpoint {
        for part in parts {
            take_checkpoint(store, part, pipeline, &mut positions, path).await?;
        }
        next = at + 1;
    }
    for version in next..=version {
        let Some(commit) = read_commit(store, version, path).await? else {
            return Err(Error::config(format!(
                "the Delta log lacks commit {version}, which no checkpoint covers"
            ))
            .at(path)
            .remedy("Restore the file under _delta_log, or write to another table."));
        };
        take_commit(&commit, pipeline, &mut positions).map_err(|error| error.at(path))?;
    }
    Ok((positions, checkpoint.map(|(at, _)| at)))
}

pub(super) async fn read_commit(
    store: &LogStoreRef,
    version: u64,
    path: &str,
) -> Result<Option<bytes::Bytes>> {
    store
        .read_commit_entry(version)
        .await
        .map_err(|error| storage_error("read the Delta table's log", path, error))
}

/// The newest complete checkpoint up to `version`: its version and its files.
async fn newest_checkpoint(
    store: &LogStoreRef,
    version: u64,
    path: &str,
) -> Result<Option<(u64, Vec<Path>)>> {
    let files: Vec<_> = store
        .object_store(None)
        .list(Some(store.log_path()))
        .try_collect()
        .await
        .map_err(|error| storage_error("list the Delta table's log", path, error))?;
    // version and number of parts → files found
    let mut found: BTreeMap<(u64, usize), Vec<Path>> = BTreeMap::new();
    for file in files {
        if let Some((at, parts)) = file.location.filename().and_then(checkpoint_name)
            && at <= version
        {
            found.entry((at, parts)).or_default().push(file.location);
        }
    }
    Ok(found
        .into_iter()
        .rev()
        .find(|((_, parts), files)| files.len() == *parts)
        .map(|((at, _), files)| (at, files)))
}

/// Version and number of parts of `V.checkpoint.parquet` and `V.checkpoint.I.N.parquet`. Other checkpoints belong to
/// a table feature that the engine refuses.
pub(super) fn checkpoint_name(name: &str) -> Option<(u64, usize)> {
    let (version, rest) = name.split_once(".checkpoint.")?;
    let version = version.parse().ok()?;
    if rest == "parquet" {
        return Some((version, 1));
    }
    let (_, parts) = rest.strip_suffix(".parquet")?.split_once('.')?;
    Some((version, parts.parse().ok()?))
}

async fn take_checkpoint(
    store: &LogStoreRef,
    part: &Path,
    pipeline: &str,
    into: &mut Position,
    path: &str,
) -> Result<()> {
    let failed = |error: parquet::errors::ParquetError| {
        storage_error("read a checkpoint of the Delta table", path, error)
    };
    let reader = ParquetObjectReader::new(store.object_store(None), part.clone());
    let builder = ParquetRecordBatchStreamBuilder::new(reader)
        .await
        .map_err(failed)?;
    if builder.schema().index_of("txn").is_err() {
        return Ok(());
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["txn"]);
    let mut batches = builder.with_projection(mask).build().map_err(failed)?;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        take_actions(&batch, pipeline, into);
    }
    Ok(())
}

fn take_actions(batch: &RecordBatch, pipeline: &str, into: &mut Position) {
    let Some(txn) = batch.column_by_name("txn").and_then(|c| c.as_struct_opt()) else {
        return;
    };
    let ids = txn
        .column_by_name("appId")
        .and_then(|c| c.as_string_opt::<i32>());
    let versions = txn
        .column_by_name("version")
        .and_then(|c| c.as_primitive_opt::<Int64Type>());
    let (Some(ids), Some(versions)) = (ids, versions) else {
        return;
    };
    for row in 0..txn.len() {
        if txn.is_valid(row)
            && ids.is_valid(row)
            && versions.is_valid(row)
            && let Some(partition) = partition_of(ids.value(row), pipeline)
        {
            into.set(partition, versions.value(row));
        }
    }
}

impl DeltaSink {
    /// Reads the commits that were made since. Returns whether one of them holds the text `mark`.
    pub(super) async fn refresh(&mut self, mark: Option<&str>) -> Result<bool> {
        let mut marked = false;
        let mut changed = false;
        let before = self.version;
        while let Some(commit) = read_commit(&self.store, self.version + 1, &self.path).await? {
            changed |= take_commit(&commit, &self.pipeline, &mut self.stored)
                .map_err(|error| error.at(&self.path))?;
            marked |= mark.is_some_and(|mark| contains(&commit, mark));
            if !changed {
                self.take_files(&commit)?;
            }
            self.version += 1;
        }
        // No next commit means that this one is the newest only while it is itself still there: otherwise the log
        // was cleaned past us, and writing the next version would fork the table's history.
        if changed || (self.version == before && !self.is_there(self.version).await?) {
            self.reload().await?;
        }
        Ok(marked)
    }

    async fn is_there(&self, version: u64) -> Result<bool> {
        let commit = commit_uri_from_version(Some(version));
        match self.store.object_store(None).head(&commit).await {
            Ok(_) => Ok(true),
            Err(ObjectStoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(storage_error(
                "read the Delta table's log",
                &self.path,
                error,
            )),
        }
    }
}

fn contains(bytes: &[u8], mark: &str) -> bool {
    memchr::memmem::find(bytes, mark.as_bytes()).is_some()
}
