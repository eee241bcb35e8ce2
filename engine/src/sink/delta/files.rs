//! The table's files at the version that the sink stands at.
//!
//! The list is read once, from the newest checkpoint and the commits after it, and then kept up by every commit that the sink
//! reads or makes: an upsert costs no more when the table is older. Memory: about half a kilobyte a file, and as much again for
//! each column of the key.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array as _, ArrayRef};
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use deltalake::kernel::{Add, Remove};
use serde::Deserialize;
use sql::{Error, ErrorKind, Result};

use super::DeltaSink;
use super::spelling::Spellings;
use super::upsert::bounds::{Bounds, bounds_of, row_count};
use crate::lake::delta::{open_at, partition_value};
use crate::lake::keys::KeySet;
use crate::lake::locate::DataFile;

/// A file of the table.
#[derive(Debug, Clone)]
pub(super) struct LiveFile {
    pub(super) size: i64,
    /// When it was made, in milliseconds since the epoch.
    pub(super) modified: i64,
    /// How many rows it has, if the log says so.
    pub(super) rows: Option<u64>,
    /// As the log has it.
    pub(super) partition_values: HashMap<String, Option<String>>,
    /// The same with the table's types, in the order of its partition columns.
    pub(super) partition: Vec<ScalarValue>,
    /// What the log knows of each column of the key.
    bounds: Vec<Bounds>,
}

/// The files, and what became of them since somebody asked.
#[derive(Debug, Default)]
pub(super) struct FileList {
    key: Vec<String>,
    loaded: bool,
    live: BTreeMap<String, LiveFile>,
    spellings: Spellings,
    news: News,
}

/// What happened to the list since [`FileList::watch`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// The list was made anew: nothing is known.
    pub(super) unknown: bool,
    pub(super) added: BTreeSet<String>,
    pub(super) removed: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
}

impl FileList {
    /// A list for tables with this key; empty until it is loaded.
    pub(super) fn new(key: &[String]) -> Self {
        Self {
            key: key.to_vec(),
            ..Self::default()
        }
    }

    /// Drops the list: the next one who needs it loads it.
    pub(super) fn forget(&mut self) {
        self.loaded = false;
        self.live.clear();
        self.spellings = Spellings::default();
        self.news.unknown = true;
    }

    /// From now on [`FileList::news`] tells what happens.
    pub(super) fn watch(&mut self) {
        self.news = News::default();
    }

    pub(super) fn news(&self) -> &News {
        &self.news
    }

    /// The columns of the key; none for tables that are only appended to.
    pub(super) fn key(&self) -> &[String] {
        &self.key
    }

    /// All files, by path.
    pub(super) fn live(&self) -> &BTreeMap<String, LiveFile> {
        &self.live
    }

    /// Those of `paths` (all, if there are none given) whose partition and statistics allow one of the keys.
    pub(super) fn candidates(
        &self,
        keys: &KeySet,
        paths: Option<&BTreeSet<String>>,
    ) -> Result<Vec<(String, LiveFile)>> {
        let chosen: Vec<_> = self
            .live
            .iter()
            .filter(|(path, _)| paths.is_none_or(|paths| paths.contains(*path)))
            .collect();
        let mut kept = vec![true; chosen.len()];
        for column in 0..self.key.len() {
            let bound = |of: fn(&Bounds) -> &ScalarValue| -> Result<Option<ArrayRef>> {
                let values = chosen
                    .iter()
                    .filter_map(|(_, file)| file.bounds.get(column));
                let mut values = values.map(|bounds| of(bounds).clone()).peekable();
                if values.peek().is_none() {
                    return Ok(None);
                }
                ScalarValue::iter_to_array(values)
                    .map(Some)
                    .map_err(|error| Error::internal("bounds of several types").source(error))
            };
            let (Some(mins), Some(maxs)) = (bound(|b| &b.min)?, bound(|b| &b.max)?) else {
                continue;
            };
            let ranges = keys.between(column, &mins, &maxs)?;
            for ((kept, (_, file)), range) in kept.iter_mut().zip(&chosen).zip(ranges) {
                let never = file.bounds.get(column).is_some_and(|bounds| bounds.never);
                *kept &= !never && !range.is_empty();
            }
        }
        let kept = chosen.into_iter().zip(kept).filter(|(_, kept)| *kept);
        Ok(kept
            .map(|((path, file), _)| (path.clone(), file.clone()))
            .collect())
    }

    /// How the log spells the files' paths.
    pub(super) fn spellings(&self) -> &Spellings {
        &self.spellings
    }

