//! Logs that tests can write to, and feeds over them.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use arrow::array::StringArray;
use engine::source::{
    CancellationToken, FeedOptions, KafkaLog, KafkaTimeouts, MemoryLog, MemoryTopics, RecordLog,
    ReplayLog, TopicFeed, TopicFilter,
};
use engine::spec::model::{
    Bootstrap, Format, KafkaSpec, OffsetReset, Resends, SchemaChange, SourceSpec, SourceTables,
    Topics,
};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use sql::Result;
use sql::change::{ChangeBatch, Partition, Position, RawRecord};
use sql::feed::{BatchLimit, ChangeFeed};

pub use super::text_decoder::TextDecoder;

pub const TOPIC: &str = "shop.customers";

pub fn record(topic: &str, number: i32, offset: i64, value: Option<&str>) -> RawRecord {
    RawRecord {
        partition: Partition::new(topic, number),
        offset,
        timestamp_ms: Some(1_700_000_000_000),
        key: Some(b"k".to_vec()),
        value: value.map(|v| v.as_bytes().to_vec()),
        headers: vec![
            ("h".to_owned(), Some(b"1".to_vec())),
            ("n".to_owned(), None),
        ],
    }
}

/// A log that a test writes to.
pub trait Store {
    /// Makes a topic with empty partitions.
    fn create(&self, topic: &str, partitions: i32);
    /// Adds the next record of a partition.
    fn put(&self, topic: &str, number: i32, value: Option<&str>);
    /// Opens it.
    fn open(&self, topics: Topics) -> Result<Box<dyn RecordLog>>;
}

pub fn names(topics: &[&str]) -> Topics {
    Topics::Names(topics.iter().map(|t| (*t).to_owned()).collect())
}

pub fn spec(topics: Topics, bootstrap: Bootstrap) -> KafkaSpec {
    KafkaSpec {
        name: "customers".to_owned(),
        bootstrap,
        topics,
        tables: SourceTables::Any,
        group_id: "engine-test".to_owned(),
        auto_offset_reset: OffsetReset::Earliest,
        fail_on_data_loss: true,
        format: Format::DebeziumJson,
        columns: None,
        decimal_handling: engine::spec::model::DecimalHandling::Auto,
        key: Vec::new(),
        before_image_full: false,
        unavailable_placeholder: "__debezium_unavailable_value".to_owned(),
        resends: Resends::Keep,
        properties: [("fetch.wait.max.ms".to_owned(), "10".to_owned())].into(),
        at: "p.yaml:3:1 (source)".to_owned(),
    }
}

pub fn source(spec: KafkaSpec) -> SourceSpec {
    SourceSpec::Kafka(spec)
}

fn filter(topics: Topics) -> TopicFilter {
    TopicFilter::try_new(&spec(topics, Bootstrap::Brokers(String::new()))).unwrap()
}

#[derive(Default)]
pub struct MemoryStore(pub MemoryTopics);

impl Store for MemoryStore {
    fn create(&self, topic: &str, partitions: i32) {
        for number in 0..partitions {
            self.0.create(&Partition::new(topic, number));
        }
    }

    fn put(&self, topic: &str, number: i32, value: Option<&str>) {
        let next = self.0.end(&Partition::new(topic, number)).unwrap_or(0);
        self.0.append(record(topic, number, next, value));
    }

    fn open(&self, topics: Topics) -> Result<Box<dyn RecordLog>> {
        Ok(Box::new(MemoryLog::new(self.0.clone(), filter(topics))))
    }
}

pub struct FileStore {
    pub dir: tempfile::TempDir,
    next: std::sync::Mutex<std::collections::BTreeMap<(String, i32), i64>>,
}

impl Default for FileStore {
    fn default() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("log.jsonl"), "").unwrap();
        Self {
            dir,
            next: std::sync::Mutex::default(),
        }
    }
}

impl FileStore {
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("log.jsonl")
    }

    pub fn write(&self, text: &str) {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.path())
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub fn with(text: &str) -> Self {
        let store = Self::default();
        store.write(text);
        store
    }
}

impl Store for FileStore {
    fn create(&self, _topic: &str, _partitions: i32) {}

    fn put(&self, topic: &str, number: i32, value: Option<&str>) {
        let mut next = self.next.lock().unwrap();
        let next = next.entry((topic.to_owned(), number)).or_insert(0);
        let line = serde_json::json!({
            "topic": topic, "partition": number, "offset": *next, "ts": 1_700_000_000_000_i64,
            "headers": ["h", "1", "n", null], "key": "k", "payload": value,
        });
        *next += 1;
        self.write(&format!("{line}\n"));
    }

