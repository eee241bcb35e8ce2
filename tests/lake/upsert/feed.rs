//! The change feed leads from each version of the table to the next: by the rules that Spark reads it by, from the log and the files
//! alone, and by the `deltalake` wheel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use arrow::array::{AsArray, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tests::python::{Location, Readers, Table};
use tests::spark::{Spark, View};
use tests::{full, need};

use super::harness::{Bench, Kind, Shape, change, many, truncate};

/// How often each row is there.
pub type State = BTreeMap<String, i64>;

impl Bench {
    pub fn newest(&self) -> i64 {
        let versions = (0..).take_while(|version| self.log(*version).exists());
        versions.last().unwrap()
    }

    /// The rows at `version`, by replaying the log.
    pub fn state(&self, version: i64) -> State {
        let mut files: BTreeMap<String, Value> = BTreeMap::new();
        for version in 0..=version {
            for remove in self.actions(version, "remove") {
                let gone = files.remove(remove["path"].as_str().unwrap());
                let gone = gone.expect("a file goes that is there");
                assert_eq!(remove["size"], gone["size"]);
                assert_eq!(remove["partitionValues"], gone["partitionValues"]);
            }
            for add in self.actions(version, "add") {
                let there = files.insert(add["path"].as_str().unwrap().to_owned(), add);
                assert!(there.is_none(), "a file comes that is there");
            }
        }
        let mut state = State::new();
        for add in files.values() {
            let rows = self.file_rows(add);
            let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
            assert_eq!(stats["numRecords"], rows.len());
            for (row, _) in rows {
                *state.entry(row).or_default() += 1;
            }
        }
        state
    }

    /// The feed of a version: the feed's files if it has any, else the files that came and went.
    pub fn feed(&self, version: i64) -> Vec<(String, String)> {
        let cdc = self.actions(version, "cdc");
        if cdc.is_empty() {
            let of = |action: &str, word: &str| -> Vec<(String, String)> {
                self.actions(version, action)
                    .iter()
                    .filter(|file| file["dataChange"] == true)
                    .flat_map(|file| self.file_rows(file))
                    .map(|(row, _)| (row, word.to_owned()))
                    .collect()
            };
            return [of("remove", "delete"), of("add", "insert")].concat();
        }
        let mut changes = Vec::new();
        for file in cdc {
            assert_eq!(file["dataChange"], false);
            assert!(file["path"].as_str().unwrap().starts_with("_change_data/"));
            let rows = self.file_rows(&file);
            changes.extend(rows.into_iter().map(|(row, kind)| (row, kind.unwrap())));
        }
        changes
    }

    /// Rows of a file as the table has them, and what the feed says of each.
    fn file_rows(&self, action: &Value) -> Vec<(String, Option<String>)> {
        let path = self.folder.join(decoded(action["path"].as_str().unwrap()));
        let file = File::open(&path).unwrap();
        assert_eq!(
            file.metadata().unwrap().len(),
            action["size"].as_u64().unwrap()
        );
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap();
        let mut rows = Vec::new();
        for batch in reader {
            let batch = batch.unwrap();
            let kinds = batch
                .column_by_name("_change_type")
                .map(|c| c.as_string::<i32>().clone());
            for row in 0..batch.num_rows() {
                let kind = kinds.as_ref().map(|kinds| kinds.value(row).to_owned());
                rows.push((self.text(&batch, row, &action["partitionValues"]), kind));
            }
        }
        rows
    }

    fn text(&self, batch: &RecordBatch, row: usize, partition: &Value) -> String {
        let options = FormatOptions::default().with_null("∅");
        let cells = self.shape.schema.fields().iter().map(|field| {
            if let Some(value) = partition.get(field.name()) {
                return value.as_str().unwrap_or("∅").to_owned();
            }
            let column = batch.column_by_name(field.name());
            column.map_or("∅".to_owned(), |column| {
                ArrayFormatter::try_new(column, &options)
                    .unwrap()
                    .value(row)
                    .to_string()
            })
        });
        cells.collect::<Vec<_>>().join("|")
    }

