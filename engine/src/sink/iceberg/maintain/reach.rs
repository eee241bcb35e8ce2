//! Which files snapshots reach.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::spec::{ManifestFile, SnapshotRef};
use iceberg::table::Table;
use sql::Result;

use crate::lake::iceberg::iceberg_error;

/// Manifests and lists that are read at once.
const PARALLEL: usize = 8;

/// Files that can go, each with its bytes where they are known.
#[derive(Debug, Default)]
pub(super) struct Doomed {
    /// In the order in which they go: if that stops halfway, what is left is still found by nobody.
    pub(super) files: Vec<(String, u64)>,
}

/// The manifests of several snapshots, by path.
pub(super) async fn manifests(
    table: &Table,
    snapshots: &[SnapshotRef],
    place: &str,
) -> Result<BTreeMap<String, ManifestFile>> {
    let failed = |error| iceberg_error("read a list of manifests", place, error);
    let mut lists = Vec::with_capacity(snapshots.len());
    for snapshot in snapshots {
        let reader = table.manifest_list_reader(snapshot);
        lists.push(async move { reader.load().await });
    }
    let lists: Vec<_> = futures::stream::iter(lists)
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await
        .map_err(failed)?;
    let files = lists.into_iter().flat_map(|list| list.consume_entries());
    Ok(files
        .map(|file| (file.manifest_path.clone(), file))
        .collect())
}

/// The live files in manifests, by path, with their bytes.
pub(super) async fn live_files<'m>(
    table: &Table,
    manifests: impl Iterator<Item = &'m ManifestFile>,
    place: &str,
) -> Result<BTreeMap<String, u64>> {
    let failed = |error| iceberg_error("read the table's manifests", place, error);
    let mut reading = Vec::new();
    for file in manifests {
        reading.push(async move {
            let manifest = file.load_manifest(table.file_io()).await?;
            let live = manifest.entries().iter().filter(|entry| entry.is_alive());
            let files = live.map(|entry| {
                let file = entry.data_file();
                (file.file_path().to_owned(), file.file_size_in_bytes())
            });
            Ok::<_, iceberg::Error>(files.collect::<Vec<_>>())
        });
    }
    let read: Vec<Vec<(String, u64)>> = futures::stream::iter(reading)
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await
        .map_err(failed)?;
    Ok(read.into_iter().flatten().collect())
}

/// The files that `gone` reach and `kept` do not: data and deletes first, then manifests, then their lists.
pub(super) async fn only_of(
    table: &Table,
    gone: &[SnapshotRef],
    kept: &[SnapshotRef],
    place: &str,
) -> Result<Doomed> {
    let kept_manifests = manifests(table, kept, place).await?;
    let mut own = manifests(table, gone, place).await?;
    own.retain(|path, _| !kept_manifests.contains_key(path));
    let mut files = live_files(table, own.values(), place).await?;
    if !files.is_empty() {
        let kept_files = live_files(table, kept_manifests.values(), place).await?;
        files.retain(|path, _| !kept_files.contains_key(path));
    }
    let kept_lists: HashSet<&str> = table
        .metadata()
        .snapshots()
        .filter(|snapshot| {
            !gone
                .iter()
                .any(|g| g.snapshot_id() == snapshot.snapshot_id())
        })
        .map(|snapshot| snapshot.manifest_list())
        .collect();
    let lists: BTreeSet<&str> = gone.iter().map(|s| s.manifest_list()).collect();
    let mut doomed: Vec<(String, u64)> = files.into_iter().collect();
    doomed.extend(
        own.into_iter()
            .map(|(path, file)| (path, u64::try_from(file.manifest_length).unwrap_or(0))),
    );
    let lists = lists.into_iter().filter(|list| !kept_lists.contains(list));
    doomed.extend(lists.map(|list| (list.to_owned(), 0)));
    Ok(Doomed { files: doomed })
}
