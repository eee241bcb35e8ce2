//! Which live rows of a snapshot have the keys of a batch.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::DataType;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::spec::DataFileFormat;
use iceberg::table::Table;
use sql::{Error, Result};

use super::bounds::{KeyPartitions, constants};
use super::files::{Listed, LiveDelete, LiveFile, State};
use super::positions;
use super::read::LakeReader;
use crate::lake::keys::KeySet;
use crate::lake::locate::{DataFile, Hit, KeyColumn, Search};

/// Files that are read at once.
const PARALLEL: usize = 4;

/// A search in one snapshot.
#[derive(Debug)]
pub(super) struct Lookup<'a> {
    pub(super) table: &'a Table,
    pub(super) place: &'a str,
    pub(super) reader: &'a LakeReader,
    pub(super) keys: &'a Arc<KeySet>,
    /// The key's columns, for files.
    pub(super) columns: &'a [KeyColumn],
    /// The same, with the key's types.
    pub(super) key: &'a [(i32, DataType)],
}

/// A data file with rows that have keys.
#[derive(Debug)]
pub(super) struct Found<'s> {
    pub(super) file: &'s LiveFile,
    /// Live rows with keys, ascending.
    pub(super) hits: Vec<Hit>,
    /// Rows that are deleted already, ascending.
    pub(super) deleted: Vec<u64>,
    /// The delete files of this data file alone, and the rows in each.
    pub(super) own: Vec<(&'s str, Vec<u64>)>,
}

