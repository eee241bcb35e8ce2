//! The files of a snapshot, out of its manifests.
//!
//! Manifests never change, so those that the last versions listed are kept. Memory: about 1 KiB a live file, with its statistics.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::spec::{
    DataContentType, DataFileFormat, ManifestContentType, ManifestEntryRef, ManifestFile,
    ManifestStatus, SnapshotRef,
};
use iceberg::table::Table;
use parking_lot::Mutex;
use sql::{Error, Result};

use crate::lake::iceberg::iceberg_error;
use crate::lake::live::{LiveDelete, LiveFile, Scope};

/// Manifests that are read at once.
const PARALLEL: usize = 8;
/// How many states ago a manifest must have been listed to be kept.
const KEPT: u64 = 4;

/// A data file of a snapshot.
#[derive(Debug, Clone)]
pub(super) struct Data {
    pub(super) file: LiveFile,
    pub(super) entry: ManifestEntryRef,
}

/// A delete file of a snapshot, or a deletion vector in one.
#[derive(Debug, Clone)]
pub(super) struct Delete {
    pub(super) live: LiveDelete,
    pub(super) entry: ManifestEntryRef,
    pub(super) kind: Kind,
}

/// What a delete file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Paths and row numbers.
    Positions,
    /// The row numbers of one data file, at these bytes of a Puffin file.
    Vector { offset: u64, length: u64 },
    /// Values of the columns with these field ids.
    Equality(Vec<i32>),
}

/// What tells delete files apart: several deletion vectors stand in one file.
pub(super) type Place = (String, u64);

/// The live files of a snapshot.
#[derive(Debug, Default)]
pub(super) struct State {
    /// By their paths.
    pub(super) data: BTreeMap<String, Data>,
    pub(super) deletes: BTreeMap<Place, Delete>,
}

type Entries = Arc<Vec<ManifestEntryRef>>;

/// The manifests that were read.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    /// By path: when they were listed last, and their entries.
    known: Mutex<HashMap<String, (u64, Entries)>>,
    age: Mutex<u64>,
}

impl Data {
    fn of(manifest: &ManifestFile, entry: &ManifestEntryRef) -> Self {
        Self {
            file: LiveFile::new(manifest, entry),
            entry: Arc::clone(entry),
        }
    }
}

impl Delete {
    fn of(manifest: &ManifestFile, entry: &ManifestEntryRef) -> Result<Self> {
        let file = LiveFile::new(manifest, entry);
        let own = entry.data_file();
        let (scope, kind) = match entry.content_type() {
            DataContentType::EqualityDeletes => {
                let mut ids = own.equality_ids().unwrap_or_default();
                ids.sort_unstable();
                (Scope::Between(None, None), Kind::Equality(ids))
            }
            _ if entry.file_format() == DataFileFormat::Puffin => {
                let broken = |what: &str| {
                    Error::config(format!("a deletion vector without {what}")).at(own.file_path())
                };
                let of = own.referenced_data_file();
                let of = of.ok_or_else(|| broken("its data file"))?;
                let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
                let offset = number(own.content_offset()).ok_or_else(|| broken("its place"))?;
                let length = number(own.content_size_in_bytes());
                let length = length.ok_or_else(|| broken("its length"))?;
                (Scope::File(of), Kind::Vector { offset, length })
            }
            _ => (Scope::of(entry), Kind::Positions),
        };
        Ok(Self {
            live: LiveDelete { file, scope },
            entry: Arc::clone(entry),
            kind,
        })
    }

    fn place(&self) -> Place {
        let offset = match self.kind {
            Kind::Vector { offset, .. } => offset,
            _ => 0,
        };
        (self.live.file.path.clone(), offset)
    }
}

impl State {
    fn add(&mut self, manifest: &ManifestFile, entry: &ManifestEntryRef) -> Result<()> {
        if manifest.content == ManifestContentType::Data {
            let data = Data::of(manifest, entry);
            self.data.insert(data.file.path.clone(), data);
        } else {
            let delete = Delete::of(manifest, entry)?;
            self.deletes.insert(delete.place(), delete);
        }
        Ok(())
    }
}

