//! What is particular to brokers: answers that do not come, properties, offsets out of range, group offsets.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use engine::source::{
    CancellationToken, FeedOptions, Flow, KafkaLog, KafkaTimeouts, LogEvent, TopicFilter,
};
use engine::spec::model::Bootstrap;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use sql::change::Position;
use sql::feed::ChangeFeed;
use sql::{Error, ErrorKind};

use super::support::*;

fn connect(brokers: &str, properties: &[(&str, &str)]) -> Result<KafkaLog, Error> {
    let timeouts = KafkaTimeouts {
        connect: Duration::from_millis(300),
        ..KafkaTimeouts::default()
    };
    connect_within(timeouts, brokers, properties)
}

fn connect_within(
    timeouts: KafkaTimeouts,
    brokers: &str,
    properties: &[(&str, &str)],
) -> Result<KafkaLog, Error> {
    let mut spec = spec(names(&[TOPIC]), Bootstrap::Brokers(brokers.to_owned()));
    for (name, value) in properties {
        let property = ((*name).to_owned(), (*value).to_owned());
        spec.properties.extend([property]);
    }
    let filter = TopicFilter::try_new(&spec)?;
    KafkaLog::connect(&spec, brokers, filter, timeouts, CancellationToken::new())
}

fn refusal(properties: &[(&str, &str)]) -> Error {
    connect("127.0.0.1:1", properties).err().unwrap()
}

/// A port of this machine that nobody listens on.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn a_broker_that_is_down_is_named() {
    let brokers = closed_port();
    let error = connect(&brokers, &[]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error
            .message()
            .starts_with("kafka does not answer; tried for")
    );
    assert_eq!(error.place(), Some(brokers.as_str()));
    assert!(
        error.report().contains("Connection refused"),
        "{}",
        error.report()
    );
}

#[test]
fn properties_that_would_break_delivery_are_refused() {
    let error = refusal(&[("enable.auto.commit", "true")]);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        "`enable.auto.commit` may not be `true`: the table holds the positions; group offsets follow its commits, \
         at p.yaml:3:1 (source) properties.enable.auto.commit; expected `false`, which is set already"
    );
    let error = refusal(&[("group.id", "x")]);
    assert_eq!(
        error.next_step(),
        Some("Move the value to `source.group_id`.")
    );
    let error = refusal(&[("bootstrap.servers", "x")]);
    assert_eq!(
        error.next_step(),
        Some("Move the value to `source.bootstrap_servers`.")
    );
}

#[test]
fn an_unknown_property_gets_librdkafkas_words_and_the_nearest_name() {
    let error = refusal(&[("fetch.min.byte", "1")]);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .message()
            .starts_with("librdkafka refuses `fetch.min.byte`: "),
        "{error}"
    );
    assert_eq!(error.next_step(), Some("Did you mean `fetch.min.bytes`?"));
    let error = refusal(&[("fetch.min.bytes", "many")]);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .to_string()
            .contains("a value that librdkafka takes for `fetch.min.bytes`")
    );
    let error = refusal(&[
        ("security.protocol", "ssl"),
        ("ssl.ca.location", "/no/such/file"),
    ]);
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn a_tls_handshake_that_fails_is_a_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let brokers = listener.local_addr().unwrap().to_string();
    // Answers the client's hello with something that is not TLS; ends with the test's process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let timeouts = KafkaTimeouts {
        connect: Duration::from_secs(60),
        ..KafkaTimeouts::default()
    };
    let error = connect_within(timeouts, &brokers, &[("security.protocol", "ssl")])
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.report());
    assert_eq!(error.message(), "the TLS handshake with kafka failed");
    assert_eq!(error.place(), Some(brokers.as_str()));
}

