//! A pipeline over captured messages into a real table, in a folder of its own.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use engine::lake::delta::delta_provider;
use engine::lake::iceberg::iceberg_provider;
use engine::run::observer::Observers;
use engine::run::pipeline::{Outcome, Pipeline};
use engine::sink::quarantine;
use engine::source::CancellationToken;
use engine::spec::model::{PipelineSpec, SinkTarget};
use engine::telemetry::{Health, Metrics};
use serde_json::{Value, json};
use sql::Result;
use tempfile::TempDir;

use super::harness::{metric, parse};

/// What the target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Delta,
    Iceberg,
}

impl Kind {
    pub const BOTH: [Self; 2] = [Self::Delta, Self::Iceberg];
}

/// A folder with `messages.jsonl`, and a pipeline file's text.
pub struct Job {
    pub folder: TempDir,
    pub metrics: Arc<Metrics>,
    kind: Kind,
    pipeline: String,
    source: String,
    rest: String,
}

impl Job {
    /// A pipeline `job` from `messages.jsonl`. `pipeline` and `source` are lines inside these blocks, `rest` is blocks.
    pub fn new(kind: Kind, pipeline: &str, source: &str, rest: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("messages.jsonl"), "").unwrap();
        Self {
            folder,
            metrics: Arc::new(Metrics::try_new().unwrap()),
            kind,
            pipeline: pipeline.to_owned(),
            source: source.to_owned(),
            rest: rest.to_owned(),
        }
    }

    pub fn messages(&self) -> PathBuf {
        self.folder.path().join("messages.jsonl")
    }

    /// Appends captured messages.
    pub fn capture(&self, lines: &str) {
        append(&self.messages(), lines);
    }

    pub fn yaml(&self) -> String {
        let folder = self.folder.path().display();
        let sink = match self.kind {
            Kind::Delta => {
                format!("sink: {{ type: delta, path: \"{folder}/table\", mode: append }}")
            }
            Kind::Iceberg => format!(
                "sink:\n  type: iceberg\n  catalog: {{ type: sql, name: lake, uri: \"sqlite://{folder}/catalog.db\", warehouse: \"{folder}\" }}\n  table: n.t\n  mode: append"
            ),
        };
        format!(
            "pipeline:\n  name: job\n{}\nsource:\n  type: kafka\n  name: items\n  bootstrap_servers: file:messages.jsonl\n{}\n{}\n{sink}\n",
            self.pipeline, self.source, self.rest
        )
    }

    pub fn spec(&self) -> Arc<PipelineSpec> {
        parse(&self.yaml(), self.folder.path())
    }

    /// Drains the file.
    pub async fn run(&self) -> Result<Outcome> {
        let spec = self.spec();
        let observers = Observers::new(self.metrics.clone(), Health::new(), false);
        let observer = Arc::new(observers.of(&spec, String::new()));
        let pipeline = Pipeline::start(spec, true, observer, CancellationToken::new());
        pipeline.await?.drive().await
    }

    async fn table(&self) -> Arc<dyn TableProvider> {
        match &self.spec().sink.target {
            SinkTarget::Delta(table) => delta_provider(table).await.unwrap(),
            SinkTarget::Iceberg(table) => iceberg_provider(table).await.unwrap(),
        }
    }

    /// The target's columns.
    pub async fn columns(&self) -> Vec<String> {
        let schema = self.table().await.schema();
        schema.fields().iter().map(|f| f.name().clone()).collect()
    }

    /// A query of the target, which is `t`: values joined by `|`.
    pub async fn query(&self, sql: &str) -> Vec<String> {
        query(self.table().await, sql).await
    }

    /// A query of the quarantine, which is `t`.
    pub async fn quarantine(&self, sql: &str) -> Vec<String> {
        let spec = self.spec();
        let table = quarantine::table(&spec.pipeline, &spec.sink).unwrap();
        let table = delta_provider(&table).await;
        query(table.unwrap(), sql).await
    }

    pub fn metric(&self, series: &str) -> Option<f64> {
        metric(&self.metrics.text().unwrap(), series)
    }
}

async fn query(table: Arc<dyn TableProvider>, sql: &str) -> Vec<String> {
    let context = SessionContext::new();
    context.register_table("t", table).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            rows.push(values.join("|"));
        }
    }
    rows
}

/// Appends to a file, in one write.
pub fn append(file: &Path, text: &str) {
    let mut file = fs::File::options().append(true).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A captured insert of `name` with the offset as id.
pub fn insert(topic: &str, partition: i32, offset: i64, name: Option<&str>) -> String {
    let source = json!({"ts_ms": 1_700_000_000_000_i64, "connector": "postgresql"});
    let event = json!({
        "before": null, "after": {"id": offset, "name": name}, "source": source, "op": "c", "ts_ms": 1_700_000_000_000_i64,
    });
    message(topic, partition, offset, &event.to_string())
}

/// A captured message with this value.
pub fn message(topic: &str, partition: i32, offset: i64, payload: &str) -> String {
    let line: Value = json!({
        "topic": topic, "partition": partition, "offset": offset, "ts": 1_700_000_000_000_i64, "headers": [],
        "key": json!({"id": offset}).to_string(), "payload": payload,
    });
    format!("{line}\n")
}

/// `topics:` and `columns:` for [`insert`]s.
pub fn items(topics: &str) -> String {
    format!("  topics: [{topics}]\n  columns: |\n    id BIGINT NOT NULL PRIMARY KEY, name TEXT")
}
