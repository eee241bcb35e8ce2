//! Iceberg only: what independent readers see of every snapshot, what stands in the manifests, other writers, refusals.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use engine::spec::model::WriteMode;
use serde_json::{Value, json};
use sql::ErrorKind;
use sql::change::NetChange;
use tests::need;
use tests::python::{Location, Readers};

use super::harness::{Bench, Kind, Shape, Writer, change, files_under, many, truncate};

pub(crate) fn location(folder: &Path) -> Location {
    Location::Iceberg {
        catalog: folder.join("catalog.db"),
        name: "lake".to_owned(),
        table: "analytics.customers".to_owned(),
    }
}

pub(crate) fn arguments(bench: &Bench) -> Vec<String> {
    let catalog = bench.folder.join("catalog.db").display().to_string();
    vec![catalog, "lake".to_owned(), "analytics.customers".to_owned()]
}

/// A generator whose numbers are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

const TEXTS: [&str; 4] = [
    "a",
    "A",
    "é\u{10FFFF}",
    "7d444840-9dc0-11d1-b245-5ffdce74fad2",
];
const DATES: [(&str, i32); 3] = [
    ("1969-12-31", -1),
    ("2000-02-29", 11_016),
    ("9999-12-31", 2_932_896),
];
const CENTS: [i128; 4] = [150, 15, -150, 0];
const KEYS: u64 = 4 * 3 * 4;
const REGIONS: [Option<&str>; 4] = [Some("eu"), Some("us"), Some("a/b c%"), None];

