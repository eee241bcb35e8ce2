//! The real engine, killed around its windows: whatever it had done by then, the table is the log without what was sent
//! again. And what others do to a table leaves its windows alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use engine::lake::delta::delta_provider;
use engine::lake::iceberg::iceberg_provider;
use engine::spec::model::{CatalogKind, CatalogSpec, DeltaTableSpec, IcebergTableSpec};
use tempfile::TempDir;
use tests::capture;
use tests::engine::{Engine, Outcome};
use tests::need;
use tests::note;
use tests::python::Readers;

use super::simulated::{Topic, changes};

const TOPIC: &str = "shop.public.items";
const RUN: Duration = Duration::from_secs(120);
const BATCH: usize = 40;
/// More kills than batches: an engine that needs more does not get on.
const MOST_KILLS: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    Delta,
    /// Partitioned by a column.
    DeltaPartitioned,
    Iceberg,
}

struct Pipeline {
    folder: TempDir,
    sink: Sink,
}

impl Pipeline {
    fn new(sink: Sink) -> Self {
        let folder = TempDir::with_prefix("engine-resends-").unwrap();
        let target = match sink {
            Sink::Delta => "type: delta\n  path: \"${WAREHOUSE}/items\"",
            Sink::DeltaPartitioned => {
                "type: delta\n  path: \"${WAREHOUSE}/items\"\n  partition_by: [_op]"
            }
            Sink::Iceberg => {
                "type: iceberg\n  catalog: { type: sql, name: lake, uri: \"sqlite://${WAREHOUSE}/catalog.db\", warehouse: \"${WAREHOUSE}\" }\n  table: shop.items"
            }
        };
        let yaml = format!(
            "pipeline:\n  name: items\n  batch: {{ max_records: {BATCH} }}\nsource:\n  type: kafka\n  name: items\n  bootstrap_servers: file:messages.jsonl\n  topics: [{TOPIC}]\n  columns: id BIGINT, name TEXT\n  resends: drop\n\
             transform: SELECT id, _op, _offset FROM items\nsink:\n  {target}\n  mode: append\n"
        );
        fs::write(folder.path().join("items.yaml"), yaml).unwrap();
        Self { folder, sink }
    }

    fn write(&self, topic: &Topic, records: usize) {
        let file = self.folder.path().join("messages.jsonl");
        capture::write(&file, TOPIC, &topic.records[..records]);
    }

    fn warehouse(&self) -> PathBuf {
        self.folder.path().join("warehouse")
    }

    fn run(&self, failpoint: &str) -> Outcome {
        Engine::new(["run", "items.yaml", "--once"])
            .current_dir(self.folder.path())
            .env("WAREHOUSE", self.warehouse())
            .env("ENGINE_FAILPOINT", failpoint)
            .run(RUN)
    }

    /// The offsets in the table, sorted.
    fn offsets(&self) -> Vec<i64> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let table = match self.sink {
                Sink::Iceberg => iceberg_provider(&self.iceberg()).await,
                Sink::Delta | Sink::DeltaPartitioned => delta_provider(&self.delta()).await,
            };
            let context = SessionContext::new();
            context.register_table("t", table.unwrap()).unwrap();
            let query = context.sql("SELECT _offset FROM t ORDER BY _offset").await;
            let batches = query.unwrap().collect().await.unwrap();
            let column = |batch: &arrow::array::RecordBatch| {
                batch
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            };
            batches.iter().flat_map(column).collect()
        })
    }

    fn delta(&self) -> DeltaTableSpec {
        DeltaTableSpec {
            path: self.table().display().to_string(),
            properties: Default::default(),
            storage_options: Default::default(),
        }
    }

    fn iceberg(&self) -> IcebergTableSpec {
        let warehouse = self.warehouse().display().to_string();
        IcebergTableSpec {
            catalog: CatalogSpec {
                name: "lake".to_owned(),
                kind: CatalogKind::Sql {
                    uri: format!("sqlite://{warehouse}/catalog.db?mode=rwc"),
                    warehouse: format!("file://{warehouse}"),
                },
                storage_options: Default::default(),
            },
            namespace: vec!["shop".to_owned()],
            table: "items".to_owned(),
        }
    }

    fn table(&self) -> PathBuf {
        match self.sink {
            Sink::Iceberg => self.warehouse().join("shop/items"),
            Sink::Delta | Sink::DeltaPartitioned => self.warehouse().join("items"),
        }
    }

    fn windows(&self) -> PathBuf {
        self.table()
            .join("_engine/items/resends")
            .join(TOPIC)
            .join("0")
    }
}

/// A topic in which the connector died three times.
fn topic() -> Topic {
    let changes = changes(300);
    let mut topic = Topic::new(true);
    for (from, to) in [(0, 100), (60, 180), (90, 240), (235, 300)] {
        topic.restart();
        let sent = topic.first.len();
        for (at, change) in changes.iter().enumerate().take(to).skip(from) {
            let again = at
                < [0, 100, 180, 240][[100, 180, 240, 300].iter().position(|t| *t == to).unwrap()];
            topic.send(change, again);
        }
        assert!(topic.first.len() > sent);
    }
    topic
}

