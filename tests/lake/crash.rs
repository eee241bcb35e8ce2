//! Real crashes: a child process is killed at each point of a commit, or loses a commit's answer, and is started again.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use sql::ErrorKind;
use sql::change::Partition;
use tempfile::TempDir;

use super::harness::{Bench, Kind, fitted, rows, step};

const END: i64 = 40;

/// Not a test: what the child processes run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the tests of this module in a process of its own"]
async fn child() {
    let Ok(folder) = std::env::var("LAKE_TEST_FOLDER") else {
        return;
    };
    let kind = match std::env::var("LAKE_TEST_KIND").as_deref() {
        Ok("delta") => Kind::Delta,
        _ => Kind::Iceberg,
    };
    let bench = Bench::in_folder(kind, Path::new(&folder));
    let mut sink = bench.sink().await;
    let partition = Partition::new("db.customers", 0);
    let mut from = sink.progress().await.unwrap().get(&partition).unwrap_or(0);
    while from < END {
        let to = from + 8;
        let batch = fitted(sink.as_ref(), &rows(from, to));
        match sink.write(&[batch], &step(from, to)).await {
            Ok(receipt) => {
                println!("to {to} already_landed {}", receipt.already_landed);
                from = to;
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => panic!("{}", error.report()),
        }
    }
}

fn run(kind: &str, folder: &Path, variable: &str, value: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lake::crash::child", "--ignored", "--nocapture"])
        .env("LAKE_TEST_FOLDER", folder)
        .env("LAKE_TEST_KIND", kind)
        .env(variable, value)
        .output()
        .unwrap()
}

async fn survives_a_kill_at(kind: Kind, name: &str, point: &str) {
    let folder = TempDir::new().unwrap();
    let killed = run(name, folder.path(), "ENGINE_FAILPOINT", point);
    assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
    assert!(String::from_utf8_lossy(&killed.stderr).contains("failpoint "));
    let second = run(name, folder.path(), "ENGINE_FAILPOINT", "");
    assert!(second.status.success(), "{second:?}");
    let bench = Bench::in_folder(kind, folder.path());
    assert_eq!(bench.ids().await, (0..END).collect::<Vec<_>>(), "{point}");
}

async fn survives_a_lost_answer(kind: Kind, name: &str) {
    let folder = TempDir::new().unwrap();
    let run = run(
        name,
        folder.path(),
        "ENGINE_FAILPOINT_ERROR",
        "after_commit:2",
    );
    assert!(run.status.success(), "{run:?}");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(said.contains("to 8 already_landed false"), "{said}");
    assert!(said.contains("to 16 already_landed true"), "{said}");
    assert!(said.contains("to 24 already_landed false"), "{said}");
    let bench = Bench::in_folder(kind, folder.path());
    assert_eq!(bench.ids().await, (0..END).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delta_survives_a_kill_at_every_point() {
    for point in ["before_write:2", "after_files:2", "after_commit:3"] {
        survives_a_kill_at(Kind::Delta, "delta", point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iceberg_survives_a_kill_at_every_point() {
    for point in ["before_write:2", "after_files:2", "after_commit:3"] {
        survives_a_kill_at(Kind::Iceberg, "iceberg", point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delta_survives_a_lost_answer() {
    survives_a_lost_answer(Kind::Delta, "delta").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iceberg_survives_a_lost_answer() {
    survives_a_lost_answer(Kind::Iceberg, "iceberg").await;
}
