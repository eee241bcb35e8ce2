//! What is deleted from the folder of a Delta table, and what is not: by age, by readers, by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine::maintain::{Policy, readers};
use engine::resend::{Part, Segment};
use engine::sink::Sidecar;
use serde_json::Value;
use sql::change::Tail;
use tests::need;
use tests::python::Readers;

use super::delta::{maintained, policy};
use crate::lake::upsert::harness::{
    Bench, Kind, PIPELINE, Plain, Shape, TOPIC, Writer, change, files_under, many,
};
use crate::lake::upsert::iceberg::runtime;

const DAY: u64 = 24 * 3600;

/// Makes everything that the table has so far so many days older: its files, and what the log says of times.
pub fn age(bench: &Bench, days: u64) {
    let older = |millis: &mut Value| {
        if let Some(at) = millis.as_i64() {
            *millis = Value::from(at - i64::try_from(days * DAY * 1000).unwrap());
        }
    };
    for path in files_under(&bench.folder) {
        // What a checkpoint says of times cannot be changed: the table is read from its commits, and makes a new one.
        if path.to_string_lossy().contains("checkpoint") {
            std::fs::remove_file(&path).unwrap();
            continue;
        }
        let modified = path.metadata().unwrap().modified().unwrap();
        if path.extension().is_some_and(|end| end == "json")
            && path.to_string_lossy().contains("_delta_log/0")
        {
            let mut lines = String::new();
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let mut line: Value = serde_json::from_str(line).unwrap();
                older(&mut line["remove"]["deletionTimestamp"]);
                older(&mut line["commitInfo"]["timestamp"]);
                line.as_object_mut().unwrap().retain(|_, action| {
                    action
                        .as_object()
                        .is_some_and(|action| action.values().any(|v| !v.is_null()))
                });
                lines.push_str(&line.to_string());
                lines.push('\n');
            }
            std::fs::write(&path, lines).unwrap();
        }
        set_modified(&path, modified - Duration::from_secs(days * DAY));
    }
}

fn set_modified(path: &Path, at: SystemTime) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(at).unwrap();
}

/// Each commit replaces the file of all others.
async fn commits(writer: &mut Writer, from: i64, to: i64) -> i64 {
    let mut version = 0;
    for at in from..to {
        version = writer
            .apply(&change(&many(0..40, "eu", at), &[]))
            .await
            .version;
    }
    version
}

fn sidecar(writer: &Writer) -> Arc<dyn Sidecar> {
    writer.sink.sidecar().unwrap()
}

