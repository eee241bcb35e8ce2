//! The files of a snapshot, out of its manifests.
//!
//! Manifests never change, so each is read once and kept under its path as long as the snapshot lists it. Memory: for each
//! data file its path, partition and the bounds of the key columns, some 300 bytes; statistics of other columns are dropped.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::spec::{DataContentType, Manifest, ManifestContentType, ManifestFile};
use iceberg::table::Table;
use sql::{Error, Result};

use super::bounds::bounds;
use crate::lake::iceberg::iceberg_error;
pub(in crate::sink::iceberg) use crate::lake::live::{LiveDelete, LiveFile, Scope};

/// Manifests that are read at once.
const PARALLEL: usize = 8;

/// What is kept of a manifest: its live entries.
#[derive(Debug)]
pub(in crate::sink::iceberg) struct Listed {
    pub(in crate::sink::iceberg) data: Vec<LiveFile>,
    pub(in crate::sink::iceberg) deletes: Vec<LiveDelete>,
    /// Live equality deletes, which an upsert does not apply.
    equality: Vec<LiveFile>,
    /// For each column of the key the smallest and the largest value of each data file.
    pub(in crate::sink::iceberg) bounds: Vec<Option<(ArrayRef, ArrayRef)>>,
}

/// The live files of one snapshot.
#[derive(Debug, Clone, Default)]
pub(in crate::sink::iceberg) struct State {
    pub(in crate::sink::iceberg) manifests: Vec<(ManifestFile, Arc<Listed>)>,
}

/// The manifests that were read.
#[derive(Debug)]
pub(in crate::sink::iceberg) struct Manifests {
    /// Field ids and types of the key's columns.
    pub(in crate::sink::iceberg) key: Vec<(i32, DataType)>,
    known: HashMap<String, Arc<Listed>>,
    read: Arc<AtomicU64>,
}

impl State {
    pub(in crate::sink::iceberg) fn data(&self) -> impl Iterator<Item = &LiveFile> {
        self.manifests.iter().flat_map(|(_, listed)| &listed.data)
    }

    pub(in crate::sink::iceberg) fn deletes(&self) -> impl Iterator<Item = &LiveDelete> {
        self.manifests
            .iter()
            .flat_map(|(_, listed)| &listed.deletes)
    }

    /// The path of a live file of equality deletes that may take out rows. What is left of them after a rewrite of all that they
    /// were about takes out none, and may stay in a table for ever.
    pub(in crate::sink::iceberg) fn equality_deletes(&self) -> Option<&str> {
        let listed = self.manifests.iter();
        let mut deletes = listed.flat_map(|(_, listed)| &listed.equality);
        let applies = |delete: &&LiveFile| self.data().any(|data| delete.equality_applies_to(data));
        deletes.find(applies).map(|delete| delete.path.as_str())
    }

    /// The paths of all live files.
    pub(in crate::sink::iceberg) fn paths(&self) -> HashSet<&str> {
        let data = self.data().map(|file| file.path.as_str());
        data.chain(self.deletes().map(|delete| delete.file.path.as_str()))
            .collect()
    }
}

impl Manifests {
    pub(in crate::sink::iceberg) fn new(key: Vec<(i32, DataType)>, read: Arc<AtomicU64>) -> Self {
        Self {
            key,
            known: HashMap::new(),
            read,
        }
    }

    /// The files of the table's current snapshot.
    ///
    /// # Errors
    /// Of the storage; [`sql::ErrorKind::Config`] if the table has equality deletes.
    pub(in crate::sink::iceberg) async fn state(
        &mut self,
        table: &Table,
        place: &str,
    ) -> Result<State> {
        let state = self.any_state(table, place).await?;
        match state.equality_deletes() {
            Some(path) => Err(equality_deletes(path, place)),
            None => Ok(state),
        }
    }

    /// The same, also of a table with equality deletes.
    ///
    /// # Errors
    /// Of the storage.
    pub(in crate::sink::iceberg) async fn any_state(
        &mut self,
        table: &Table,
        place: &str,
    ) -> Result<State> {
        let failed = |error| iceberg_error("read the table's manifests", place, error);
        let Some(snapshot) = table.metadata().current_snapshot() else {
            return Ok(State::default());
        };
        let list = table.manifest_list_reader(snapshot).load().await;
        let list = list.map_err(failed)?;
        let kept: Vec<ManifestFile> = list
            .consume_entries()
            .into_iter()
            .filter(|file| file.has_added_files() || file.has_existing_files())
            .collect();
        let mut reading = Vec::new();
        for file in &kept {
            if !self.known.contains_key(&file.manifest_path) {
                reading.push(self.load(table, file));
            }
        }
        let read: Vec<(String, Listed)> = futures::stream::iter(reading)
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
            .map_err(failed)?;
        self.known
            .extend(read.into_iter().map(|(path, new)| (path, Arc::new(new))));
        let paths: HashSet<&str> = kept.iter().map(|f| f.manifest_path.as_str()).collect();
        self.known.retain(|path, _| paths.contains(path.as_str()));
        let mut manifests = Vec::with_capacity(kept.len());
        for file in kept {
            let listed = self.known.get(&file.manifest_path);
            let listed = listed.ok_or_else(|| Error::internal("a manifest was lost"))?;
            manifests.push((file, Arc::clone(listed)));
        }
        Ok(State { manifests })
    }

    async fn load(&self, table: &Table, file: &ManifestFile) -> iceberg::Result<(String, Listed)> {
        let manifest = file.load_manifest(table.file_io()).await?;
        let length = u64::try_from(file.manifest_length).unwrap_or(0);
        self.read.fetch_add(length, Ordering::Relaxed);
        Ok((file.manifest_path.clone(), self.listed(file, &manifest)))
    }

    fn listed(&self, file: &ManifestFile, manifest: &Manifest) -> Listed {
        let live = || manifest.entries().iter().filter(|entry| entry.is_alive());
        let mut listed = Listed {
            data: Vec::new(),
            deletes: Vec::new(),
            equality: Vec::new(),
            bounds: Vec::new(),
        };
        for entry in live() {
            let own = LiveFile::new(file, entry);
            match entry.content_type() {
                DataContentType::Data => listed.data.push(own),
                DataContentType::PositionDeletes => listed.deletes.push(LiveDelete {
                    scope: Scope::of(entry),
                    file: own,
                }),
                DataContentType::EqualityDeletes => listed.equality.push(own),
            }
        }
        if file.content == ManifestContentType::Data {
            for (id, data_type) in &self.key {
                let mins = live().map(|entry| entry.data_file().lower_bounds().get(id));
                let maxs = live().map(|entry| entry.data_file().upper_bounds().get(id));
                let both = bounds(data_type, mins).zip(bounds(data_type, maxs));
                listed.bounds.push(both);
            }
        }
        listed
    }
}

impl LiveFile {
    /// Whether this file of equality deletes may be about rows of `data`, by the rules of the format: an older file of its
    /// partition, or of any partition if it has none.
    fn equality_applies_to(&self, data: &Self) -> bool {
        // A spec whose every field is void counts as none, too.
        let global = self.partition.iter().all(|value| value.is_none());
        data.sequence < self.sequence
            && (global || (self.spec == data.spec && self.partition == data.partition))
    }
}

fn equality_deletes(path: &str, place: &str) -> Error {
    Error::config("the Iceberg table has equality deletes, which an upsert does not apply")
        .at(place)
        .expected("data files and position deletes")
        .remedy(format!(
            "Rewrite the table's data files with the tool that wrote the deletes, so that none are left (one is {path})."
        ))
}