#[test]
fn a_topic_that_may_not_be_read_is_a_refusal() {
    let store = KafkaStore::default();
    store.create(TOPIC, 1);
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    store.cluster.topic_error(TOPIC, denied).unwrap();
    let mut log = store.open(names(&[TOPIC])).unwrap();
    let error = log.partitions().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(error.message(), "kafka does not allow this user to read");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_before_the_start_is_data_loss() {
    let store = KafkaStore::default();
    store.create(TOPIC, 1);
    // The mock broker keeps 5 MiB of a partition.
    let large = "x".repeat(900_000);
    for _ in 0..9 {
        store.put(TOPIC, 0, Some(&large));
    }
    let mut strict = feed(&store, options());
    let error = strict.seek(&at(&[(0, 0)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    let lenient = FeedOptions {
        fail_on_data_loss: false,
        ..options()
    };
    let mut lenient = feed(&store, lenient);
    lenient.seek(&at(&[(0, 0)])).await.unwrap();
    let (all, end) = drain(&mut lenient, &limit(100), &at(&[(0, 0)])).await;
    assert!(!all.is_empty() && all.len() < 9);
    assert_eq!(end, at(&[(0, 9)]));
}

#[test]
fn retention_while_reading_is_told_with_both_offsets() {
    let store = KafkaStore::default();
    store.create(TOPIC, 1);
    let large = "x".repeat(900_000);
    for _ in 0..9 {
        store.put(TOPIC, 0, Some(&large));
    }
    let mut log = store.open(names(&[TOPIC])).unwrap();
    // As if these offsets had gone after the feed looked: what it asks for is out of range.
    log.assign(&at(&[(0, 0)])).unwrap();
    let (mut lost, mut first) = (None, None);
    while first.is_none() {
        log.poll(Duration::from_millis(50), &mut |event| {
            match event {
                LogEvent::Lost { next, watermarks } => lost = Some((next, watermarks.clone())),
                LogEvent::Record(message) => {
                    first.get_or_insert(message.offset);
                }
                LogEvent::End { .. } | LogEvent::Appeared { .. } => {}
            }
            Ok(Flow::Continue)
        })
        .unwrap();
    }
    let (next, watermarks) = lost.unwrap();
    assert_eq!((next, watermarks.high), (0, 9));
    assert!(watermarks.low > 0);
    assert_eq!(first, Some(watermarks.low));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_is_only_said_to_be_out_of_range_is_read_again() {
    let store = KafkaStore::default();
    store.create(TOPIC, 1);
    store.put(TOPIC, 0, Some("a"));
    let mut feed = feed(&store, unbounded());
    feed.seek(&Position::new()).await.unwrap();
    feed.next(&limit(1)).await.unwrap().unwrap();
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
    store.cluster.request_errors(RDKafkaApiKey::Fetch, &[error]);
    store.put(TOPIC, 0, Some("b"));
    let batch = feed.next(&limit(1)).await.unwrap().unwrap();
    assert_eq!(rows(&batch), ["0@1=b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_out() {
    let store = KafkaStore::default();
    store.create(TOPIC, 1);
    store.put(TOPIC, 0, Some("a"));
    let mut feed = feed(&store, unbounded());
    feed.seek(&Position::new()).await.unwrap();
    feed.next(&limit(1)).await.unwrap().unwrap();
    store.cluster.broker_down(-1).unwrap();
    let one = limit(1);
    let (batch, ()) = futures::join!(feed.next(&one), async {
        store.cluster.broker_up(-1).unwrap();
        store.put(TOPIC, 0, Some("b"));
    });
    assert_eq!(rows(&batch.unwrap().unwrap()), ["0@1=b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn group_offsets_follow_the_table() {
    let store = KafkaStore::default();
    store.create(TOPIC, 1);
    for _ in 0..3 {
        store.put(TOPIC, 0, Some("a"));
    }
    let mut feed = feed(&store, options());
    feed.seek(&Position::new()).await.unwrap();
    drain(&mut feed, &limit(10), &Position::new()).await;
    feed.ack(&at(&[(0, 3)])).await.unwrap();
    let tool: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", store.cluster.bootstrap_servers())
        .set("group.id", "engine-test")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(TOPIC, 0);
    let committed = || {
        let found = tool
            .committed_offsets(list.clone(), Duration::from_secs(10))
            .unwrap();
        found.elements()[0].offset()
    };
    while committed() != Offset::Offset(3) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_two_topics_end_each_for_itself() {
    let store = KafkaStore::default();
    for topic in [TOPIC, "shop.orders"] {
        store.create(topic, 2);
        for i in 0..3 {
            store.put(topic, i % 2, Some("x"));
        }
    }
    let log = store.open(names(&[TOPIC, "shop.orders"])).unwrap();
    let decoder = Box::new(TextDecoder::declared());
    let mut feed = engine::source::TopicFeed::new(log, decoder, options()).unwrap();
    feed.seek(&Position::new()).await.unwrap();
    let (all, end) = drain(&mut feed, &limit(2), &Position::new()).await;
    assert_eq!(all.len(), 6);
    assert_eq!(end.len(), 4);
    assert!(feed.next(&limit(2)).await.unwrap().is_none());
}
