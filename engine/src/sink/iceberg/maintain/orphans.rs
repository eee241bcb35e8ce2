//! Files in the table's folder that no snapshot reaches: what attempts left that crashed before their commit.
//!
//! Only the folders `data` and `metadata` of the table are looked at, and only files that are older than the retention (and than
//! [`YOUNGEST`]): an attempt that is under way has younger ones. The files are listed first and the table is read afterwards: what
//! was committed in between is seen.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use iceberg::spec::{SnapshotRef, TableMetadata};
use sql::Result;

use super::Pass;
use super::reach::{live_files, manifests};
use crate::lake::listing::{Listed, files_of};

/// Whatever the retention says, a younger file may be of a commit that is under way.
const YOUNGEST: Duration = Duration::from_secs(3600);

impl Pass<'_> {
    pub(super) async fn remove_orphans(&mut self) -> Result<()> {
        let location = self.sink.table.metadata().location();
        let location = location.trim_end_matches('/').to_owned();
        let state = self.state().await?;
        let mut listed = Vec::new();
        for folder in ["data", "metadata"] {
            match files_of(&format!("{location}/{folder}")).await? {
                Some(files) => listed.extend(files),
                None => {
                    self.report.note(
                        "files of crashed attempts are not looked for: the storage is no local folder",
                    );
                    return Ok(());
                }
            }
        }
        let known: HashSet<String> = listed.iter().map(|file| plain(&file.location)).collect();
        let data = format!("{}/data/", plain(&location));
        let mut live = state.paths().into_iter().map(plain);
        if live.any(|path| path.starts_with(&data) && !known.contains(&path)) {
            self.report
                .note("files of crashed attempts are not looked for: the table spells its paths in another way");
            return Ok(());
        }
        let youngest = i64::try_from(YOUNGEST.as_millis()).unwrap_or(i64::MAX);
        let now = (self.policy.clock)() / 1000;
        let before = self
            .policy
            .keep_after_ms()
            .min(now.saturating_sub(youngest));
        let old = listed.into_iter().filter(|file| file.modified_ms < before);
        let mut left: HashMap<String, Listed> =
            old.map(|file| (plain(&file.location), file)).collect();
        self.sink.refresh().await?;
        self.forget_reached(&mut left).await?;
        let mut orphans: Vec<(String, u64)> = left
            .into_values()
            .map(|file| (file.location, file.size))
            .collect();
        orphans.sort();
        if self.policy.dry_run {
            self.report.objects_deleted += orphans.len() as u64;
            self.report.bytes_deleted += orphans.iter().map(|(_, bytes)| bytes).sum::<u64>();
            return Ok(());
        }
        let metadata = self.sink.table.metadata_ref();
        self.delete_all(&metadata, orphans).await;
        Ok(())
    }

    /// Takes out of `left` what the table reaches.
    async fn forget_reached(&self, left: &mut HashMap<String, Listed>) -> Result<()> {
        let table = &self.sink.table;
        let place = &self.sink.place;
        let metadata = table.metadata();
        for path in named(metadata, table.metadata_location()) {
            left.remove(&plain(&path));
        }
        let snapshots: Vec<SnapshotRef> = metadata.snapshots().cloned().collect();
        let current: Vec<SnapshotRef> = metadata.current_snapshot().cloned().into_iter().collect();
        let mut read: HashSet<String> = HashSet::new();
        // The newest first: it reaches most files, and where it is all there is, nothing else need be read.
        for some in [current, snapshots] {
            if left.is_empty() {
                break;
            }
            let mut manifests = manifests(table, &some, place).await?;
            manifests.retain(|path, _| read.insert(path.clone()));
            let files = live_files(table, manifests.values(), place).await?;
            for path in manifests.keys().chain(files.keys()) {
                left.remove(&plain(path));
            }
        }
        Ok(())
    }
}

/// Files that the metadata itself names.
fn named(metadata: &TableMetadata, own: Option<&str>) -> Vec<String> {
    let mut named: Vec<String> = own.into_iter().map(str::to_owned).collect();
    let log = metadata.metadata_log().iter();
    named.extend(log.map(|entry| entry.metadata_file.clone()));
    named.extend(metadata.snapshots().map(|s| s.manifest_list().to_owned()));
    let statistics = metadata.statistics_iter();
    named.extend(statistics.map(|file| file.statistics_path.clone()));
    let partitions = metadata.partition_statistics_iter();
    named.extend(partitions.map(|file| file.statistics_path.clone()));
    named.push(format!(
        "{}/metadata/version-hint.text",
        metadata.location().trim_end_matches('/')
    ));
    named
}

/// A local path without what may be before it: `file:///a`, `file:/a` and `/a` are one file.
fn plain(path: &str) -> String {
    let path = path.strip_prefix("file:").unwrap_or(path);
    format!("/{}", path.trim_start_matches('/'))
}
