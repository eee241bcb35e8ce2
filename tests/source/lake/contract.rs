//! What every feed must do, on a table: `source::contract` is the same for topics.

use std::time::Duration;

use engine::source::lake::LakeOptions;
use engine::spec::model::{LakeEnd, LakePoint, LakeStart};
use sql::Error;
use sql::ErrorKind;
use sql::change::{Op, Position};
use sql::feed::{BatchLimit, ChangeFeed};
use sql::versioned::MemoryTable;

use super::support::*;

/// Five versions: inserts, an update, a compaction, a delete with an insert, a large one.
fn history() -> MemoryTable {
    let table = table();
    commit(&table, &[("insert", 1, "a"), ("insert", 2, "b")]);
    commit(
        &table,
        &[("update_preimage", 1, "a"), ("update_postimage", 1, "A")],
    );
    table.compact(micros(3)).unwrap();
    commit(&table, &[("delete", 2, "b"), ("insert", 3, "c")]);
    commit(
        &table,
        &[
            ("update_preimage", 1, "A"),
            ("update_postimage", 1, "aa"),
            ("update_preimage", 3, "c"),
            ("update_postimage", 3, "cc"),
            ("insert", 4, "d"),
        ],
    );
    table
}

const ALL: [&str; 11] = [
    "1 insert 1 a",
    "1 insert 2 b",
    "2 update_preimage 1 a",
    "2 update_postimage 1 A",
    "4 delete 2 b",
    "4 insert 3 c",
    "5 update_preimage 1 A",
    "5 update_postimage 1 aa",
    "5 update_preimage 3 c",
    "5 update_postimage 3 cc",
    "5 insert 4 d",
];

#[tokio::test]
async fn resumption_reads_each_change_once() {
    for stream in [1, 2, 3, 100] {
        let table = history();
        table.batches_of(stream);
        for size in [1, 2, 3, 4, 100] {
            for crash_after in 0..8 {
                let mut position = Position::new();
                let mut all = Vec::new();
                let mut first = sought(&table, options(), &position).await;
                for _ in 0..crash_after {
                    let Some(batch) = first.next(&limit(size)).await.unwrap() else {
                        break;
                    };
                    position.try_advance(batch.span()).unwrap();
                    all.extend(rows(&batch));
                }
                let mut second = sought(&table, options(), &position).await;
                let (rest, end) = drain(&mut second, &limit(size), &position).await;
                all.extend(rest);
                assert_eq!(all, ALL, "batches of {size}, crash after {crash_after}");
                assert_eq!(
                    end.get(&at(&[(0, 0)]).iter().next().unwrap().0.clone()),
                    Some(5)
                );
            }
        }
    }
}

#[tokio::test]
async fn both_images_of_an_update_are_in_one_batch() {
    let table = history();
    for stream in [1, 2, 5] {
        table.batches_of(stream);
        for size in 1..6 {
            let mut feed = sought(&table, options(), &Position::new()).await;
            while let Some(batch) = feed.next(&limit(size)).await.unwrap() {
                let rows = rows(&batch);
                assert!(rows.len() <= size + 1, "{rows:?}");
                let last = rows.last().map(String::as_str).unwrap_or_default();
                assert!(!last.contains("preimage"), "{rows:?}");
                let first = rows.first().map(String::as_str).unwrap_or_default();
                assert!(!first.contains("postimage"), "{rows:?}");
            }
        }
    }
}

