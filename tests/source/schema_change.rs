//! A record that needs another schema ends its batch.

use engine::source::FeedOptions;
use engine::spec::model::SchemaChange;
use sql::ErrorKind;
use sql::change::Position;
use sql::feed::ChangeFeed;

use super::support::*;

fn store() -> MemoryStore {
    let store = MemoryStore::default();
    for value in ["a", "+note:b", "c"] {
        store.put(TOPIC, 0, Some(value));
    }
    store
}

#[tokio::test]
async fn the_batch_is_cut_before_the_record_and_goes_on_with_the_new_projection() {
    let mut feed = feed(&store(), options());
    feed.seek(&Position::new()).await.unwrap();
    let first = feed.next(&limit(100)).await.unwrap().unwrap();
    assert_eq!(rows(&first), ["0@0=a"]);
    assert_eq!(first.span().to(), &at(&[(0, 1)]));
    let schema = first.next_schema().unwrap();
    assert_eq!(schema.fields().len(), 2);
    assert_eq!(&feed.schema(), schema);

    let error = feed.next(&limit(100)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);

    let columns = ["note".to_owned(), "text".to_owned()];
    feed.project(&columns).unwrap();
    let (rest, end) = drain(&mut feed, &limit(100), first.span().to()).await;
    assert_eq!(rest, ["0@1=b|-", "0@2=-|c"]);
    assert_eq!(end, at(&[(0, 3)]));
}

#[tokio::test]
async fn a_change_at_the_start_of_a_batch_gives_an_empty_batch_that_says_so() {
    let mut feed = feed(&store(), options());
    feed.seek(&at(&[(0, 1)])).await.unwrap();
    let batch = feed.next(&limit(100)).await.unwrap().unwrap();
    assert!(batch.span().is_empty());
    assert!(batch.next_schema().is_some());
    assert_eq!(batch.counts().records, 0);
}

#[tokio::test]
async fn a_change_that_is_not_allowed_stops_after_the_records_before_it() {
    let fail = FeedOptions {
        schema_change: SchemaChange::Fail,
        ..options()
    };
    let mut feed = feed(&store(), fail);
    feed.seek(&Position::new()).await.unwrap();
    let batch = feed.next(&limit(100)).await.unwrap().unwrap();
    assert_eq!(rows(&batch), ["0@0=a"]);
    assert!(batch.next_schema().is_none());
    let error = feed.next(&limit(100)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert_eq!(error.message(), "the schema changed: `note` Utf8 is new");
    assert_eq!(error.place(), Some("shop.customers/0@1"));
}
