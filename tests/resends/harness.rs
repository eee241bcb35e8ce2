//! A pipeline over a topic in memory into a table in memory, stopped and started again at will.

use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::lake::schema::{TableFormat, target_schema};
use engine::run::observer::Observers;
use engine::run::pipeline::{Outcome, Parts, Pipeline, plan};
use engine::sink::Target;
use engine::sink::memory::MemoryTable;
use engine::source::{
    CancellationToken, FeedOptions, MemoryLog, MemoryTopics, TopicFeed, TopicFilter,
};
use engine::spec::model::{Mode, OffsetReset, PipelineSpec, SchemaChange, SourceSpec};
use engine::telemetry::{Health, Metrics};
use sql::Result;
use sql::change::{Partition, RawRecord};
use tempfile::TempDir;
use tests::capture::Record;

use crate::run::doubles::{Script, ScriptedSink};

pub const TOPIC: &str = "shop.public.items";

/// The pipeline's columns: any event decodes, for only its key matters here.
const COLUMNS: &str = "id BIGINT, name TEXT";

pub struct Bench {
    folder: TempDir,
    pub topics: MemoryTopics,
    pub table: Option<MemoryTable>,
    pub metrics: Arc<Metrics>,
    pub script: Script,
    pub columns: String,
    pub sql: String,
    /// The sink's mode, with what belongs to it.
    pub mode: String,
}

impl Bench {
    pub fn new() -> Self {
        let topics = MemoryTopics::default();
        topics.create(&Partition::new(TOPIC, 0));
        Self {
            folder: TempDir::new().unwrap(),
            topics,
            table: None,
            metrics: Arc::new(Metrics::try_new().unwrap()),
            script: Script::new(&[]),
            columns: COLUMNS.to_owned(),
            sql: "SELECT _op, _partition, _offset FROM items".to_owned(),
            mode: "mode: append".to_owned(),
        }
    }

    /// Keeps the table by the key `id`.
    pub fn keyed(columns: &str) -> Self {
        Self {
            columns: columns.to_owned(),
            sql: "SELECT * FROM items".to_owned(),
            mode: "mode: upsert".to_owned(),
            ..Self::new()
        }
    }

    /// Adds records to the topic.
    pub fn put(&self, records: &[Record]) {
        for record in records {
            let bytes = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
            self.topics.append(RawRecord {
                partition: Partition::new(TOPIC, record.partition),
                offset: record.offset,
                timestamp_ms: Some(record.timestamp),
                key: bytes(&record.key),
                value: bytes(&record.payload),
                headers: (record.headers.iter())
                    .map(|(name, value)| (name.clone(), Some(value.clone().into_bytes())))
                    .collect(),
            });
        }
    }

    /// Runs a new pipeline until the topic is drained.
    pub async fn run(&mut self, resends: &str, batch: usize) -> Result<Outcome> {
        let spec = self.spec(resends, batch);
        let feed = self.feed(&spec);
        let schema = sql::feed::ChangeFeed::schema(&feed);
        let transform = plan(&spec, &schema).await?;
        let target = target_schema(transform.output_schema(), TableFormat::Delta)?;
        let table = self
            .table
            .get_or_insert_with(|| MemoryTable::new(Arc::new(target)));
        let sink = if is_keyed(&spec) {
            Target::Upsert(Box::new(table.upsert_sink("items", &key())))
        } else {
            Target::Append(Box::new(ScriptedSink::new(table, "items", &self.script)))
        };
        let observers = Observers::new(self.metrics.clone(), Health::new(), false);
        let observer = Arc::new(observers.of(&spec, "memory".to_owned()));
        let parts = Parts {
            feed: Box::new(feed),
            transform,
            sink,
        };
        let stop = CancellationToken::new();
        Pipeline::from_parts(spec, true, parts, observer, stop)
            .await?
            .drive()
            .await
    }

