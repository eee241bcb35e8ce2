//! Source positions that go back for other reasons: applied, reported, and never mistaken for events sent again.

use super::harness::Bench;
use super::simulated::{Topic, changes};

const WINDOW_OF_10: &str = "resends: drop\n  resends_window: 10";

#[tokio::test]
async fn what_is_sent_again_from_before_the_window_is_applied_once_and_reported_once() {
    let changes = changes(30);
    let mut topic = Topic::new(true);
    for change in &changes {
        topic.send(change, false);
    }
    // Twenty are sent again: ten from before the window, then the ten that it remembers.
    topic.restart();
    for change in &changes[10..20] {
        topic.send(change, false);
    }
    for change in &changes[20..] {
        topic.send(change, true);
    }
    let mut bench = Bench::new();
    bench.put(&topic.records);
    bench.run(WINDOW_OF_10, 1_000).await.unwrap();
    assert_eq!(bench.offsets(), topic.expected_rows());
    assert_eq!(bench.resends(), topic.again());
    assert_eq!(bench.jumps(), 1, "one report for one way back");
    // With restarts in the midst of it the files may know more than the window: never less, and no event is lost.
    let mut bench = Bench::new();
    for records in topic.records.chunks(5) {
        bench.put(records);
        bench.run(WINDOW_OF_10, 3).await.unwrap();
    }
    let (rows, expected) = (bench.offsets(), topic.expected_rows());
    assert_eq!(rows[..30], expected[..30]);
    assert!(rows.iter().all(|row| expected.contains(row)), "{rows:?}");
    assert_eq!(bench.jumps(), 1);
}

#[tokio::test]
async fn a_window_that_is_just_long_enough_drops_all() {
    let changes = changes(30);
    let mut topic = Topic::new(false);
    for change in &changes {
        topic.send(change, false);
    }
    for change in &changes[20..] {
        topic.send(change, true);
    }
    let mut bench = Bench::new();
    bench.put(&topic.records);
    bench.run(WINDOW_OF_10, 7).await.unwrap();
    assert_eq!(bench.offsets(), topic.expected_rows());
    assert_eq!((bench.resends(), bench.jumps()), (topic.again(), 0));
}

#[tokio::test]
async fn a_restored_server_counts_from_lower_positions_and_its_events_are_rows() {
    let mut topic = Topic::new(true);
    for change in changes(20) {
        topic.send(&change, false);
    }
    topic.restart();
    // The same transactions, LSNs, keys and operations as before, at another time, and then new ones.
    for mut change in changes(25) {
        change.transaction += 3;
        topic.send(&change, false);
    }
    let mut bench = Bench::new();
    bench.put(&topic.records);
    bench.run("resends: drop", 8).await.unwrap();
    assert_eq!(bench.offsets(), topic.expected_rows());
    assert_eq!((bench.resends(), bench.jumps()), (0, 1));
}

#[tokio::test]
async fn one_transaction_longer_than_the_window_is_reported_when_it_is_sent_again() {
    let mut topic = Topic::new(true);
    let mut long = changes(30);
    for change in &mut long {
        change.commit_before = 9_000;
        change.transaction = 600;
        change.op = "u";
    }
    for change in &long {
        topic.send(change, false);
    }
    topic.restart();
    for change in &long {
        topic.send(change, false);
    }
    let mut bench = Bench::new();
    bench.put(&topic.records);
    bench.run(WINDOW_OF_10, 1_000).await.unwrap();
    assert_eq!(bench.jumps(), 1);
    assert_eq!(bench.offsets(), topic.expected_rows());
}

#[tokio::test]
async fn snapshot_rows_among_events_sent_again_are_rows_and_no_reason_to_report() {
    let changes = changes(12);
    let mut topic = Topic::new(true);
    for change in &changes {
        topic.send(change, false);
        topic.send_snapshot_row(7);
    }
    topic.restart();
    for change in &changes[3..] {
        topic.send_snapshot_row(7);
        topic.send(change, true);
    }
    let mut bench = Bench::new();
    bench.put(&topic.records);
    bench.run("resends: drop", 5).await.unwrap();
    assert_eq!(bench.offsets(), topic.expected_rows());
    assert_eq!((bench.resends(), bench.jumps()), (topic.again(), 0));
}

#[tokio::test]
async fn a_tombstone_that_does_not_follow_its_delete_is_no_event_sent_again() {
    let changes = changes(3);
    let mut topic = Topic::new(true);
    for change in &changes {
        topic.send(change, false);
    }
    topic.restart();
    topic.send(&changes[2], true);
    // Another tombstone of the same key: compaction leaves such ones.
    let mut lone = topic.records.last().unwrap().clone();
    lone.offset += 1;
    topic.records.push(lone);
    topic.first.push(topic.records.len() as i64 - 1);
    let mut bench = Bench::new();
    bench.put(&topic.records);
    bench.run("resends: drop", 1).await.unwrap();
    assert_eq!((bench.resends(), bench.tombstones()), (2, 2));
}

#[tokio::test]
async fn streamed_events_that_are_called_a_snapshot_s_are_known_when_they_come_again() {
    let changes = changes(12);
    let mut topic = Topic::new(true);
    topic.stale_snapshot = true;
    for change in &changes {
        topic.send(change, false);
    }
    topic.restart();
    for change in &changes[3..] {
        topic.send(change, true);
    }
    let mut bench = Bench::new();
    bench.put(&topic.records);
    bench.run("resends: drop", 5).await.unwrap();
    assert_eq!(bench.offsets(), topic.expected_rows());
    assert_eq!((bench.resends(), bench.jumps()), (topic.again(), 0));
}
