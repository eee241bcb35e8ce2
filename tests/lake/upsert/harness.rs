//! One table of each kind, changed and read in one line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use engine::lake::delta::delta_provider;
use engine::lake::iceberg::iceberg_provider;
use engine::lake::schema::{TableFormat, target_schema};
use engine::sink::delta::DeltaUpsert;
use engine::sink::iceberg::IcebergUpsert;
use engine::sink::memory::MemoryTable;
use engine::sink::{Missing, Receipt, UpsertSink};
use engine::spec::model::{
    DeltaTableSpec, IcebergTableSpec, PartitionField, PartitionTransform, WriteMode,
};
use serde_json::Value;
use sql::change::{NetChange, Partition, Span};
use tempfile::TempDir;
use tests::rest_catalog::Catalog;

use crate::lake::harness::{agrees, delta_spec, fresh, iceberg_spec, rest_spec, span};

pub use crate::lake::harness::Kind;

pub const PIPELINE: &str = "customers";
pub const TOPIC: &str = "db.customers";

/// What a table looks like.
#[derive(Debug, Clone)]
pub struct Shape {
    pub schema: Schema,
    pub key: Vec<String>,
    pub partition_by: Vec<String>,
    /// Of an Iceberg table.
    pub write_mode: WriteMode,
}

impl Shape {
    /// `id`, `region`, `n`; the key is `id`.
    pub fn plain() -> Self {
        Self {
            schema: Schema::new(vec![
                Field::new("id", DataType::Int64, true),
                Field::new("region", DataType::Utf8, true),
                Field::new("n", DataType::Int64, true),
            ]),
            key: vec!["id".to_owned()],
            partition_by: Vec::new(),
            write_mode: WriteMode::MergeOnRead,
        }
    }

    /// The same, whose files are copied.
    pub fn copied(self) -> Self {
        Self {
            write_mode: WriteMode::CopyOnWrite,
            ..self
        }
    }

    pub fn partitioned() -> Self {
        Self {
            partition_by: vec!["region".to_owned()],
            ..Self::plain()
        }
    }

    /// One key column of any type, and `n`.
    pub fn keyed_by(columns: &[(&str, DataType)]) -> Self {
        let key = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        let n = Field::new("n", DataType::Int64, true);
        Self {
            schema: Schema::new(key.chain([n]).collect::<Vec<_>>()),
            key: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            ..Self::plain()
        }
    }
}

/// A table and where it is.
pub struct Bench {
    pub kind: Kind,
    pub shape: Shape,
    pub memory: MemoryTable,
    pub folder: PathBuf,
    /// The table in a REST catalog, if it is not in an SQLite catalog of the folder.
    rest: Option<IcebergTableSpec>,
    _temporary: Option<TempDir>,
}

impl Bench {
    pub fn new(kind: Kind, shape: Shape) -> Self {
        let temporary = TempDir::new().unwrap();
        let mut bench = Self::in_folder(kind, shape, temporary.path());
        bench._temporary = Some(temporary);
        bench
    }

    pub fn in_folder(kind: Kind, shape: Shape, folder: &Path) -> Self {
        Self {
            kind,
            memory: MemoryTable::new(Arc::new(shape.schema.clone())),
            shape,
            folder: folder.join("table"),
            rest: None,
            _temporary: None,
        }
    }

    /// A table of a namespace of its own in a REST catalog, reached at `url`.
    pub fn rest(catalog: &Catalog, url: &str, shape: Shape) -> Self {
        let namespace = fresh("upsert");
        let folder = catalog.warehouse().join(&namespace);
        Self::in_rest(url, &namespace, shape, &folder)
    }

    /// The table of `namespace` in the REST catalog at `url`, which keeps it under `folder`.
    pub fn in_rest(url: &str, namespace: &str, shape: Shape, folder: &Path) -> Self {
        let mut bench = Self::in_folder(Kind::Iceberg, shape, folder);
        bench.folder = folder.to_owned();
        bench.rest = Some(rest_spec(url, namespace));
        bench
    }

    fn iceberg_spec(&self) -> IcebergTableSpec {
        self.rest
            .clone()
            .unwrap_or_else(|| iceberg_spec(&self.folder))
    }

    pub fn spec(&self) -> DeltaTableSpec {
        delta_spec(&self.folder)
    }

    pub async fn try_open(&self, pipeline: &str) -> sql::Result<Box<dyn UpsertSink>> {
        let Shape {
            schema,
            key,
            partition_by,
            ..
        } = &self.shape;
        Ok(match self.kind {
            Kind::Memory => Box::new(self.memory.upsert_sink(pipeline, key)),
            Kind::Delta => Box::new(
                DeltaUpsert::open(
                    &self.spec(),
                    pipeline,
                    schema,
                    partition_by,
                    key,
                    Missing::Refuse,
                )
                .await?,
            ),
            Kind::Iceberg => Box::new(self.iceberg(pipeline).await?),
        })
    }

    pub async fn iceberg(&self, pipeline: &str) -> sql::Result<IcebergUpsert> {
        let target = target_schema(&self.shape.schema, TableFormat::Iceberg)?;
        let partitions: Vec<_> = self.shape.partition_by.iter().map(|by| field(by)).collect();
        IcebergUpsert::open(
            &self.iceberg_spec(),
            pipeline,
            &target,
            &partitions,
            &self.shape.key,
            Missing::Refuse,
        )
        .await
        .map(|sink| sink.with(self.shape.write_mode))
    }

    /// Whether rows are written without reading what they were.
    pub fn writes_blindly(&self) -> bool {
        self.kind == Kind::Iceberg && self.shape.write_mode == WriteMode::MergeOnRead
    }

