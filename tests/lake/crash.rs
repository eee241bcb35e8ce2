//! Real crashes: a child process is killed at each point of a commit, or loses a commit's answer, and is started again.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use sql::ErrorKind;
use sql::change::Partition;
use tempfile::TempDir;

use super::harness::{Bench, Kind, fitted, rows, step};

pub const END: i64 = 40;

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
    let bench = match std::env::var("LAKE_TEST_REST") {
        Ok(url) => {
            let folder = Path::new(&folder);
            let namespace = folder.file_name().unwrap().to_str().unwrap();
            Bench::in_rest(&url, namespace, folder)
        }
        Err(_) => Bench::in_folder(kind, Path::new(&folder)),
    };
    let mut sink = bench.sink().await;
    let partition = Partition::new("db.customers", 0);
    let mut from = sink.progress().await.unwrap().get(&partition).unwrap_or(0);
    let end = std::env::var("LAKE_TEST_END").map_or(END, |end| end.parse().unwrap());
    while from < end {
        let to = from + 8;
        let many = std::env::var("LAKE_TEST_ROWS").map_or(8, |rows| rows.parse().unwrap());
        let batch = fitted(sink.as_ref(), &rows(from, from + many));
        match sink.write(&[batch], &step(from, to)).await {
            Ok(receipt) => {
                println!("to {to} already_landed {}", receipt.already_landed);
                println!("version {} read {}", receipt.version, bytes_read());
                from = to;
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) if error.kind() == ErrorKind::Storage => {
                println!("{}", error.report());
                return;
            }
            Err(error) => panic!("{}", error.report()),
        }
    }
}

/// Bytes that this process has read from files and pipes.
fn bytes_read() -> u64 {
    std::fs::read_to_string("/proc/self/io")
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
        .unwrap()
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

/// The sink itself finds out that its commit landed, within one call.
async fn resolves_an_unanswered_commit(kind: Kind, name: &str) {
    let folder = TempDir::new().unwrap();
    let run = run(name, folder.path(), "ENGINE_FAILPOINT_ERROR", "in_commit:2");
    assert!(run.status.success(), "{run:?}");
    let lost = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(
        lost.contains("failpoint in_commit lost an answer"),
        "{lost}"
    );
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(said.contains("to 16 already_landed false"), "{said}");
    let bench = Bench::in_folder(kind, folder.path());
    assert_eq!(bench.ids().await, (0..END).collect::<Vec<_>>());
    assert_eq!(bench.data_files().len(), 5, "files are written once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delta_resolves_an_unanswered_commit() {
    resolves_an_unanswered_commit(Kind::Delta, "delta").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iceberg_resolves_an_unanswered_commit() {
    resolves_an_unanswered_commit(Kind::Iceberg, "iceberg").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delta_survives_a_lost_answer() {
    survives_a_lost_answer(Kind::Delta, "delta").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iceberg_survives_a_lost_answer() {
    survives_a_lost_answer(Kind::Iceberg, "iceberg").await;
}

/// Files may have 64 KiB in the first run: the batch's file is larger.
async fn goes_on_after_files_could_not_grow(kind: Kind, name: &str) {
    let folder = TempDir::new().unwrap();
    Bench::in_folder(kind, folder.path()).sink().await;
    let limited = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact lake::crash::child --ignored --nocapture")
        .arg(std::env::current_exe().unwrap())
        .env("LAKE_TEST_FOLDER", folder.path())
        .env("LAKE_TEST_KIND", name)
        .env("LAKE_TEST_ROWS", "200000")
        .output()
        .unwrap();
    assert!(limited.status.success(), "{limited:?}");
    let said = String::from_utf8_lossy(&limited.stdout).into_owned();
    assert!(
        said.contains("error: cannot write a data file: a file would be larger than allowed"),
        "{said}"
    );
    let second = run(name, folder.path(), "ENGINE_FAILPOINT", "");
    assert!(second.status.success(), "{second:?}");
    let bench = Bench::in_folder(kind, folder.path());
    assert_eq!(bench.ids().await, (0..END).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delta_goes_on_after_files_could_not_grow() {
    goes_on_after_files_could_not_grow(Kind::Delta, "delta").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iceberg_goes_on_after_files_could_not_grow() {
    goes_on_after_files_could_not_grow(Kind::Iceberg, "iceberg").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_commit_reads_no_more_when_the_table_is_older() {
    let folder = TempDir::new().unwrap();
    let run = run("delta", folder.path(), "LAKE_TEST_END", "480");
    assert!(run.status.success(), "{run:?}");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let read = |version: u64| -> u64 {
        said.lines()
            .find_map(|line| {
                line.strip_prefix(&format!("version {version} read "))?
                    .parse()
                    .ok()
            })
            .unwrap()
    };
    // Commits between two checkpoints, early and late.
    let (early, late) = (read(19) - read(12), read(59) - read(52));
    assert!(late <= early + early / 4, "{early} bytes, then {late}");
}
