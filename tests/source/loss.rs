//! Gaps, control records and retention, which only a log in memory can be told to have.

use engine::source::FeedOptions;
use sql::ErrorKind;
use sql::change::{Partition, Position};
use sql::feed::ChangeFeed;

use super::support::*;

#[tokio::test]
async fn gaps_and_control_records_are_behind_the_end() {
    let store = MemoryStore::default();
    for offset in [2, 5, 9] {
        store.0.append(record(TOPIC, 0, offset, Some("x")));
    }
    let partition = Partition::new(TOPIC, 0);
    store.0.set_high(&partition, 12);
    let mut first = feed(&store, options());
    first.seek(&at(&[(0, 0)])).await.unwrap();
    let (all, end) = drain(&mut first, &limit(100), &at(&[(0, 0)])).await;
    assert_eq!(all, ["0@2=x", "0@5=x", "0@9=x"]);
    assert_eq!(end, at(&[(0, 12)]));
    let mut second = feed(&store, options());
    second.seek(&at(&[(0, 10)])).await.unwrap();
    assert!(second.next(&limit(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn records_lost_by_retention_stop_or_are_skipped_as_configured() {
    let store = MemoryStore::default();
    store.create(TOPIC, 1);
    for _ in 0..6 {
        store.put(TOPIC, 0, Some("x"));
    }
    store.0.set_low(&Partition::new(TOPIC, 0), 4);
    let mut strict = feed(&store, options());
    let error = strict.seek(&at(&[(0, 1)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert_eq!(
        error.message(),
        "records of shop.customers/0 are gone: the next offset to read is 1, but the oldest there is 4"
    );
    assert!(
        error
            .next_step()
            .unwrap()
            .contains("fail_on_data_loss: false")
    );
    let lenient = FeedOptions {
        fail_on_data_loss: false,
        ..options()
    };
    let mut lenient = feed(&store, lenient);
    lenient.seek(&at(&[(0, 1)])).await.unwrap();
    let (all, end) = drain(&mut lenient, &limit(100), &at(&[(0, 1)])).await;
    assert_eq!((all.len(), end), (2, at(&[(0, 6)])));
}

#[tokio::test]
async fn records_lost_while_reading_come_after_what_was_read() {
    let store = MemoryStore::default();
    store.create(TOPIC, 1);
    for _ in 0..6 {
        store.put(TOPIC, 0, Some("x"));
    }
    let mut feed = feed(&store, options());
    feed.seek(&Position::new()).await.unwrap();
    feed.next(&limit(2)).await.unwrap().unwrap();
    store.0.set_low(&Partition::new(TOPIC, 0), 4);
    let error = feed.next(&limit(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert_eq!(error.place(), Some("shop.customers/0@2"));
}

#[tokio::test]
async fn the_group_is_told_what_the_table_has() {
    let store = MemoryStore::default();
    store.put(TOPIC, 0, Some("x"));
    let mut feed = feed(&store, options());
    feed.seek(&Position::new()).await.unwrap();
    feed.ack(&at(&[(0, 1)])).await.unwrap();
    assert_eq!(store.0.committed(), at(&[(0, 1)]));
}
