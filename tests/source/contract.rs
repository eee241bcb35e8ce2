//! What every log must do, run against each.

use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::source::{FeedOptions, Flow, LogEvent, TopicFeed};
use engine::spec::model::OffsetReset;
use sql::ErrorKind;
use sql::change::{Partition, Position};
use sql::feed::{BatchLimit, ChangeFeed};

use super::support::*;

fn fill(store: &dyn Store, partitions: i32, records: i32) -> Vec<String> {
    store.create(TOPIC, partitions);
    let mut expected = Vec::new();
    for i in 0..records {
        for number in 0..partitions {
            store.put(TOPIC, number, Some(&format!("p{number}r{i}")));
            expected.push(format!("{number}@{i}=p{number}r{i}"));
        }
    }
    expected.sort();
    expected
}

async fn resumption_reads_each_record_once(store: &dyn Store) {
    let expected = fill(store, 3, 4);
    for batches_before_the_crash in 0..4 {
        for size in [1, 2, 5] {
            let mut position = Position::new();
            let mut all = Vec::new();
            let mut first = feed(store, options());
            first.seek(&position).await.unwrap();
            for _ in 0..batches_before_the_crash {
                let Some(batch) = first.next(&limit(size)).await.unwrap() else {
                    break;
                };
                assert!(batch.counts().records as usize <= size);
                position.try_advance(batch.span()).unwrap();
                all.extend(rows(&batch));
            }
            drop(first);
            let mut second = feed(store, options());
            second.seek(&position).await.unwrap();
            let (rest, end) = drain(&mut second, &limit(size), &position).await;
            all.extend(rest);
            all.sort();
            assert_eq!(
                all, expected,
                "{batches_before_the_crash} batches of {size}"
            );
            assert_eq!(end, at(&[(0, 4), (1, 4), (2, 4)]));
        }
    }
}

async fn offsets_grow_within_a_partition(store: &dyn Store) {
    fill(store, 2, 5);
    let mut feed = feed(store, options());
    feed.seek(&at(&[(0, 2)])).await.unwrap();
    let (all, _) = drain(&mut feed, &limit(3), &at(&[(0, 2)])).await;
    let of = |number: &str| -> Vec<String> {
        let rows = all.iter().filter(|row| row.starts_with(number));
        rows.cloned().collect()
    };
    assert_eq!(of("0@"), ["0@2=p0r2", "0@3=p0r3", "0@4=p0r4"]);
    assert_eq!(of("1@").len(), 5);
    assert_eq!(of("1@")[0], "1@0=p1r0");
}

async fn bytes_end_a_batch(store: &dyn Store) {
    fill(store, 1, 6);
    let mut feed = feed(store, options());
    feed.seek(&Position::new()).await.unwrap();
    let limit = BatchLimit {
        max_bytes: 1,
        ..limit(100)
    };
    let batch = feed.next(&limit).await.unwrap().unwrap();
    assert_eq!(rows(&batch), ["0@0=p0r0"]);
    assert_eq!(batch.span().after(), &Position::new());
    assert_eq!(batch.span().to(), &at(&[(0, 1)]));
}

async fn a_bounded_feed_ends_where_the_log_ended_at_seek(store: &dyn Store) {
    fill(store, 1, 3);
    let mut feed = feed(store, options());
    feed.seek(&Position::new()).await.unwrap();
    store.put(TOPIC, 0, Some("late"));
    let (all, end) = drain(&mut feed, &limit(2), &Position::new()).await;
    assert_eq!(all, ["0@0=p0r0", "0@1=p0r1", "0@2=p0r2"]);
    assert_eq!(end, at(&[(0, 3)]));
    assert!(feed.next(&limit(2)).await.unwrap().is_none());
}

async fn a_drained_position_gives_no_batch(store: &dyn Store) {
    fill(store, 2, 2);
    let mut feed = feed(store, options());
    feed.seek(&at(&[(0, 2), (1, 2)])).await.unwrap();
    assert!(feed.next(&limit(2)).await.unwrap().is_none());
    assert_eq!(feed.lag(), Some(0));
}

async fn records_that_are_no_rows_move_the_position(store: &dyn Store) {
    store.create(TOPIC, 1);
    for value in [Some("control"), None, Some("bad"), Some("control")] {
        store.put(TOPIC, 0, value);
    }
    let mut feed = feed(store, options());
    feed.seek(&Position::new()).await.unwrap();
    let batch = feed.next(&limit(10)).await.unwrap().unwrap();
    assert_eq!(batch.rows().num_rows(), 0);
    assert_eq!(batch.counts().records, 4);
    assert_eq!((batch.counts().control, batch.counts().tombstones), (2, 1));
    assert_eq!(batch.rejects().len(), 1);
    assert_eq!(batch.span().to(), &at(&[(0, 4)]));
}

