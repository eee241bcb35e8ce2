//! Which rows of data files are deleted: by position-delete files, deletion vectors and equality deletes.
//!
//! Equality deletes are kept as 128-bit hashes of their keys with the sequence number of the youngest delete of each, so that a
//! row is looked up once however many delete files there are; null equals null. Each delete file is read once, when a data file
//! that it applies to is looked at. Memory: 40 bytes a key of an equality delete, two bytes or less a position.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt as _;
use iceberg::spec::{Datum, PrimitiveType, Struct, TableMetadataRef};
use parking_lot::Mutex;
use roaring::RoaringTreemap;
use sql::{Error, Result};
use tokio::sync::OnceCell;

use super::columns::{Columns, constants};
use super::read::{Which, open};
use super::state::{Data, Delete, Kind};
use super::vector;
use crate::lake::live::{LakeReader, LiveFile, Scope, positions};
use crate::lake::versioned::hash::Hasher;

/// Deletes that are applied together.
#[derive(Debug)]
pub(super) struct Deletes {
    metadata: TableMetadataRef,
    reader: LakeReader,
    /// By the path of the one data file that they are about.
    of_one: HashMap<String, Vec<Arc<Delete>>>,
    /// Position deletes of several data files.
    of_many: Vec<Arc<Delete>>,
    equality: Vec<Group>,
    positions: Mutex<HashMap<String, Arc<OnceCell<Positions>>>>,
}

type Positions = HashMap<String, Vec<u64>>;

/// Equality deletes by the same columns in the same partition.
#[derive(Debug)]
struct Group {
    ids: Vec<i32>,
    /// The partition that they are about; nothing for all of them.
    partition: Option<(i32, Struct)>,
    deletes: Vec<Arc<Delete>>,
    keys: OnceCell<HashMap<u128, i64>>,
}

impl Deletes {
    pub(super) fn new(
        metadata: &TableMetadataRef,
        reader: &LakeReader,
        deletes: impl IntoIterator<Item = Delete>,
    ) -> Self {
        let mut own = Self {
            metadata: Arc::clone(metadata),
            reader: reader.clone(),
            of_one: HashMap::new(),
            of_many: Vec::new(),
            equality: Vec::new(),
            positions: Mutex::default(),
        };
        for delete in deletes {
            own.add(Arc::new(delete));
        }
        own
    }

    fn add(&mut self, delete: Arc<Delete>) {
        match (&delete.kind, &delete.live.scope) {
            (Kind::Equality(ids), _) => {
                let file = &delete.live.file;
                let spec = self.metadata.partition_spec_by_id(file.spec);
                let everywhere = spec.is_some_and(|spec| spec.is_unpartitioned());
                let partition = (!everywhere).then(|| (file.spec, file.partition.clone()));
                let mut groups = self.equality.iter_mut();
                let group = groups.find(|own| own.ids == *ids && own.partition == partition);
                match group {
                    Some(group) => group.deletes.push(delete),
                    None => self.equality.push(Group {
                        ids: ids.clone(),
                        partition,
                        deletes: vec![delete],
                        keys: OnceCell::new(),
                    }),
                }
            }
            (_, Scope::File(path)) => {
                self.of_one.entry(path.clone()).or_default().push(delete);
            }
            (_, Scope::Between(..)) => self.of_many.push(delete),
        }
    }

    /// Whether any of them may be about `data`, as far as the manifests say.
    pub(super) fn may_hit(&self, data: &Data) -> bool {
        self.positional(&data.file).next().is_some() || self.reads_rows(data)
    }

    /// How many rows of `data` they delete, if the manifests say so.
    pub(super) fn count(&self, data: &Data) -> Option<u64> {
        if self.reads_rows(data) {
            return None;
        }
        let mut all = self.positional(&data.file);
        match (all.next(), all.next()) {
            (None, _) => Some(0),
            (Some(one), None) if one.live.scope == Scope::File(data.file.path.clone()) => {
                Some(one.live.file.rows)
            }
            _ => None,
        }
    }

    /// Whether [`Self::count`] is right for certain: a file of positions may name a row twice.
    pub(super) fn is_counted(&self, data: &Data) -> bool {
        !self.reads_rows(data)
            && self
                .positional(&data.file)
                .all(|delete| matches!(delete.kind, Kind::Vector { .. }))
            && self.count(data).is_some()
    }

    /// Whether rows of `data` must be read to know which are deleted.
    pub(super) fn reads_rows(&self, data: &Data) -> bool {
        self.groups(data).next().is_some()
    }

    fn positional<'a>(&'a self, file: &'a LiveFile) -> impl Iterator<Item = &'a Arc<Delete>> {
        let of_one = self.of_one.get(&file.path).into_iter().flatten();
        of_one
            .chain(&self.of_many)
            .filter(|delete| delete.live.applies_to(file))
    }

