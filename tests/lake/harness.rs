//! One table of each kind, opened, written and read in one line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use engine::lake::cast::Caster;
use engine::lake::delta::delta_provider;
use engine::lake::iceberg::iceberg_provider;
use engine::sink::memory::MemoryTable;
use engine::sink::{Sink, open};
use engine::spec::model::{
    CatalogKind, CatalogSpec, DeltaTableSpec, IcebergTableSpec, Mode, PartitionField,
    PartitionTransform, RestSpec, SinkSpec, SinkTarget,
};
use sql::change::{Partition, Position, Span};
use tempfile::TempDir;
use tests::library;
use tests::rest_catalog::Catalog;

use super::upsert::harness::shown;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Delta,
    Iceberg,
}

pub struct Bench {
    pub kind: Kind,
    pub memory: MemoryTable,
    pub spec: SinkSpec,
    pub folder: PathBuf,
    _temporary: Option<TempDir>,
}

pub fn delta_spec(path: &Path) -> DeltaTableSpec {
    DeltaTableSpec {
        path: path.display().to_string(),
        storage_options: BTreeMap::new(),
        properties: BTreeMap::new(),
    }
}

pub fn iceberg_spec(folder: &Path) -> IcebergTableSpec {
    IcebergTableSpec {
        catalog: CatalogSpec {
            name: "lake".to_owned(),
            kind: CatalogKind::Sql {
                uri: format!("sqlite://{}/catalog.db?mode=rwc", folder.display()),
                warehouse: format!("file://{}", folder.display()),
            },
            storage_options: BTreeMap::new(),
        },
        namespace: vec!["analytics".to_owned()],
        table: "customers".to_owned(),
    }
}

/// A table of its own in a REST catalog at `url`, which keeps its tables in `warehouse`.
pub fn rest_spec(url: &str, namespace: &str) -> IcebergTableSpec {
    IcebergTableSpec {
        catalog: CatalogSpec {
            name: "lake".to_owned(),
            kind: CatalogKind::Rest(RestSpec {
                uri: url.to_owned(),
                warehouse: None,
                prefix: None,
                token: None,
                credential: None,
                properties: BTreeMap::new(),
            }),
            storage_options: BTreeMap::new(),
        },
        namespace: vec![namespace.to_owned()],
        table: "customers".to_owned(),
    }
}

async fn answered(table: Arc<dyn TableProvider>, sql: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new();
    context.register_table("t", table).unwrap();
    context.sql(sql).await.unwrap().collect().await.unwrap()
}

