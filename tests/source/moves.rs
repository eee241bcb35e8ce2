//! Both halves of a key change come in one batch.

use engine::source::FeedOptions;
use sql::change::{Partition, Position, RawRecord};
use sql::feed::ChangeFeed;

use super::support::*;

/// What happens to a topic: `<a` leaves its key, `a` does not.
fn put(store: &MemoryStore, number: i32, values: &[&str]) {
    for value in values {
        let partition = Partition::new(TOPIC, number);
        let next = store.0.end(&partition).unwrap_or(0);
        let (leaves, text) = match value.strip_prefix('<') {
            Some(text) => (true, text),
            None => (false, *value),
        };
        let mut record: RawRecord = record(TOPIC, number, next, Some(text));
        if leaves {
            let header = ("__debezium.newkey".to_owned(), Some(b"{}".to_vec()));
            record.headers.push(header);
        }
        store.0.append(record);
    }
}

fn keyed() -> FeedOptions {
    FeedOptions {
        keyed: true,
        ..options()
    }
}

/// The rows of each batch, and where they end.
async fn batches(
    store: &MemoryStore,
    options: FeedOptions,
    length: usize,
) -> Vec<(Vec<String>, Position)> {
    let mut feed = feed(store, options);
    feed.seek(&Position::new()).await.unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = feed.next(&limit(length)).await.unwrap() {
        batches.push((rows(&batch), batch.span().to().clone()));
        if batch.next_schema().is_some() {
            feed.project(&["note".to_owned(), "text".to_owned()])
                .unwrap();
        }
    }
    batches
}

#[tokio::test]
async fn a_batch_does_not_end_between_them() {
    for length in 1..8 {
        let store = MemoryStore::default();
        put(
            &store,
            0,
            &["a", "<d", "<t", "c", "b", "<d", "<t", "c", "z"],
        );
        let batches = batches(&store, keyed(), length).await;
        let mut all = Vec::new();
        for (rows, end) in &batches {
            all.extend(rows.iter().map(|row| row.split_once('=').unwrap().1));
            assert!(
                !matches!(all.last(), Some(&("d" | "t"))),
                "{length}: {batches:?}"
            );
            let last = all.len() as i64;
            assert_eq!(end, &at(&[(0, last)]), "{length}: {batches:?}");
        }
        assert_eq!(all, ["a", "d", "t", "c", "b", "d", "t", "c", "z"]);
    }
}

#[tokio::test]
async fn a_first_half_at_the_end_waits_for_another_run() {
    let store = MemoryStore::default();
    put(&store, 0, &["a", "<d", "<t"]);
    let first = batches(&store, keyed(), 100).await;
    assert_eq!(first, [(vec!["0@0=a".to_owned()], at(&[(0, 1)]))]);

    put(&store, 0, &["c"]);
    let mut feed = feed(&store, keyed());
    feed.seek(&at(&[(0, 1)])).await.unwrap();
    let (rest, end) = drain(&mut feed, &limit(1), &at(&[(0, 1)])).await;
    assert_eq!(rest, ["0@1=d", "0@2=t", "0@3=c"]);
    assert_eq!(end, at(&[(0, 4)]));
}

#[tokio::test]
async fn another_schema_does_not_come_between_them() {
    let store = MemoryStore::default();
    put(&store, 0, &["a", "<d", "<t", "+note:c", "b"]);
    let found = batches(&store, keyed(), 100).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], (vec!["0@0=a".to_owned()], at(&[(0, 1)])));
    let expected = ["0@1=-|d", "0@2=-|t", "0@3=c|-", "0@4=-|b"];
    assert_eq!(
        found[1],
        (expected.map(str::to_owned).to_vec(), at(&[(0, 5)]))
    );
}

/// The halves may be in two partitions there: nothing waits for what may never come.
#[tokio::test]
async fn topics_of_several_partitions_do_not_wait() {
    let store = MemoryStore::default();
    put(&store, 0, &["a", "<d", "<t"]);
    put(&store, 1, &["c"]);
    let found = batches(&store, keyed(), 100).await;
    let last = &found.last().unwrap().1;
    assert_eq!(last, &at(&[(0, 3), (1, 1)]));
}

#[tokio::test]
async fn targets_without_a_key_do_not_wait() {
    let store = MemoryStore::default();
    put(&store, 0, &["a", "<d", "<t"]);
    let found = batches(&store, options(), 100).await;
    assert_eq!(found[0].1, at(&[(0, 3)]));
}
