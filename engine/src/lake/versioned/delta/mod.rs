//! Delta tables: the changes of each version, by the engine's own reader of the log.
//!
//! The library's reader of change feeds is not used: it gives wrong rows, without an error, for tables with deletion vectors or
//! column mapping, and for ranges in which the feed was off. Here each version is read by what its commit says
//! (`feed`), rows are found by the columns' physical names (`columns`), and deleted rows are left out by their numbers (`vector`).
//!
//! What cannot be known exactly is an error that says which versions can be read: commits that were cleaned up, files that were
//! vacuumed, features of the table that are not known, files that were rewritten while no feed was kept (unless their rows are to be
//! compared: [`MissingFeed::Diff`]).
//!
//! A statement that moves keys around (`SET id = id + 1`) gives update images of one key in any order. Who keeps a table by
//! key takes a version as a whole: what goes first, then what comes.

mod columns;
mod commit;
mod describe;
mod diff;
mod feed;
mod log;
mod place;
mod provider;
mod read;
mod state;
mod vector;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use deltalake::DeltaTable;
use parking_lot::Mutex;
use sql::versioned::{Readable, Rows, Version, VersionedTable, Wanted};
use sql::{Error, ErrorKind, Result};

use super::MissingFeed;
use crate::lake::delta::{load_at, log_store, snapshot};
use crate::lake::storage::storage_error;
use crate::spec::model::DeltaTableSpec;

use commit::{Commit, DataFile};
use feed::{DELETE, Files, INSERT};
use log::Log;
use place::Place;
use read::{Change, Part, Reader};
use state::State;

/// States of versions that are kept.
const KEPT_STATES: usize = 64;
/// So many new commits are read one by one; after more, the newest state is loaded.
const FOLLOWED: i64 = 16;

/// A Delta table's versions and changes.
#[derive(Debug)]
pub struct DeltaVersions {
    spec: DeltaTableSpec,
    log: Log,
    place: Place,
    missing_feed: MissingFeed,
    states: Mutex<States>,
}

#[derive(Debug)]
struct States {
    newest: (i64, Arc<State>),
    known: BTreeMap<i64, Arc<State>>,
}

impl DeltaVersions {
    /// Opens a table that is there.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is none, or one with features that the engine cannot read correctly; of the storage.
    pub async fn open(spec: &DeltaTableSpec) -> Result<Self> {
        let store = log_store(spec)?;
        let log = Log::new(&spec.path, &store);
        let range = log.refresh().await?;
        let state = Arc::new(load_state(spec, &log, range.last).await?);
        Ok(Self {
            spec: spec.clone(),
            place: Place::new(&spec.path, &store),
            log,
            missing_feed: MissingFeed::default(),
            states: Mutex::new(States {
                newest: (range.last, Arc::clone(&state)),
                known: BTreeMap::from([(range.last, state)]),
            }),
        })
    }

    /// What is done with a version that rewrote files while the table kept no change feed.
    #[must_use]
    pub fn with_missing_feed(self, missing_feed: MissingFeed) -> Self {
        Self {
            missing_feed,
            ..self
        }
    }

    /// Bytes of data files, feed files and deletion vectors that were read so far through this handle. What SQL reads of
    /// [`VersionedTable::at`] is not among them, unless the table has deletion vectors.
    pub fn bytes_read(&self) -> u64 {
        self.place.bytes_read()
    }

    fn newest(&self) -> Arc<State> {
        Arc::clone(&self.states.lock().newest.1)
    }

    /// Metadata and protocol in force at a version.
    async fn state_at(&self, number: i64) -> Result<Arc<State>> {
        let (known, before) = {
            let states = self.states.lock();
            let get = |number: i64| states.known.get(&number).map(Arc::clone);
            (get(number), get(number - 1))
        };
        if let Some(state) = known {
            return Ok(state);
        }
        let state = match before {
            Some(before) => self.follow(before, number).await?,
            None => Arc::new(load_state(&self.spec, &self.log, number).await?),
        };
        let mut states = self.states.lock();
        states.known.insert(number, Arc::clone(&state));
        while states.known.len() > KEPT_STATES {
            states.known.pop_first();
        }
        Ok(state)
    }

    /// The state after the commit `number`.
    async fn follow(&self, before: Arc<State>, number: i64) -> Result<Arc<State>> {
        let commit = self.log.commit(number).await?;
        if commit.metadata.is_none() && commit.protocol.is_none() {
            return Ok(before);
        }
        let (metadata, protocol) = (commit.metadata.as_ref(), commit.protocol.as_ref());
        let state = before.after(metadata, protocol, &self.spec.path)?;
        Ok(Arc::new(state))
    }