async fn the_end_of_each_partition_is_told_after_its_records(store: &dyn Store) {
    fill(store, 3, 2);
    let mut log = store.open(names(&[TOPIC])).unwrap();
    let marks = log.partitions().unwrap();
    assert!(marks.iter().all(|m| (m.low, m.high) == (0, 2)), "{marks:?}");
    // One partition from its start, one from its middle, one from its end.
    log.assign(&at(&[(0, 0), (1, 1), (2, 2)])).unwrap();
    let mut told: Vec<String> = Vec::new();
    while told.iter().filter(|t| t.contains("end")).count() < 3 {
        log.poll(Duration::from_millis(20), &mut |event| {
            told.push(match event {
                LogEvent::Record(m) => format!("{} {}", m.partition.number, m.offset),
                LogEvent::End { partition, next } => format!("{} end {next}", partition.number),
                LogEvent::Appeared { .. } | LogEvent::Lost { .. } => "unexpected".to_owned(),
            });
            Ok(Flow::Continue)
        })
        .unwrap();
    }
    told.sort_by_key(|t| t.split(' ').next().map(str::to_owned));
    assert_eq!(told, ["0 0", "0 1", "0 end 2", "1 1", "1 end 2", "2 end 2"]);
    for mark in marks {
        assert_eq!(log.end(&mark.partition), Some(2));
    }
}

async fn records_carry_key_headers_and_time(store: &dyn Store) {
    store.create(TOPIC, 1);
    store.put(TOPIC, 0, None);
    let mut log = store.open(names(&[TOPIC])).unwrap();
    log.partitions().unwrap();
    log.assign(&at(&[(0, 0)])).unwrap();
    let mut seen = None;
    while seen.is_none() {
        log.poll(Duration::from_millis(20), &mut |event| {
            if let LogEvent::Record(m) = event {
                let header = |i: usize| {
                    let (name, value) = m.headers[i];
                    (name.to_owned(), value.map(<[u8]>::to_vec))
                };
                seen = Some((
                    m.key.map(<[u8]>::to_vec),
                    m.value.map(<[u8]>::to_vec),
                    m.headers.len(),
                    header(0),
                    header(1),
                    m.timestamp_ms,
                ));
            }
            Ok(Flow::Continue)
        })
        .unwrap();
    }
    assert_eq!(
        seen.unwrap(),
        (
            Some(b"k".to_vec()),
            None,
            2,
            ("h".to_owned(), Some(b"1".to_vec())),
            ("n".to_owned(), None),
            Some(1_700_000_000_000),
        )
    );
}

async fn an_unbounded_feed_waits_for_records(store: &dyn Store) {
    fill(store, 1, 1);
    let mut feed = feed(store, unbounded());
    feed.seek(&at(&[(0, 1)])).await.unwrap();
    let (batch, ()) = futures::join!(
        async { feed.next(&limit(1)).await.unwrap().unwrap() },
        async { store.put(TOPIC, 0, Some("late")) },
    );
    assert_eq!(rows(&batch), ["0@1=late"]);
    assert_eq!(batch.span().after(), &at(&[(0, 1)]));
}

async fn time_ends_a_batch(store: &dyn Store) {
    fill(store, 1, 2);
    let mut feed = feed(store, unbounded());
    feed.seek(&Position::new()).await.unwrap();
    let limit = BatchLimit {
        max_wait: Duration::from_millis(1),
        ..limit(usize::MAX)
    };
    let (mut all, mut position) = (Vec::new(), Position::new());
    while all.len() < 2 {
        let batch = feed.next(&limit).await.unwrap().unwrap();
        position.try_advance(batch.span()).unwrap();
        all.extend(rows(&batch));
    }
    assert_eq!(all, ["0@0=p0r0", "0@1=p0r1"]);
}

async fn stopping_returns_what_is_there_then_nothing(store: &dyn Store) {
    fill(store, 1, 2);
    let decoder = TextDecoder::declared();
    let pushed = decoder.pushed.clone();
    let options = unbounded();
    let stop = options.stop.clone();
    let log = store.open(names(&[TOPIC])).unwrap();
    let mut feed = TopicFeed::new(log, Box::new(decoder), options).unwrap();
    feed.seek(&Position::new()).await.unwrap();
    let waiting = limit(100);
    let (batch, ()) = futures::join!(feed.next(&waiting), async {
        while pushed.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    });
    assert_eq!(rows(&batch.unwrap().unwrap()), ["0@0=p0r0", "0@1=p0r1"]);
    assert!(feed.next(&waiting).await.unwrap().is_none());
}

async fn latest_starts_at_the_end_and_records_it(store: &dyn Store) {
    fill(store, 2, 3);
    let latest = FeedOptions {
        auto_offset_reset: OffsetReset::Latest,
        ..unbounded()
    };
    let mut feed = feed(store, latest);
    feed.seek(&Position::new()).await.unwrap();
    store.put(TOPIC, 1, Some("new"));
    let batch = feed.next(&limit(1)).await.unwrap().unwrap();
    assert_eq!(rows(&batch), ["1@3=new"]);
    assert_eq!(batch.span().after(), &Position::new());
    // The quiet partition is recorded too: what comes to it before the next start is not skipped.
    assert_eq!(batch.span().to(), &at(&[(0, 3), (1, 4)]));
}

