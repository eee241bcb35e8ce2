//! Real crashes: a child process is killed at each point of a pass, or loses its answer.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::{KINDS, eager_later};
use crate::lake::upsert::harness::{Bench, Kind, Shape, Writer, change, many};

fn bench(kind: Kind, folder: &Path) -> Bench {
    Bench::in_folder(kind, Shape::partitioned(), folder)
}

/// Not a test: what the child processes run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the tests of this module in a process of its own"]
async fn child() {
    let Ok(folder) = std::env::var("MAINTAIN_TEST_FOLDER") else {
        return;
    };
    let kind = match std::env::var("MAINTAIN_TEST_KIND").as_deref() {
        Ok("iceberg") => Kind::Iceberg,
        _ => Kind::Delta,
    };
    let mut sink = bench(kind, Path::new(&folder)).sink().await;
    let report = sink.maintain(&eager_later()).await.unwrap();
    println!(
        "commits {} files {}",
        report.commits, report.files_compacted
    );
}

fn run(kind: Kind, folder: &Path, variable: &str, value: &str) -> Output {
    let kind = if kind == Kind::Iceberg {
        "iceberg"
    } else {
        "delta"
    };
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "lake::maintain::crash::child",
            "--ignored",
            "--nocapture",
        ])
        .env("MAINTAIN_TEST_FOLDER", folder)
        .env("MAINTAIN_TEST_KIND", kind)
        .env(variable, value)
        .output()
        .unwrap()
}

async fn fill(writer: &mut Writer, rounds: std::ops::Range<i64>) {
    for round in rounds {
        let rows = many(round * 3..round * 3 + 6, "eu", round);
        writer.apply(&change(&rows, &[round * 3 - 4])).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_every_point_changes_nothing_and_the_next_pass_finishes() {
    for kind in KINDS {
        for point in [
            "maintain_files",
            "maintain_before_commit",
            "maintain_commit",
            "maintain_before_expire",
            "maintain_expired",
        ] {
            let folder = TempDir::new().unwrap();
            let bench = bench(kind, folder.path());
            let mut writer = bench.writer().await;
            fill(&mut writer, 0..12).await;
            let rows = bench.rows().await;
            let killed = run(kind, folder.path(), "ENGINE_FAILPOINT", point);
            assert_eq!(killed.status.signal(), Some(9), "{point}: {killed:?}");
            assert_eq!(bench.rows().await, rows, "{point}");
            let after = bench.writer().await.sink.maintain(&eager_later()).await;
            after.unwrap();
            assert_eq!(bench.rows().await, rows, "{point}");
            if kind == Kind::Iceberg {
                super::iceberg::holds_nothing_else(&bench);
            }
            // The engine that was there all the time goes on.
            fill(&mut writer, 12..14).await;
            let count = bench
                .query("SELECT count(DISTINCT id), count(*) FROM t")
                .await;
            let expected = 14 * 3 + 3 - 12;
            assert_eq!(count, [format!("{expected}|{expected}")], "{point}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_found_out() {
    for kind in KINDS {
        for point in ["in_commit:1", "in_commit:2"] {
            let folder = TempDir::new().unwrap();
            let bench = bench(kind, folder.path());
            let mut writer = bench.writer().await;
            fill(&mut writer, 0..12).await;
            let rows = bench.rows().await;
            let run = run(kind, folder.path(), "ENGINE_FAILPOINT_ERROR", point);
            assert!(run.status.success(), "{point}: {run:?}");
            let said = String::from_utf8_lossy(&run.stdout).into_owned();
            assert!(said.contains("commits 2 files"), "{point}: {said}");
            assert_eq!(bench.rows().await, rows, "{point}");
            if kind == Kind::Iceberg {
                super::iceberg::holds_nothing_else(&bench);
            }
        }
    }
}
