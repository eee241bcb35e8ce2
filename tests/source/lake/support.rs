//! Tables in memory that tests write to, and feeds over them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use engine::source::CancellationToken;
use engine::source::lake::{LakeFeed, LakeOptions};
use engine::spec::model::{LakeStart, SchemaChange};
use futures::TryStreamExt;
use sql::change::{ChangeBatch, Partition, Position, fold};
use sql::feed::{BatchLimit, ChangeFeed};
use sql::versioned::{MemoryTable, VersionedTable};

pub const NAME: &str = "items";

/// The time of a version's commit.
pub fn micros(version: i64) -> i64 {
    1_700_000_000_000_000 + version * 1_000_000
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
    ]))
}

/// A change: its type, and the row.
pub type Change<'a> = (&'a str, i64, &'a str);

pub fn changes(rows: &[Change<'_>]) -> RecordBatch {
    let mut fields: Vec<_> = schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("_change_type", DataType::Utf8, true)));
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.2))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0))),
        ],
    )
    .unwrap()
}

/// A table whose first version is 1.
pub fn table() -> MemoryTable {
    MemoryTable::new(NAME, schema(), &["id"], 1)
}

/// Commits a version at its time.
pub fn commit(table: &MemoryTable, rows: &[Change<'_>]) -> i64 {
    let time = micros(table.newest() + 1);
    table.commit(changes(rows), time).unwrap()
}

pub fn inserts(table: &MemoryTable, ids: std::ops::Range<i64>) -> i64 {
    let rows: Vec<Change<'_>> = ids.map(|id| ("insert", id, "x")).collect();
    commit(table, &rows)
}

pub fn options() -> LakeOptions {
    LakeOptions {
        name: NAME.to_owned(),
        key: Vec::new(),
        start: LakeStart::Earliest,
        end: None,
        change_types: None,
        max_versions: None,
        poll_interval: Duration::from_millis(1),
        bounded: true,
        keyed: false,
        keep_raw: false,
        schema_change: SchemaChange::Evolve,
        at: "p.yaml:3:1 (source)".to_owned(),
        registration: None,
        stop: CancellationToken::new(),
        clock: || 7,
    }
}

pub fn keyed() -> LakeOptions {
    LakeOptions {
        keyed: true,
        ..options()
    }
}

/// A feed that gives the row's columns, the type of the change and the version.
pub fn feed(table: &MemoryTable, options: LakeOptions) -> LakeFeed {
    let mut feed = LakeFeed::try_new(Arc::new(table.clone()), options).unwrap();
    let columns = ["id", "name", "_op", "_change_type", "_commit_version"];
    feed.project(&columns.map(str::to_owned)).unwrap();
    feed
}

pub async fn sought(table: &MemoryTable, options: LakeOptions, position: &Position) -> LakeFeed {
    let mut feed = feed(table, options);
    feed.seek(position).await.unwrap();
    feed
}

pub fn limit(max_records: usize) -> BatchLimit {
    BatchLimit {
        max_records,
        max_bytes: usize::MAX,
        max_wait: Duration::MAX,
    }
}

pub fn at(positions: &[(i32, i64)]) -> Position {
    let of = |(number, value): &(i32, i64)| (Partition::new(NAME, *number), *value);
    positions.iter().map(of).collect()
}

/// `version type id name` of every row.
pub fn rows(batch: &ChangeBatch) -> Vec<String> {
    let rows = batch.rows();
    let text = |name: &str| {
        rows.column_by_name(name)
            .unwrap()
            .as_string::<i32>()
            .clone()
    };
    let number = |name: &str| {
        let column = rows.column_by_name(name).unwrap();
        column.as_primitive::<Int64Type>().clone()
    };
    let (ids, versions) = (number("id"), number("_commit_version"));
    let (names, types) = (text("name"), text("_change_type"));
    let shown = |row: usize| {
        let name = if names.is_null(row) {
            "-"
        } else {
            names.value(row)
        };
        format!(
            "{} {} {} {name}",
            versions.value(row),
            types.value(row),
            ids.value(row)
        )
    };
    (0..rows.num_rows()).map(shown).collect()
}

/// Reads to the end; spans must be contiguous. Rows, and where it ended.
pub async fn drain(
    feed: &mut LakeFeed,
    limit: &BatchLimit,
    from: &Position,
) -> (Vec<String>, Position) {
    let (mut all, mut position) = (Vec::new(), from.clone());
    while let Some(batch) = feed.next(limit).await.unwrap() {
        position.try_advance(batch.span()).unwrap();
        all.extend(rows(&batch));
    }
    (all, position)
}

/// What a target that is kept by key has after batches.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Target(pub BTreeMap<i64, String>);

impl Target {
    /// Applies a batch as an upsert sink does.
    pub fn apply(&mut self, batch: &ChangeBatch) {
        let folded = fold(batch, &["id".to_owned()], &|_| false).unwrap();
        assert!(folded.missing.is_empty() && !folded.truncate);
        let ids = |rows: &RecordBatch| {
            let column = rows.column_by_name("id").unwrap();
            column.as_primitive::<Int64Type>().values().to_vec()
        };
        for id in ids(&folded.deletes) {
            self.0.remove(&id);
        }
        let names = folded.rows.column_by_name("name").unwrap();
        let names = names.as_string::<i32>();
        for (row, id) in ids(&folded.rows).into_iter().enumerate() {
            self.0.insert(id, names.value(row).to_owned());
        }
    }
}

/// The rows of the newest version, by id.
pub async fn truth(table: &MemoryTable) -> Target {
    let readable = table.refresh().await.unwrap();
    let columns = ["id".to_owned(), "name".to_owned()];
    let rows = table.rows(readable.last, &columns).await.unwrap();
    let mut found = BTreeMap::new();
    for batch in rows.try_collect::<Vec<_>>().await.unwrap() {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let names = batch.column(1).as_string::<i32>();
        for row in 0..batch.num_rows() {
            let before = found.insert(ids.value(row), names.value(row).to_owned());
            assert_eq!(before, None, "the workload made a key twice");
        }
    }
    Target(found)
}