    fn groups<'a>(&'a self, data: &'a Data) -> impl Iterator<Item = &'a Group> {
        self.equality.iter().filter(|group| {
            let own = &data.file;
            group
                .partition
                .as_ref()
                .is_none_or(|(spec, partition)| *spec == own.spec && *partition == own.partition)
                && group.deletes.iter().any(|delete| {
                    delete.live.file.sequence > own.sequence && may_meet(&group.ids, delete, data)
                })
        })
    }

    /// The deleted rows of `data`; of the rows `among` only, if that is given.
    ///
    /// # Errors
    /// Of the storage; [`sql::ErrorKind::Config`] for deletes that cannot be understood.
    pub(super) async fn dead(
        &self,
        data: &Data,
        among: Option<&RoaringTreemap>,
    ) -> Result<RoaringTreemap> {
        let mut dead = RoaringTreemap::new();
        for delete in self.positional(&data.file) {
            if let Kind::Vector { offset, length } = delete.kind {
                let path = &delete.live.file.path;
                dead |= vector::read(&self.reader, path, offset, length).await?;
                continue;
            }
            let read = self.positions_of(delete).await?;
            let read = read.get().and_then(|read| read.get(&data.file.path));
            dead.extend(read.into_iter().flatten().copied());
        }
        dead.remove_range(data.file.rows..);
        if let Some(among) = among {
            dead &= among;
        }
        for group in self.groups(data) {
            // What is dead already needs no second look.
            let left = match among {
                Some(among) => Which::These(among - &dead),
                None => Which::all_but(&dead, data.file.rows),
            };
            if !left.is_empty(data.file.rows) {
                dead |= self.hit(group, data, &left).await?;
            }
        }
        Ok(dead)
    }

    async fn positions_of(&self, delete: &Delete) -> Result<Arc<OnceCell<Positions>>> {
        let cell = {
            let mut known = self.positions.lock();
            Arc::clone(known.entry(delete.live.file.path.clone()).or_default())
        };
        cell.get_or_try_init(|| positions::read(&self.reader, &delete.live))
            .await?;
        Ok(cell)
    }

    /// The rows among `which` that a group's deletes are about.
    async fn hit(&self, group: &Group, data: &Data, which: &Which) -> Result<RoaringTreemap> {
        let keys = group.keys.get_or_try_init(|| self.keys(group)).await?;
        let columns = Columns::of(&self.metadata, &group.ids)?;
        let hasher = Hasher::try_new(columns.schema())?;
        let constants = self.constants(&data.file);
        let opened = open(&self.reader, &data.file).await?;
        let mut rows = opened.rows(columns, constants, which, None)?;
        let mut numbers = which.numbers(data.file.rows);
        let mut hit = RoaringTreemap::new();
        while let Some(batch) = rows.try_next().await? {
            for hash in hasher.hashes(&batch)? {
                let number = numbers.next();
                let number = number.ok_or_else(|| Error::internal("more rows than were asked"))?;
                if keys
                    .get(&hash)
                    .is_some_and(|sequence| *sequence > data.file.sequence)
                {
                    hit.insert(number);
                }
            }
        }
        Ok(hit)
    }

    async fn keys(&self, group: &Group) -> Result<HashMap<u128, i64>> {
        let columns = Columns::of(&self.metadata, &group.ids)?;
        let hasher = Hasher::try_new(columns.schema())?;
        let mut keys = HashMap::new();
        for delete in &group.deletes {
            let file = &delete.live.file;
            let opened = open(&self.reader, file).await?;
            let constants = self.constants(file);
            let mut rows = opened.rows(columns.clone(), constants, &Which::All, None)?;
            while let Some(batch) = rows.try_next().await? {
                for hash in hasher.hashes(&batch)? {
                    let youngest = keys.entry(hash).or_insert(file.sequence);
                    *youngest = file.sequence.max(*youngest);
                }
            }
        }
        Ok(keys)
    }

    pub(super) fn constants(&self, file: &LiveFile) -> super::columns::Constants {
        let spec = self.metadata.partition_spec_by_id(file.spec);
        spec.map(|spec| constants(&self.metadata, spec, &file.partition))
            .unwrap_or_default()
    }
}

/// Whether the bounds of an equality delete's keys and of a data file's rows allow that they meet.
fn may_meet(ids: &[i32], delete: &Delete, data: &Data) -> bool {
    let (keys, rows) = (delete.entry.data_file(), data.entry.data_file());
    let nulls = |counts: &HashMap<i32, u64>, id: &i32| counts.get(id).is_none_or(|n| *n > 0);
    ids.iter().all(|id| {
        if nulls(keys.null_value_counts(), id) && nulls(rows.null_value_counts(), id) {
            return true;
        }
        let apart = |low: Option<&Datum>, high: Option<&Datum>| {
            let (Some(low), Some(high)) = (low, high) else {
                return false;
            };
            // Bounds leave NaN out; and those from before and after a column was widened are not compared.
            let of = low.data_type();
            of == high.data_type()
                && !matches!(of, PrimitiveType::Float | PrimitiveType::Double)
                && low > high
        };
        !apart(keys.lower_bounds().get(id), rows.upper_bounds().get(id))
            && !apart(rows.lower_bounds().get(id), keys.upper_bounds().get(id))
    })
}
