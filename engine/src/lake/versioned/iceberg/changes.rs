//! The changes of a version: the rows of the table before it against those after it.
//!
//! | what the snapshot did | what is read |
//! |---|---|
//! | `replace` | nothing |
//! | added data files alone | they |
//! | anything else | data files that went and that came, without their deleted rows; of the others the rows that are deleted in one of the two states alone |
//!
//! Rows that stand on both sides cancel each other ([`super::difference`]), so what copy-on-write copies is no change.

use std::collections::BTreeMap;

use iceberg::spec::{Operation, SnapshotRef};
use sql::Result;
use sql::versioned::{Rows, Wanted};

use super::columns::Columns;
use super::deletes::Deletes;
use super::difference::{collected, difference};
use super::history::Parent;
use super::pairs::{DELETE, INSERT, Pairing, tagged};
use super::read::{Which, chained};
use super::state::{Data, State};
use super::{Now, Source, plain};

/// Rows that went and rows that came, before any cancel each other.
#[derive(Default)]
pub(super) struct Sides {
    pub(super) minus: Vec<Source>,
    pub(super) plus: Vec<Source>,
}

impl Now {
    /// The changes that the version `number` made.
    pub(super) async fn changes(&self, number: i64, wanted: &Wanted) -> Result<Rows> {
        let columns = self.columns.select(&wanted.columns)?;
        let (snapshot, parent) = self.history.find(number)?;
        let Sides { minus, plus } = self.sides(snapshot, &parent).await?;
        let asked = |change: &str| {
            let types = wanted.change_types.as_ref();
            types.is_none_or(|types| types.iter().any(|own| own == change))
        };
        let rows = |sources: &[Source]| chained(&self.reader, plain(sources), &columns);
        match (minus.is_empty(), plus.is_empty()) {
            (true, true) => Ok(nothing()),
            (true, false) if asked(INSERT) => Ok(tagged(rows(&plus), INSERT)),
            (false, true) if asked(DELETE) => Ok(tagged(rows(&minus), DELETE)),
            (true, false) | (false, true) => Ok(nothing()),
            (false, false) => self.compared(columns, minus, plus).await,
        }
    }