    pub async fn sink(&self) -> Box<dyn UpsertSink> {
        self.try_open(PIPELINE).await.unwrap()
    }

    pub async fn writer(&self) -> Writer {
        Writer::of(self.sink().await)
    }

    async fn provider(&self) -> Arc<dyn TableProvider> {
        if self.kind == Kind::Memory {
            let rows = self.memory.rows();
            let schema = Arc::new(self.shape.schema.clone());
            let schema = rows.first().map_or(schema, |batch| batch.schema());
            return Arc::new(MemTable::try_new(schema, vec![rows]).unwrap());
        }
        if self.kind == Kind::Iceberg {
            return iceberg_provider(&self.iceberg_spec()).await.unwrap();
        }
        delta_provider(&self.spec()).await.unwrap()
    }

    pub async fn query(&self, sql: &str) -> Vec<String> {
        let context = SessionContext::new();
        context.register_table("t", self.provider().await).unwrap();
        let found = context.sql(sql).await.unwrap().collect().await.unwrap();
        if self.kind == Kind::Iceberg {
            agrees(&self.iceberg_spec(), sql, &found).await;
        }
        shown(&found)
    }

    /// The table's rows, read afresh, as text, sorted.
    pub async fn rows(&self) -> Vec<String> {
        let mut rows = self.query("SELECT * FROM t").await;
        rows.sort();
        rows
    }

    /// The actions of a commit of the Delta table.
    pub fn commit(&self, version: i64) -> Vec<Value> {
        std::fs::read_to_string(self.log(version))
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub fn log(&self, version: i64) -> PathBuf {
        self.folder.join(format!("_delta_log/{version:020}.json"))
    }

    /// The actions of this name in a commit.
    pub fn actions(&self, version: i64, name: &str) -> Vec<Value> {
        let actions = self.commit(version);
        actions
            .iter()
            .filter_map(|a| a.get(name).cloned())
            .collect()
    }

    /// Commits other table properties, as a user would by SQL.
    pub fn set(&self, version: i64, properties: &[(&str, &str)]) {
        let older = (0..version)
            .rev()
            .find_map(|v| self.actions(v, "metaData").pop());
        let mut metadata = older.unwrap();
        for (name, value) in properties {
            metadata["configuration"][*name] = Value::String((*value).to_owned());
        }
        let line = serde_json::json!({ "metaData": metadata });
        std::fs::write(self.log(version), line.to_string()).unwrap();
    }

    /// Data files under the table's folder, without those of the feed.
    pub fn data_files(&self) -> Vec<PathBuf> {
        files_under(&self.folder)
            .into_iter()
            .filter(|path| {
                let text = path.to_string_lossy();
                text.ends_with(".parquet")
                    && !text.contains("_delta_log")
                    && !text.contains("_change_data")
            })
            .collect()
    }
}

/// A partition field: a column, or `bucket:8:column`, `truncate:2:column`.
fn field(by: &str) -> PartitionField {
    let words: Vec<_> = by.split(':').collect();
    let (transform, column) = match words.as_slice() {
        ["bucket", buckets, column] => (
            PartitionTransform::Bucket(buckets.parse().unwrap()),
            *column,
        ),
        ["truncate", width, column] => (
            PartitionTransform::Truncate(width.parse().unwrap()),
            *column,
        ),
        _ => (PartitionTransform::Identity, by),
    };
    PartitionField {
        column: column.to_owned(),
        transform,
        at: "p.yaml:9:3 (sink.partition_by[0])".to_owned(),
    }
}

pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files_under(&path)),
            path => found.push(path),
        }
    }
    found
}

/// A sink that is fed one offset a change.
pub struct Writer {
    pub sink: Box<dyn UpsertSink>,
}

impl Writer {
    pub fn of(sink: Box<dyn UpsertSink>) -> Self {
        Self { sink }
    }

    /// The span of the next offset.
    pub async fn next(&mut self) -> Span {
        let partition = Partition::new(TOPIC, 0);
        let from = self.sink.progress().await.unwrap().get(&partition);
        let after: Vec<_> = from.map(|from| (TOPIC, 0, from)).into_iter().collect();
        span(&after, &[(TOPIC, 0, from.unwrap_or(0) + 1)])
    }

    pub async fn apply(&mut self, change: &NetChange) -> Receipt {
        let span = self.next().await;
        match self.sink.upsert(change, &span).await {
            Ok(receipt) => receipt,
            Err(error) => panic!("{}", error.report()),
        }
    }
}

/// Rows of [`Shape::plain`].
pub type Plain<'a> = (i64, Option<&'a str>, Option<i64>);

pub fn plain(rows: &[Plain<'_>]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(Arc::new(Shape::plain().schema), columns).unwrap()
}

pub fn ids(ids: &[i64]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    RecordBatch::try_from_iter(vec![("id", column)]).unwrap()
}

/// Rows and deleted ids of [`Shape::plain`].
pub fn change(rows: &[Plain<'_>], deletes: &[i64]) -> NetChange {
    NetChange::try_new(false, plain(rows), ids(deletes)).unwrap()
}

pub fn truncate(rows: &[Plain<'_>]) -> NetChange {
    NetChange::try_new(true, plain(rows), ids(&[])).unwrap()
}

/// `id` to `id + count`, all in `region`, `n` ten times the id.
pub fn many(ids: std::ops::Range<i64>, region: &str, times: i64) -> Vec<Plain<'_>> {
    ids.map(|id| (id, Some(region), Some(id * times))).collect()
}

/// Rows as text, one line each.
pub fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = columns.iter().map(|c| c.value(row).to_string()).collect();
            lines.push(cells.join("|"));
        }
    }
    lines
}
