//! Opening a source: its schema, and that learning it disturbs nothing.

use engine::format::Decoder;
use engine::source::{CancellationToken, SourceOptions, discover_schema_with, open, open_with};
use engine::spec::model::{Bootstrap, SchemaChange};
use sql::change::Position;
use sql::feed::ChangeFeed;
use sql::{ErrorKind, Result};

use super::support::*;

fn learning(_: &engine::spec::model::KafkaSpec, _: &SourceOptions) -> Result<Box<dyn Decoder>> {
    Ok(Box::new(TextDecoder::default()))
}

fn declared(_: &engine::spec::model::KafkaSpec, _: &SourceOptions) -> Result<Box<dyn Decoder>> {
    Ok(Box::new(TextDecoder::declared()))
}

fn source_options(bounded: bool) -> SourceOptions {
    SourceOptions {
        bounded,
        until: None,
        keep_raw: false,
        keyed: false,
        schema_change: SchemaChange::Evolve,
        reader: None,
        stop: CancellationToken::new(),
    }
}

fn file(store: &FileStore) -> engine::spec::model::SourceSpec {
    source(spec(names(&[TOPIC]), Bootstrap::File(store.path())))
}

#[tokio::test]
async fn the_schema_is_learned_from_the_first_data_record_and_every_record_is_read_after() {
    let store = FileStore::default();
    for value in [Some("control"), None, Some("bad"), Some("a"), Some("b")] {
        store.put(TOPIC, 0, value);
    }
    let mut feed: Box<dyn ChangeFeed> = open_with(&file(&store), source_options(true), learning)
        .await
        .unwrap();
    assert_eq!(feed.schema().field(0).name(), "text");
    feed.project(&["text".to_owned()]).unwrap();
    feed.seek(&Position::new()).await.unwrap();
    let batch = feed.next(&limit(100)).await.unwrap().unwrap();
    assert_eq!(rows(&batch), ["0@3=a", "0@4=b"]);
    assert_eq!(batch.counts().records, 5);
    assert!(feed.next(&limit(100)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_bounded_source_without_data_must_declare_its_columns() {
    let store = FileStore::default();
    store.put(TOPIC, 0, Some("control"));
    let error = open_with(&file(&store), source_options(true), learning)
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.message(),
        "the columns of `customers` are not known: its topics have no data record yet"
    );
    assert_eq!(error.place(), Some("p.yaml:3:1 (source)"));
    assert!(error.next_step().unwrap().contains("source.columns"));
}

#[tokio::test]
async fn an_unbounded_source_waits_for_its_first_data_record() {
    let store = FileStore::default();
    store.put(TOPIC, 0, Some("control"));
    let spec = file(&store);
    let (feed, ()) = futures::join!(open_with(&spec, source_options(false), learning), async {
        store.put(TOPIC, 0, Some("a"))
    });
    assert_eq!(feed.unwrap().schema().field(0).name(), "text");
}

#[tokio::test]
async fn waiting_for_the_first_record_ends_when_told_to_stop() {
    let store = FileStore::default();
    let options = source_options(false);
    options.stop.cancel();
    let error = open_with(&file(&store), options, learning)
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn validate_asks_nobody_for_declared_columns_and_brokers_only_when_told() {
    let nobody = || {
        source(spec(
            names(&[TOPIC]),
            Bootstrap::Brokers("127.0.0.1:1".to_owned()),
        ))
    };
    let known = discover_schema_with(&nobody(), true, declared)
        .await
        .unwrap();
    assert_eq!(known.unwrap().schema.field(0).name(), "text");
    let unknown = discover_schema_with(&nobody(), false, learning)
        .await
        .unwrap();
    assert!(unknown.is_none());
    let store = FileStore::default();
    store.put(TOPIC, 0, Some("a"));
    let read = discover_schema_with(&file(&store), false, learning)
        .await
        .unwrap();
    assert_eq!(read.unwrap().schema.field(0).name(), "text");
}

/// Reads a captured file from its start to its end, as a pipeline that follows schema changes does.
async fn replayed(file: &str, topic: &str) -> (u64, usize, Position) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(file);
    let spec = source(spec(names(&[topic]), Bootstrap::File(path)));
    let mut feed = open(&spec, source_options(true)).await.unwrap();
    let (mut records, mut changes, mut position) = (0, 0, Position::new());
    let project = |feed: &mut Box<dyn ChangeFeed>| {
        let all: Vec<String> = feed
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        feed.project(&all).unwrap();
    };
    project(&mut feed);
    feed.seek(&position).await.unwrap();
    while let Some(batch) = feed.next(&limit(5)).await.unwrap() {
        position.try_advance(batch.span()).unwrap();
        records += batch.counts().records;
        assert!(batch.rejects().is_empty());
        if batch.next_schema().is_some() {
            changes += 1;
            project(&mut feed);
        }
    }
    (records, changes, position)
}

#[tokio::test]
async fn captured_messages_of_a_real_connector_are_all_read_through_their_schema_changes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/docs.schema.jsonl");
    let content = std::fs::read_to_string(path).unwrap();
    let first: serde_json::Value = serde_json::from_str(content.lines().next().unwrap()).unwrap();
    let topic = first["topic"].as_str().unwrap();
    let (records, changes, position) = replayed("docs.schema.jsonl", topic).await;
    assert_eq!(records as usize, content.lines().count());
    assert!(changes > 0);
    let last: serde_json::Value = serde_json::from_str(content.lines().last().unwrap()).unwrap();
    let partition = sql::change::Partition::new(topic, 0);
    assert_eq!(
        position.get(&partition),
        Some(last["offset"].as_i64().unwrap() + 1)
    );
}
