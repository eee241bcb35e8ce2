//! Iceberg only: what stands in the snapshots that maintenance makes and leaves.

use std::collections::BTreeSet;
use std::path::PathBuf;

use engine::maintain::{Policy, Report, readers};
use engine::sink::open_existing;
use engine::spec::model::{Mode, SinkSpec, SinkTarget};
use serde_json::{Value, json};
use tests::need;
use tests::python::Readers;

use super::{eager, eager_later};
use crate::lake::harness::iceberg_spec;
use crate::lake::upsert::harness::{Bench, Kind, Shape, Writer, change, files_under, many, plain};
use crate::lake::upsert::iceberg::{
    arguments, change_metadata, is_sound, make_equality_deletes, runtime, texts,
};

/// The table's newest metadata.
fn metadata(bench: &Bench) -> Value {
    let mut newest = Value::Null;
    change_metadata(bench, |metadata| newest = metadata.clone());
    newest
}

/// Bytes of an Avro string, by what it ends with: manifests name files in plain text.
fn named_in(avro: &[u8], folder: &str) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(avro);
    let starts = text.match_indices(folder).map(|(at, _)| &text[at..]);
    starts
        .filter_map(|rest| {
            let end = [".parquet", ".avro"]
                .iter()
                .filter_map(|e| Some(rest.find(e)? + e.len()));
            Some(rest[..end.min()?].to_owned())
        })
        .collect()
}

/// Asserts that the table's folder holds what its newest metadata reaches, and nothing else.
pub(super) fn holds_nothing_else(bench: &Bench) {
    let metadata = metadata(bench);
    let plain = |path: &str| PathBuf::from(path.trim_start_matches("file://"));
    let folder = plain(metadata["location"].as_str().unwrap());
    let mut reached: BTreeSet<PathBuf> = BTreeSet::new();
    let mut open: Vec<PathBuf> = metadata["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|snapshot| plain(snapshot["manifest-list"].as_str().unwrap()))
        .collect();
    while let Some(path) = open.pop() {
        assert!(path.exists(), "{} is gone", path.display());
        if path.extension().is_some_and(|e| e == "avro") && reached.insert(path.clone()) {
            let content = std::fs::read(&path).unwrap();
            let named = named_in(&content, folder.to_str().unwrap());
            open.extend(named.iter().map(|path| plain(path)).filter(|p| p.exists()));
        }
        reached.insert(path);
    }
    let there = files_under(&folder).into_iter();
    let there = there.filter(|path| {
        let name = path.to_string_lossy();
        !name.contains("/_engine/") && !name.ends_with(".metadata.json")
    });
    assert_eq!(there.collect::<BTreeSet<_>>(), reached);
}

async fn fill(writer: &mut Writer, rounds: std::ops::Range<i64>) {
    for round in rounds {
        let region = ["eu", "us"][usize::try_from(round % 2).unwrap()];
        let rows = many(round * 3..round * 3 + 6, region, round);
        writer.apply(&change(&rows, &[round * 3 - 4])).await;
    }
}

fn snapshots(readers: &Readers, bench: &Bench) -> Vec<Value> {
    let snapshots = readers.run("check_iceberg.py", arguments(bench));
    for snapshot in &snapshots {
        is_sound(snapshot);
        let by_duckdb = texts(&snapshot["duckdb"]);
        assert_eq!(texts(&snapshot["rows"]), by_duckdb, "{snapshot}");
    }
    snapshots
}

#[test]
fn every_snapshot_of_the_retention_reads_as_it_did() {
    let readers = need!(Readers::ready());
    for shape in [Shape::plain(), Shape::partitioned()] {
        let bench = Bench::new(Kind::Iceberg, shape);
        let mut states = Vec::new();
        runtime().block_on(async {
            let mut writer = bench.writer().await;
            for n in 0..30 {
                fill(&mut writer, n..n + 1).await;
                states.push(bench.rows().await);
                if n % 8 == 7 {
                    let report = writer.sink.maintain(&eager()).await.unwrap();
                    assert_eq!((report.commits, report.versions_expired), (1, 0));
                    assert_eq!(report.objects_deleted, 0, "{report:?}");
                }
            }
        });
        let (compacted, written): (Vec<_>, Vec<_>) = snapshots(&readers, &bench)
            .into_iter()
            .partition(|snapshot| snapshot["operation"] == "replace");
        assert_eq!((compacted.len(), written.len()), (3, 30));
        for (snapshot, state) in written.iter().zip(&states) {
            assert_eq!(snapshot["rows"].as_array().unwrap().len(), state.len());
        }
        for (at, snapshot) in compacted.iter().enumerate() {
            let before = &written[at * 8 + 7];
            assert_eq!(texts(&snapshot["rows"]), texts(&before["rows"]));
            let summary = &snapshot["summary"];
            assert_eq!(summary["total-position-deletes"], "0", "{summary}");
            let next = (at * 8 + 8).to_string();
            let position = "engine.customers.pos.db.customers.0";
            assert_eq!(summary[position], json!(next), "{summary}");
            // All of its files are its own.
            for file in snapshot["files"].as_array().unwrap() {
                assert_eq!(file["sequence"], snapshot["sequence"], "{file}");
            }
        }
    }
}

#[test]
fn what_is_older_than_the_retention_goes_with_its_files() {
    let readers = need!(Readers::ready());
    for shape in [Shape::plain(), Shape::partitioned()] {
        let bench = Bench::new(Kind::Iceberg, shape);
        runtime().block_on(async {
            let mut writer = bench.writer().await;
            fill(&mut writer, 0..20).await;
            let rows = bench.rows().await;
            let position = writer.sink.progress().await.unwrap();
            let report = writer.sink.maintain(&eager_later()).await.unwrap();
            // The last state before the compaction ended only now: who reads it goes on reading.
            assert_eq!(report.versions_expired, 20, "{report:?}");
            assert!(report.objects_deleted > 40, "{report:?}");
            assert_eq!(metadata(&bench)["snapshots"].as_array().unwrap().len(), 1);
            holds_nothing_else(&bench);
            assert_eq!(bench.rows().await, rows);
            let mut again = bench.writer().await;
            assert_eq!(again.sink.progress().await.unwrap(), position);
            fill(&mut again, 20..24).await;
            fill(&mut writer, 24..26).await;
            again.sink.maintain(&eager_later()).await.unwrap();
            holds_nothing_else(&bench);
        });
        let left = snapshots(&readers, &bench);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0]["rows"].as_array().unwrap().len(), 26 * 3 + 3 - 24);
    }
}