    /// The table at a version, with its files.
    async fn load(&self, number: i64) -> Result<DeltaTable> {
        let range = self.log.check(number).await?;
        let version = u64::try_from(number).unwrap_or(0);
        let table = load_at(&self.spec, version, true).await;
        if range.first > 0 && !matches!(table, Ok(Some(_))) {
            // Without a checkpoint before it, its commit does not make a table.
            let oldest = self.log.oldest_checkpoint();
            if oldest.is_none_or(|oldest| number < oldest) {
                return Err(no_table(&self.spec.path, number, oldest, range));
            }
        }
        table?.ok_or_else(|| no_table(&self.spec.path, number, None, range))
    }

    /// The files that are live at a version, by path.
    async fn live(&self, number: i64) -> Result<(DeltaTable, Vec<DataFile>)> {
        let table = self.load(number).await?;
        let views = snapshot(&table, &self.spec.path)?.log_data();
        #[expect(
            deprecated,
            reason = "the partition values as they are in the log are to be had in no other way"
        )]
        let files = views.iter().map(|view| commit::added(view.add_action()));
        let mut files: Vec<_> = files.collect();
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok((table, files))
    }

    async fn live_parts(&self, files: &[DataFile]) -> Result<Vec<Part>> {
        let mut parts = Vec::with_capacity(files.len());
        for file in files {
            parts.push(feed::whole(file, Change::None, &self.place).await?);
        }
        Ok(parts)
    }

    /// Refuses to read rows of a version into columns that have nothing to do with those it had.
    fn check_columns(&self, state: &State, number: i64) -> Result<()> {
        let newest = self.newest();
        if newest.columns.share(&state.columns) {
            return Ok(());
        }
        Err(Error::config(format!(
            "the Delta table was overwritten with other columns after version {number}"
        ))
        .at(&self.spec.path)
        .remedy("Read the versions since then."))
    }

    async fn rewritten(&self, commit: &Commit, files: Files, wanted: &Wanted) -> Result<Rows> {
        if self.missing_feed == MissingFeed::Diff {
            let columns = &self.newest().columns;
            let Files {
                deleted, inserted, ..
            } = files;
            return diff::changes(&self.place, columns, &wanted.columns, deleted, inserted).await;
        }
        let number = commit.number;
        let expected = match self.feed_since(number).await? {
            Some((first, last)) => format!("a version from {first} to {last}"),
            None => "a table that keeps a change feed; this one does not to this day".to_owned(),
        };
        Err(Error::config(format!(
            "which rows version {number} of the Delta table changed is not known: it rewrote files while `delta.enableChangeDataFeed` was not true"
        ))
        .at(&self.spec.path)
        .expected(expected)
        .remedy("Start after it: ALTER TABLE … SET TBLPROPERTIES (delta.enableChangeDataFeed = true) turns the feed on for later versions. Or have the files' rows compared: `on_missing_feed: diff`."))
    }

    /// The versions after `number` to the end since which a feed was kept.
    async fn feed_since(&self, number: i64) -> Result<Option<(i64, i64)>> {
        if !self.newest().feed() {
            return Ok(None);
        }
        let last = self.log.range().await?.last;
        let mut since = None;
        for commit in self.log.commits(number + 1, last).await? {
            let Some(metadata) = &commit.metadata else {
                continue;
            };
            let value = metadata.configuration().get("delta.enableChangeDataFeed");
            let on = value.is_some_and(|value| value.eq_ignore_ascii_case("true"));
            since = match (on, since) {
                (true, None) => Some(commit.number),
                (true, since) => since,
                (false, _) => None,
            };
        }
        Ok(since.map(|since| (since, last)))
    }
}

/// The state at a version. Where the log was cleaned up before it and there is no checkpoint yet, it is that of the first
/// checkpoint after it, if no commit in between says something new.
async fn load_state(spec: &DeltaTableSpec, log: &Log, number: i64) -> Result<State> {
    let load = async |number: i64| {
        let version = u64::try_from(number).unwrap_or(0);
        let Some(table) = load_at(spec, version, false).await? else {
            return Ok(None);
        };
        let state = snapshot(&table, &spec.path)?;
        let (metadata, protocol) = (state.metadata().clone(), state.protocol().clone());
        State::try_new(metadata, protocol, &spec.path).map(Some)
    };
    let range = log.check(number).await?;
    let oldest = log.oldest_checkpoint();
    let Some(checkpoint) = oldest.filter(|oldest| range.first > 0 && number < *oldest) else {
        let state = load(number).await?;
        return state.ok_or_else(|| no_table(&spec.path, number, oldest, range));
    };
    for commit in log.commits(number + 1, checkpoint).await? {
        if commit.metadata.is_some() || commit.protocol.is_some() {
            return Err(no_table(&spec.path, number, Some(commit.number), range));
        }
    }
    let state = load(checkpoint).await?;
    state.ok_or_else(|| no_table(&spec.path, number, oldest, range))
}

fn no_table(path: &str, number: i64, oldest: Option<i64>, range: Readable) -> Error {
    let oldest = oldest.unwrap_or(range.first);
    Error::new(
        ErrorKind::DataLoss,
        format!("version {number} of the Delta table cannot be made again: the log before it was cleaned up"),
    )
    .at(path)
    .expected(format!("a version from {oldest} to {}", range.last))
    .remedy("Start at a version that is there. Keep commits longer with delta.logRetentionDuration.")
}