    async fn compared(
        &self,
        wanted: Columns,
        minus: Vec<Source>,
        plus: Vec<Source>,
    ) -> Result<Rows> {
        let (minus, plus) = difference(&self.reader, &self.columns, minus, plus).await?;
        let rows = |columns: &Columns, sources| chained(&self.reader, plain(sources), columns);
        if self.key.is_empty() || minus.is_empty() || plus.is_empty() {
            let deleted = tagged(rows(&wanted, &minus), DELETE);
            let inserted = tagged(rows(&wanted, &plus), INSERT);
            return Ok(Box::pin(futures::StreamExt::chain(deleted, inserted)));
        }
        let mut names: Vec<String> = wanted.names();
        let kept = names.len();
        for name in &self.key {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let places = |name: &String| names.iter().position(|own| own == name);
        let key: Vec<usize> = self.key.iter().filter_map(places).collect();
        let columns = self.columns.select(&names)?;
        let new = collected(&self.reader, &columns, &plus).await?;
        let mut pairing = Pairing::try_new(columns.schema(), new, key, kept)?;
        let of_key = self.columns.select(&self.key)?;
        pairing.count(rows(&of_key, &minus)).await?;
        Ok(pairing.changes(rows(&columns, &minus)))
    }

    /// The rows that went and those that came.
    pub(super) async fn sides(&self, snapshot: &SnapshotRef, parent: &Parent<'_>) -> Result<Sides> {
        if snapshot.summary().operation == Operation::Replace {
            return Ok(Sides::default());
        }
        let added = self
            .manifests
            .only_added(&self.table, &self.name, snapshot)
            .await?;
        if let Some(added) = added {
            let plus = added
                .into_values()
                .map(|data| self.source(data, Which::All));
            return Ok(Sides {
                minus: Vec::new(),
                plus: plus.filter(|source| source.data.file.rows > 0).collect(),
            });
        }
        let before = match parent {
            Parent::Empty => None,
            Parent::Snapshot(parent) => Some(*parent),
            Parent::Expired => return Err(self.history.expired(snapshot.sequence_number())),
        };
        let old = self.manifests.state(&self.table, &self.name, before);
        let old = old.await?;
        let new = self
            .manifests
            .state(&self.table, &self.name, Some(snapshot));
        let new = new.await?;
        self.between(&old, &new).await
    }

    /// What went and what came between two states of the table.
    async fn between(&self, old: &State, new: &State) -> Result<Sides> {
        let metadata = self.table.metadata_ref();
        let deletes = |of: &State, but: Option<&State>, and: Option<&State>| {
            let own = of.deletes.iter().filter(|(place, _)| {
                but.is_none_or(|but| !but.deletes.contains_key(*place))
                    && and.is_none_or(|and| and.deletes.contains_key(*place))
            });
            let own: Vec<_> = own.map(|(_, delete)| delete.clone()).collect();
            Deletes::new(&metadata, &self.reader, own)
        };
        let carried = deletes(old, None, Some(new));
        let dropped = deletes(old, Some(new), None);
        let added = deletes(new, Some(old), None);
        let mut sides = Sides::default();
        for data in only(&old.data, &new.data) {
            let dead = carried.dead(data, None).await? | dropped.dead(data, None).await?;
            self.push(
                &mut sides.minus,
                data,
                Which::all_but(&dead, data.file.rows),
            );
        }
        for data in only(&new.data, &old.data) {
            let dead = carried.dead(data, None).await? | added.dead(data, None).await?;
            self.push(&mut sides.plus, data, Which::all_but(&dead, data.file.rows));
        }
        let both = new.data.values();
        for data in both.filter(|data| old.data.contains_key(&data.file.path)) {
            if !added.may_hit(data) && !dropped.may_hit(data) {
                continue;
            }
            let now = added.dead(data, None).await?;
            let then = dropped.dead(data, None).await?;
            let differ = &now ^ &then;
            if differ.is_empty() {
                continue;
            }
            let always = carried.dead(data, Some(&differ)).await?;
            let (gone, back) = (&now - &then - &always, &then - &now - &always);
            self.push(&mut sides.minus, data, Which::These(gone));
            self.push(&mut sides.plus, data, Which::These(back));
        }
        for side in [&mut sides.minus, &mut sides.plus] {
            side.sort_by(|a, b| a.data.file.path.cmp(&b.data.file.path));
        }
        Ok(sides)
    }

    /// All rows of a snapshot's files, by their paths.
    pub(super) async fn all(&self, snapshot: Option<&SnapshotRef>) -> Result<Vec<Source>> {
        let state = self.manifests.state(&self.table, &self.name, snapshot);
        let State { data, deletes } = state.await?;
        let metadata = self.table.metadata_ref();
        let deletes = Deletes::new(&metadata, &self.reader, deletes.into_values());
        let mut sources = Vec::with_capacity(data.len());
        for data in data.values() {
            let dead = deletes.dead(data, None).await?;
            self.push(&mut sources, data, Which::all_but(&dead, data.file.rows));
        }
        Ok(sources)
    }

    fn push(&self, sources: &mut Vec<Source>, data: &Data, which: Which) {
        if !which.is_empty(data.file.rows) {
            sources.push(self.source(data.clone(), which));
        }
    }

    fn source(&self, data: Data, which: Which) -> Source {
        let metadata = self.table.metadata();
        let spec = metadata.partition_spec_by_id(data.file.spec);
        let constants = spec
            .map(|spec| super::columns::constants(metadata, spec, &data.file.partition))
            .unwrap_or_default();
        Source {
            data,
            constants,
            which,
        }
    }
}

fn nothing() -> Rows {
    Box::pin(futures::stream::empty())
}

/// The files of `of` that `but` has not.
fn only<'a>(
    of: &'a BTreeMap<String, Data>,
    but: &'a BTreeMap<String, Data>,
) -> impl Iterator<Item = &'a Data> {
    of.iter()
        .filter(|(path, _)| !but.contains_key(*path))
        .map(|(_, data)| data)
}
