//! What is gone, rolled back or not allowed stops the feed with a sentence.

use engine::source::lake::{LakeFeed, LakeOptions};
use engine::spec::model::{LakePoint, LakeStart};
use sql::ErrorKind;
use sql::change::Position;
use sql::feed::ChangeFeed;
use sql::versioned::MemoryTable;
use std::sync::Arc;

use super::support::*;

fn five() -> MemoryTable {
    let table = table();
    for version in 0..5 {
        inserts(&table, version..version + 1);
    }
    table
}

async fn refused(table: &MemoryTable, options: LakeOptions, position: &Position) -> sql::Error {
    let mut feed = feed(table, options);
    feed.seek(position).await.unwrap_err()
}

#[tokio::test]
async fn versions_that_expired_are_data_loss() {
    let table = five();
    table.expire(4);
    let error = refused(&table, options(), &at(&[(0, 2)])).await;
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert_eq!(
        error.message(),
        "changes of items are gone: version 3 comes next, but the oldest whose changes are there is 4"
    );
    assert!(error.to_string().contains("4 to 5"), "{error}");
    assert!(error.next_step().unwrap().contains("start: snapshot"));
    // The version before the oldest one is not needed: its changes are in the target.
    let mut feed = sought(&table, options(), &at(&[(0, 3)])).await;
    let (all, _) = drain(&mut feed, &limit(9), &at(&[(0, 3)])).await;
    assert_eq!(all, ["4 insert 3 x", "5 insert 4 x"]);
}

#[tokio::test]
async fn a_split_snapshot_whose_version_expired_is_data_loss() {
    let table = five();
    table.expire(4);
    let error = refused(&table, options(), &at(&[(1, 1), (2, 2)])).await;
    assert_eq!(error.kind(), ErrorKind::DataLoss);
}

#[tokio::test]
async fn a_history_that_was_rolled_back_is_data_loss() {
    let table = five();
    table.roll_back(3);
    let error = refused(&table, options(), &at(&[(0, 5)])).await;
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert_eq!(
        error.message(),
        "version 5 of items was read, but it is not of the table's history now"
    );
    // Also where it has gone on since, with greater numbers.
    inserts(&table, 70..71);
    let error = refused(&table, options(), &at(&[(0, 5)])).await;
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    // Who had not read what was taken back goes on.
    let mut feed = sought(&table, options(), &at(&[(0, 3)])).await;
    let (all, _) = drain(&mut feed, &limit(9), &at(&[(0, 3)])).await;
    assert_eq!(all, ["6 insert 70 x"]);
}

#[tokio::test]
async fn a_roll_back_while_the_feed_runs_is_data_loss() {
    let table = five();
    let unbounded = LakeOptions {
        bounded: false,
        ..options()
    };
    let mut feed = sought(&table, unbounded, &Position::new()).await;
    let soon = sql::feed::BatchLimit {
        max_wait: std::time::Duration::from_millis(1),
        ..limit(5)
    };
    assert_eq!(
        feed.next(&soon).await.unwrap().unwrap().rows().num_rows(),
        5
    );
    table.roll_back(2);
    inserts(&table, 80..81);
    let error = feed.next(&soon).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
}

#[tokio::test]
async fn a_version_with_fewer_rows_than_were_read_is_data_loss() {
    let table = five();
    let mut feed = sought(&table, options(), &at(&[(0, 4), (1, 3)])).await;
    let error = feed.next(&limit(9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert!(error.message().contains("3 rows of version 5"), "{error}");
}

#[tokio::test]
async fn a_start_that_is_not_there_names_what_is() {
    let table = five();
    table.expire(3);
    let start = |point| LakeOptions {
        start: LakeStart::At(point),
        ..options()
    };
    let error = refused(&table, start(LakePoint::Version(9)), &Position::new()).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.message(),
        "`start` is version 9, but the newest of items is 5"
    );
    assert!(error.to_string().contains("3 to 5"), "{error}");
    let error = refused(&table, start(LakePoint::Version(2)), &Position::new()).await;
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    let error = refused(&table, start(LakePoint::Snapshot(1)), &Position::new()).await;
    assert_eq!(error.message(), "items has no snapshot 1");
}

#[tokio::test]
async fn a_target_kept_by_key_needs_a_key() {
    let table = MemoryTable::new(NAME, schema(), &[], 1);
    let refused = |options| {
        LakeFeed::try_new(Arc::new(table.clone()), options)
            .err()
            .unwrap()
    };
    let error = refused(keyed());
    assert_eq!(
        error.message(),
        "the target is kept by key, but nothing says what identifies a row of items"
    );
    assert_eq!(
        error.next_step(),
        Some("Say them in the source: `key: [id]`.")
    );
    let error = refused(LakeOptions {
        key: vec!["idd".to_owned()],
        ..options()
    });
    assert_eq!(error.next_step(), Some("Did you mean `id`?"));
}