#[async_trait]
impl VersionedTable for DeltaVersions {
    fn name(&self) -> &str {
        &self.spec.path
    }

    fn format(&self) -> &'static str {
        "delta"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.newest().schema())
    }

    /// What an upsert noted.
    fn key(&self) -> Vec<String> {
        self.newest().key()
    }

    async fn refresh(&self) -> Result<Readable> {
        let range = self.log.refresh().await?;
        let (seen, mut state) = self.states.lock().newest.clone();
        if range.last == seen {
            return Ok(range);
        }
        if range.last > seen && range.last - seen <= FOLLOWED && seen >= range.first {
            for number in seen + 1..=range.last {
                state = self.follow(state, number).await?;
            }
        } else {
            state = Arc::new(load_state(&self.spec, &self.log, range.last).await?);
        }
        let mut states = self.states.lock();
        if range.last < seen {
            // Another table took its place.
            states.known.clear();
        }
        states.newest = (range.last, Arc::clone(&state));
        states.known.insert(range.last, state);
        Ok(range)
    }

    async fn versions(&self, from: i64, to: i64) -> Result<Vec<Version>> {
        let range = self.log.range().await?;
        let range = if to > range.last {
            self.refresh().await?
        } else {
            range
        };
        if from > range.last {
            return Ok(Vec::new());
        }
        self.log.versions(from, to.min(range.last)).await
    }

    async fn version_at(&self, micros: i64) -> Result<Option<i64>> {
        let range = self.refresh().await?;
        // The first that is younger. Clocks of writers may go back a little; then one of the versions around is found.
        let (mut low, mut high) = (range.first, range.last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let commit = self.log.commit(middle).await?;
            if commit.micros.is_some_and(|committed| committed <= micros) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok((low > range.first).then(|| low - 1))
    }

    async fn changes(&self, number: i64, wanted: &Wanted) -> Result<Rows> {
        self.log.check(number).await?;
        let seen = self.states.lock().newest.0;
        if number > seen {
            self.refresh().await?;
        }
        let commit = self.log.commit(number).await?;
        let columns = Arc::clone(&self.newest().columns);
        let reader = Reader::try_new(&self.place, &columns, &wanted.columns, true)?;
        if !commit.changes_rows() {
            return Ok(reader.all(Vec::new()));
        }
        let state = self.state_at(number).await?;
        self.check_columns(&state, number)?;
        let wants = |word: &str| {
            let types = wanted.change_types.as_ref();
            types.is_none_or(|types| types.iter().any(|wanted| wanted == word))
        };
        if !commit.feed.is_empty() {
            let parts = feed::stored(&commit.feed, &columns, &self.place, wants).await?;
            return Ok(reader.all(parts));
        }
        let files = Files::of(&commit, state.is_partitioned(), &self.place).await?;
        if files.rewritten && !state.feed() {
            return self.rewritten(&commit, files, wanted).await;
        }
        let mut parts = Vec::new();
        for (word, of) in [(DELETE, files.deleted), (INSERT, files.inserted)] {
            if wants(word) {
                parts.extend(of);
            }
        }
        Ok(reader.all(parts))
    }

    async fn rows(&self, number: i64, columns: &[String]) -> Result<Rows> {
        let state = self.state_at(number).await?;
        self.check_columns(&state, number)?;
        let newest = self.newest();
        let reader = Reader::try_new(&self.place, &newest.columns, columns, false)?;
        let (_, files) = self.live(number).await?;
        Ok(reader.all(self.live_parts(&files).await?))
    }

    async fn at(&self, number: i64) -> Result<Arc<dyn TableProvider>> {
        let state = self.state_at(number).await?;
        let (table, files) = self.live(number).await?;
        if files.iter().all(|file| file.vector.is_none()) {
            let provider = table.table_provider().await;
            let path = &self.spec.path;
            return provider.map_err(|error| storage_error("read the Delta table", path, error));
        }
        Ok(Arc::new(provider::LiveRows {
            parts: self.live_parts(&files).await?,
            place: self.place.clone(),
            columns: Arc::clone(&state.columns),
        }))
    }

    async fn snapshots(&self) -> Result<RecordBatch> {
        let range = self.refresh().await?;
        let first = match (range.first, self.log.oldest_checkpoint()) {
            (0, _) | (_, None) => range.first,
            (first, Some(checkpoint)) => first.max(checkpoint),
        };
        let commits = self.log.commits(first, range.last).await?;
        describe::snapshots(&commits, range.last)
    }

    async fn files(&self, number: Option<i64>) -> Result<RecordBatch> {
        let number = match number {
            Some(number) => number,
            None => self.refresh().await?.last,
        };
        let state = self.state_at(number).await?;
        let (_, files) = self.live(number).await?;
        describe::files(&files, &state.columns)
    }
}