    fn open(&self, topics: Topics) -> Result<Box<dyn RecordLog>> {
        Ok(Box::new(ReplayLog::open(&self.path(), filter(topics))?))
    }
}

pub struct KafkaStore {
    producer: BaseProducer,
    pub cluster: MockCluster<'static, DefaultProducerContext>,
    pub timeouts: KafkaTimeouts,
}

impl Default for KafkaStore {
    fn default() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .unwrap();
        Self {
            producer,
            cluster,
            timeouts: KafkaTimeouts {
                connect: Duration::from_secs(20),
                request: Duration::from_secs(10),
                refresh: Duration::from_millis(50),
            },
        }
    }
}

impl Store for KafkaStore {
    fn create(&self, topic: &str, partitions: i32) {
        self.cluster.create_topic(topic, partitions, 1).unwrap();
    }

    fn put(&self, topic: &str, number: i32, value: Option<&str>) {
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "h",
                value: Some("1"),
            })
            .insert(Header {
                key: "n",
                value: None::<&str>,
            });
        let mut message = BaseRecord::<str, str>::to(topic)
            .partition(number)
            .timestamp(1_700_000_000_000)
            .headers(headers)
            .key("k");
        message.payload = value;
        self.producer.send(message).map_err(|(e, _)| e).unwrap();
        self.producer.flush(Duration::from_secs(20)).unwrap();
    }

    fn open(&self, topics: Topics) -> Result<Box<dyn RecordLog>> {
        let brokers = self.cluster.bootstrap_servers();
        let spec = spec(topics, Bootstrap::Brokers(brokers.clone()));
        let filter = TopicFilter::try_new(&spec)?;
        let stop = CancellationToken::new();
        let log = KafkaLog::connect(&spec, &brokers, filter, self.timeouts, stop)?;
        Ok(Box::new(log))
    }
}

pub fn options() -> FeedOptions {
    FeedOptions {
        bounded: true,
        until: None,
        schema_change: SchemaChange::Evolve,
        auto_offset_reset: OffsetReset::Earliest,
        fail_on_data_loss: true,
        keyed: false,
        stop: CancellationToken::new(),
        clock: || 1,
    }
}

pub fn unbounded() -> FeedOptions {
    FeedOptions {
        bounded: false,
        ..options()
    }
}

pub fn feed(store: &dyn Store, options: FeedOptions) -> TopicFeed {
    let log = store.open(names(&[TOPIC])).unwrap();
    TopicFeed::new(log, Box::new(TextDecoder::declared()), options).unwrap()
}

pub fn limit(max_records: usize) -> BatchLimit {
    BatchLimit {
        max_records,
        max_bytes: usize::MAX,
        max_wait: Duration::from_secs(3600),
    }
}

pub fn at(positions: &[(i32, i64)]) -> Position {
    let of = |(number, next): &(i32, i64)| (Partition::new(TOPIC, *number), *next);
    positions.iter().map(of).collect()
}

/// `partition@offset=text` of every row; one character a column that is null.
pub fn rows(batch: &ChangeBatch) -> Vec<String> {
    let meta = batch.meta();
    let columns: Vec<StringArray> = batch
        .rows()
        .columns()
        .iter()
        .map(|c| c.as_any().downcast_ref::<StringArray>().unwrap().clone())
        .collect();
    (0..batch.rows().num_rows())
        .map(|i| {
            let text: Vec<&str> = columns
                .iter()
                .map(|c| {
                    if arrow::array::Array::is_null(c, i) {
                        "-"
                    } else {
                        c.value(i)
                    }
                })
                .collect();
            let partition = &meta.partitions[meta.partition[i] as usize];
            format!(
                "{}@{}={}",
                partition.number,
                meta.offsets[i],
                text.join("|")
            )
        })
        .collect()
}

/// Reads to the end; checks that spans are contiguous; returns rows and the last position.
pub async fn drain(
    feed: &mut TopicFeed,
    limit: &BatchLimit,
    from: &Position,
) -> (Vec<String>, Position) {
    let (mut all, mut position) = (Vec::new(), from.clone());
    while let Some(batch) = feed.next(limit).await.unwrap() {
        position.try_advance(batch.span()).unwrap();
        all.extend(rows(&batch));
    }
    (all, position)
}