    /// Each version's changes, applied to the version before it, give that version; nothing is told that did not happen.
    pub fn feed_tells_every_version(&self) {
        let mut before = self.state(0);
        for version in 1..=self.newest() {
            before = self.feed_leads_on(before, version);
        }
    }

    /// As [`Bench::feed_tells_every_version`], for one version.
    pub fn feed_tells(&self, version: i64) {
        self.feed_leads_on(self.state(version - 1), version);
    }

    fn feed_leads_on(&self, mut before: State, version: i64) -> State {
        let changes = self.feed(version);
        for (row, kind) in &changes {
            if ["delete", "update_preimage"].contains(&kind.as_str()) {
                let count = before.get_mut(row).filter(|count| **count > 0);
                *count.unwrap_or_else(|| panic!("{version}: {kind} of {row}")) -= 1;
            }
        }
        for (row, kind) in &changes {
            if ["insert", "update_postimage"].contains(&kind.as_str()) {
                *before.entry(row.clone()).or_default() += 1;
            }
        }
        before.retain(|_, count| *count > 0);
        let after = self.state(version);
        assert!(
            before == after,
            "version {version} is not what its feed leads to"
        );
        if !self.actions(version, "cdc").is_empty() {
            let told: BTreeSet<_> = changes.iter().collect();
            for (row, kind) in &changes {
                let other = match kind.as_str() {
                    "delete" => "insert",
                    "update_preimage" => "update_postimage",
                    _ => continue,
                };
                let undone = told.contains(&(row.clone(), other.to_owned()));
                assert!(!undone, "{version}: {row} goes and comes back");
            }
        }
        after
    }

    fn kinds(&self, version: i64) -> Vec<String> {
        self.feed(version)
            .into_iter()
            .map(|(row, kind)| format!("{kind} {row}"))
            .collect()
    }
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [a, b, after @ ..]) => {
                let hex = String::from_utf8(vec![*a, *b]).unwrap();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_images_of_an_update_stand_side_by_side() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..5, "eu", 1), &[])).await;
    let rows = [
        (4, Some("eu"), Some(40)),
        (2, Some("eu"), Some(2)),
        (9, None, None),
        (1, Some("us"), Some(1)),
    ];
    let receipt = writer.apply(&change(&rows, &[3])).await;
    assert_eq!(
        bench.kinds(receipt.version),
        [
            "update_preimage 1|eu|1",
            "update_postimage 1|us|1",
            "delete 3|eu|3",
            "update_preimage 4|eu|4",
            "update_postimage 4|eu|40",
            "insert 9|∅|∅",
        ]
    );
    bench.feed_tells_every_version();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_moves_has_an_image_in_each_partition() {
    let bench = Bench::new(Kind::Delta, Shape::partitioned());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..3, "eu", 1), &[])).await;
    let receipt = writer
        .apply(&change(
            &[(1, Some("us"), Some(1)), (2, Some("eu"), Some(20))],
            &[],
        ))
        .await;
    assert_eq!(
        bench.kinds(receipt.version),
        [
            "update_preimage 1|eu|1",
            "update_preimage 2|eu|2",
            "update_postimage 2|eu|20",
            "update_postimage 1|us|1"
        ]
    );
    bench.feed_tells_every_version();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncate_tells_of_rows_that_go_and_of_rows_that_stay_changed() {
    for shape in [Shape::plain(), Shape::partitioned()] {
        let bench = Bench::new(Kind::Delta, shape);
        let mut writer = bench.writer().await;
        writer.apply(&change(&many(0..3, "eu", 1), &[])).await;
        writer.apply(&change(&many(3..5, "us", 1), &[])).await;
        let rows = [
            (1, Some("eu"), Some(1)),
            (2, Some("eu"), Some(0)),
            (3, Some("eu"), Some(3)),
            (7, None, None),
        ];
        let receipt = writer.apply(&truncate(&rows)).await;
        let mut kinds = bench.kinds(receipt.version);
        kinds.sort();
        let expected = [
            "delete 0|eu|0",
            "delete 4|us|4",
            "insert 7|∅|∅",
            "update_postimage 2|eu|0",
            "update_postimage 3|eu|3",
            "update_preimage 2|eu|2",
            "update_preimage 3|us|3",
        ];
        assert_eq!(kinds, expected);
        bench.feed_tells_every_version();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_a_feed_gets_none_until_it_wants_one() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..5, "eu", 1), &[])).await;
    bench.set(2, &[("delta.enableChangeDataFeed", "false")]);
    let files = || {
        bench
            .folder
            .join("_change_data")
            .read_dir()
            .unwrap()
            .count()
    };
    assert_eq!(files(), 1);
    for change in [
        change(&[(1, None, None)], &[2]),
        truncate(&[(1, None, None)]),
    ] {
        let receipt = writer.apply(&change).await;
        assert_eq!(bench.actions(receipt.version, "cdc"), [Value::Null; 0]);
    }
    assert_eq!(files(), 1);
    bench.set(5, &[("delta.enableChangeDataFeed", "true")]);
    let receipt = writer.apply(&change(&[(1, None, Some(5))], &[])).await;
    assert_eq!(
        bench.kinds(receipt.version),
        ["update_preimage 1|∅|∅", "update_postimage 1|∅|5"]
    );
}