async fn a_part_of_the_log_is_read_when_offsets_are_named(store: &dyn Store) {
    fill(store, 2, 5);
    for (from, until, expected) in [
        (OffsetReset::At(3), None, &[3, 4][..]),
        (OffsetReset::At(1), Some(2), &[1, 2]),
        (OffsetReset::Earliest, Some(0), &[0]),
        (OffsetReset::Last(2), None, &[3, 4]),
        (OffsetReset::Last(2), Some(3), &[3]),
        (OffsetReset::Last(9), Some(0), &[0]),
        (OffsetReset::At(4), Some(9), &[4]),
        (OffsetReset::At(7), None, &[]),
        (OffsetReset::Last(1), Some(2), &[]),
        (OffsetReset::Latest, None, &[]),
    ] {
        let part = FeedOptions {
            auto_offset_reset: from,
            until,
            ..options()
        };
        let mut feed = feed(store, part);
        feed.seek(&Position::new()).await.unwrap();
        let (mut all, _) = drain(&mut feed, &limit(3), &Position::new()).await;
        all.sort();
        let row = |number: i32| {
            let rows = expected.iter();
            rows.map(move |i| format!("{number}@{i}=p{number}r{i}"))
        };
        let expected: Vec<_> = row(0).chain(row(1)).collect();
        assert_eq!(all, expected, "{from:?} {until:?}");
    }
}

async fn a_position_behind_the_end_is_data_loss(store: &dyn Store) {
    fill(store, 1, 3);
    for fail_on_data_loss in [true, false] {
        let mut feed = feed(
            store,
            FeedOptions {
                fail_on_data_loss,
                ..options()
            },
        );
        let error = feed.seek(&at(&[(0, 9)])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss);
        assert_eq!(
            error.message(),
            "the table's position of shop.customers/0 is 9, but the log ends at 3"
        );
    }
}

async fn a_partition_that_is_gone_is_data_loss(store: &dyn Store) {
    fill(store, 1, 3);
    let mut feed = feed(store, options());
    let error = feed.seek(&at(&[(0, 1), (7, 2)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert_eq!(
        error.message(),
        "the table's position of shop.customers/7 is 2, but there is no such partition now"
    );
}

async fn a_missing_topic_names_the_nearest(store: &dyn Store) {
    fill(store, 1, 1);
    let mut log = store.open(names(&["shop.customer"])).unwrap();
    let error = log.partitions().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), "there is no topic `shop.customer`");
    assert_eq!(error.next_step(), Some("Did you mean `shop.customers`?"));
    assert!(error.to_string().contains("shop.customers"), "{error}");
}

async fn new_topics_of_a_pattern_are_read_from_their_start(store: &dyn Store) {
    fill(store, 1, 1);
    let topics = engine::spec::model::Topics::Regex(r"shop\..*".to_owned());
    let log = store.open(topics).unwrap();
    let mut feed = TopicFeed::new(log, Box::new(TextDecoder::declared()), unbounded()).unwrap();
    feed.seek(&at(&[(0, 1)])).await.unwrap();
    store.create("other.topic", 1);
    store.put("other.topic", 0, Some("not read"));
    store.create("shop.orders", 1);
    store.put("shop.orders", 0, Some("first"));
    let batch = feed.next(&limit(1)).await.unwrap().unwrap();
    assert_eq!(rows(&batch), ["0@0=first"]);
    let orders = Partition::new("shop.orders", 0);
    assert_eq!(batch.span().after().get(&orders), None);
    assert_eq!(batch.span().to().get(&orders), Some(1));
}

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(&super::MemoryStore::default()).await })*
        }
        mod replay {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(&super::FileStore::default()).await })*
        }
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(&super::KafkaStore::default()).await })*
        }
    };
}

contract!(
    resumption_reads_each_record_once,
    offsets_grow_within_a_partition,
    bytes_end_a_batch,
    a_bounded_feed_ends_where_the_log_ended_at_seek,
    a_drained_position_gives_no_batch,
    records_that_are_no_rows_move_the_position,
    the_end_of_each_partition_is_told_after_its_records,
    records_carry_key_headers_and_time,
    an_unbounded_feed_waits_for_records,
    time_ends_a_batch,
    stopping_returns_what_is_there_then_nothing,
    latest_starts_at_the_end_and_records_it,
    a_part_of_the_log_is_read_when_offsets_are_named,
    a_position_behind_the_end_is_data_loss,
    a_partition_that_is_gone_is_data_loss,
    a_missing_topic_names_the_nearest,
    new_topics_of_a_pattern_are_read_from_their_start,
);