    fn add(
        &mut self,
        adds: Vec<Add>,
        schema: &SchemaRef,
        partition_by: &[String],
        place: &str,
    ) -> Result<()> {
        let stats: Vec<Option<&str>> = adds.iter().map(|add| add.stats.as_deref()).collect();
        let mut columns = Vec::with_capacity(self.key.len());
        for name in &self.key {
            let data_type = field_type(schema, name)?;
            columns.push(if partition_by.contains(name) {
                let values = adds.iter().map(|add| {
                    let raw = add.partition_values.get(name).cloned().flatten();
                    partition_value(name, raw.as_deref(), data_type).map(Bounds::exactly)
                });
                values.collect::<Result<Vec<_>>>()?
            } else {
                bounds_of(name, data_type, &stats)
            });
        }
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        for add in adds {
            if add.deletion_vector.is_some()
                || add.path.contains("://")
                || add.path.starts_with('/')
            {
                return Err(Error::new(
                    ErrorKind::Config,
                    "the Delta table has files with deletion vectors, or files that lie elsewhere, which the engine cannot change",
                )
                .at(place)
                .remedy("Rewrite the table (REORG TABLE … APPLY (PURGE), or a copy instead of a shallow clone), or use another table."));
            }
            let partition = partition_by
                .iter()
                .map(|name| {
                    let raw = add.partition_values.get(name).cloned().flatten();
                    partition_value(name, raw.as_deref(), field_type(schema, name)?)
                })
                .collect::<Result<_>>()?;
            let file = LiveFile {
                size: add.size,
                modified: add.modification_time,
                rows: add.stats.as_deref().and_then(row_count),
                partition_values: add.partition_values,
                partition,
                bounds: columns.iter_mut().filter_map(Iterator::next).collect(),
            };
            self.live.insert(add.path, file);
        }
        Ok(())
    }
}

impl LiveFile {
    /// What the log knows of each column of the key, in its order.
    pub(super) fn bounds(&self) -> &[Bounds] {
        &self.bounds
    }

    /// Its bytes; a size that cannot be is none.
    pub(super) fn bytes(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }

    /// The file as one to search for a key whose columns are `key`.
    pub(super) fn to_search(
        &self,
        path: &str,
        key: &[String],
        partition_by: &[String],
    ) -> Result<DataFile> {
        let mut constants = Vec::new();
        for (column, name) in key.iter().enumerate() {
            let place = partition_by.iter().position(|partition| partition == name);
            if let Some(value) = place.and_then(|place| self.partition.get(place)) {
                constants.push((column, one(value)?));
            }
        }
        Ok(DataFile {
            path: path.to_owned(),
            size: u64::try_from(self.size).unwrap_or(0),
            constants,
        })
    }
}

/// An array of one value.
pub(super) fn one(value: &ScalarValue) -> Result<ArrayRef> {
    let array = value
        .to_array()
        .map_err(|error| Error::internal("a value that is no array").source(error))?;
    debug_assert_eq!(array.len(), 1);
    Ok(array)
}

fn field_type<'a>(schema: &'a SchemaRef, name: &str) -> Result<&'a arrow::datatypes::DataType> {
    schema
        .column_with_name(name)
        .map(|(_, field)| field.data_type())
        .ok_or_else(|| Error::internal(format!("the table has no column `{name}`")))
}

impl DeltaSink {
    /// The list at the sink's version.
    pub(super) async fn file_list(&mut self) -> Result<&mut FileList> {
        let Some(mut files) = self.files.take() else {
            return Err(Error::internal("an appending sink has no list of files"));
        };
        if !files.loaded
            && let Err(error) = self.load_files(&mut files).await
        {
            self.files = Some(files);
            return Err(error);
        }
        Ok(self.files.insert(files))
    }

    async fn load_files(&self, files: &mut FileList) -> Result<()> {
        let table = open_at(&self.spec, self.version).await?;
        let state = crate::lake::delta::snapshot(&table, &self.path)?;
        let views = state.log_data();
        #[expect(
            deprecated,
            reason = "the partition values as they are in the log are to be had in no other way"
        )]
        let adds: Vec<Add> = views.iter().map(|view| view.add_action()).collect();
        files.live.clear();
        files.spellings = Spellings::of(state, &adds, &self.path)?;
        files.add(adds, &self.file_schema, &self.partition_by, &self.path)?;
        files.loaded = true;
        Ok(())
    }

    /// Takes over what a commit did to the table's files.
    pub(super) fn take_files(&mut self, commit: &[u8]) -> Result<()> {
        let Some(files) = self.files.as_mut().filter(|files| files.loaded) else {
            return Ok(());
        };
        let failed = |error: serde_json::Error| {
            Error::config("a commit of the Delta log is no valid JSON")
                .at(&self.path)
                .source(error)
        };
        let (mut adds, mut removes) = (Vec::new(), Vec::new());
        for line in commit.split(|byte| *byte == b'\n') {
            let holds = |word: &[u8]| memchr::memmem::find(line, word).is_some();
            if !holds(b"\"add\"") && !holds(b"\"remove\"") {
                continue;
            }
            let actions: Line = serde_json::from_slice(line).map_err(failed)?;
            if let Some(add) = &actions.add {
                files.spellings.note(&add.path, line).map_err(failed)?;
            }
            adds.extend(actions.add);
            removes.extend(actions.remove);
        }
        for remove in removes {
            files.live.remove(&remove.path);
            files.spellings.forget(&remove.path);
            files.news.added.remove(&remove.path);
            files.news.removed.insert(remove.path);
        }
        for add in &adds {
            files.news.added.insert(add.path.clone());
        }
        files.add(adds, &self.file_schema, &self.partition_by, &self.path)
    }
}
