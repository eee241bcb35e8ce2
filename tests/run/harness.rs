//! A pipeline over a topic in memory into a table in memory, started in one line.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::lake::schema::{TableFormat, target_schema};
use engine::run::observer::Observers;
use engine::run::pipeline::{Outcome, Parts, Pipeline, plan};
use engine::sink::Target;
use engine::sink::memory::MemoryTable;
use engine::source::{
    CancellationToken, FeedOptions, MemoryLog, MemoryTopics, TopicFeed, TopicFilter,
};
use engine::spec::model::{OffsetReset, PipelineSpec, SchemaChange, SourceSpec};
use engine::telemetry::{Health, Metrics};
use serde_json::json;
use sql::Result;
use sql::change::{Partition, Position, RawRecord};
use sql::feed::ChangeFeed;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::doubles::{MortalLog, Reads, Script, ScriptedSink, WatchedFeed};

pub const TOPIC: &str = "shop.items";
/// How long a test waits for what must come.
pub const SOON: Duration = Duration::from_secs(60);

/// What differs between the pipelines of tests.
pub struct Options {
    /// Lines inside `pipeline:`.
    pub pipeline: &'static str,
    /// Blocks beside `source:` and `sink:`.
    pub blocks: &'static str,
    /// The SQL.
    pub sql: &'static str,
    /// Drain, then end.
    pub once: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pipeline: "",
            blocks: "",
            sql: "SELECT id, name, _partition, _offset FROM items",
            once: true,
        }
    }
}

/// A topic, a table, and what watches the pipeline between them.
pub struct Bench {
    pub folder: TempDir,
    pub spec: Arc<PipelineSpec>,
    pub topics: MemoryTopics,
    pub table: Option<MemoryTable>,
    pub script: Script,
    pub reads: Reads,
    pub metrics: Arc<Metrics>,
    pub health: Health,
    pub stop: CancellationToken,
    /// Whether the log of the last pipeline is gone.
    pub log_gone: Arc<AtomicBool>,
    /// Records that were read.
    pub delivered: Arc<AtomicUsize>,
    /// Where the log is broken.
    pub breaks_at: Option<i64>,
    once: bool,
}

impl Bench {
    pub fn new(options: &Options, script: Script) -> Self {
        let folder = TempDir::new().unwrap();
        let yaml = format!(
            "pipeline:\n  name: items\n{}\nsource:\n  type: kafka\n  name: items\n  bootstrap_servers: nobody:1\n  topics: [{TOPIC}]\n  columns: |\n    id BIGINT NOT NULL PRIMARY KEY, name TEXT\n\
             transform: |\n  {}\n{}\nsink: {{ type: delta, path: \"{}/items\", mode: append }}\n",
            options.pipeline,
            options.sql,
            options.blocks,
            folder.path().display()
        );
        let spec = parse(&yaml, folder.path());
        Self {
            folder,
            spec,
            topics: MemoryTopics::default(),
            table: None,
            script,
            reads: Reads::default(),
            metrics: Arc::new(Metrics::try_new().unwrap()),
            health: Health::new(),
            stop: CancellationToken::new(),
            log_gone: Arc::default(),
            delivered: Arc::default(),
            breaks_at: None,
            once: options.once,
        }
    }

    /// Adds inserts of `names` to partition 0, with the offset as id.
    pub fn put(&self, names: &[&str]) {
        for name in names {
            let offset = self.end(0);
            let value = json!({
                "before": null, "after": {"id": offset, "name": name}, "op": "c", "ts_ms": 1_700_000_000_000_i64,
                "source": {"ts_ms": 1_700_000_000_000_i64, "connector": "postgresql"},
            });
            self.put_raw(0, &value.to_string());
        }
    }

    /// Adds a record with this value.
    pub fn put_raw(&self, number: i32, value: &str) {
        let offset = self.end(number);
        self.topics.append(RawRecord {
            partition: Partition::new(TOPIC, number),
            offset,
            timestamp_ms: Some(1_700_000_000_000),
            key: Some(json!({"id": offset}).to_string().into_bytes()),
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        });
    }

    fn end(&self, number: i32) -> i64 {
        self.topics.end(&Partition::new(TOPIC, number)).unwrap_or(0)
    }

