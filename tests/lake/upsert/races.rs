//! Other writers of the same table, in between and at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use sql::ErrorKind;
use sql::change::Partition;
use tests::need;
use tests::python::{Location, Readers};

use super::feed::{State, read_rows};
use super::harness::{Bench, Kind, Shape, TOPIC, Writer, change, files_under, many, plain};
use super::iceberg::runtime;
use crate::lake::harness::step;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_racing_sinks_one_wins_each_span() {
    const END: i64 = 24;
    for (kind, shape) in [
        (Kind::Memory, Shape::plain()),
        (Kind::Delta, Shape::plain()),
        (Kind::Iceberg, Shape::plain()),
        (Kind::Iceberg, Shape::plain().copied()),
    ] {
        let bench = Bench::new(kind, shape);
        let race = async |region: &'static str| {
            let mut sink = bench.sink().await;
            let mut won = 0;
            loop {
                let stored = sink.progress().await.unwrap();
                let from = stored.get(&Partition::new(TOPIC, 0)).unwrap_or(0);
                if from == END {
                    return won;
                }
                let rows = many(from..from + 4, region, 1);
                let deletes: Vec<i64> = (from - 2..from).collect();
                match sink
                    .upsert(&change(&rows, &deletes), &step(from, from + 4))
                    .await
                {
                    Ok(receipt) => won += receipt.rows,
                    Err(error) => assert!(
                        matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Conflict),
                        "{}",
                        error.report()
                    ),
                }
            }
        };
        let (a, b) = tokio::join!(race("a"), race("b"));
        assert_eq!(a + b, 24, "{kind:?}");
        let rows = bench.query("SELECT id FROM t ORDER BY id").await;
        let left = (0..END).filter(|id| id % 4 < 2 || *id >= END - 4);
        assert_eq!(
            rows,
            left.map(|id| id.to_string()).collect::<Vec<_>>(),
            "{kind:?}"
        );
    }
}

/// Files of data and feed that no commit names.
pub fn orphans(bench: &Bench) -> Vec<String> {
    let mut named = BTreeSet::new();
    for version in 0..=bench.newest() {
        for name in ["add", "cdc"] {
            for action in bench.actions(version, name) {
                named.insert(action["path"].as_str().unwrap().to_owned());
            }
        }
    }
    let files = files_under(&bench.folder).into_iter();
    let files = files.map(|path| {
        path.strip_prefix(&bench.folder)
            .unwrap()
            .display()
            .to_string()
    });
    files
        .filter(|path| !path.starts_with("_delta_log") && !named.contains(path))
        .collect()
}

/// Rows of a table at a version whose id is below `end`.
fn below(state: &State, end: i64) -> usize {
    let id = |row: &str| row.split('|').next().unwrap().parse::<i64>().unwrap();
    state.keys().filter(|row| id(row) < end).count()
}

/// Runs `work` again and again until `done`, at least once.
async fn meanwhile(done: &AtomicBool, mut work: impl AsyncFnMut()) {
    loop {
        work().await;
        if done.load(Ordering::Relaxed) {
            return;
        }
    }
}

const LARGE: i64 = 12_000;