/// A compaction made now takes the files of a state that was made long ago and was the table's until now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_of_an_idle_table_is_as_young_as_its_end() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    fill(&mut writer, 0..6).await;
    // Everything was made nine days ago.
    change_metadata(&bench, |metadata| {
        const AGE: i64 = 9 * 24 * 3_600_000;
        let age = |time: &mut Value| *time = json!(time.as_i64().unwrap() - AGE);
        age(&mut metadata["last-updated-ms"]);
        for list in ["snapshots", "snapshot-log", "metadata-log"] {
            for entry in metadata[list].as_array_mut().unwrap() {
                age(&mut entry["timestamp-ms"]);
            }
        }
    });
    let mut writer = bench.writer().await;
    let report = writer.sink.maintain(&eager()).await.unwrap();
    assert_eq!(report.files_after, 1, "{report:?}");
    assert_eq!(report.versions_expired, 5, "{report:?}");
    let left = metadata(&bench);
    let mut left: Vec<&Value> = left["snapshots"].as_array().unwrap().iter().collect();
    left.sort_by_key(|snapshot| snapshot["sequence-number"].as_i64());
    let operations: Vec<_> = left
        .iter()
        .map(|s| s["summary"]["operation"].as_str())
        .collect();
    assert_eq!(operations, [Some("overwrite"), Some("replace")]);
    holds_nothing_else(&bench);
}