/// Checks that the library's own scan of the table gives the rows that the engine's gave.
pub async fn agrees(spec: &IcebergTableSpec, sql: &str, found: &[RecordBatch]) {
    let Some(library) = library::iceberg(spec).await else {
        return;
    };
    let sorted = |batches: &[RecordBatch]| {
        let mut lines = shown(batches);
        lines.sort();
        lines
    };
    let expected = answered(library, sql).await;
    assert_eq!(sorted(found), sorted(&expected), "{sql}");
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// A name that no other table of this process has.
pub fn fresh(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Bench {
    /// A table of a namespace of its own in a REST catalog, reached at `url`.
    pub fn rest(catalog: &Catalog, url: &str) -> Self {
        let namespace = fresh("append");
        let folder = catalog.warehouse().join(&namespace);
        Self::in_rest(url, &namespace, &folder)
    }

    /// The table of `namespace` in the REST catalog at `url`, which keeps it under `folder`.
    pub fn in_rest(url: &str, namespace: &str, folder: &Path) -> Self {
        let mut bench = Self::in_folder(Kind::Iceberg, folder);
        bench.spec.target = SinkTarget::Iceberg(rest_spec(url, namespace));
        bench
    }

    /// What the pipeline says of its REST catalog, to be changed.
    pub fn rest_mut(&mut self) -> &mut RestSpec {
        let SinkTarget::Iceberg(table) = &mut self.spec.target else {
            panic!("no Iceberg table");
        };
        let CatalogKind::Rest(rest) = &mut table.catalog.kind else {
            panic!("no REST catalog");
        };
        rest
    }

    pub fn new(kind: Kind) -> Self {
        let temporary = TempDir::new().unwrap();
        let mut bench = Self::in_folder(kind, temporary.path());
        bench._temporary = Some(temporary);
        bench
    }

    pub fn in_folder(kind: Kind, folder: &Path) -> Self {
        let target = match kind {
            Kind::Iceberg => SinkTarget::Iceberg(iceberg_spec(folder)),
            Kind::Memory | Kind::Delta => SinkTarget::Delta(delta_spec(&folder.join("table"))),
        };
        Self {
            kind,
            memory: MemoryTable::new(Arc::new(output())),
            spec: SinkSpec {
                target,
                mode: Mode::Append,
                partition_by: Vec::new(),
                at: "p.yaml:1:1 (sink)".to_owned(),
            },
            folder: folder.to_owned(),
            _temporary: None,
        }
    }

    pub fn partitioned(mut self, fields: &[(&str, PartitionTransform)]) -> Self {
        self.spec.partition_by = fields
            .iter()
            .map(|(column, transform)| PartitionField {
                column: (*column).to_owned(),
                transform: *transform,
                at: "p.yaml:9:3 (sink.partition_by[0])".to_owned(),
            })
            .collect();
        self
    }

    pub async fn try_open(&self, pipeline: &str, output: &Schema) -> sql::Result<Box<dyn Sink>> {
        match self.kind {
            Kind::Memory => Ok(Box::new(self.memory.sink(pipeline))),
            Kind::Delta | Kind::Iceberg => open(&self.spec, pipeline, output).await,
        }
    }

    pub async fn sink(&self) -> Box<dyn Sink> {
        self.try_open("customers", &output()).await.unwrap()
    }

    pub async fn provider(&self) -> Arc<dyn TableProvider> {
        match &self.spec.target {
            _ if self.kind == Kind::Memory => {
                let rows = self.memory.rows();
                let schema = rows.first().map_or(Arc::new(output()), |b| b.schema());
                Arc::new(MemTable::try_new(schema, vec![rows]).unwrap())
            }
            SinkTarget::Delta(spec) => delta_provider(spec).await.unwrap(),
            SinkTarget::Iceberg(spec) => iceberg_provider(spec).await.unwrap(),
        }
    }

    /// Runs `sql` over the table `t`, read afresh.
    pub async fn query(&self, sql: &str) -> Vec<RecordBatch> {
        let found = answered(self.provider().await, sql).await;
        if let SinkTarget::Iceberg(spec) = &self.spec.target
            && self.kind != Kind::Memory
        {
            agrees(spec, sql, &found).await;
        }
        found
    }

    pub async fn ids(&self) -> Vec<i64> {
        longs(&self.query("SELECT id FROM t ORDER BY id").await)
    }

    /// The data files of the target.
    pub fn data_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.folder, &mut found);
        found.retain(|path| {
            path.extension().is_some_and(|e| e == "parquet")
                && !path.to_string_lossy().contains("_delta_log")
        });
        found
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => walk(&path, found),
            path => found.push(path),
        }
    }
}

pub fn longs(batches: &[RecordBatch]) -> Vec<i64> {
    batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect()
}

/// What the pipeline's SQL returns.
pub fn output() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("tier", DataType::Utf8, true),
    ])
}

/// Rows `from..to`, `tier` is one of three.
pub fn rows(from: i64, to: i64) -> RecordBatch {
    let tiers = ["gold", "silver", "bronze"];
    let tier: StringArray = (from..to)
        .map(|id| tiers.get(usize::try_from(id % 3).unwrap()).copied())
        .collect();
    let ids = Int64Array::from_iter_values(from..to);
    RecordBatch::try_new(Arc::new(output()), vec![Arc::new(ids), Arc::new(tier)]).unwrap()
}

pub fn fitted(sink: &dyn Sink, batch: &RecordBatch) -> RecordBatch {
    Caster::try_new(batch.schema_ref(), &sink.schema())
        .unwrap()
        .cast(batch)
        .unwrap()
}

pub fn position(of: &[(&str, i32, i64)]) -> Position {
    of.iter()
        .map(|(topic, number, next)| (Partition::new(*topic, *number), *next))
        .collect()
}

pub fn span(after: &[(&str, i32, i64)], to: &[(&str, i32, i64)]) -> Span {
    Span::try_new(&position(after), &position(to)).unwrap()
}

/// The span of rows `from..to` of the topic `db.customers`, whose offsets are the ids.
pub fn step(from: i64, to: i64) -> Span {
    let after: &[_] = if from == 0 {
        &[]
    } else {
        &[("db.customers", 0, from)]
    };
    span(after, &[("db.customers", 0, to)])
}