impl Lookup<'_> {
    /// The files with live rows that have a key; of all live data files, or only of those that `among` keeps.
    pub(super) async fn find<'s>(
        &self,
        state: &'s State,
        among: impl Fn(&LiveFile) -> bool,
    ) -> Result<Vec<Found<'s>>> {
        let candidates = self.candidates(state, among)?;
        let mut files = Vec::with_capacity(candidates.len());
        for file in &candidates {
            files.push(self.searched(file)?);
        }
        let search = Search {
            files: Arc::new(self.reader.clone()),
            keys: Arc::clone(self.keys),
            columns: self.columns.to_vec(),
            parallel: PARALLEL,
        };
        let located = search.locate(files).await?;
        self.reader
            .read
            .fetch_add(located.cost.bytes, std::sync::atomic::Ordering::Relaxed);
        let mut hit = Vec::new();
        for found in located.files {
            let file = candidates.get(found.file).copied();
            let file = file.ok_or_else(|| Error::internal("a file that was not searched"))?;
            hit.push((file, found.hits));
        }
        self.without_deleted(state, hit).await
    }

    fn candidates<'s>(
        &self,
        state: &'s State,
        among: impl Fn(&LiveFile) -> bool,
    ) -> Result<Vec<&'s LiveFile>> {
        let metadata = self.table.metadata();
        let mut partitions: HashMap<i32, KeyPartitions> = HashMap::new();
        let mut candidates = Vec::new();
        for (_, listed) in &state.manifests {
            if listed.data.is_empty() {
                continue;
            }
            let possible = self.by_bounds(listed)?;
            for (file, possible) in listed.data.iter().zip(possible) {
                if !possible || !among(file) {
                    continue;
                }
                let own = partitions.entry(file.spec).or_insert_with(|| {
                    let spec = metadata.partition_spec_by_id(file.spec);
                    spec.map_or_else(KeyPartitions::default, |spec| {
                        KeyPartitions::new(metadata, spec, self.keys, self.key)
                    })
                });
                if own.may_hold(&file.partition) {
                    candidates.push(file);
                }
            }
        }
        Ok(candidates)
    }

    /// For each data file of a manifest whether its bounds allow a key.
    fn by_bounds(&self, listed: &Listed) -> Result<Vec<bool>> {
        let mut possible = vec![true; listed.data.len()];
        for (column, bounds) in listed.bounds.iter().enumerate() {
            let Some((mins, maxs)) = bounds else {
                continue;
            };
            let ranges = self.keys.between(column, mins, maxs)?;
            for (possible, range) in possible.iter_mut().zip(ranges) {
                *possible &= !range.is_empty();
            }
        }
        Ok(possible)
    }

    fn searched(&self, file: &LiveFile) -> Result<DataFile> {
        if file.format != DataFileFormat::Parquet {
            return Err(Error::config(format!(
                "the Iceberg table has a data file of format {}, which an upsert does not search",
                file.format
            ))
            .at(&file.path)
            .expected("Parquet"));
        }
        let metadata = self.table.metadata();
        let spec = metadata.partition_spec_by_id(file.spec).ok_or_else(|| {
            Error::config(format!("the table has no partition spec {}", file.spec)).at(self.place)
        })?;
        Ok(DataFile {
            path: file.path.clone(),
            size: file.size,
            constants: constants(metadata, spec, &file.partition, self.key),
        })
    }

    async fn positions<'s>(
        &self,
        path: &'s str,
        delete: &'s LiveDelete,
    ) -> Result<(&'s str, Positions)> {
        Ok((path, positions::read(self.reader, delete).await?))
    }

    /// Reads the delete files of the files that were hit. One that is about several data files is read once.
    async fn without_deleted<'s>(
        &self,
        state: &'s State,
        hit: Vec<(&'s LiveFile, Vec<Hit>)>,
    ) -> Result<Vec<Found<'s>>> {
        let mut wanted: Vec<(usize, &'s LiveDelete)> = Vec::new();
        let index = DeleteIndex::new(state);
        for (at, (file, _)) in hit.iter().enumerate() {
            wanted.extend(index.of(file).map(|delete| (at, delete)));
        }
        let paths: HashMap<&str, &LiveDelete> = wanted
            .iter()
            .map(|(_, delete)| (delete.file.path.as_str(), *delete))
            .collect();
        let mut reading = Vec::with_capacity(paths.len());
        for (path, delete) in paths {
            reading.push(self.positions(path, delete));
        }
        let read: HashMap<&str, Positions> = futures::stream::iter(reading)
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        let mut found: Vec<Found<'s>> = hit
            .into_iter()
            .map(|(file, hits)| Found {
                file,
                hits,
                deleted: Vec::new(),
                own: Vec::new(),
            })
            .collect();
        for (at, delete) in wanted {
            let positions = read.get(delete.file.path.as_str());
            let (Some(found), Some(positions)) = (found.get_mut(at), positions) else {
                continue;
            };
            let positions = positions.get(&found.file.path);
            let positions = positions.map_or(&[][..], Vec::as_slice);
            found.deleted.extend(positions);
            if delete.is_only_about(found.file) {
                found.own.push((&delete.file.path, positions.to_vec()));
            }
        }
        for found in &mut found {
            // Each file's are sorted: the stable sort merges them.
            found.deleted.sort();
            found.deleted.dedup();
            let deleted = &found.deleted;
            found
                .hits
                .retain(|hit| deleted.binary_search(&hit.row).is_err());
        }
        found.retain(|found| !found.hits.is_empty());
        Ok(found)
    }
}

/// What a delete file deletes: rows, by data file.
type Positions = HashMap<String, Vec<u64>>;

/// Delete files by what they are about.
pub(in crate::sink::iceberg) struct DeleteIndex<'s> {
    of_one: HashMap<&'s str, Vec<&'s LiveDelete>>,
    others: Vec<&'s LiveDelete>,
}

impl<'s> DeleteIndex<'s> {
    pub(in crate::sink::iceberg) fn new(state: &'s State) -> Self {
        let mut index = Self {
            of_one: HashMap::new(),
            others: Vec::new(),
        };
        for delete in state.deletes() {
            match &delete.scope {
                super::files::Scope::File(path) => {
                    index.of_one.entry(path).or_default().push(delete);
                }
                super::files::Scope::Between(..) => index.others.push(delete),
            }
        }
        index
    }

    pub(in crate::sink::iceberg) fn of(
        &self,
        file: &LiveFile,
    ) -> impl Iterator<Item = &'s LiveDelete> {
        let of_one = self.of_one.get(file.path.as_str()).into_iter().flatten();
        of_one
            .chain(&self.others)
            .copied()
            .filter(|delete| delete.applies_to(file))
    }
}

/// The live data files that are not among `base`.
pub(super) fn is_new<'a>(base: &'a HashSet<&str>) -> impl Fn(&LiveFile) -> bool + 'a {
    |file| !base.contains(file.path.as_str())
}