    /// Starts a pipeline; the table is made by the first one.
    pub async fn start(&mut self) -> Result<Pipeline> {
        let feed = self.feed();
        let transform = plan(&self.spec, &feed.schema()).await?;
        let target = target_schema(transform.output_schema(), TableFormat::Delta)?;
        let table = self
            .table
            .get_or_insert_with(|| MemoryTable::new(Arc::new(target)));
        let sink = ScriptedSink::new(table, "items", &self.script);
        let observers = Observers::new(self.metrics.clone(), self.health.clone(), false);
        let observer = Arc::new(observers.of(&self.spec, "memory".to_owned()));
        let parts = Parts {
            feed: Box::new(WatchedFeed {
                feed,
                reads: self.reads.clone(),
            }),
            transform,
            sink: Target::Append(Box::new(sink)),
        };
        Pipeline::from_parts(
            self.spec.clone(),
            self.once,
            parts,
            observer,
            self.stop.clone(),
        )
        .await
    }

    fn feed(&mut self) -> TopicFeed {
        let SourceSpec::Kafka(kafka) = &self.spec.source else {
            panic!("no Kafka source");
        };
        self.topics.create(&Partition::new(TOPIC, 0));
        self.log_gone = Arc::default();
        let log = MemoryLog::new(self.topics.clone(), TopicFilter::named([TOPIC]));
        let decoder = JsonDecoder::try_new(DecoderOptions {
            columns: kafka.columns.clone(),
            key: kafka.key.clone(),
            before_image_full: false,
            unavailable_placeholder: kafka.unavailable_placeholder.clone(),
            ignore_schema_change: false,
            keep_raw: true,
            ..DecoderOptions::default()
        })
        .unwrap();
        let options = FeedOptions {
            bounded: self.once,
            until: None,
            schema_change: SchemaChange::Evolve,
            auto_offset_reset: OffsetReset::Earliest,
            fail_on_data_loss: true,
            keyed: false,
            stop: self.stop.clone(),
            clock: || 1_700_000_000_000_000,
        };
        TopicFeed::new(
            Box::new(MortalLog::new(
                log,
                &self.log_gone,
                self.breaks_at,
                &self.delivered,
            )),
            Box::new(decoder),
            options,
        )
        .unwrap()
    }

    /// Starts a pipeline and runs it to its end.
    pub async fn run(&mut self) -> Result<Outcome> {
        self.start().await?.drive().await
    }

    /// Starts a pipeline that runs beside the test.
    pub async fn spawn(&mut self) -> JoinHandle<Result<Outcome>> {
        let pipeline = self.start().await.unwrap();
        tokio::spawn(pipeline.drive())
    }

    /// The ids in the table, in the order of commits.
    pub fn ids(&self) -> Vec<i64> {
        let rows = self.table.as_ref().map(MemoryTable::rows);
        rows.unwrap_or_default().iter().flat_map(ids).collect()
    }

    /// The value of a metric's line, e.g. `engine_retry_attempts_total{pipeline="items",reason="unavailable"}`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        metric(&self.metrics.text().unwrap(), series)
    }
}

pub fn metric(text: &str, series: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .map(|value| value.trim().parse().unwrap())
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    let ids = batch.column_by_name("id").unwrap();
    ids.as_primitive::<Int64Type>().values().to_vec()
}

/// A checked pipeline file; relative paths start at `folder`.
pub fn parse(yaml: &str, folder: &Path) -> Arc<PipelineSpec> {
    let file = folder.join("pipeline.yaml");
    match engine::spec::parse_str(yaml, &file, &|_| None, &[]) {
        Ok(spec) => Arc::new(spec),
        Err(error) => panic!("{}\n{yaml}", error.report()),
    }
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        let mut look_again = tokio::time::interval(Duration::from_millis(2));
        while !condition() {
            look_again.tick().await;
        }
    };
    assert!(
        tokio::time::timeout(SOON, holds).await.is_ok(),
        "never came: {what}"
    );
}

pub fn position(next: i64) -> Position {
    Position::from_iter([(Partition::new(TOPIC, 0), next)])
}

/// The position of partition 0 of another topic.
pub fn position_of(topic: &str, next: i64) -> Position {
    Position::from_iter([(Partition::new(topic, 0), next)])
}
