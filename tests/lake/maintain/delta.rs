//! Compaction of Delta tables: what is rewritten, in which order, against which other writers, and what it costs.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use engine::maintain::{Policy, Report};
use engine::sink::delta::{DeltaSink, DeltaUpsert};
use engine::sink::{Missing, Sink as _, UpsertSink as _};
use proptest::prelude::*;
use serde_json::Value;
use sql::change::{NetChange, Partition};
use tempfile::TempDir;
use tests::need;
use tests::python::{Location, Reader, Readers};

use super::vacuum::age;
use crate::lake::harness::step;
use crate::lake::upsert::feed::read_rows;
use crate::lake::upsert::harness::{
    Bench, Kind, Plain, Shape, TOPIC, Writer, change, files_under, many, plain,
};
use crate::lake::upsert::races::orphans;

/// Small tables have small files.
pub fn policy(min_files: usize) -> Policy {
    Policy {
        min_files,
        ..Policy::default()
    }
}

pub async fn maintained(writer: &mut Writer, policy: &Policy) -> Report {
    match writer.sink.maintain(policy).await {
        Ok(report) => report,
        Err(error) => panic!("{}", error.report()),
    }
}

/// The files that the newest version has: their `add` actions, by path.
fn live(bench: &Bench) -> BTreeMap<String, Value> {
    let mut files = BTreeMap::new();
    for version in 0..=bench.newest() {
        for remove in bench.actions(version, "remove") {
            files.remove(remove["path"].as_str().unwrap());
        }
        for add in bench.actions(version, "add") {
            files.insert(add["path"].as_str().unwrap().to_owned(), add);
        }
    }
    files
}