    fn spec(&self, resends: &str, batch: usize) -> Arc<PipelineSpec> {
        let folder = self.folder.path().display();
        let yaml = format!(
            "pipeline:\n  name: items\n  batch: {{ max_records: {batch} }}\nsource:\n  type: kafka\n  name: items\n  bootstrap_servers: nobody:1\n  topics: [{TOPIC}]\n  columns: |\n    {}\n  {resends}\n\
             transform: {}\nsink: {{ type: delta, path: \"{folder}/items\", {} }}\n",
            self.columns, self.sql, self.mode
        );
        parse(&yaml, self.folder.path())
    }

    fn feed(&self, spec: &PipelineSpec) -> TopicFeed {
        let SourceSpec::Kafka(kafka) = &spec.source else {
            panic!("no Kafka source");
        };
        let log = MemoryLog::new(self.topics.clone(), TopicFilter::named([TOPIC]));
        let decoder = JsonDecoder::try_new(DecoderOptions {
            columns: kafka.columns.clone(),
            before_image_full: true,
            keyed: is_keyed(spec),
            key: if is_keyed(spec) { key() } else { Vec::new() },
            ..DecoderOptions::default()
        });
        let options = FeedOptions {
            bounded: true,
            until: None,
            schema_change: SchemaChange::Evolve,
            auto_offset_reset: OffsetReset::Earliest,
            fail_on_data_loss: true,
            keyed: is_keyed(spec),
            stop: CancellationToken::new(),
            clock: || 1_700_000_000_000_000,
        };
        TopicFeed::new(Box::new(log), Box::new(decoder.unwrap()), options).unwrap()
    }

    /// Partition and offset of each row in the table, in the order of commits.
    pub fn rows(&self) -> Vec<(i32, i64)> {
        let batches = self.table.as_ref().map(MemoryTable::rows);
        let mut rows = Vec::new();
        for batch in batches.unwrap_or_default() {
            let partitions = batch.column(1).as_primitive::<Int32Type>().clone();
            let offsets = batch.column(2).as_primitive::<Int64Type>().clone();
            rows.extend(
                partitions
                    .values()
                    .iter()
                    .copied()
                    .zip(offsets.values().iter().copied()),
            );
        }
        rows
    }

    /// The offsets of partition 0 that became rows.
    pub fn offsets(&self) -> Vec<i64> {
        self.rows().into_iter().map(|(_, offset)| offset).collect()
    }

    /// The value of one of the pipeline's counters.
    pub fn counted(&self, metric: &str) -> u64 {
        let text = self.metrics.text().unwrap();
        let series = format!("{metric}{{pipeline=\"items\",source=\"items\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&series));
        value
            .unwrap_or_else(|| panic!("no {metric} in {text}"))
            .parse()
            .unwrap()
    }

    pub fn resends(&self) -> u64 {
        self.counted("engine_resends_records_total")
    }

    pub fn reapplied(&self) -> u64 {
        self.counted("engine_reapplied_records_total")
    }

    pub fn jumps(&self) -> u64 {
        self.counted("engine_position_jumps_records_total")
    }

    pub fn tombstones(&self) -> u64 {
        self.counted("engine_tombstones_records_total")
    }

    /// Paths of the files beside the table that belong to windows.
    pub fn files(&self) -> Vec<String> {
        let table = self.table.as_ref().expect("a pipeline ran");
        let files = table.files().into_keys();
        files.filter(|path| path.contains("/resends/")).collect()
    }
}

fn key() -> Vec<String> {
    vec!["id".to_owned()]
}

fn is_keyed(spec: &PipelineSpec) -> bool {
    spec.sink.mode != Mode::Append
}

fn parse(yaml: &str, folder: &Path) -> Arc<PipelineSpec> {
    let file = folder.join("pipeline.yaml");
    match engine::spec::parse_str(yaml, &file, &|_| None, &[]) {
        Ok(spec) => Arc::new(spec),
        Err(error) => panic!("{}\n{yaml}", error.report()),
    }
}

/// The offsets of the records that are no tombstones.
pub fn events(records: &[Record]) -> Vec<i64> {
    records
        .iter()
        .filter(|record| record.payload.is_some())
        .map(|record| record.offset)
        .collect()
}
