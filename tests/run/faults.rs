//! Sinks that fail: what is tried again, what is not, and that nothing is lost or doubled by it.

use std::sync::atomic::Ordering;

use engine::run::retry::MAX_CONFLICTS;
use sql::ErrorKind;

use super::doubles::{Script, Step};
use super::harness::{Bench, Options, position, until};

const RETRIES: &str = r#"engine_retry_attempts_total{pipeline="items",reason="unavailable"}"#;

const UP: &str = r#"engine_pipeline_up_ratio{pipeline="items"}"#;

fn unbounded() -> Options {
    Options {
        once: false,
        pipeline: "  trigger: { interval: 1ms }",
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_out_and_counted() {
    let outage = Step::Fail(ErrorKind::Unavailable);
    let mut bench = Bench::new(&Options::default(), Script::new(&[outage, outage]));
    bench.put(&["a", "b", "c"]);
    let outcome = bench.run().await.unwrap();
    assert_eq!((outcome.commits, outcome.position), (1, position(3)));
    assert_eq!(bench.ids(), [0, 1, 2]);
    assert_eq!(bench.script.attempts(), 3);
    assert_eq!(bench.metric(RETRIES), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_answer_at_start_is_asked_again() {
    let mut bench = Bench::new(&Options::default(), Script::new(&[]));
    bench.script.silence(1);
    bench.put(&["a"]);
    assert_eq!(bench.run().await.unwrap().position, position(1));
    assert_eq!(bench.metric(RETRIES), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_not_ready_during_an_outage_and_ready_after_it() {
    let mut bench = Bench::new(
        &unbounded(),
        Script::always(Step::Fail(ErrorKind::Unavailable)),
    );
    bench.put(&["a"]);
    let running = bench.spawn().await;
    let health = bench.health.clone();
    until("a failed commit", || {
        bench.metric(RETRIES).unwrap_or_default() >= 1.0
    })
    .await;
    assert!(!health.is_ready());
    assert_eq!(bench.metric(UP), Some(0.0));
    bench.script.heal();
    until("readiness", || health.is_ready()).await;
    assert_eq!(bench.metric(UP), Some(1.0));
    bench.stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().position, position(1));
    assert_eq!(bench.ids(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_not_made_twice() {
    let options = Options {
        pipeline: "  batch: { max_records: 2 }",
        ..Options::default()
    };
    let mut bench = Bench::new(&options, Script::new(&[Step::LoseAnswer]));
    bench.put(&["a", "b", "c", "d"]);
    let outcome = bench.run().await.unwrap();
    assert_eq!((outcome.commits, outcome.position), (2, position(4)));
    assert_eq!(bench.ids(), [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_fail_again_ends_the_pipeline_at_once_and_a_restart_goes_on() {
    for kind in [ErrorKind::Fenced, ErrorKind::Storage, ErrorKind::Denied] {
        let options = Options {
            pipeline: "  batch: { max_records: 1 }",
            ..Options::default()
        };
        let mut bench = Bench::new(&options, Script::new(&[Step::Fail(kind)]));
        bench.put(&["a", "b"]);
        let error = bench.run().await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(
            bench.script.attempts(),
            1,
            "nothing is committed after an error"
        );
        assert_eq!(bench.ids(), [0_i64; 0]);
        bench.run().await.unwrap();
        assert_eq!(bench.ids(), [0, 1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_wins_a_commit_ends_with_a_conflict() {
    let script = Script::always(Step::Fail(ErrorKind::Conflict));
    let mut bench = Bench::new(&Options::default(), script);
    bench.put(&["a"]);
    let error = bench.run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(bench.script.attempts(), MAX_CONFLICTS as usize + 1);
    bench.script.heal();
    bench.run().await.unwrap();
    assert_eq!(bench.ids(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_stop_during_an_outage_tries_once_more() {
    let outage = Step::Fail(ErrorKind::Unavailable);
    // Longer than any pause before it: the stop is what ends the wait.
    let mut bench = Bench::new(&unbounded(), Script::new(&[outage; 7]));
    bench.put(&["a"]);
    let running = bench.spawn().await;
    until("a failed commit", || bench.script.attempts() >= 1).await;
    let before = bench.script.attempts();
    bench.stop.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(bench.script.attempts() <= before + 2);
    assert_eq!(bench.ids(), [0_i64; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_attempt_of_who_is_told_to_stop_commits_if_it_can() {
    let outage = Step::Fail(ErrorKind::Unavailable);
    let mut bench = Bench::new(&unbounded(), Script::new(&[outage]));
    bench.put(&["a"]);
    let running = bench.spawn().await;
    until("a failed commit", || bench.script.attempts() >= 1).await;
    bench.stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().position, position(1));
    assert_eq!(bench.ids(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_failed_leaves_nothing_running_behind_it() {
    let mut bench = Bench::new(&unbounded(), Script::always(Step::Fail(ErrorKind::Storage)));
    bench.put(&["a"]);
    let error = bench.spawn().await.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    // Its source would wait for more records for ever.
    until("the end of the source", || {
        bench.log_gone.load(Ordering::SeqCst)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_source_comes_after_the_records_before_it_are_committed() {
    let options = Options {
        pipeline: "  batch: { max_records: 2 }",
        ..Options::default()
    };
    let mut bench = Bench::new(&options, Script::new(&[]));
    bench.put(&["a", "b", "c", "d", "e"]);
    bench.breaks_at = Some(3);
    let error = bench.run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert_eq!(bench.ids(), [0, 1, 2]);
    bench.breaks_at = None;
    bench.run().await.unwrap();
    assert_eq!(bench.ids(), [0, 1, 2, 3, 4]);
}