/// The ids of a file, in its order.
fn ids_of(bench: &Bench, path: &str) -> Vec<i64> {
    let file = std::fs::File::open(bench.folder.join(path)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader
        .build()
        .unwrap()
        .flat_map(|batch| {
            let batch = batch.unwrap();
            let ids = batch.column_by_name("id").unwrap();
            ids.as_primitive::<Int64Type>().values().to_vec()
        })
        .collect()
}

fn bound(add: &Value, which: &str, column: &str) -> Value {
    let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    stats[which][column].clone()
}

/// Every twelfth id from `first` on: files that all lie over each other.
fn scattered(first: i64, region: &str) -> Vec<Plain<'_>> {
    (0..50)
        .map(|at| (first + at * 12, Some(region), Some(first)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_files_become_one_in_the_order_of_the_key() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    for first in 0..12 {
        writer.apply(&change(&scattered(first, "eu"), &[])).await;
    }
    let (rows, before) = (bench.rows().await, writer.sink.progress().await.unwrap());
    let report = maintained(&mut writer, &policy(10)).await;
    assert_eq!((report.files_before, report.files_after), (12, 1));
    assert_eq!((report.files_compacted, report.files_added), (12, 1));
    assert_eq!((report.rows, report.commits, report.more), (600, 1, false));
    // Version 10 made a checkpoint, and the next is due at 20.
    assert_eq!(report.checkpoints, 0);
    let files = live(&bench);
    let (path, add) = files.iter().next().unwrap();
    assert_eq!(ids_of(&bench, path), (0..600).collect::<Vec<_>>());
    assert_eq!(bound(add, "minValues", "id"), 0);
    assert_eq!(bound(add, "maxValues", "id"), 599);
    let version = bench.newest();
    for name in ["add", "remove"] {
        let actions = bench.actions(version, name);
        assert!(actions.iter().all(|action| action["dataChange"] == false));
    }
    for name in ["cdc", "txn", "metaData", "protocol"] {
        assert_eq!(bench.actions(version, name), [Value::Null; 0], "{name}");
    }
    let info = bench.actions(version, "commitInfo").pop().unwrap();
    assert_eq!(info["operation"], "OPTIMIZE");
    assert_eq!(info["operationMetrics"]["numRemovedFiles"], "12");
    assert_eq!(bench.rows().await, rows);
    assert_eq!(writer.sink.progress().await.unwrap(), before);
    // Nothing is left to do, and what follows is right.
    assert!(maintained(&mut writer, &policy(10)).await.is_nothing());
    let update = change(&[(5, Some("us"), None), (1_000, None, None)], &[7]);
    let receipt = writer.apply(&update).await;
    assert_eq!((receipt.version, receipt.rows), (version + 1, 2));
    assert_eq!(bench.query("SELECT count(*) FROM t").await, ["600"]);
    bench.feed_tells_every_version();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_partition_is_compacted_by_itself_and_nulls_are_one() {
    let bench = Bench::new(Kind::Delta, Shape::partitioned());
    let mut writer = bench.writer().await;
    for first in 0..5 {
        let at = |region, id: i64| (id * 10 + first, region, Some(first));
        let rows = [
            at(Some("eu"), 1),
            at(Some("a/b c"), 2),
            at(None, 3),
            at(Some("us"), 4),
        ];
        // One partition has fewer files.
        let rows = if first < 3 { &rows[..] } else { &rows[..3] };
        writer.apply(&change(rows, &[])).await;
    }
    let rows = bench.rows().await;
    let report = maintained(&mut writer, &policy(4)).await;
    assert_eq!((report.files_before, report.files_after), (18, 6));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for add in live(&bench).values() {
        *counts
            .entry(add["partitionValues"].to_string())
            .or_default() += 1;
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [1, 1, 3, 1]);
    assert_eq!(bench.rows().await, rows);
    bench.feed_tells_every_version();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_another_writer_left_in_no_order_are_sorted() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    for first in 0..4 {
        let rows: Vec<Plain<'_>> = (0..30_000)
            .map(|at| ((at * 7_919 % 30_000) * 4 + first, None, Some(at)))
            .collect();
        let span = writer.next().await;
        writer.sink.write(&[plain(&rows)], &span).await.unwrap();
    }
    let sum = bench.query("SELECT count(*), sum(id), sum(n) FROM t").await;
    let report = maintained(&mut writer, &policy(4)).await;
    assert_eq!((report.files_before, report.files_after), (4, 1));
    let path = live(&bench).into_keys().next().unwrap();
    assert_eq!(ids_of(&bench, &path), (0..120_000).collect::<Vec<_>>());
    let after = bench.query("SELECT count(*), sum(id), sum(n) FROM t").await;
    assert_eq!(after, sum);
}

fn append_sink(bench: &Bench) -> impl Future<Output = DeltaSink> {
    let (spec, shape) = (bench.spec(), bench.shape.clone());
    async move {
        DeltaSink::open(&spec, "log", &shape.schema, &[], Missing::Refuse)
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_appended_keep_their_order() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut sink = append_sink(&bench).await;
    let mut expected = Vec::new();
    for at in 0..10 {
        let rows = many(1_000 - at * 10..1_010 - at * 10, "eu", 1);
        expected.extend(rows.iter().map(|row| row.0));
        sink.write(&[plain(&rows)], &step(at, at + 1))
            .await
            .unwrap();
    }
    let stored = sink.progress().await.unwrap();
    let report = sink.maintain(&policy(10)).await.unwrap();
    assert_eq!((report.files_before, report.files_after), (10, 1));
    let path = live(&bench).into_keys().next().unwrap();
    assert_eq!(ids_of(&bench, &path), expected);
    assert_eq!(sink.progress().await.unwrap(), stored);
    sink.write(&[plain(&many(0..1, "eu", 1))], &step(10, 11))
        .await
        .unwrap();
    assert_eq!(bench.query("SELECT count(*) FROM t").await, ["101"]);
    bench.feed_tells_every_version();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_know_the_key_reads_it_in_the_log() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    for first in 0..12 {
        writer.apply(&change(&scattered(first, "eu"), &[])).await;
    }
    let report = append_sink(&bench).await.maintain(&policy(10)).await;
    assert_eq!(report.unwrap().files_after, 1);
    let path = live(&bench).into_keys().next().unwrap();
    assert_eq!(ids_of(&bench, &path), (0..600).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_and_a_stopped_run_change_nothing() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    for first in 0..12 {
        writer.apply(&change(&scattered(first, "eu"), &[])).await;
    }
    let before = files_under(&bench.folder).len();
    let dry = Policy {
        dry_run: true,
        ..policy(10)
    };
    let report = maintained(&mut writer, &dry).await;
    assert_eq!((report.files_compacted, report.commits), (12, 0));
    let stopped = policy(10);
    stopped.stop.cancel();
    assert!(maintained(&mut writer, &stopped).await.is_nothing());
    assert_eq!(files_under(&bench.folder).len(), before);
}

/// Many small commits with a pass after each: how often a row is written again, and how many files are left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_is_rewritten_a_few_times_however_often_a_pass_is_made() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut sink = append_sink(&bench).await;
    let (mut rewritten, mut most) = (0, 0);
    let policy = Policy {
        target_file_size: 32 << 10,
        ..policy(10)
    };
    for at in 0..120 {
        let rows = plain(&many(at * 100..at * 100 + 100, "eu", 1));
        sink.write(&[rows], &step(at, at + 1)).await.unwrap();
        let report = sink.maintain(&policy).await.unwrap();
        rewritten += report.rows;
        most = most.max(report.files_after);
    }
    println!("{rewritten} rows rewritten, at most {most} files");
    let rows = 120 * 100;
    assert!(
        rewritten >= rows / 2 && rewritten <= rows * 4,
        "{rewritten}"
    );
    assert!(most <= 16, "{most} files");
    let count = bench
        .query("SELECT count(*), count(DISTINCT id) FROM t")
        .await;
    assert_eq!(count, ["12000|12000"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pass_rewrites_no_more_than_it_may_and_says_that_more_is_left() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    for first in 0..12 {
        writer.apply(&change(&scattered(first, "eu"), &[])).await;
    }
    let sizes = live(&bench)
        .into_values()
        .map(|add| add["size"].as_u64().unwrap());
    let budget = sizes.sum::<u64>() / 2;
    let bounded = Policy {
        max_rewrite: budget,
        ..policy(3)
    };
    let first = maintained(&mut writer, &bounded).await;
    assert!(first.bytes_compacted <= budget && first.files_compacted > 3);
    assert!(first.more);
    let mut rounds = 0;
    while maintained(&mut writer, &bounded).await.more {
        rounds += 1;
        assert!(rounds < 10);
    }
    assert!(live(&bench).len() <= 3);
    assert_eq!(bench.query("SELECT count(*) FROM t").await, ["600"]);
}

/// Keys in no order, as of UUIDs: each file spans all of them.
fn spread(from: i64, count: i64) -> NetChange {
    let key = |id: i64| {
        let mixed = id.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed());
        format!("{:016x}-{id}", mixed.cast_unsigned())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            (from..from + count)
                .map(|id| Some(key(id)))
                .collect::<StringArray>(),
        ),
        Arc::new(Int64Array::from_iter_values(from..from + count)),
    ];
    let schema = Shape::keyed_by(&[("k", DataType::Utf8)]).schema;
    let rows = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let none: ArrayRef = Arc::new(StringArray::from(Vec::<Option<&str>>::new()));
    let deletes = RecordBatch::try_from_iter(vec![("k", none)]).unwrap();
    NetChange::try_new(false, rows, deletes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_lie_over_each_other_are_laid_side_by_side() {
    let bench = Bench::new(Kind::Delta, Shape::keyed_by(&[("k", DataType::Utf8)]));
    let mut writer = bench.writer().await;
    for at in 0..10 {
        writer.apply(&spread(at * 2_000, 2_000)).await;
    }
    let sizes: Vec<u64> = live(&bench)
        .into_values()
        .map(|add| add["size"].as_u64().unwrap())
        .collect();
    // None of them is small.
    let policy = Policy {
        target_file_size: sizes.iter().copied().max().unwrap(),
        ..policy(10)
    };
    let report = maintained(&mut writer, &policy).await;
    assert_eq!(report.files_compacted, 10);
    assert!(!report.more);
    let files = live(&bench);
    assert!((8..=12).contains(&files.len()), "{}", files.len());
    let mut ranges: Vec<_> = files
        .values()
        .map(|add| {
            let text = |which| bound(add, which, "k").as_str().unwrap().to_owned();
            (text("minValues"), text("maxValues"))
        })
        .collect();
    ranges.sort();
    assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
    // Nothing lies over each other now: it is left alone.
    assert!(maintained(&mut writer, &policy).await.is_nothing());
    let receipt = writer.apply(&spread(5, 1)).await;
    assert_eq!(receipt.rows, 0);
    let rows = bench.query("SELECT count(DISTINCT k), sum(n) FROM t").await;
    assert_eq!(rows, [format!("20000|{}", 19_999 * 10_000)]);
}

#[derive(Debug, Clone)]
enum Event {
    Change(BTreeMap<i64, (Option<usize>, i64)>, BTreeSet<i64>),
    Pass(usize),
    Reopen,
}

const REGIONS: [&str; 3] = ["eu", "us", "a/b c"];

fn event() -> impl Strategy<Value = Event> {
    let row = (prop::option::weighted(0.9, 0..REGIONS.len()), 0_i64..4);
    let rows = prop::collection::btree_map(0_i64..80, row, 0..12);
    let deletes = prop::collection::btree_set(0_i64..80, 0..4);
    prop_oneof![
        8 => (rows, deletes).prop_map(|(rows, deletes)| Event::Change(rows, deletes)),
        2 => (2_usize..6).prop_map(Event::Pass),
        1 => Just(Event::Reopen),
    ]
}

async fn follows_the_model(shape: Shape, events: &[Event]) -> Bench {
    let bench = Bench::new(Kind::Delta, shape);
    let mut writer = bench.writer().await;
    let mut model: BTreeMap<i64, String> = BTreeMap::new();
    for event in events {
        match event {
            Event::Change(rows, deletes) => {
                let deletes: Vec<i64> = deletes.iter().copied().collect();
                let deletes: Vec<i64> = deletes
                    .into_iter()
                    .filter(|id| !rows.contains_key(id))
                    .collect();
                let rows: Vec<Plain<'_>> = rows
                    .iter()
                    .map(|(id, (region, n))| (*id, region.map(|at| REGIONS[at]), Some(*n)))
                    .collect();
                model.retain(|id, _| !deletes.contains(id));
                for (id, region, n) in &rows {
                    let text = format!("{id}|{}|{}", region.unwrap_or("∅"), n.unwrap());
                    model.insert(*id, text);
                }
                writer.apply(&change(&rows, &deletes)).await;
            }
            Event::Pass(min_files) => {
                maintained(&mut writer, &policy(*min_files)).await;
            }
            Event::Reopen => writer = bench.writer().await,
        }
    }
    let mut expected: Vec<_> = model.into_values().collect();
    expected.sort();
    assert_eq!(bench.rows().await, expected);
    bench.feed_tells_every_version();
    bench
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn passes_between_random_changes_change_nothing(
        events in prop::collection::vec(event(), 40..41),
        partitioned in any::<bool>(),
    ) {
        let shape = if partitioned { Shape::partitioned() } else { Shape::plain() };
        runtime().block_on(follows_the_model(shape, &events));
    }
}

/// A row of the feed, without the time of its commit.
fn told(row: &Value) -> String {
    let mut row = row.clone();
    row.as_object_mut().unwrap().remove("_commit_timestamp");
    row.to_string()
}

#[test]
fn other_readers_see_the_same_rows_and_the_same_changes() {
    let readers = need!(Readers::ready());
    for shape in [Shape::plain(), Shape::partitioned()] {
        let bench = Bench::new(Kind::Delta, shape);
        let runtime = runtime();
        let mut writer = runtime.block_on(bench.writer());
        for first in 0..12 {
            let mut rows = scattered(first, ["eu", "us"][usize::try_from(first % 2).unwrap()]);
            rows.extend([
                (1_000, Some("eu"), Some(first)),
                (2_000 + first, None, None),
            ]);
            let change = change(&rows, &[2_000 + first - 1]);
            runtime.block_on(writer.apply(&change));
        }
        let changes = || {
            let table = readers.changes(&bench.folder, 0);
            let mut told: Vec<_> = table.rows.iter().map(told).collect();
            told.sort();
            told
        };
        let (rows, before) = (runtime.block_on(bench.rows()), changes());
        let report = runtime.block_on(maintained(&mut writer, &policy(3)));
        assert!(report.files_after < report.files_before / 3, "{report:?}");
        assert_eq!(changes(), before);
        let location = Location::Delta(bench.folder.clone());
        for reader in Reader::DELTA {
            let table = readers.read(reader, &location);
            assert_eq!(read_rows(&table), rows, "{reader:?}");
        }
        let receipt = runtime.block_on(writer.apply(&change(&scattered(3, "us"), &[0])));
        let later = changes();
        let newer = format!("\"_commit_version\":{}", receipt.version);
        let new: Vec<_> = later.iter().filter(|row| row.contains(&newer)).collect();
        assert!(!new.is_empty());
        assert_eq!(later.len(), before.len() + new.len());
    }
}

/// Two writers meet by chance: within so many rounds they certainly do.
const ROUNDS: i64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_and_passes_race_and_both_orders_are_right() {
    const KEYS: i64 = 12_000;
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    let mut model: BTreeMap<i64, i64> = BTreeMap::new();
    let mut apply = |rows: &[Plain<'_>]| {
        model.extend(rows.iter().map(|row| (row.0, row.2.unwrap())));
        let sum: i64 = model.values().sum();
        (change(rows, &[]), format!("{0}|{0}|{sum}", model.len()))
    };
    let (all, _) = apply(&many(0..KEYS, "eu", 1));
    writer.apply(&all).await;
    let mut keeper = Writer::of(bench.try_open("keeper").await.unwrap());
    let (mut passes_lost, mut upserts_lost) = (0, 0);
    for round in 1..ROUNDS {
        // Something small to compact, of rows that the upsert below changes too.
        let first = KEYS * round;
        for at in 0..3 {
            let rows: Vec<_> = (0..50)
                .map(|n| (first + n * 3 + at, None, Some(0)))
                .collect();
            writer.apply(&apply(&rows).0).await;
        }
        // A large upsert meets a short pass, and a small one a long pass.
        let short = round % 2 == 0;
        let mut rows: Vec<Plain<'_>> = (first..first + 90)
            .map(|id| (id, None, Some(round)))
            .collect();
        if short {
            rows.extend((0..KEYS).map(|id| (id, Some("us"), Some(round))));
        }
        let policy = Policy {
            target_file_size: if short { 64 << 10 } else { 128 << 20 },
            ..policy(2)
        };
        let (change, expected) = apply(&rows);
        let (receipt, report) =
            tokio::join!(writer.apply(&change), maintained(&mut keeper, &policy));
        passes_lost += report.conflicts;
        upserts_lost += receipt.conflicts;
        let found = bench
            .query("SELECT count(*), count(DISTINCT id), sum(n) FROM t")
            .await;
        assert_eq!(found, [expected]);
        bench.feed_tells(receipt.version);
        if passes_lost > 0 && upserts_lost > 0 {
            break;
        }
    }
    println!("{passes_lost} groups lost to upserts, {upserts_lost} upserts to passes");
    assert!(passes_lost > 0 && upserts_lost > 0);
    bench.feed_tells_every_version();
    assert_eq!(orphans(&bench), [""; 0]);
}

const END: i64 = 24;

fn expected(end: i64) -> Vec<String> {
    let mut rows: BTreeMap<i64, String> = BTreeMap::new();
    for first in 0..end {
        for (id, region, n) in scattered(first % 12, "eu") {
            rows.insert(
                id,
                format!("{id}|{}|{}", region.unwrap(), n.unwrap() + first),
            );
        }
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort();
    rows
}

/// Not a test: what the child processes run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the tests of this module in a process of its own"]
async fn child() {
    let Ok(folder) = std::env::var("MAINTAIN_TEST_FOLDER") else {
        return;
    };
    let bench = Bench::in_folder(Kind::Delta, Shape::plain(), Path::new(&folder));
    let mut writer = bench.writer().await;
    let stored = writer.sink.progress().await.unwrap();
    let from = stored.get(&Partition::new(TOPIC, 0)).unwrap_or(0);
    for first in from..END {
        let rows: Vec<_> = scattered(first % 12, "eu")
            .into_iter()
            .map(|(id, region, n)| (id, region, n.map(|n| n + first)))
            .collect();
        writer.apply(&change(&rows, &[])).await;
        if first % 4 == 3 {
            maintained(&mut writer, &policy(3)).await;
        }
    }
    maintained(&mut writer, &policy(3)).await;
}

fn run(folder: &Path, point: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "lake::maintain::delta::child",
            "--ignored",
            "--nocapture",
        ])
        .env("MAINTAIN_TEST_FOLDER", folder)
        .env("ENGINE_FAILPOINT", point)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_around_the_commit_leaves_the_table_right() {
    for point in ["before_compaction:2", "after_compaction:2"] {
        let folder = TempDir::new().unwrap();
        let killed = run(folder.path(), point);
        assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
        let second = run(folder.path(), "");
        assert!(second.status.success(), "{second:?}");
        let bench = Bench::in_folder(Kind::Delta, Shape::plain(), folder.path());
        assert_eq!(bench.rows().await, expected(END), "{point}");
        bench.feed_tells_every_version();
        let left = orphans(&bench);
        assert_eq!(left.is_empty(), point.starts_with("after"), "{left:?}");
        // And so does one while the files are deleted that nobody needs any more.
        age(&bench, 9);
        let killed = run(folder.path(), "after_vacuum:1");
        assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
        let second = run(folder.path(), "");
        assert!(second.status.success(), "{second:?}");
        assert_eq!(bench.rows().await, expected(END), "{point}");
        assert_eq!(orphans(&bench), [""; 0]);
        assert_eq!(bench.data_files().len(), live(&bench).len());
    }
}

/// Rows come and go, and the table stays as large as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_two_hundred_commits_a_commit_costs_what_it_cost() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut sink = DeltaUpsert::open(
        &bench.spec(),
        "p",
        &bench.shape.schema,
        &[],
        &bench.shape.key,
        Missing::Refuse,
    )
    .await
    .unwrap();
    // As UUIDs are: in no order.
    let id = |at: i64| at.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed());
    let mut reads = Vec::new();
    let mut most = 0;
    for at in 0..220_i64 {
        let arrivals = at * 40 + 2_000..at * 40 + 2_040;
        let rows = if at == 0 { 0..2_040 } else { arrivals };
        let mut rows: Vec<Plain<'_>> = rows.map(|n| (id(n), Some("eu"), Some(n))).collect();
        let stay = at * 40 + 1_000..at * 40 + 1_010;
        rows.extend(
            stay.map(|n| (id(n), Some("us"), Some(at)))
                .filter(|_| at > 0),
        );
        let gone: Vec<i64> = (at * 40 - 40..at * 40)
            .filter(|n| *n >= 0)
            .map(id)
            .collect();
        let before = sink.bytes_read();
        let change = change(&rows, &gone);
        sink.upsert(&change, &step(at, at + 1)).await.unwrap();
        reads.push(sink.bytes_read() - before);
        if at % 10 == 9 {
            let report = sink.maintain(&policy(10)).await.unwrap();
            most = most.max(report.files_after);
        }
    }
    let early: u64 = reads[10..30].iter().sum();
    let late: u64 = reads[200..220].iter().sum();
    println!("{early} bytes read in commits 10 to 30, {late} in 200 to 220, at most {most} files");
    assert!(late <= early + early / 2, "{early} {late}");
    assert!(most <= 12, "{most} files");
    assert_eq!(bench.query("SELECT count(*) FROM t").await, ["2040"]);
}