type Key = (usize, usize, usize);
type Model = BTreeMap<Key, (Option<&'static str>, i64)>;

fn key(number: u64) -> Key {
    let number = usize::try_from(number).unwrap();
    (number % 4, number / 4 % 3, number / 12)
}

fn key_columns(keys: &[Key]) -> Vec<ArrayRef> {
    let texts = StringArray::from_iter_values(keys.iter().map(|key| TEXTS[key.0]));
    let dates = Date32Array::from_iter_values(keys.iter().map(|key| DATES[key.1].1));
    let cents = Decimal128Array::from_iter_values(keys.iter().map(|key| CENTS[key.2]))
        .with_precision_and_scale(12, 2)
        .unwrap();
    vec![Arc::new(texts), Arc::new(dates), Arc::new(cents)]
}

fn shape(partition_by: &[&str]) -> Shape {
    use arrow::datatypes::{Field, Schema};
    let fields = vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("d", DataType::Date32, true),
        Field::new("m", DataType::Decimal128(12, 2), true),
        Field::new("region", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ];
    Shape {
        schema: Schema::new(fields),
        key: ["k", "d", "m"].map(str::to_owned).to_vec(),
        partition_by: partition_by.iter().map(|by| (*by).to_owned()).collect(),
        ..Shape::plain()
    }
}

/// One random change, applied to the model too.
fn random_change(dice: &mut Dice, model: &mut Model, shape: &Shape, n: i64) -> NetChange {
    let truncate = dice.below(20) == 0;
    let most = if dice.below(8) == 0 { 0 } else { 10 };
    let written: BTreeSet<Key> = (0..dice.below(most + 1))
        .map(|_| key(dice.below(KEYS)))
        .collect();
    let deleted: Vec<Key> = (0..dice.below(most / 2 + 1))
        .map(|_| key(dice.below(KEYS)))
        .collect::<BTreeSet<_>>()
        .difference(&written)
        .copied()
        .collect();
    if truncate {
        model.clear();
    }
    model.retain(|key, _| !deleted.contains(key));
    let written: Vec<Key> = written.into_iter().collect();
    let mut regions = Vec::new();
    for key in &written {
        let region = REGIONS[usize::try_from(dice.below(4)).unwrap()];
        regions.push(region);
        model.insert(*key, (region, n));
    }
    let mut columns = key_columns(&written);
    columns.push(Arc::new(StringArray::from(regions)));
    columns.push(Arc::new(Int64Array::from(vec![n; written.len()])));
    let rows = RecordBatch::try_new(Arc::new(shape.schema.clone()), columns).unwrap();
    let deletes = shape.key.iter().cloned().zip(key_columns(&deleted));
    let deletes = RecordBatch::try_from_iter(deletes).unwrap();
    NetChange::try_new(truncate, rows, deletes).unwrap()
}

/// The model as the readers print a table, sorted.
fn printed(model: &Model) -> Vec<String> {
    let mut rows: Vec<String> = model
        .iter()
        .map(|(key, (region, n))| {
            let cents = CENTS[key.2];
            let sign = if cents < 0 { "-" } else { "" };
            let money = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
            let row = json!({
                "k": TEXTS[key.0], "d": DATES[key.1].0, "m": money, "region": region, "n": n,
            });
            row.to_string()
        })
        .collect();
    rows.sort();
    rows
}

pub(crate) fn texts(rows: &Value) -> Vec<String> {
    let mut rows: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    rows.sort();
    rows
}

fn number(summary: &Value, name: &str) -> u64 {
    summary[name]
        .as_str()
        .map_or(0, |text| text.parse().unwrap())
}

/// What must hold of a snapshot as `check_iceberg.py` prints it.
pub(crate) fn is_sound(snapshot: &Value) {
    let files = snapshot["files"].as_array().unwrap();
    let mut paths = BTreeSet::new();
    let mut referenced = BTreeSet::new();
    let mut count = [0_u64; 2];
    let mut rows = [0_u64; 2];
    let mut bytes = 0;
    let newest = snapshot["sequence"].as_i64().unwrap();
    for file in files {
        assert!(paths.insert(file["path"].to_string()), "twice: {file}");
        let kind = usize::try_from(file["content"].as_u64().unwrap()).unwrap();
        count[kind] += 1;
        rows[kind] += file["rows"].as_u64().unwrap();
        bytes += file["bytes"].as_u64().unwrap();
        let (data, own) = (file["sequence"].as_i64(), file["file_sequence"].as_i64());
        assert!(
            data.unwrap() <= newest && own.unwrap() <= newest && data > Some(0),
            "{file}"
        );
        if kind == 1 {
            let about = file["lower"].as_str().unwrap();
            assert_eq!(file["lower"], file["upper"]);
            assert!(
                referenced.insert(about.to_owned()),
                "two delete files: {file}"
            );
            let data = files.iter().find(|f| f["path"] == about);
            let data = data.unwrap_or_else(|| panic!("deletes of nothing: {file}"));
            assert!(
                data["sequence"].as_i64() < file["sequence"].as_i64(),
                "{file} of {data}"
            );
            assert_eq!(data["partition"], file["partition"]);
        }
    }
    let summary = &snapshot["summary"];
    assert_eq!(number(summary, "total-data-files"), count[0], "{summary}");
    assert_eq!(number(summary, "total-delete-files"), count[1], "{summary}");
    assert_eq!(number(summary, "total-records"), rows[0], "{summary}");
    assert_eq!(
        number(summary, "total-position-deletes"),
        rows[1],
        "{summary}"
    );
    assert_eq!(number(summary, "total-files-size"), bytes, "{summary}");
    let read = snapshot["rows"].as_array().unwrap().len() as u64;
    assert_eq!(rows[0] - rows[1], read, "{summary}");
    for (operation, added, gone) in [("append", true, false), ("delete", false, true)] {
        if snapshot["operation"] == operation {
            assert!(
                added || number(summary, "added-data-files") == 0,
                "{summary}"
            );
            let deleted =
                number(summary, "added-position-deletes") + number(summary, "deleted-records");
            assert!(gone || deleted == 0, "{summary}");
        }
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn every_snapshot_is_what_the_source_was_for_independent_readers() {
    let readers = need!(Readers::ready());
    use WriteMode::{CopyOnWrite, MergeOnRead};
    for (seed, partition_by, modes) in [
        (1, &[][..], [MergeOnRead, MergeOnRead]),
        (2, &["region"], [MergeOnRead, MergeOnRead]),
        (3, &["bucket:3:k", "region"], [MergeOnRead, MergeOnRead]),
        (4, &[], [CopyOnWrite, CopyOnWrite]),
        (5, &["bucket:3:k", "region"], [CopyOnWrite, CopyOnWrite]),
        (6, &["region"], [CopyOnWrite, MergeOnRead]),
    ] {
        let shape = shape(partition_by);
        let mut bench = Bench::new(Kind::Iceberg, shape.clone());
        let mut modes = modes.into_iter().cycle();
        let mut dice = Dice(seed);
        let mut model = Model::new();
        let mut states = Vec::new();
        runtime().block_on(async {
            bench.shape.write_mode = modes.next().unwrap();
            let mut writer = bench.writer().await;
            for n in 0..55 {
                if dice.below(10) == 0 {
                    bench.shape.write_mode = modes.next().unwrap();
                    writer = bench.writer().await;
                }
                let change = random_change(&mut dice, &mut model, &shape, n);
                writer.apply(&change).await;
                states.push(printed(&model));
            }
        });
        let snapshots = readers.run("check_iceberg.py", arguments(&bench));
        assert_eq!(snapshots.len(), states.len());
        for (at, (snapshot, state)) in snapshots.iter().zip(&states).enumerate() {
            assert_eq!(texts(&snapshot["rows"]), *state, "pyiceberg, snapshot {at}");
            assert_eq!(texts(&snapshot["duckdb"]), *state, "DuckDB, snapshot {at}");
            is_sound(snapshot);
            if [4, 5].contains(&seed) {
                assert_eq!(number(&snapshot["summary"], "total-delete-files"), 0);
            }
        }
        let location = location(&bench.folder);
        for reader in location.readers() {
            let table = readers.read(reader, &location);
            assert_eq!(texts(&Value::Array(table.rows)), states[54], "{reader:?}");
        }
    }
}

#[test]
fn other_writers_change_the_table_in_between() {
    let readers = need!(Readers::ready());
    for shape in [
        Shape::plain(),
        Shape::partitioned(),
        Shape::plain().copied(),
        Shape::partitioned().copied(),
    ] {
        let bench = Bench::new(Kind::Iceberg, shape);
        let meddle = |commands: &[&str]| {
            let commands = commands.iter().map(|command| (*command).to_owned());
            readers.run(
                "change_iceberg.py",
                arguments(&bench).into_iter().chain(commands),
            )
        };
        let runtime = runtime();
        runtime.block_on(async {
            let mut writer = bench.writer().await;
            writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
            writer
                .apply(&change(&[(9, Some("us"), Some(9))], &[8]))
                .await;
            // Row 3 is there twice, row 50 is new, row 4 is gone by copy-on-write, which also takes our deletes along.
            meddle(&["append:3:us:33", "append:50:us:50", "delete:id = 4"]);
            writer
                .apply(&change(
                    &[(3, Some("eu"), Some(0)), (4, Some("eu"), Some(44))],
                    &[5],
                ))
                .await;
            let query = "SELECT id, n FROM t WHERE id IN (3, 4, 5, 8, 9, 50) ORDER BY id";
            assert_eq!(bench.query(query).await, ["3|0", "4|44", "9|9", "50|50"]);
            meddle(&["column:extra", "append:60:eu:60"]);
            writer
                .apply(&change(&[(60, Some("us"), Some(61))], &[50]))
                .await;
            let mut again = bench.writer().await;
            again
                .apply(&change(&[(0, Some("eu"), Some(100))], &[1, 60]))
                .await;
            meddle(&["overwrite:id = 2:2:us:22"]);
            again
                .apply(&change(&[(2, Some("eu"), Some(23))], &[]))
                .await;
        });
        let rows = runtime.block_on(bench.query("SELECT id, region, n FROM t ORDER BY id"));
        let expected = [
            "0|eu|100", "2|eu|23", "3|eu|0", "4|eu|44", "6|eu|6", "7|eu|7", "9|us|9",
        ];
        assert_eq!(rows, expected);
        let location = location(&bench.folder);
        for reader in location.readers() {
            let table = readers.read(reader, &location);
            let mut read: Vec<_> = table
                .rows
                .iter()
                .map(|row| {
                    format!(
                        "{}|{}|{}",
                        row["id"],
                        row["region"].as_str().unwrap(),
                        row["n"]
                    )
                })
                .collect();
            read.sort();
            assert_eq!(read, expected, "{reader:?}");
        }
    }
}

#[test]
fn partitions_that_were_changed_by_others_are_searched_by_their_own() {
    let readers = need!(Readers::ready());
    for shape in [Shape::plain(), Shape::plain().copied()] {
        partitions_change(&readers, &Bench::new(Kind::Iceberg, shape));
    }
}

fn partitions_change(readers: &Readers, bench: &Bench) {
    let meddle = |command: &str| {
        let arguments = arguments(bench).into_iter().chain([command.to_owned()]);
        readers.run("change_iceberg.py", arguments)
    };
    runtime().block_on(async {
        let mut writer = bench.writer().await;
        writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
        meddle("partition:region:identity");
        writer.apply(&change(&many(5..15, "us", 2), &[0])).await;
        meddle("partition:id:bucket");
        writer.apply(&change(&many(9..20, "eu", 3), &[1, 6])).await;
        writer
            .apply(&change(&[(2, Some("us"), Some(2)), (7, None, None)], &[14]))
            .await;
    });
    let snapshots = readers.run("check_iceberg.py", arguments(bench));
    for snapshot in &snapshots {
        is_sound(snapshot);
        assert_eq!(texts(&snapshot["rows"]), texts(&snapshot["duckdb"]));
    }
    let ids = snapshots.last().unwrap()["rows"].as_array().unwrap().iter();
    let mut ids: Vec<_> = ids.map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    let expected = (2..20).filter(|id| ![6, 14].contains(id));
    assert_eq!(ids, expected.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_reads_only_the_files_that_can_hold_the_keys() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    for start in 0..20 {
        let ids = start * 2_000..(start + 1) * 2_000;
        writer.apply(&change(&many(ids, "eu", 1), &[])).await;
    }
    let cost = async |ids: &[i64]| {
        let mut sink = bench.iceberg("reader").await.unwrap();
        use engine::sink::UpsertSink as _;
        sink.fetch(&super::harness::ids(&[-1])).await.unwrap();
        let manifests = sink.bytes_read();
        sink.fetch(&super::harness::ids(ids)).await.unwrap();
        sink.bytes_read() - manifests
    };
    assert_eq!(cost(&[-5, 1_000_000]).await, 0, "bounds exclude every file");
    let one = cost(&[10]).await;
    let two = cost(&[10, 39_000]).await;
    let all = cost(&(0..20).map(|file| file * 2_000 + 7).collect::<Vec<_>>()).await;
    assert!(
        one > 0 && two < 3 * one && all > 8 * two,
        "{one} {two} {all}"
    );
}

/// Files of data and deletes that no live entry names, and manifests that the catalog's metadata does not reach.
#[test]
fn a_loser_leaves_no_files() {
    let readers = need!(Readers::ready());
    for shape in [Shape::partitioned(), Shape::partitioned().copied()] {
        losers_leave_no_files(&readers, &Bench::new(Kind::Iceberg, shape));
    }
}

fn losers_leave_no_files(readers: &Readers, bench: &Bench) {
    let conflicts = runtime().block_on(async {
        let mut first = bench.writer().await;
        first.apply(&change(&many(0..60, "eu", 0), &[])).await;
        let run = async |pipeline: &str, which: i64| {
            let mut writer = Writer::of(bench.try_open(pipeline).await.unwrap());
            let mut conflicts = 0;
            for round in 1..10 {
                let ids = (0..60).filter(|id| id % 3 == which && id % round != 1);
                let region = if round % 2 == 0 { "eu" } else { "us" };
                let rows: Vec<_> = ids.map(|id| (id, Some(region), Some(round))).collect();
                conflicts += writer.apply(&change(&rows, &[])).await.conflicts;
            }
            conflicts
        };
        let (a, b, c) = tokio::join!(run("a", 0), run("b", 1), run("c", 2));
        let last = |id: i64| (1..10).rfind(|round| id % round != 1).unwrap();
        let expected: Vec<_> = (0..60).map(|id| format!("{id}|{}", last(id))).collect();
        assert_eq!(
            bench.query("SELECT id, n FROM t ORDER BY id").await,
            expected
        );
        a + b + c
    });
    assert!(conflicts > 0, "they never met");
    let snapshots = readers.run("check_iceberg.py", arguments(bench));
    let mut named = BTreeSet::new();
    for snapshot in &snapshots {
        is_sound(snapshot);
        named.insert(snapshot["list"].as_str().unwrap().to_owned());
        for path in snapshot["manifests"].as_array().unwrap() {
            named.insert(path.as_str().unwrap().to_owned());
        }
        for file in snapshot["files"].as_array().unwrap() {
            named.insert(file["path"].as_str().unwrap().to_owned());
        }
    }
    let orphans = files_under(&bench.folder).into_iter();
    let orphans: Vec<_> = orphans
        .map(|path| path.display().to_string())
        .filter(|path| path.ends_with(".avro") || path.ends_with(".parquet"))
        .filter(|path| !named.iter().any(|named| named.ends_with(path.as_str())))
        .collect();
    assert_eq!(orphans, [""; 0]);
}

#[test]
fn many_manifests_are_merged() {
    let readers = need!(Readers::ready());
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let last = runtime().block_on(async {
        bench.sink().await;
        let set = arguments(&bench).into_iter();
        let set = set.chain(["set:commit.manifest.min-count-to-merge:5".to_owned()]);
        readers.run("change_iceberg.py", set);
        let mut writer = bench.writer().await;
        let mut last = 0;
        for id in 0..30 {
            let deletes = if id % 4 == 3 { vec![id - 3] } else { vec![] };
            let rows = [(id, Some("eu"), Some(id)), (id + 100, Some("us"), Some(id))];
            last = writer.apply(&change(&rows, &deletes)).await.version;
        }
        last
    });
    assert_eq!(last, 30);
    let snapshots = readers.run("check_iceberg.py", arguments(&bench));
    for snapshot in &snapshots {
        is_sound(snapshot);
        let manifests = snapshot["manifests"].as_array().unwrap().len();
        assert!(manifests <= 10, "{manifests}");
    }
    let last = snapshots.last().unwrap();
    assert_eq!(last["rows"].as_array().unwrap().len(), 60 - 7);
    assert_eq!(texts(&last["rows"]), texts(&last["duckdb"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_rows_are_all_gone_leaves_the_table() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..4, "eu", 1), &[])).await;
    writer.apply(&change(&[], &[0, 1])).await;
    writer.apply(&change(&[(2, Some("us"), None)], &[3])).await;
    let context = bench.query("SELECT id, region FROM t").await;
    assert_eq!(context, ["2|us"]);
    writer.apply(&truncate(&[])).await;
    assert_eq!(bench.rows().await, [""; 0]);
}

/// The newest metadata file, changed by hand as another engine would.
pub(crate) fn change_metadata(bench: &Bench, change: impl FnOnce(&mut Value)) {
    let files = files_under(&bench.folder).into_iter();
    let files = files.filter(|path| path.to_string_lossy().ends_with(".metadata.json"));
    let newest = files.max().unwrap();
    let mut metadata = serde_json::from_str(&std::fs::read_to_string(&newest).unwrap()).unwrap();
    change(&mut metadata);
    std::fs::write(newest, metadata.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_version_3_is_refused() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    bench.sink().await;
    change_metadata(&bench, |metadata| {
        metadata["format-version"] = json!(3);
        metadata["next-row-id"] = json!(0);
    });
    let error = bench.try_open("p").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.report());
    assert_eq!(
        error.message(),
        "the Iceberg table has format version 3, into which the engine does not upsert"
    );
}

/// Makes the position deletes in the table's manifests equality deletes: the byte before the path of each, as Avro has it.
pub(crate) fn make_equality_deletes(bench: &Bench) -> usize {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|at| at == what);
    let mut changed = 0;
    for path in files_under(&bench.folder) {
        let mut bytes = std::fs::read(&path).unwrap();
        let name = path.to_string_lossy();
        let manifest = name.ends_with(".avro") && name.contains("-m");
        let Some(end) = find(&bytes, b"-deletes.parquet").filter(|_| manifest) else {
            continue;
        };
        let back = bytes[..end].windows(5).rposition(|at| at == b"file:");
        // Two bytes of length lie between.
        let content = &mut bytes[back.unwrap() - 3];
        assert_eq!(*content, 2, "one, doubled: position deletes");
        *content = 4;
        std::fs::write(&path, bytes).unwrap();
        changed += 1;
    }
    changed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_equality_deletes_is_refused() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..6, "eu", 1), &[])).await;
    writer.apply(&change(&[], &[2])).await;
    assert_eq!(make_equality_deletes(&bench), 1);
    let mut writer = bench.writer().await;
    let span = writer.next().await;
    let before = files_under(&bench.folder);
    let change = change(&[(1, None, None)], &[]);
    let error = writer.sink.upsert(&change, &span).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.report());
    assert_eq!(
        error.message(),
        "the Iceberg table has equality deletes, which an upsert does not apply"
    );
    assert_eq!(files_under(&bench.folder), before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_are_no_key_are_refused() {
    for (key, message) in [
        (&[][..], "an upsert needs a key"),
        (&["nope"], "the key column `nope` is not in the table"),
        (&["id", "id"], "the key names `id` twice"),
    ] {
        let mut shape = Shape::plain();
        shape.key = key.iter().map(|name| (*name).to_owned()).collect();
        let bench = Bench::new(Kind::Iceberg, shape);
        let error = bench.try_open("p").await.err().unwrap();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Config, message)
        );
        assert!(!bench.folder.exists(), "nothing is made");
    }
}

/// Reverting to an older snapshot brings rows and positions back; the batches since come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_rolled_back_goes_on_from_there() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..6, "eu", 1), &[])).await;
    writer.apply(&change(&[(1, Some("us"), None)], &[2])).await;
    let second = bench.rows().await;
    let mut snapshot = Value::Null;
    change_metadata(&bench, |metadata| {
        snapshot = metadata["current-snapshot-id"].clone()
    });
    writer
        .apply(&change(&[(3, Some("us"), None)], &[1, 4]))
        .await;
    let third = bench.rows().await;
    change_metadata(&bench, |metadata| {
        metadata["current-snapshot-id"] = snapshot.clone();
        metadata["refs"]["main"]["snapshot-id"] = snapshot.clone();
    });
    assert_eq!(bench.rows().await, second);
    let mut again = bench.writer().await;
    again
        .apply(&change(&[(3, Some("us"), None)], &[1, 4]))
        .await;
    assert_eq!(bench.rows().await, third);
}

#[test]
fn the_dice_reach_every_key() {
    let mut dice = Dice(1);
    let keys: BTreeSet<Key> = (0..2_000).map(|_| key(dice.below(KEYS))).collect();
    assert_eq!(keys.len() as u64, KEYS);
}
