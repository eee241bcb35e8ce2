//! Delta tables that Spark wrote, kept in `fixtures/delta`, and what its `table_changes` says of them. `readers/make_delta_tables.py`
//! made them; the full tier makes them anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use engine::lake::versioned::MissingFeed;
use engine::lake::versioned::delta::DeltaVersions;
use serde_json::{Map, Value, json};
use sql::ErrorKind;
use sql::versioned::VersionedTable;
use tempfile::TempDir;
use tests::spark::Spark;
use tests::{full, need, repository};

use super::contract::{Images, all, collect, holds, refusal};
use crate::lake::harness::delta_spec;

const TABLES: [&str; 8] = [
    "plain",
    "partitioned",
    "marked",
    "marked_without_feed",
    "mapped",
    "mapped_by_id",
    "late",
    "types",
];

/// A folder with the kept table and what is told of it.
fn unpacked(name: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let archive = repository::path(&format!("tests/fixtures/delta/{name}.tar.gz"));
    let status = Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(folder.path())
        .status();
    assert!(status.unwrap().success());
    folder
}

/// What Spark told of a table.
struct Told {
    newest: i64,
    since: Option<i64>,
    /// By version.
    rows: BTreeMap<i64, Vec<String>>,
}

fn told(folder: &Path, name: &str) -> Told {
    let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let header = lines.next().unwrap();
    let mut rows: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for mut row in lines {
        let version = row
            .as_object_mut()
            .unwrap()
            .remove("_commit_version")
            .unwrap();
        let version = version.as_i64().unwrap();
        rows.entry(version)
            .or_default()
            .push(sorted(row.as_object().unwrap()));
    }
    Told {
        newest: header["newest"].as_i64().unwrap(),
        since: header["since"].as_i64(),
        rows,
    }
}

async fn opened(folder: &Path, name: &str) -> DeltaVersions {
    let opened = DeltaVersions::open(&delta_spec(&folder.join(name))).await;
    opened.unwrap_or_else(|error| panic!("{}", error.report()))
}

