//! Real crashes: a child process is killed at each point of an upsert, or loses its answer, and is started again.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use sql::ErrorKind;
use sql::change::Partition;
use tempfile::TempDir;

use super::harness::{Bench, Kind, Plain, Shape, TOPIC, change};
use crate::lake::harness::step;

pub const END: i64 = 6;

/// What happens at an offset: some rows are new, some change, some go, one moves.
fn at(offset: i64) -> (Vec<Plain<'static>>, Vec<i64>) {
    let region = ["eu", "us"][usize::try_from(offset % 2).unwrap()];
    let rows = (offset..offset + 5).map(|id| (id, Some(region), Some(offset)));
    (rows.collect(), vec![offset - 1, offset - 3])
}

pub fn expected(end: i64) -> Vec<String> {
    let mut model = BTreeMap::new();
    for offset in 0..end {
        let (rows, deletes) = at(offset);
        model.retain(|id, _| !deletes.contains(id));
        model.extend(rows.into_iter().map(|row| (row.0, row)));
    }
    let mut rows: Vec<_> = model
        .values()
        .map(|(id, region, n)| format!("{id}|{}|{}", region.unwrap(), n.unwrap()))
        .collect();
    rows.sort();
    rows
}

pub fn shape() -> Shape {
    Shape::partitioned()
}

/// Not a test: what the child processes run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the tests of this module in a process of its own"]
async fn child() {
    let Ok(folder) = std::env::var("UPSERT_TEST_FOLDER") else {
        return;
    };
    let end = std::env::var("UPSERT_TEST_END").map_or(END, |end| end.parse().unwrap());
    let (kind, shape) = match std::env::var("UPSERT_TEST_KIND").as_deref() {
        Ok("iceberg") => (Kind::Iceberg, shape()),
        Ok("copied iceberg") => (Kind::Iceberg, shape().copied()),
        _ => (Kind::Delta, shape()),
    };
    let bench = match std::env::var("UPSERT_TEST_REST") {
        Ok(url) => {
            let folder = Path::new(&folder);
            let namespace = folder.file_name().unwrap().to_str().unwrap();
            Bench::in_rest(&url, namespace, shape, folder)
        }
        Err(_) => Bench::in_folder(kind, shape, Path::new(&folder)),
    };
    let mut sink = bench.sink().await;
    let stored = sink.progress().await.unwrap();
    let mut from = stored.get(&Partition::new(TOPIC, 0)).unwrap_or(0);
    while from < end {
        let (rows, deletes) = at(from);
        match sink
            .upsert(&change(&rows, &deletes), &step(from, from + 1))
            .await
        {
            Ok(receipt) => {
                println!("to {} already_landed {}", from + 1, receipt.already_landed);
                println!("version {} read {}", receipt.version, bytes_read());
                from += 1;
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => panic!("{}", error.report()),
        }
    }
}

/// Bytes that this process has read from files and pipes.
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines()
        .find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
        .unwrap()
}

const KINDS: [(&str, Kind); 3] = [
    ("delta", Kind::Delta),
    ("iceberg", Kind::Iceberg),
    ("copied iceberg", Kind::Iceberg),
];

fn run(kind: &str, folder: &Path, variable: &str, value: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "lake::upsert::crash::child",
            "--ignored",
            "--nocapture",
        ])
        .env("UPSERT_TEST_FOLDER", folder)
        .env("UPSERT_TEST_KIND", kind)
        .env(variable, value)
        .output()
        .unwrap()
}

async fn is_right(kind: Kind, folder: &Path) {
    let bench = Bench::in_folder(kind, shape(), folder);
    assert_eq!(bench.rows().await, expected(END));
    if kind == Kind::Delta {
        bench.feed_tells_every_version();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_every_point_loses_and_doubles_nothing() {
    for point in [
        "before_write:3",
        "after_files:1",
        "after_files:4",
        "after_commit:1",
        "after_commit:5",
    ] {
        for (name, kind) in KINDS {
            let folder = TempDir::new().unwrap();
            let killed = run(name, folder.path(), "ENGINE_FAILPOINT", point);
            assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
            let second = run(name, folder.path(), "ENGINE_FAILPOINT", "");
            assert!(second.status.success(), "{second:?}");
            is_right(kind, folder.path()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_resolved_by_the_sink_or_by_the_next_call() {
    for (point, said) in [
        ("in_commit:2", "to 2 already_landed false"),
        ("after_commit:2", "to 2 already_landed true"),
    ] {
        for (name, kind) in KINDS {
            let folder = TempDir::new().unwrap();
            let run = run(name, folder.path(), "ENGINE_FAILPOINT_ERROR", point);
            assert!(run.status.success(), "{run:?}");
            let output = String::from_utf8_lossy(&run.stdout).into_owned();
            assert!(output.contains(said), "{output}");
            assert!(output.contains("to 3 already_landed false"), "{output}");
            is_right(kind, folder.path()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upsert_reads_no_more_when_the_table_is_older() {
    let folder = TempDir::new().unwrap();
    let run = run("delta", folder.path(), "UPSERT_TEST_END", "60");
    assert!(run.status.success(), "{run:?}");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let read = |version: u64| -> u64 {
        let prefix = format!("version {version} read ");
        said.lines()
            .find_map(|line| line.strip_prefix(&prefix)?.parse().ok())
            .unwrap()
    };
    // Commits between two checkpoints, early and late.
    let (early, late) = (read(19) - read(12), read(59) - read(52));
    assert!(late <= early + early / 4, "{early} bytes, then {late}");
}
