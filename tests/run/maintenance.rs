//! When a pipeline maintains its table, and what an error of it does.

use engine::maintain::readers::{self, Reader};
use engine::maintain::record::Passes;
use engine::maintain::{Policy, Report, record};
use engine::sink::Sidecar;
use engine::sink::memory::MemoryTable;
use engine::source::CancellationToken;
use sql::ErrorKind;

use super::doubles::Script;
use super::harness::{Bench, Options, until};

const OFTEN: &str = "maintenance: { every: 1ms }";
const COMPACTED: &str =
    r#"engine_maintenance_compacted_files_total{pipeline="items",sink="delta"}"#;
const FAILED: &str =
    r#"engine_maintenance_failed_attempts_total{pipeline="items",reason="storage"}"#;

fn running(blocks: &'static str) -> Options {
    Options {
        once: false,
        pipeline: "  trigger: { interval: 1ms }",
        blocks,
        ..Options::default()
    }
}

fn draining(blocks: &'static str) -> Options {
    Options {
        blocks,
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_pipeline_maintains_after_commits_and_not_without() {
    let script = Script::new(&[]);
    let mut bench = Bench::new(&running(OFTEN), script.clone());
    let task = bench.spawn().await;
    let health = bench.health.clone();
    until("readiness", || health.is_ready()).await;
    assert!(script.passes().is_empty());
    bench.put(&["a"]);
    until("a pass", || !script.passes().is_empty()).await;
    bench.put(&["b"]);
    until("another pass", || script.passes().last() == Some(&2)).await;
    bench.stop.cancel();
    task.await.unwrap().unwrap();
    assert_eq!(script.passes(), [1, 2]);
    assert!(!script.overlapped());
    assert_eq!(bench.metric(COMPACTED), Some(22.0));
    let table = bench.table.clone().unwrap();
    assert!(record::last_pass(&table, "items").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_maintenance_stops_nothing_and_is_tried_again() {
    let script = Script::new(&[]);
    script.fail_maintenance(ErrorKind::Storage);
    let mut bench = Bench::new(&running(OFTEN), script.clone());
    let task = bench.spawn().await;
    bench.put(&["a"]);
    // Without another commit.
    until("two passes", || script.passes() == [1, 1]).await;
    bench.put(&["b"]);
    until("the next commit", || bench.ids() == [0, 1]).await;
    bench.stop.cancel();
    task.await.unwrap().unwrap();
    assert_eq!(bench.metric(FAILED), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_that_finds_another_engine_stops_the_pipeline() {
    let script = Script::new(&[]);
    script.fail_maintenance(ErrorKind::Fenced);
    let mut bench = Bench::new(&running(OFTEN), script.clone());
    let task = bench.spawn().await;
    bench.put(&["a"]);
    let error = task.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_it_never_comes() {
    let script = Script::new(&[]);
    let off = "maintenance: { every: 1ms, enabled: false }";
    let mut bench = Bench::new(&running(off), script.clone());
    let task = bench.spawn().await;
    for id in 0..3 {
        bench.put(&["x"]);
        until("a commit", || bench.ids().len() == id + 1).await;
    }
    bench.stop.cancel();
    task.await.unwrap().unwrap();
    assert!(script.passes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_drain_maintain_at_their_end_when_it_is_time() {
    let script = Script::new(&[]);
    let mut bench = Bench::new(&draining("maintenance: { every: 1h }"), script.clone());
    bench.put(&["a"]);
    bench.run().await.unwrap();
    let table = bench.table.clone().unwrap();
    let first = record::last_pass(&table, "items").await.unwrap().unwrap();
    bench.put(&["b"]);
    bench.run().await.unwrap();
    assert!(script.passes().is_empty(), "an hour is not over");
    // The last pass was longer ago than that.
    let earlier = Passes {
        at: first.at - 2 * 3_600_000_000,
        swept: None,
    };
    record::passed(&table, "items", earlier).await.unwrap();
    bench.run().await.unwrap();
    assert!(script.passes().is_empty(), "nothing was committed");
    bench.put(&["c"]);
    bench.run().await.unwrap();
    assert_eq!(script.passes(), [3]);
    bench.stop = CancellationToken::new();
    bench.put(&["d"]);
    bench.run().await.unwrap();
    assert_eq!(script.passes(), [3]);
}

#[tokio::test]
async fn the_slowest_reader_says_what_is_needed() {
    const AT: i64 = 1_700_000_000_000_000;
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::empty());
    let files = MemoryTable::new(schema);
    assert_eq!(readers::needed(&files).await.unwrap(), None);
    readers::register(&files, "fast", 40, AT).await.unwrap();
    readers::register(&files, "slow", 7, AT).await.unwrap();
    readers::register(&files, "fast", 41, AT).await.unwrap();
    assert_eq!(readers::needed(&files).await.unwrap(), Some(7));
    let expected = |name: &str, version| Reader {
        name: name.to_owned(),
        version,
        at_micros: AT,
    };
    let all = readers::registered(&files).await.unwrap();
    assert_eq!(all, [expected("fast", 41), expected("slow", 7)]);

    let policy = Policy {
        clock: || AT + 22 * 24 * 3_600_000_000,
        ..Policy::default()
    };
    let mut report = Report::default();
    let needed = readers::needed_noting(&files, &policy, &mut report).await;
    assert_eq!(needed.unwrap(), Some(7));
    assert_eq!(report.notes.len(), 2, "{:?}", report.notes);
    assert!(report.notes[1].contains("`slow` has stood at version 7 since 2023-11-14T22:13:20Z"));

    readers::forget(&files, "slow").await.unwrap();
    assert_eq!(readers::needed(&files).await.unwrap(), Some(41));
    files
        .write("_engine/readers/broken.json", b"{".to_vec().into())
        .await
        .unwrap();
    let error = readers::needed(&files).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("`broken`"), "{error}");
}