/// Two writers meet by chance: within so many rounds they certainly do.
const ROUNDS: std::ops::Range<i64> = 2..22;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_of_other_keys_costs_only_a_look_at_its_files() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..LARGE, "eu", 1), &[])).await;
    let mut other = Writer::of(bench.try_open("other").await.unwrap());
    let mut next = LARGE;
    for round in ROUNDS {
        let done = AtomicBool::new(false);
        let change = change(&many(0..LARGE, "us", round), &[]);
        let (receipt, ()) = tokio::join!(
            async {
                let receipt = writer.apply(&change).await;
                done.store(true, Ordering::Relaxed);
                receipt
            },
            meanwhile(&done, async || {
                let span = other.next().await;
                let row = plain(&[(next, None, None)]);
                other.sink.write(&[row], &span).await.unwrap();
                next += 1;
            })
        );
        let sum = LARGE * (LARGE - 1) / 2 * round;
        let rows = bench
            .query("SELECT count(*), count(DISTINCT id), sum(n) FROM t")
            .await;
        assert_eq!(rows, [format!("{next}|{next}|{sum}")]);
        assert_eq!(orphans(&bench), [""; 0]);
        bench.feed_tells(receipt.version);
        if receipt.conflicts > 0 {
            return;
        }
    }
    panic!("they never met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_our_keys_that_come_in_between_are_found() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..LARGE, "eu", 1), &[])).await;
    let mut other = Writer::of(bench.try_open("other").await.unwrap());
    for round in ROUNDS {
        let change = change(&many(0..LARGE, "us", round), &[]);
        let (receipt, ()) = tokio::join!(writer.apply(&change), async {
            // A few only: each of them sends the large change back to its beginning.
            for id in 0..3 {
                let span = other.next().await;
                let row = plain(&[(id, None, None)]);
                other.sink.write(&[row], &span).await.unwrap();
            }
        });
        let ours = bench.state(receipt.version);
        assert_eq!(below(&ours, LARGE), usize::try_from(LARGE).unwrap());
        assert!(ours.keys().all(|row| row.contains("|us|")));
        assert_eq!(orphans(&bench), [""; 0]);
        bench.feed_tells(receipt.version);
        if receipt.conflicts > 0 {
            return;
        }
    }
    panic!("they never met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelines_with_keys_of_their_own_share_files() {
    for shape in [Shape::plain(), Shape::partitioned()] {
        let bench = Bench::new(Kind::Delta, shape);
        let mut first = bench.writer().await;
        first.apply(&change(&many(0..60, "eu", 0), &[])).await;
        let run = async |pipeline: &str, which: i64| {
            let mut writer = Writer::of(bench.try_open(pipeline).await.unwrap());
            let mut conflicts = 0;
            for round in 1..12 {
                let ids = (0..60).filter(|id| id % 3 == which && id % round != 1);
                let region = if round % 2 == 0 { "eu" } else { "us" };
                let rows: Vec<_> = ids.map(|id| (id, Some(region), Some(round))).collect();
                conflicts += writer.apply(&change(&rows, &[])).await.conflicts;
            }
            conflicts
        };
        let (a, b, c) = tokio::join!(run("a", 0), run("b", 1), run("c", 2));
        assert!(a + b + c > 0, "they never met");
        let rows = bench.query("SELECT id, n FROM t ORDER BY id").await;
        let last = |id: i64| (1..12).rfind(|round| id % round != 1).unwrap();
        assert_eq!(
            rows,
            (0..60)
                .map(|id| format!("{id}|{}", last(id)))
                .collect::<Vec<_>>()
        );
        assert_eq!(orphans(&bench), [""; 0]);
        bench.feed_tells_every_version();
    }
}

#[test]
fn the_wheel_changes_the_table_in_between() {
    let readers = need!(Readers::ready());
    let runtime = runtime();
    for shape in [Shape::plain(), Shape::partitioned()] {
        let bench = Bench::new(Kind::Delta, shape);
        let path = bench.folder.display().to_string();
        let meddle = |commands: &[&str]| {
            let args = [path.as_str()].into_iter().chain(commands.iter().copied());
            readers.run("change_delta.py", args)
        };
        runtime.block_on(async {
            let mut writer = bench.writer().await;
            writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
            meddle(&["append:3:us:33", "append:50:us:50", "delete:id = 4"]);
            writer
                .apply(&change(
                    &[(3, Some("eu"), Some(0)), (4, Some("eu"), Some(44))],
                    &[5],
                ))
                .await;
            assert_eq!(
                bench
                    .query("SELECT id, n FROM t WHERE id IN (3, 4, 5, 50) ORDER BY id")
                    .await,
                ["3|0", "4|44", "50|50"]
            );
            writer.apply(&change(&many(20..25, "us", 1), &[])).await;
            meddle(&["optimize", "merge:7:us:70", "merge:60:eu:60"]);
            writer
                .apply(&change(
                    &[(7, Some("eu"), Some(71)), (60, Some("us"), Some(61))],
                    &[50],
                ))
                .await;
            meddle(&["optimize", "vacuum"]);
            writer
                .apply(&change(&[(0, Some("eu"), Some(100))], &[1, 60]))
                .await;
        });
        let rows = runtime.block_on(bench.rows());
        let ids = rows
            .iter()
            .map(|row| row.split('|').next().unwrap().parse::<i64>().unwrap());
        let mut ids: Vec<_> = ids.collect();
        ids.sort_unstable();
        assert_eq!(ids, [0, 2, 3, 4, 6, 7, 8, 9, 20, 21, 22, 23, 24]);
        let location = Location::Delta(bench.folder.clone());
        for reader in location.readers() {
            assert_eq!(
                read_rows(&readers.read(reader, &location)),
                rows,
                "{reader:?}"
            );
        }
        let history = meddle(&["history"]);
        let newest = &history[0];
        assert_eq!(newest["operation"], "MERGE");
        assert_eq!(
            newest["operationMetrics"]["numTargetRowsUpdated"], "1",
            "{newest}"
        );
        assert_eq!(
            newest["operationMetrics"]["numTargetRowsDeleted"], "2",
            "{newest}"
        );
    }
}