/// A table with every kind of change.
async fn eventful(shape: Shape) -> Bench {
    let bench = Bench::new(Kind::Delta, shape);
    let mut writer = bench.writer().await;
    for change in [
        change(&many(0..30, "eu", 1), &[]),
        change(&many(20..40, "us", 1), &[3, 4, 99]),
        change(&many(20..40, "us", 1), &[]),
        change(&[], &[]),
        truncate(&many(10..22, "eu", 3)),
        change(&[(10, Some("a/b%"), None), (12, None, Some(1))], &[11]),
        truncate(&[]),
        change(
            &[
                (1, Some("a b"), Some(1)),
                (2, None, None),
                (3, Some("eu"), None),
            ],
            &[],
        ),
    ] {
        writer.apply(&change).await;
    }
    bench
}

/// A row as a reader of the table saw it.
fn read_text(row: &Value) -> String {
    let cells = ["id", "region", "n"].map(|name| match &row[name] {
        Value::Null => "∅".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    cells.join("|")
}

/// The rows that a reader saw, sorted.
pub fn read_rows(table: &Table) -> Vec<String> {
    let mut rows: Vec<_> = table.rows.iter().map(read_text).collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wheel_reads_the_same_feed() {
    let readers = need!(Readers::ready());
    for shape in [Shape::plain(), Shape::partitioned()] {
        let bench = eventful(shape).await;
        let versions = readers.run("check_feed.py", [&bench.folder]);
        assert_eq!(versions.len(), 8);
        for version in &versions {
            assert_eq!(version["wrong"], "", "{version}");
        }
        assert_eq!(versions[1]["kinds"]["update_preimage"], 10);
        assert_eq!(versions[1]["kinds"]["delete"], 2);
        assert_eq!(versions[2]["kinds"], serde_json::json!({}));
        bench.feed_tells_every_version();
        let location = Location::Delta(bench.folder.clone());
        for reader in location.readers() {
            let read = read_rows(&readers.read(reader, &location));
            assert_eq!(read, bench.rows().await, "{reader:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spark_reads_the_same_feed() {
    full!();
    let spark = need!(Spark::ready());
    let benches = [
        eventful(Shape::plain()).await,
        eventful(Shape::partitioned()).await,
    ];
    let locations = benches
        .each_ref()
        .map(|bench| Location::Delta(bench.folder.clone()));
    let views: Vec<_> = locations
        .iter()
        .flat_map(|location| [View::table(location), View::changes(location, 1)])
        .collect();
    let tables = spark.read(&views);
    for (bench, read) in benches.iter().zip(tables.chunks(2)) {
        assert_eq!(read_rows(&read[0]), bench.rows().await);
        for version in 1..=bench.newest() {
            let changes = read[1]
                .rows
                .iter()
                .filter(|row| row["_commit_version"] == version);
            let told = changes.map(|row| {
                (
                    read_text(row),
                    row["_change_type"].as_str().unwrap().to_owned(),
                )
            });
            let (mut told, mut ours) = (told.collect::<Vec<_>>(), bench.feed(version));
            told.sort();
            ours.sort();
            assert_eq!(told, ours, "version {version}");
        }
    }
}