fn killed_again_and_again(sink: Sink, point: &str) {
    let pipeline = Pipeline::new(sink);
    let topic = topic();
    pipeline.write(&topic, topic.records.len());
    let mut kills = 0;
    for run in 0.. {
        // In the very first batch, then in the second one of each run, so that every run gets on by one at least.
        let nth = if run == 0 { 1 } else { 2 };
        let outcome = pipeline.run(&format!("{point}:{nth}"));
        if outcome.code() == Some(0) {
            break;
        }
        assert_eq!(outcome.signal(), Some(9), "{point}: {}", outcome.stderr);
        kills += 1;
        assert!(kills <= MOST_KILLS, "{point}: it does not get on");
    }
    assert!(kills >= 5, "{point}: only {kills} kills");
    assert_eq!(pipeline.offsets(), topic.expected_rows(), "{point}");
    assert_eq!(pipeline.run("").code(), Some(0));
    assert_eq!(pipeline.offsets(), topic.expected_rows(), "{point}");
    note::figure(&format!(
        "resends, {sink:?} {point}: {kills} kills, {} of {} records dropped",
        topic.again(),
        topic.records.len()
    ));
}

#[test]
fn delta_killed_before_its_window() {
    killed_again_and_again(Sink::Delta, "before_window");
}

#[test]
fn delta_killed_after_its_window() {
    killed_again_and_again(Sink::Delta, "after_window");
}

#[test]
fn delta_killed_after_its_files() {
    killed_again_and_again(Sink::DeltaPartitioned, "after_files");
}

#[test]
fn delta_killed_after_its_commit() {
    killed_again_and_again(Sink::Delta, "after_commit");
}

#[test]
fn iceberg_killed_before_its_window() {
    killed_again_and_again(Sink::Iceberg, "before_window");
}

#[test]
fn iceberg_killed_after_its_window() {
    killed_again_and_again(Sink::Iceberg, "after_window");
}

#[test]
fn iceberg_killed_after_its_files() {
    killed_again_and_again(Sink::Iceberg, "after_files");
}

#[test]
fn iceberg_killed_after_its_commit() {
    killed_again_and_again(Sink::Iceberg, "after_commit");
}

#[test]
fn a_killed_engine_goes_on_with_other_batches() {
    for sink in [Sink::Delta, Sink::Iceberg] {
        let pipeline = Pipeline::new(sink);
        let topic = topic();
        pipeline.write(&topic, topic.records.len());
        for (n, point) in ["after_window:2", "before_window:3", "after_window:1"]
            .iter()
            .enumerate()
        {
            let file = pipeline.folder.path().join("items.yaml");
            let text = fs::read_to_string(&file).unwrap();
            let (before, after) = ([BATCH, 17, 63][n], [17, 63, 9][n]);
            assert_eq!(pipeline.run(point).signal(), Some(9));
            let other = text.replace(
                &format!("max_records: {before}"),
                &format!("max_records: {after}"),
            );
            assert_ne!(other, text);
            fs::write(&file, other).unwrap();
        }
        assert_eq!(pipeline.run("").code(), Some(0));
        assert_eq!(pipeline.offsets(), topic.expected_rows(), "{sink:?}");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

#[test]
fn vacuum_leaves_the_windows_alone() {
    let readers = need!(Readers::ready());
    for sink in [Sink::Delta, Sink::DeltaPartitioned] {
        let pipeline = Pipeline::new(sink);
        let topic = topic();
        pipeline.write(&topic, topic.records.len() / 2);
        pipeline.run("").expect_code(0);
        let windows = files(&pipeline.windows());
        assert!(windows.len() > 3, "{windows:?}");
        let orphan = pipeline.table().join("orphan.parquet");
        fs::write(&orphan, "nobody's").unwrap();
        readers.vacuum(&pipeline.table());
        assert!(!orphan.exists(), "the vacuum took what is nobody's");
        assert_eq!(files(&pipeline.windows()), windows, "{sink:?}");
        pipeline.write(&topic, topic.records.len());
        pipeline.run("").expect_code(0);
        assert_eq!(pipeline.offsets(), topic.expected_rows());
    }
}

#[test]
fn the_run_says_what_it_dropped_and_a_missing_window_is_said() {
    let pipeline = Pipeline::new(Sink::Iceberg);
    let topic = topic();
    pipeline.write(&topic, 150);
    let first = pipeline.run("").expect_code(0);
    assert!(
        !first
            .stderr
            .contains("window of events sent again is missing"),
        "{}",
        first.stderr
    );
    let newest = files(&pipeline.windows());
    let newest = newest
        .iter()
        .rfind(|file| file.extension().is_some())
        .unwrap();
    fs::remove_file(newest).unwrap();
    pipeline.write(&topic, topic.records.len());
    let second = pipeline.run("").expect_code(0);
    for words in [
        "the window of events sent again is missing",
        "become rows a second time",
        "\"resends\":",
    ] {
        assert!(second.stderr.contains(words), "{words}: {}", second.stderr);
    }
}
