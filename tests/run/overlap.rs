//! Fetching beside a commit, one commit at a time, spans without gaps.

use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::run::pipeline::interval;
use sql::ErrorKind;
use sql::change::Position;

use super::doubles::{Script, Step};
use super::harness::{Bench, Options, position, until};

fn two_a_batch(once: bool) -> Options {
    Options {
        pipeline: "  batch: { max_records: 2 }\n  trigger: { interval: 1h }",
        once,
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_batch_is_fetched_while_one_is_committed_and_no_further_one() {
    let mut bench = Bench::new(&two_a_batch(false), Script::new(&[Step::Hold]));
    bench.put(&["a", "b", "c", "d", "e", "f"]);
    let running = bench.spawn().await;
    until("a commit under way", || bench.script.held() == 1).await;
    let reads = bench.reads.clone();
    until("the batch after it", || reads.given() == 2).await;
    assert_eq!(bench.ids(), [0_i64; 0]);
    assert_eq!(reads.asked(), 2, "one batch waits, not more");
    bench.script.release();
    until("all commits", || bench.ids().len() == 6).await;
    bench.stop.cancel();
    let outcome = running.await.unwrap().unwrap();
    assert_eq!((outcome.commits, outcome.position), (3, position(6)));
    assert!(!bench.script.overlapped());
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_during_a_commit_what_was_fetched_beside_it_is_committed_too() {
    let mut bench = Bench::new(&two_a_batch(false), Script::new(&[Step::Hold]));
    bench.put(&["a", "b", "c", "d", "e", "f"]);
    let running = bench.spawn().await;
    until("a commit under way", || bench.script.held() == 1).await;
    let reads = bench.reads.clone();
    until("the batch after it", || reads.given() == 2).await;
    bench.stop.cancel();
    bench.script.release();
    let outcome = running.await.unwrap().unwrap();
    assert_eq!((outcome.commits, outcome.position), (2, position(4)));
    assert_eq!(bench.ids(), [0, 1, 2, 3]);
    // What is left is for the next start.
    bench.stop = engine::source::CancellationToken::new();
    let running = bench.spawn().await;
    until("the rest", || bench.ids().len() == 6).await;
    bench.stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().position, position(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_follow_each_other_without_a_gap_also_over_a_restart() {
    let mut bench = Bench::new(&two_a_batch(true), Script::new(&[]));
    bench.put(&["a", "b", "c", "d", "e"]);
    bench.run().await.unwrap();
    bench.put(&["f", "g"]);
    bench.run().await.unwrap();
    let mut standing = Position::new();
    for span in bench.script.spans() {
        standing.try_advance(&span).unwrap();
    }
    assert_eq!(standing, position(7));
    assert_eq!(bench.script.attempts(), 4);
    assert_eq!(bench.ids(), [0, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_the_batch_at_hand_is_committed_whatever_the_trigger_says() {
    let options = Options {
        pipeline: "  trigger: { interval: 1h }",
        once: false,
        ..Options::default()
    };
    let mut bench = Bench::new(&options, Script::new(&[]));
    bench.put(&["a", "b", "c"]);
    let running = bench.spawn().await;
    let read = bench.delivered.clone();
    until("all records are read", || read.load(Ordering::SeqCst) == 3).await;
    assert_eq!(bench.script.attempts(), 0, "the hour is not over");
    bench.stop.cancel();
    let outcome = running.await.unwrap().unwrap();
    assert_eq!((outcome.commits, outcome.position), (1, position(3)));
    assert_eq!(bench.ids(), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_engines_on_one_table_the_slower_one_is_fenced_and_nothing_is_doubled() {
    let mut bench = Bench::new(&two_a_batch(false), Script::new(&[Step::Hold]));
    bench.put(&["a", "b", "c", "d"]);
    let slower = bench.spawn().await;
    until("a commit under way", || bench.script.held() == 1).await;
    let faster = bench.spawn().await;
    until("the faster one's commits", || bench.ids().len() == 4).await;
    bench.script.release();
    let error = slower.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    bench.stop.cancel();
    assert_eq!(faster.await.unwrap().unwrap().position, position(4));
    assert_eq!(bench.ids(), [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn available_now_drains_and_ends_as_once_does() {
    let options = Options {
        pipeline: "  trigger: available_now\n  batch: { max_records: 2 }",
        ..Options::default()
    };
    let mut bench = Bench::new(&options, Script::new(&[]));
    bench.put(&["a", "b", "c"]);
    let outcome = bench.run().await.unwrap();
    assert_eq!((outcome.commits, outcome.position), (2, position(3)));
}

#[test]
fn slow_commits_stretch_the_interval_only_where_it_is_adaptive() {
    let wait = |pipeline, bounded, commit_ms| {
        let bench = Bench::new(
            &Options {
                pipeline,
                ..Options::default()
            },
            Script::new(&[]),
        );
        interval(&bench.spec, bounded, Duration::from_millis(commit_ms))
    };
    let fixed = "  trigger: { interval: 1s, adaptive: false }";
    let adaptive = "  trigger: { interval: 1s, adaptive: true }";
    assert_eq!(wait(fixed, false, 5_000), Duration::from_secs(1));
    assert_eq!(wait(adaptive, false, 100), Duration::from_secs(1));
    assert_eq!(wait(adaptive, false, 5_000), Duration::from_secs(15));
    assert_eq!(wait(adaptive, true, 100), Duration::MAX);
    assert_eq!(wait("  trigger: available_now", true, 0), Duration::MAX);
}