impl Manifests {
    /// The live files of `snapshot`; none at all without one.
    ///
    /// # Errors
    /// Of the storage; [`sql::ErrorKind::Config`] for entries that say too little.
    pub(super) async fn state(
        &self,
        table: &Table,
        place: &str,
        snapshot: Option<&SnapshotRef>,
    ) -> Result<State> {
        let mut state = State::default();
        let Some(snapshot) = snapshot else {
            return Ok(state);
        };
        let mut files = self.list(table, place, snapshot).await?;
        files.retain(|file| file.has_added_files() || file.has_existing_files());
        for (file, entries) in self.entries(table, place, files).await? {
            for entry in entries.iter().filter(|entry| entry.is_alive()) {
                state.add(&file, entry)?;
            }
        }
        Ok(state)
    }

    /// The data files that `snapshot` added to its parent, if that is all that it did: read from its own manifests alone.
    ///
    /// # Errors
    /// Of the storage.
    pub(super) async fn only_added(
        &self,
        table: &Table,
        place: &str,
        snapshot: &SnapshotRef,
    ) -> Result<Option<BTreeMap<String, Data>>> {
        let mut own = self.list(table, place, snapshot).await?;
        own.retain(|file| file.added_snapshot_id == snapshot.snapshot_id());
        if own
            .iter()
            .any(|file| file.content != ManifestContentType::Data)
        {
            return Ok(None);
        }
        let mut added = BTreeMap::new();
        for (file, entries) in self.entries(table, place, own).await? {
            let new = entries
                .iter()
                .filter(|entry| entry.snapshot_id() == Some(snapshot.snapshot_id()));
            for entry in new {
                let as_young = entry.sequence_number() == Some(snapshot.sequence_number());
                match entry.status() {
                    ManifestStatus::Added if as_young => {
                        let data = Data::of(&file, entry);
                        added.insert(data.file.path.clone(), data);
                    }
                    ManifestStatus::Existing => {}
                    // Removed, or older deletes may be about it.
                    _ => return Ok(None),
                }
            }
        }
        Ok(Some(added))
    }

    /// The manifests of `snapshot`.
    ///
    /// # Errors
    /// Of the storage.
    pub(super) async fn list(
        &self,
        table: &Table,
        place: &str,
        snapshot: &SnapshotRef,
    ) -> Result<Vec<ManifestFile>> {
        let list = table.manifest_list_reader(snapshot).load().await;
        let list = list.map_err(|error| iceberg_error("read a list of manifests", place, error))?;
        Ok(list.consume_entries().into_iter().collect())
    }

    async fn entries(
        &self,
        table: &Table,
        place: &str,
        files: Vec<ManifestFile>,
    ) -> Result<Vec<(ManifestFile, Entries)>> {
        let failed = |error| iceberg_error("read the table's manifests", place, error);
        let mut reading = Vec::new();
        {
            let known = self.known.lock();
            let mut seen = HashSet::new();
            for file in &files {
                let path = &file.manifest_path;
                if !known.contains_key(path) && seen.insert(path.clone()) {
                    reading.push(load(table, file.clone()));
                }
            }
        }
        let read: Vec<_> = futures::stream::iter(reading)
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
            .map_err(failed)?;
        let mut fresh: HashMap<String, Entries> = read.into_iter().collect();
        let age = {
            let mut age = self.age.lock();
            *age += 1;
            *age
        };
        let mut known = self.known.lock();
        let mut all = Vec::with_capacity(files.len());
        for file in files {
            let entries = match fresh.remove(&file.manifest_path) {
                Some(entries) => entries,
                None => {
                    let known = known.get(&file.manifest_path);
                    let known = known.map(|(_, entries)| Arc::clone(entries));
                    known.ok_or_else(|| Error::internal("a manifest was lost"))?
                }
            };
            known.insert(file.manifest_path.clone(), (age, Arc::clone(&entries)));
            all.push((file, entries));
        }
        known.retain(|_, (used, _)| age - *used < KEPT);
        Ok(all)
    }
}

async fn load(table: &Table, file: ManifestFile) -> iceberg::Result<(String, Entries)> {
    let manifest = file.load_manifest(table.file_io()).await?;
    let (entries, _) = manifest.into_parts();
    Ok((file.manifest_path, Arc::new(entries)))
}