/// Whether a version's files, and those of its changes, are all there.
fn is_readable(bench: &Bench, version: i64) -> bool {
    let there = |path: &Value| bench.folder.join(path.as_str().unwrap()).exists();
    let mut files = std::collections::BTreeSet::new();
    for version in 0..=version {
        for remove in bench.actions(version, "remove") {
            files.remove(remove["path"].as_str().unwrap());
        }
        for add in bench.actions(version, "add") {
            files.insert(add["path"].as_str().unwrap().to_owned());
        }
    }
    let feed = bench.actions(version, "cdc");
    files.iter().all(|path| bench.folder.join(path).exists())
        && feed.iter().all(|file| there(&file["path"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_the_table_within_the_retention_stays_and_the_rest_goes() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    let old = commits(&mut writer, 1, 6).await;
    age(&bench, 8);
    let mut writer = bench.writer().await;
    let newest = commits(&mut writer, 6, 9).await;
    let before = bench.rows().await;
    let report = maintained(&mut writer, &policy(10)).await;
    // Four data files left the table before the last old version, and the feed's files of five.
    assert_eq!(report.objects_deleted, 4 + 5);
    assert!(report.bytes_deleted > 0 && report.commits == 0);
    for version in old..=newest {
        assert!(is_readable(&bench, version) || version == old, "{version}");
        bench.state(version);
    }
    for version in 1..old {
        assert!(!is_readable(&bench, version), "{version}");
    }
    assert_eq!(bench.rows().await, before);
    // Again, at once and by somebody else: nothing.
    assert!(maintained(&mut writer, &policy(10)).await.is_nothing());
    let mut other = bench.writer().await;
    assert!(maintained(&mut other, &policy(10)).await.is_nothing());
    commits(&mut other, 9, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longer_of_both_retentions_counts() {
    for (days, table, own, goes) in [
        (8, "interval 30 days", 7, false),
        (8, "interval 1 hours", 7, true),
        (8, "interval 1 hours", 9, false),
        (3, "interval 1 hours", 2, true),
        (3, "interval 1 hours", 7, false),
    ] {
        let bench = Bench::new(Kind::Delta, Shape::plain());
        let mut writer = bench.writer().await;
        commits(&mut writer, 1, 4).await;
        bench.set(4, &[("delta.deletedFileRetentionDuration", table)]);
        age(&bench, days);
        // A checkpoint is made, which forgets what the table's own retention lets it.
        let mut writer = bench.writer().await;
        commits(&mut writer, 4, 14).await;
        let policy = Policy {
            retention: Duration::from_secs(own * DAY),
            ..policy(10)
        };
        let report = maintained(&mut writer, &policy).await;
        assert_eq!(report.objects_deleted > 0, goes, "{days} {table} {own}");
        assert_eq!(is_readable(&bench, 2), !goes, "{days} {table} {own}");
        assert!(is_readable(&bench, bench.newest()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registered_reader_keeps_what_it_has_not_read() {
    const READ: i64 = 3;
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    let newest = commits(&mut writer, 1, 26).await;
    age(&bench, 40);
    let mut writer = bench.writer().await;
    let now = engine_now();
    let files = sidecar(&writer);
    readers::register(files.as_ref(), "reader", READ, now)
        .await
        .unwrap();
    readers::register(files.as_ref(), "ahead", newest, now)
        .await
        .unwrap();
    maintained(&mut writer, &policy(10)).await;
    bench.state(READ);
    for version in READ + 1..=newest {
        bench.feed_tells(version);
    }
    for version in 1..READ {
        assert!(!is_readable(&bench, version), "{version}");
    }
    assert!(bench.log(0).exists());
    // When it is forgotten, the next sweep takes the rest, and the log up to a checkpoint.
    readers::forget(files.as_ref(), "reader").await.unwrap();
    readers::forget(files.as_ref(), "ahead").await.unwrap();
    let mut writer = bench.writer().await;
    let report = maintained(&mut writer, &policy(10)).await;
    assert_eq!(report.versions_expired, 25);
    assert!(!bench.log(24).exists() && bench.log(25).exists());
    // What is left is a table that goes on.
    let mut writer = bench.writer().await;
    commits(&mut writer, 26, 28).await;
    assert_eq!(bench.rows().await.len(), 40);
}

fn engine_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_micros()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_a_reader_that_cannot_be_read_lets_nothing_go() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    commits(&mut writer, 1, 6).await;
    age(&bench, 8);
    let mut writer = bench.writer().await;
    let folder = bench.folder.join("_engine/readers");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("reader.json"), "{").unwrap();
    let before = files_under(&bench.folder).len();
    let error = writer.sink.maintain(&policy(10)).await.unwrap_err();
    assert_eq!(
        error.message(),
        "the entry of the reader `reader` cannot be read"
    );
    assert_eq!(files_under(&bench.folder).len(), before);
}

/// Writes a file into the table's folder, so many days old.
fn put(bench: &Bench, name: &str, days: u64) -> PathBuf {
    let path = bench.folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "x").unwrap();
    set_modified(&path, SystemTime::now() - Duration::from_secs(days * DAY));
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_no_commit_took_go_by_age_and_name() {
    let bench = Bench::new(Kind::Delta, Shape::partitioned());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
    writer.apply(&change(&many(10..20, "a/b c%", 1), &[])).await;
    // As long as it is the table's, age does not matter.
    age(&bench, 400);
    let goes = [
        put(&bench, "part-0.parquet", 8),
        put(&bench, "region=eu/part-1.parquet", 8),
        put(&bench, "region=x y/part-1.parquet", 8),
        put(&bench, "_change_data/cdc-1.parquet", 8),
    ];
    let stays = [
        put(&bench, "part-2.parquet", 6),
        put(&bench, "region=eu/part-3.parquet", 6),
        put(&bench, "_change_data/cdc-2.parquet", 6),
        put(&bench, "README.md", 900),
        put(&bench, "_mine/part-4.parquet", 900),
        put(&bench, ".mine/part-5.parquet", 900),
        put(&bench, "_part-6.parquet", 900),
        put(&bench, "region=eu/_hidden/part-7.parquet", 900),
    ];
    let mut writer = bench.writer().await;
    let dry = Policy {
        dry_run: true,
        ..policy(10)
    };
    assert!(maintained(&mut writer, &dry).await.objects_deleted >= 4);
    assert!(goes.iter().all(|path| path.exists()));
    maintained(&mut writer, &policy(10)).await;
    assert!(goes.iter().all(|path| !path.exists()));
    assert!(stays.iter().all(|path| path.exists()));
    assert_eq!(bench.rows().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_makes_the_checkpoint_that_is_due() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    commits(&mut writer, 1, 9).await;
    // Somebody else's commits bring no checkpoint.
    bench.set(9, &[("team", "a")]);
    bench.set(10, &[("team", "b")]);
    let report = maintained(&mut writer, &policy(10)).await;
    assert_eq!(report.checkpoints, 1);
    let checkpoint = format!("_delta_log/{:020}.checkpoint.parquet", 10);
    assert!(bench.folder.join(checkpoint).exists());
    assert_eq!(maintained(&mut writer, &policy(10)).await.checkpoints, 0);
}

fn window(to: i64, older: &[i64]) -> Vec<u8> {
    let older = older.iter().map(|to| Part {
        to: *to,
        identities: 1,
    });
    let segment = Segment {
        pipeline: PIPELINE.to_owned(),
        topic: TOPIC.to_owned(),
        partition: 0,
        to,
        older: older.collect(),
        identities: vec![7],
        tail: Tail::default(),
        ..Segment::default()
    };
    segment.encode().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_a_crash_left_go_and_those_of_a_chain_stay() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    // The table's position is 9.
    commits(&mut writer, 0, 9).await;
    let folder = format!("_engine/{PIPELINE}/resends/{TOPIC}/0");
    let put_window = |to: i64, older: &[i64], days: u64| {
        let path = put(&bench, &format!("{folder}/{to:020}.window"), days);
        std::fs::write(&path, window(to, older)).unwrap();
        set_modified(&path, SystemTime::now() - Duration::from_secs(days * DAY));
        path
    };
    let other = put(
        &bench,
        "_engine/other/resends/t/0/00000000000000000001.window",
        90,
    );
    let marker = put(&bench, &format!("{folder}/on"), 90);
    let goes = [
        put_window(1, &[], 90),
        put_window(3, &[2], 80),
        put_window(30, &[], 80),
    ];
    let stays = [
        put_window(2, &[], 90),
        put_window(4, &[2], 80),
        // A younger one is continued from those.
        put_window(5, &[4, 2], 3),
        put_window(6, &[], 2),
        // The table's own is old, because the table was restored.
        put_window(7, &[], 90),
        put_window(9, &[7], 90),
    ];
    maintained(&mut writer, &policy(10)).await;
    for path in goes {
        assert!(!path.exists(), "{path:?}");
    }
    for path in stays.iter().chain([&other, &marker]) {
        assert!(path.exists(), "{path:?}");
    }
}

#[test]
fn the_wheel_reads_what_is_kept() {
    let readers = need!(Readers::ready());
    let runtime = runtime();
    let bench = Bench::new(Kind::Delta, Shape::partitioned());
    let (old, newest) = runtime.block_on(async {
        let mut writer = bench.writer().await;
        let mut old = 0;
        for at in 0..14 {
            let rows: Vec<Plain<'_>> = many(
                at..at + 20,
                ["eu", "us"][usize::try_from(at % 2).unwrap()],
                at,
            );
            old = writer.apply(&change(&rows, &[at - 1])).await.version;
        }
        age(&bench, 9);
        let mut writer = bench.writer().await;
        for at in 14..20 {
            writer
                .apply(&change(&many(at..at + 20, "eu", at), &[]))
                .await;
        }
        maintained(&mut writer, &policy(3)).await;
        (old, bench.newest())
    });
    // The feed of each kept version, and each kept version itself.
    let first = u64::try_from(old + 1).unwrap();
    let changes = readers.changes(&bench.folder, first);
    assert!(!changes.rows.is_empty());
    for version in old..=newest {
        if version > old {
            bench.feed_tells(version);
        }
        let args = [bench.folder.display().to_string(), version.to_string()];
        let read = readers.run("count_version.py", args);
        let rows: i64 = bench.state(version).values().sum();
        assert_eq!(read[0], rows, "{version}");
    }
}

/// A sink is no reader: what it holds open does not keep files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_stood_still_goes_on_after_a_sweep_by_another_process() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    commits(&mut writer, 1, 5).await;
    let idle = bench.try_open("idle").await.unwrap();
    commits(&mut writer, 5, 25).await;
    age(&bench, 60);
    let mut keeper = bench.writer().await;
    let report = maintained(&mut keeper, &policy(10)).await;
    assert!(report.versions_expired > 0 && report.objects_deleted > 20);
    let mut writer = Writer::of(idle);
    writer.apply(&change(&[(3, None, None)], &[])).await;
    assert_eq!(bench.query("SELECT count(*) FROM t").await, ["40"]);
    idle_positions(&mut writer).await;
}

async fn idle_positions(writer: &mut Writer) {
    let stored = writer.sink.progress().await.unwrap();
    assert_eq!(stored.iter().count(), 1);
}

#[test]
fn files_that_the_wheel_named_are_known_by_their_names() {
    let readers = need!(Readers::ready());
    let runtime = runtime();
    let bench = Bench::new(Kind::Delta, Shape::partitioned());
    runtime.block_on(async {
        let mut writer = bench.writer().await;
        writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
    });
    let path = bench.folder.display().to_string();
    let regions = ["a/b c%", "x=y", "ü", "50%25", "it's"];
    let mut commands: Vec<String> = Vec::new();
    for (at, region) in regions.iter().enumerate() {
        commands.extend([format!("append:{}:{region}:1", 100 + at)]);
        commands.extend([format!("append:{}:{region}:1", 200 + at)]);
    }
    commands.push("delete:id >= 200".to_owned());
    readers.run("change_delta.py", [path].into_iter().chain(commands));
    age(&bench, 9);
    runtime.block_on(async {
        let before = bench.rows().await;
        assert_eq!(before.len(), 10 + regions.len());
        let mut writer = bench.writer().await;
        let report = maintained(&mut writer, &policy(10)).await;
        // Those of the deleted rows, and the feed of six commits.
        assert_eq!(report.objects_deleted, regions.len() as u64 * 2 + 1);
        assert_eq!(bench.rows().await, before);
        // Compacted too, and right again.
        let rows: Vec<Plain<'_>> = (300..305).map(|id| (id, Some("a/b c%"), None)).collect();
        writer.apply(&change(&rows, &[])).await;
        assert!(maintained(&mut writer, &policy(2)).await.files_compacted >= 2);
        assert_eq!(bench.rows().await.len(), before.len() + 5);
        writer.apply(&change(&[(100, Some("eu"), None)], &[])).await;
        assert_eq!(bench.rows().await.len(), before.len() + 5);
    });
}
