//! A decoder whose rows are the values' text, and logs that tests can write to.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::format::{Decoded, Decoder, Pushed, RawMessage};
use engine::source::{
    CancellationToken, FeedOptions, KafkaLog, KafkaTimeouts, MemoryLog, MemoryTopics, RecordLog,
    ReplayLog, TopicFeed, TopicFilter,
};
use engine::spec::model::{
    Bootstrap, Format, KafkaSpec, OffsetReset, SchemaChange, SourceSpec, Topics,
};
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use sql::Result;
use sql::change::{
    BatchCounts, ChangeBatch, Op, Partition, Position, RawRecord, Reject, RejectReason, RowMeta,
};
use sql::feed::{BatchLimit, ChangeFeed};

pub const TOPIC: &str = "shop.customers";

/// Rows are the values' text, in the column that the value names: `a` goes to `text`, `+note:a` needs the column `note`.
/// `control` and `bad` are what they say.
#[derive(Default)]
pub struct TextDecoder {
    columns: Option<Vec<String>>,
    projected: Vec<String>,
    rows: Vec<(String, String)>,
    meta: RowMeta,
    rejects: Vec<Reject>,
    counts: BatchCounts,
    pub pushed: Arc<AtomicUsize>,
}

impl TextDecoder {
    /// Knows its one column.
    pub fn declared() -> Self {
        Self {
            columns: Some(vec!["text".to_owned()]),
            projected: vec!["text".to_owned()],
            ..Self::default()
        }
    }
}

fn schema_of(columns: &[String]) -> SchemaRef {
    let field = |name: &String| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

impl Decoder for TextDecoder {
    fn schema(&self) -> Option<SchemaRef> {
        self.columns.as_deref().map(schema_of)
    }

    fn adopt(&mut self, schema: SchemaRef) -> Result<()> {
        assert!(self.is_empty(), "adopt only between batches");
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        self.columns = Some(names);
        Ok(())
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        assert!(self.is_empty(), "project only between batches");
        self.projected = columns.to_vec();
        Ok(())
    }

    fn push(&mut self, message: &RawMessage<'_>) -> Result<Pushed> {
        self.pushed.fetch_add(1, Ordering::SeqCst);
        let text = message
            .value
            .map(|v| String::from_utf8_lossy(v).into_owned());
        let pushed = match text.as_deref() {
            None if message.key.is_some() => Pushed::Tombstone,
            None | Some("control") => Pushed::Control,
            Some("bad") => Pushed::Reject,
            Some(text) => {
                let (column, text) = match text.strip_prefix('+').and_then(|t| t.split_once(':')) {
                    Some((column, text)) => (column, text),
                    None => ("text", text),
                };
                let mut columns = self.columns.clone().unwrap_or_default();
                if !columns.iter().any(|c| c == column) {
                    columns.push(column.to_owned());
                    return Ok(Pushed::NewSchema(schema_of(&columns)));
                }
                self.rows.push((column.to_owned(), text.to_owned()));
                self.add_meta(message);
                Pushed::Row
            }
        };
        match pushed {
            Pushed::Tombstone => self.counts.tombstones += 1,
            Pushed::Control => self.counts.control += 1,
            Pushed::Reject => self.rejects.push(reject(message)),
            Pushed::Row | Pushed::NewSchema(_) => {}
        }
        self.counts.records += 1;
        self.counts.bytes += message.size() as u64;
        Ok(pushed)
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn finish(&mut self, _ingested_at_micros: i64) -> Result<Decoded> {
        let rows = std::mem::take(&mut self.rows);
        let arrays: Vec<ArrayRef> = self
            .projected
            .iter()
            .map(|name| {
                let cell = |(c, t): &(String, String)| (c == name).then(|| t.clone());
                Arc::new(rows.iter().map(cell).collect::<StringArray>()) as ArrayRef
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(Decoded {
            rows: RecordBatch::try_new_with_options(schema_of(&self.projected), arrays, &options)
                .unwrap(),
            meta: std::mem::take(&mut self.meta),
            rejects: std::mem::take(&mut self.rejects),
            counts: std::mem::take(&mut self.counts),
        })
    }
}

impl TextDecoder {
    fn add_meta(&mut self, message: &RawMessage<'_>) {
        let known = self
            .meta
            .partitions
            .iter()
            .position(|p| p == message.partition);
        let index = known.unwrap_or_else(|| {
            self.meta.partitions.push(message.partition.clone());
            self.meta.partitions.len() - 1
        });
        self.meta.ops.push(Op::Create);
        self.meta.partition.push(index as u32);
        self.meta.offsets.push(message.offset);
        self.meta.commit_micros.push(i64::MIN);
    }
}

fn reject(message: &RawMessage<'_>) -> Reject {
    Reject {
        record: record(
            &message.partition.topic,
            message.partition.number,
            message.offset,
            None,
        ),
        reason: RejectReason::Malformed,
        column: None,
        detail: "bad".to_owned(),
    }
}

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
        group_id: "engine-test".to_owned(),
        auto_offset_reset: OffsetReset::Earliest,
        fail_on_data_loss: true,
        format: Format::DebeziumJson,
        columns: None,
        key: Vec::new(),
        before_image_full: false,
        unavailable_placeholder: "__debezium_unavailable_value".to_owned(),
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
        let mut message = BaseRecord::<str, str>::to(topic).partition(number).key("k");
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
        schema_change: SchemaChange::Evolve,
        auto_offset_reset: OffsetReset::Earliest,
        fail_on_data_loss: true,
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