#[tokio::test]
async fn positions_are_versions_and_rows_within_one_that_is_split() {
    let table = history();
    let mut feed = sought(&table, options(), &at(&[(0, 4)])).await;
    let step = 1_i64 << 40;
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(batch.span().to(), &at(&[(1, 2)]));
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(batch.span().to(), &at(&[(1, 4)]));
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(batch.span().to(), &at(&[(0, 5), (1, step)]));
    assert_eq!(batch.version(), Some(5));
    // A version that fits leaves the counter where it is; the next one that is split counts on from it.
    inserts(&table, 10..12);
    inserts(&table, 20..23);
    let mut feed = sought(&table, options(), &at(&[(0, 5), (1, step)])).await;
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(batch.span().to(), &at(&[(0, 6)]));
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(batch.span().to(), &at(&[(1, step + 2)]));
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(batch.span().to(), &at(&[(0, 7), (1, 2 * step)]));
    assert!(feed.next(&limit(2)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_version_that_fills_the_batch_exactly_is_not_split() {
    let table = table();
    inserts(&table, 0..4);
    let mut feed = sought(&table, options(), &Position::new()).await;
    let batch = feed.next(&limit(4)).await.unwrap().unwrap();
    assert_eq!(batch.span().to(), &at(&[(0, 1)]));
}

#[tokio::test]
async fn bytes_and_versions_end_a_batch() {
    let table = history();
    let mut feed = sought(&table, options(), &Position::new()).await;
    let one = BatchLimit {
        max_bytes: 1,
        ..limit(100)
    };
    assert_eq!(
        rows(&feed.next(&one).await.unwrap().unwrap()),
        ["1 insert 1 a"]
    );
    let two_versions = LakeOptions {
        max_versions: Some(2),
        ..options()
    };
    let mut feed = sought(&table, two_versions, &Position::new()).await;
    let batch = feed.next(&limit(100)).await.unwrap().unwrap();
    assert_eq!(rows(&batch), &ALL[..4]);
    let batch = feed.next(&limit(100)).await.unwrap().unwrap();
    assert_eq!(rows(&batch), &ALL[4..6], "the compaction counts as one");
}

#[tokio::test]
async fn a_bounded_feed_ends_where_the_table_ended_at_seek() {
    let table = history();
    let mut feed = sought(&table, options(), &Position::new()).await;
    inserts(&table, 50..51);
    let (all, end) = drain(&mut feed, &limit(3), &Position::new()).await;
    assert_eq!(all, ALL);
    assert_eq!(end.iter().next().map(|(_, value)| value), Some(5));
}

#[tokio::test]
async fn a_drained_position_gives_no_batch() {
    let table = history();
    let mut feed = sought(&table, options(), &at(&[(0, 5)])).await;
    assert!(feed.next(&limit(2)).await.unwrap().is_none());
    assert_eq!(feed.lag(), Some(0));
}

#[tokio::test]
async fn versions_that_change_no_row_move_the_position() {
    let table = table();
    inserts(&table, 0..1);
    table.compact(micros(2)).unwrap();
    table.compact(micros(3)).unwrap();
    let mut feed = sought(&table, options(), &at(&[(0, 1)])).await;
    let batch = feed.next(&limit(10)).await.unwrap().unwrap();
    assert_eq!((batch.rows().num_rows(), batch.counts().control), (0, 2));
    assert_eq!(batch.span().to(), &at(&[(0, 3)]));
    assert!(feed.next(&limit(10)).await.unwrap().is_none());
}

#[tokio::test]
async fn an_unbounded_feed_waits_for_versions_and_time_ends_its_batch() {
    let table = table();
    inserts(&table, 0..1);
    let unbounded = LakeOptions {
        bounded: false,
        ..options()
    };
    let mut feed = sought(&table, unbounded, &at(&[(0, 1)])).await;
    let soon = BatchLimit {
        max_wait: Duration::from_millis(1),
        ..limit(100)
    };
    let (batch, ()) = futures::join!(async { feed.next(&soon).await.unwrap().unwrap() }, async {
        assert_eq!(commit(&table, &[("insert", 9, "late")]), 2)
    },);
    assert_eq!(rows(&batch), ["2 insert 9 late"]);
    assert_eq!(batch.meta().commit_micros, [micros(2)]);
    assert_eq!(batch.meta().offsets, [2]);
}

#[tokio::test]
async fn stopping_returns_what_is_there_then_nothing() {
    let table = table();
    inserts(&table, 0..2);
    let unbounded = LakeOptions {
        bounded: false,
        ..options()
    };
    let stop = unbounded.stop.clone();
    let mut feed = sought(&table, unbounded, &Position::new()).await;
    let waiting = limit(100);
    let (batch, ()) = futures::join!(feed.next(&waiting), async {
        while table.delivered() < 2 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    });
    assert_eq!(batch.unwrap().unwrap().rows().num_rows(), 2);
    assert!(feed.next(&waiting).await.unwrap().is_none());
}

#[tokio::test]
async fn the_initial_snapshot_is_of_one_version_across_restarts() {
    let table = history();
    let snapshot = || LakeOptions {
        start: LakeStart::Snapshot,
        ..options()
    };
    let mut feed = sought(&table, snapshot(), &Position::new()).await;
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(rows(&batch).len(), 2);
    assert_eq!(batch.meta().ops, [Op::Read; 2]);
    assert_eq!(batch.meta().commit_micros, [i64::MIN; 2]);
    assert_eq!(batch.span().to(), &at(&[(1, 2), (2, 5)]));
    let mut position = Position::new();
    position.try_advance(batch.span()).unwrap();
    // The table goes on meanwhile: what is read on is the version that was begun, then what came after it.
    commit(&table, &[("delete", 1, "aa"), ("insert", 7, "g")]);
    let mut feed = sought(&table, snapshot(), &position).await;
    let (rest, end) = drain(&mut feed, &limit(2), &position).await;
    let mut all = rows(&batch);
    all.extend(rest);
    all[..3].sort();
    assert_eq!(
        all,
        [
            "5 insert 1 aa",
            "5 insert 3 cc",
            "5 insert 4 d",
            "6 delete 1 aa",
            "6 insert 7 g"
        ]
    );
    assert_eq!(end, at(&[(0, 6), (1, 1 << 40), (2, 5)]));
}

#[tokio::test]
async fn a_snapshot_of_an_empty_table_is_remembered() {
    let table = table();
    inserts(&table, 0..1);
    commit(&table, &[("delete", 0, "x")]);
    let snapshot = LakeOptions {
        start: LakeStart::Snapshot,
        ..options()
    };
    let mut feed = sought(&table, snapshot, &Position::new()).await;
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(batch.span().to(), &at(&[(0, 2), (2, 2)]));
    assert!(feed.next(&limit(2)).await.unwrap().is_none());
}

#[tokio::test]
async fn starts_and_ends() {
    let table = history();
    let point = |point| LakeStart::At(point);
    let end = |point| Some(LakeEnd::At(point));
    let cases: [(LakeStart, Option<LakeEnd>, &[&str]); 9] = [
        (LakeStart::Earliest, None, &ALL),
        (LakeStart::Latest, None, &[]),
        (point(LakePoint::Version(4)), None, &ALL[4..]),
        (
            point(LakePoint::Version(3)),
            end(LakePoint::Version(4)),
            &ALL[4..6],
        ),
        (point(LakePoint::Version(6)), None, &[]),
        // The double's snapshot ids are versions and a thousand.
        (
            point(LakePoint::Snapshot(1004)),
            end(LakePoint::Snapshot(1004)),
            &ALL[4..6],
        ),
        (point(LakePoint::Time(micros(4))), None, &ALL[4..]),
        (
            point(LakePoint::Time(micros(2) + 1)),
            end(LakePoint::Time(micros(5) - 1)),
            &ALL[4..6],
        ),
        (point(LakePoint::Time(0)), Some(LakeEnd::Latest), &ALL),
    ];
    for (start, end, expected) in cases {
        for bounded in [true, false] {
            if !bounded && end.is_none() {
                continue;
            }
            let shown = format!("{start:?} to {end:?}");
            let options = LakeOptions {
                start,
                end,
                bounded,
                clock: || i64::MAX,
                ..options()
            };
            let mut feed = sought(&table, options, &Position::new()).await;
            let (all, _) = drain(&mut feed, &limit(3), &Position::new()).await;
            assert_eq!(all, expected, "{shown}");
        }
    }
}

#[tokio::test]
async fn a_start_is_found_once_and_then_remembered() {
    let table = history();
    let latest = || LakeOptions {
        start: LakeStart::Latest,
        ..options()
    };
    let mut feed = sought(&table, latest(), &Position::new()).await;
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(
        (batch.counts().records, batch.span().to()),
        (0, &at(&[(0, 5)]))
    );
    commit(&table, &[("insert", 8, "h")]);
    let mut feed = sought(&table, latest(), &at(&[(0, 5)])).await;
    let (all, _) = drain(&mut feed, &limit(2), &at(&[(0, 5)])).await;
    assert_eq!(all, ["6 insert 8 h"]);
}

#[tokio::test]
async fn a_snapshot_ends_where_the_feed_ends() {
    let table = history();
    let options = LakeOptions {
        start: LakeStart::Snapshot,
        end: Some(LakeEnd::At(LakePoint::Version(2))),
        bounded: false,
        ..options()
    };
    let mut feed = sought(&table, options, &Position::new()).await;
    let (mut all, _) = drain(&mut feed, &limit(9), &Position::new()).await;
    all.sort();
    assert_eq!(all, ["2 insert 1 A", "2 insert 2 b"]);
}

#[tokio::test]
async fn an_outage_is_waited_out_in_the_middle_of_a_version() {
    for failures in 1..4 {
        let table = history();
        table.batches_of(1);
        let mut feed = sought(&table, options(), &Position::new()).await;
        let batch = feed.next(&limit(3)).await.unwrap().unwrap();
        for _ in 0..failures {
            table.fail(Error::new(ErrorKind::Unavailable, "away"));
        }
        let mut all = rows(&batch);
        let mut position = Position::new();
        position.try_advance(batch.span()).unwrap();
        let (rest, _) = drain(&mut feed, &limit(3), &position).await;
        all.extend(rest);
        assert_eq!(all, ALL);
    }
}

#[tokio::test]
async fn an_error_comes_after_the_rows_before_it() {
    let table = history();
    table.batches_of(1);
    let mut feed = sought(&table, options(), &Position::new()).await;
    drop(feed.next(&limit(1)).await.unwrap());
    table.fail(Error::new(ErrorKind::Storage, "broken"));
    let mut errors = Vec::new();
    let mut records = 0;
    for _ in 0..20 {
        match feed.next(&limit(4)).await {
            Ok(Some(batch)) => records += batch.rows().num_rows(),
            Ok(None) => break,
            Err(error) => {
                errors.push(error.kind());
                break;
            }
        }
    }
    assert_eq!(errors, [ErrorKind::Storage]);
    assert!(records < ALL.len());
}