#[test]
fn tags_branches_and_readers_hold_what_they_need() {
    let readers = need!(Readers::ready());
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    runtime().block_on(async {
        let mut writer = bench.writer().await;
        fill(&mut writer, 0..12).await;
        let of = |metadata: &Value, sequence: i64| {
            let snapshots = metadata["snapshots"].as_array().unwrap();
            let found = snapshots.iter().find(|s| s["sequence-number"] == sequence);
            found.unwrap()["snapshot-id"].clone()
        };
        change_metadata(&bench, |metadata| {
            metadata["refs"]["audit"] = json!({"snapshot-id": of(metadata, 3), "type": "tag"});
            metadata["refs"]["test"] = json!({
                "snapshot-id": of(metadata, 6), "type": "branch", "min-snapshots-to-keep": 2,
            });
        });
        let mut writer = bench.writer().await;
        let files = writer.sink.sidecar().unwrap();
        readers::register(files.as_ref(), "copy", 10, 0)
            .await
            .unwrap();
        let report = writer.sink.maintain(&eager_later()).await.unwrap();
        assert_eq!(report.versions_expired, 6, "{report:?}");
        assert!(
            report.notes[0].contains("the reader `copy` has stood at version 10"),
            "{report:?}"
        );
        assert!(metadata(&bench)["refs"]["audit"].is_object());
    });
    let left = snapshots(&readers, &bench);
    let sequences: Vec<_> = left
        .iter()
        .map(|s| s["sequence"].as_i64().unwrap())
        .collect();
    assert_eq!(sequences, [3, 5, 6, 10, 11, 12, 13]);
    for (snapshot, n) in left.iter().zip([3, 5, 6, 10, 11, 12, 12]) {
        let rows = snapshot["rows"].as_array().unwrap().len();
        assert_eq!(rows, n * 3 + 3 - (n - 2), "{n}");
    }
    runtime().block_on(async {
        holds_nothing_else(&bench);
        let mut writer = bench.writer().await;
        let files = writer.sink.sidecar().unwrap();
        readers::forget(files.as_ref(), "copy").await.unwrap();
        writer.sink.maintain(&eager_later()).await.unwrap();
        holds_nothing_else(&bench);
    });
    assert_eq!(snapshots(&readers, &bench).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_expired_while_a_readers_need_is_not_known() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    fill(&mut writer, 0..4).await;
    let files = writer.sink.sidecar().unwrap();
    let broken = b"not JSON".to_vec().into();
    files
        .write("_engine/readers/copy.json", broken)
        .await
        .unwrap();
    let report = writer.sink.maintain(&eager_later()).await.unwrap();
    assert_eq!((report.versions_expired, report.files_after), (0, 1));
    assert!(
        report.notes[0].starts_with("nothing is expired: "),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_crashed_attempts_go_when_they_are_old() {
    let bench = Bench::new(Kind::Iceberg, Shape::partitioned());
    let mut writer = bench.writer().await;
    fill(&mut writer, 0..3).await;
    let data = bench.data_files();
    let orphan = data[0].with_file_name("lost.parquet");
    std::fs::copy(&data[0], &orphan).unwrap();
    let metadata = files_under(&bench.folder).into_iter();
    let mut metadata = metadata.filter(|path| path.extension().is_some_and(|e| e == "avro"));
    let manifest = metadata.next().unwrap().with_file_name("lost-m0.avro");
    std::fs::write(&manifest, b"lost").unwrap();
    let lazy = Policy {
        min_files: 1000,
        max_deleted: 1.0,
        ..Policy::default()
    };
    let report = writer.sink.maintain(&lazy).await.unwrap();
    assert!(report.is_nothing(), "{report:?}");
    assert!(
        orphan.exists() && manifest.exists(),
        "they may be of a commit under way"
    );
    let later = Policy {
        clock: eager_later().clock,
        ..lazy
    };
    let without = Policy {
        sweep: false,
        ..later.clone()
    };
    writer.sink.maintain(&without).await.unwrap();
    assert!(orphan.exists() && manifest.exists());
    let report = writer.sink.maintain(&later).await.unwrap();
    assert_eq!(report.objects_deleted, 2, "{report:?}");
    assert!(!orphan.exists() && !manifest.exists());
    holds_nothing_else(&bench);
    // However short the retention is.
    std::fs::write(&manifest, b"lost").unwrap();
    let at_once = Policy {
        retention: std::time::Duration::ZERO,
        ..eager()
    };
    writer.sink.maintain(&at_once).await.unwrap();
    assert!(manifest.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_manifests_become_one_without_a_change_of_files() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    for n in 0..15 {
        let rows = plain(&many(n * 3..n * 3 + 3, "eu", 1));
        let span = writer.next().await;
        writer.sink.write(&[rows], &span).await.unwrap();
    }
    let rows = bench.rows().await;
    let policy = Policy {
        min_files: 100,
        ..Policy::default()
    };
    let report = writer.sink.maintain(&policy).await.unwrap();
    assert_eq!(
        (report.manifests_merged, report.commits),
        (15, 1),
        "{report:?}"
    );
    assert_eq!((report.files_before, report.files_after), (15, 15));
    assert_eq!(bench.rows().await, rows);
    let again = writer.sink.maintain(&policy).await.unwrap();
    assert!(again.is_nothing(), "{again:?}");
    fill(&mut writer, 0..2).await;
    let count = bench
        .query("SELECT count(*), count(DISTINCT id) FROM t")
        .await;
    assert_eq!(count, ["45|45"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_files_of_a_keyed_table_are_sorted_by_the_key() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    for n in 0..6_i64 {
        let ids = (0..50).map(|at| (at * 37 + n * 11) % 300 + n * 300);
        let rows: Vec<_> = ids.map(|id| (id, Some("eu"), Some(n))).collect();
        let distinct: std::collections::BTreeMap<_, _> = rows.iter().map(|r| (r.0, *r)).collect();
        let rows: Vec<_> = distinct.into_values().rev().collect();
        writer.apply(&change(&rows, &[])).await;
    }
    let ids = async || {
        let rows = bench.query("SELECT id FROM t").await.into_iter();
        rows.map(|id| id.parse::<i64>().unwrap())
            .collect::<Vec<_>>()
    };
    assert!(!ids().await.is_sorted());
    let report = writer.sink.maintain(&eager()).await.unwrap();
    assert_eq!(report.files_after, 1);
    assert!(ids().await.is_sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equality_deletes_are_noted_and_the_rest_is_done() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..6, "eu", 1), &[])).await;
    writer.apply(&change(&[], &[2])).await;
    assert_eq!(make_equality_deletes(&bench), 1);
    let mut writer = bench.writer().await;
    let report = writer.sink.maintain(&eager_later()).await.unwrap();
    assert_eq!(
        report.notes,
        ["the table has equality deletes: it is not compacted"]
    );
    assert_eq!((report.versions_expired, report.files_compacted), (1, 0));
}

fn spec(bench: &Bench) -> SinkSpec {
    SinkSpec {
        target: SinkTarget::Iceberg(iceberg_spec(&bench.folder)),
        mode: Mode::Append,
        partition_by: Vec::new(),
        at: "p.yaml:1:1 (sink)".to_owned(),
    }
}

async fn maintain_as_it_is(bench: &Bench) -> Report {
    let sink = open_existing(&spec(bench), "p", &[]).await.unwrap();
    sink.unwrap().maintain(&eager_later()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_version_3_is_noted_and_the_rest_is_done() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    fill(&mut writer, 0..3).await;
    let rows = bench.rows().await;
    change_metadata(&bench, |metadata| {
        metadata["format-version"] = json!(3);
        metadata["next-row-id"] = json!(0);
    });
    let report = maintain_as_it_is(&bench).await;
    let note = "the table is not of format version 2: it is not compacted";
    assert_eq!(report.notes, [note]);
    assert_eq!((report.versions_expired, report.files_compacted), (2, 0));
    assert_eq!(bench.rows().await, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_forbids_it_keeps_its_snapshots_and_files() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    fill(&mut writer, 0..4).await;
    change_metadata(&bench, |metadata| {
        metadata["properties"]["gc.enabled"] = json!("false");
    });
    let before = files_under(&bench.folder).len();
    let report = maintain_as_it_is(&bench).await;
    assert_eq!((report.versions_expired, report.objects_deleted), (0, 0));
    assert_eq!(report.files_after, 1, "{report:?}");
    assert!(files_under(&bench.folder).len() > before);
}

/// Deletes of other writers that are about several data files go when none of these is left.
#[test]
fn another_writers_table_is_compacted() {
    let readers = need!(Readers::ready());
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let meddle = |commands: &[&str]| {
        let commands = commands.iter().map(|command| (*command).to_owned());
        readers.run(
            "change_iceberg.py",
            arguments(&bench).into_iter().chain(commands),
        )
    };
    runtime().block_on(async {
        let mut writer = bench.writer().await;
        fill(&mut writer, 0..3).await;
        meddle(&[
            "append:50:us:50",
            "column:extra",
            "append:60:eu:60",
            "delete:id = 4",
        ]);
        meddle(&["partition:region:identity"]);
        let mut writer = bench.writer().await;
        fill(&mut writer, 3..6).await;
        let rows = bench.rows().await;
        let report = writer.sink.maintain(&eager()).await.unwrap();
        assert!(report.files_after < report.files_before, "{report:?}");
        assert_eq!(bench.rows().await, rows);
        fill(&mut writer, 6..8).await;
        writer.sink.maintain(&eager_later()).await.unwrap();
        holds_nothing_else(&bench);
    });
    let left = snapshots(&readers, &bench);
    assert_eq!(left.len(), 1);
}