/// The changes of each version are those that Spark tells, and the contract holds.
async fn is_what_spark_tells(folder: &Path, name: &str) {
    let told = told(folder, name);
    let table = opened(folder, name)
        .await
        .with_missing_feed(MissingFeed::Diff);
    let range = table.refresh().await.unwrap();
    assert_eq!((range.first, range.last), (0, told.newest));
    for version in 1..=told.newest {
        let changes = collect(table.changes(version, &all(&table)).await).await;
        let mut changes: Vec<_> = changes.iter().flat_map(objects).collect();
        let mut expected = told.rows.get(&version).cloned().unwrap_or_default();
        changes.sort();
        expected.sort();
        assert!(
            changes == expected,
            "{name}, version {version}: {changes:#?}\n{expected:#?}"
        );
    }
    holds(&table, Images::Apart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_tables_of_spark_are_what_it_told_of_them() {
    for name in TABLES {
        let folder = unpacked(name);
        is_what_spark_tells(folder.path(), name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_feed_deletion_vectors_are_exact_and_rewritten_files_are_refused() {
    let folder = unpacked("late");
    let since = told(folder.path(), "late").since.unwrap();
    let table = opened(folder.path(), "late").await;
    let error = refusal(table.changes(3, &all(&table)).await).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    let report = error.report();
    let newest = table.refresh().await.unwrap().last;
    let expected = format!("a version from {since} to {newest}");
    assert!(report.contains(&expected), "{report}");
    for version in [1, 2].into_iter().chain(since..=newest) {
        collect(table.changes(version, &all(&table)).await).await;
    }

    let folder = unpacked("marked_without_feed");
    let told = told(folder.path(), "marked_without_feed");
    let table = opened(folder.path(), "marked_without_feed").await;
    let changes = collect(table.changes(2, &all(&table)).await).await;
    let mut changes: Vec<_> = changes.iter().flat_map(objects).collect();
    changes.sort();
    assert_eq!(told.rows[&2], changes);
    // Three rows of two partitions' files went, the files stay.
    let size = table.versions(2, 2).await.unwrap()[0].size;
    assert_eq!((size.added_files, size.removed_files), (0, 0));
    assert_eq!((size.added_rows, size.removed_rows), (Some(0), Some(3)));
}

/// Spark keeps deletion vectors in files that it names by a UUID. The same bytes may stand in the log itself, or in a file
/// anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_vectors_are_read_wherever_they_stand() {
    for storage in ["i", "p"] {
        let folder = unpacked("marked");
        let moved = move_vectors(&folder.path().join("marked"), storage);
        assert!(moved > 5, "{moved}");
        let told = told(folder.path(), "marked");
        let table = opened(folder.path(), "marked").await;
        for version in 1..=told.newest {
            let changes = collect(table.changes(version, &all(&table)).await).await;
            let mut changes: Vec<_> = changes.iter().flat_map(objects).collect();
            changes.sort();
            let mut expected = told.rows[&version].clone();
            expected.sort();
            assert!(
                changes == expected,
                "{storage} {version}: {changes:#?}\n{expected:#?}"
            );
        }
    }
}

/// Writes the table's commits anew, with its deletion vectors in the log (`i`) or at absolute paths (`p`); how many there were.
fn move_vectors(table: &Path, storage: &str) -> usize {
    let mut moved = 0;
    for version in 0.. {
        let path = table.join(format!("_delta_log/{version:020}.json"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            return moved;
        };
        let mut lines = String::new();
        for line in text.lines() {
            let mut action: Value = serde_json::from_str(line).unwrap();
            for name in ["add", "remove"] {
                let Some(vector) = action.pointer_mut(&format!("/{name}/deletionVector")) else {
                    continue;
                };
                moved += 1;
                let uuid = from_base85(vector["pathOrInlineDv"].as_str().unwrap());
                let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
                let (a, b, c) = (&hex[..8], &hex[8..12], &hex[12..16]);
                let uuid = format!("{a}-{b}-{c}-{}-{}", &hex[16..20], &hex[20..]);
                let file = table.join(format!("deletion_vector_{uuid}.bin"));
                vector["storageType"] = json!(storage);
                if storage == "p" {
                    vector["pathOrInlineDv"] = json!(format!("file://{}", file.display()));
                    continue;
                }
                let at = usize::try_from(vector["offset"].as_u64().unwrap()).unwrap() + 4;
                let size = usize::try_from(vector["sizeInBytes"].as_u64().unwrap()).unwrap();
                let bytes = std::fs::read(file).unwrap()[at..at + size].to_vec();
                vector["pathOrInlineDv"] = json!(base85(bytes));
                vector.as_object_mut().unwrap().remove("offset");
            }
            lines += &format!("{action}\n");
        }
        std::fs::write(path, lines).unwrap();
    }
    unreachable!("a log has an end")
}

const BASE85: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

fn from_base85(text: &str) -> Vec<u8> {
    let digit = |c: &u8| u32::try_from(BASE85.iter().position(|d| d == c).unwrap()).unwrap();
    let number = |group: &[u8]| group.iter().fold(0, |n: u32, c| n * 85 + digit(c));
    let groups = text.as_bytes().chunks(5);
    groups
        .flat_map(|group| number(group).to_be_bytes())
        .collect()
}

fn base85(mut bytes: Vec<u8>) -> String {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let group = |four: &[u8]| {
        let number = four
            .iter()
            .fold(0_usize, |n, byte| n << 8 | usize::from(*byte));
        (0..5)
            .rev()
            .map(move |at| char::from(BASE85[number / 85_usize.pow(at) % 85]))
    };
    bytes.chunks(4).flat_map(group).collect()
}

#[test]
fn tables_that_spark_makes_anew_are_what_it_tells_of_them() {
    full!();
    let spark = need!(Spark::ready());
    let folder = TempDir::new().unwrap();
    spark.make_delta_tables(folder.path());
    crate::lake::harness::runtime().block_on(async {
        for name in TABLES {
            is_what_spark_tells(folder.path(), name).await;
        }
    });
}

/// Rows as `readers/canonical.py` spells them.
fn objects(batch: &RecordBatch) -> Vec<String> {
    let row = |row: usize| {
        let fields = batch.schema_ref().fields().iter().zip(batch.columns());
        let cells = fields.map(|(field, column)| (field.name().clone(), cell(column, row)));
        sorted(&cells.collect())
    };
    (0..batch.num_rows()).map(row).collect()
}

/// An object as text, whatever order its fields came in.
fn sorted(object: &Map<String, Value>) -> String {
    let fields: BTreeMap<_, _> = object.iter().collect();
    serde_json::to_string(&fields).unwrap()
}

fn cell(column: &ArrayRef, row: usize) -> Value {
    use DataType as D;
    if column.is_null(row) {
        return Value::Null;
    }
    let inner =
        |array: ArrayRef| -> Value { (0..array.len()).map(|at| cell(&array, at)).collect() };
    match column.data_type() {
        D::Boolean => json!(column.as_boolean().value(row)),
        D::Int8 => json!(column.as_primitive::<Int8Type>().value(row)),
        D::Int16 => json!(column.as_primitive::<Int16Type>().value(row)),
        D::Int32 => json!(column.as_primitive::<Int32Type>().value(row)),
        D::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        D::Float32 => json!(column.as_primitive::<Float32Type>().value(row)),
        D::Float64 => json!(column.as_primitive::<Float64Type>().value(row)),
        D::Utf8 => json!(column.as_string::<i32>().value(row)),
        D::Binary => json!(base64(column.as_binary::<i32>().value(row))),
        D::Decimal128(_, _) => json!(column.as_primitive::<Decimal128Type>().value_as_string(row)),
        D::Date32 => {
            let day = date32_to_datetime(column.as_primitive::<Date32Type>().value(row));
            json!(day.unwrap().format("%Y-%m-%d").to_string())
        }
        D::Timestamp(_, zone) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let time = timestamp_us_to_datetime(micros).unwrap();
            let text = time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
            json!(text + if zone.is_some() { "Z" } else { "" })
        }
        D::Struct(fields) => {
            let columns = column.as_struct().columns();
            let cells = fields.iter().zip(columns);
            let cells = cells.map(|(field, column)| (field.name().clone(), cell(column, row)));
            Value::Object(cells.collect())
        }
        D::List(_) => inner(column.as_list::<i32>().value(row)),
        D::Map(_, _) => {
            let entries = column.as_map().value(row);
            let pair = |at| json!([cell(entries.column(0), at), cell(entries.column(1), at)]);
            (0..entries.len()).map(pair).collect()
        }
        other => panic!("a column of type {other}"),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0, |n, at| {
            n << 8 | usize::from(*group.get(at).unwrap_or(&0))
        });
        for at in 0..4 {
            let digit = char::from(DIGITS[number >> (18 - 6 * at) & 63]);
            text.push(if at <= group.len() { digit } else { '=' });
        }
    }
    text
}
