//! Topics with nothing to read: readiness, lag, acknowledgements, positions without rows.

use engine::source::CancellationToken;
use sql::change::Partition;

use super::doubles::Script;
use super::harness::{Bench, Options, TOPIC, position, until};

const LAG: &str = r#"engine_lag_records{pipeline="items",source="items"}"#;
const LAG_SECONDS: &str = r#"engine_lag_seconds{pipeline="items",source="items"}"#;

fn unbounded() -> Options {
    Options {
        once: false,
        pipeline: "  trigger: { interval: 1ms }",
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_topic_makes_a_pipeline_ready_without_a_commit() {
    let mut bench = Bench::new(&unbounded(), Script::new(&[]));
    let running = bench.spawn().await;
    let health = bench.health.clone();
    until("readiness", || health.is_ready()).await;
    assert_eq!(bench.metric(LAG), Some(0.0));
    bench.stop.cancel();
    let outcome = running.await.unwrap().unwrap();
    assert_eq!((outcome.commits, outcome.position), (0, Default::default()));
    assert_eq!(bench.script.attempts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn markers_behind_the_last_record_do_not_keep_a_pipeline_from_being_ready() {
    let mut bench = Bench::new(&unbounded(), Script::new(&[]));
    bench.put(&["a"]);
    let running = bench.spawn().await;
    until("the commit", || bench.ids() == [0]).await;
    bench.stop.cancel();
    running.await.unwrap().unwrap();

    bench.topics.set_high(&Partition::new(TOPIC, 0), 3);
    bench.stop = CancellationToken::new();
    let running = bench.spawn().await;
    let health = bench.health.clone();
    until("readiness", || health.is_ready()).await;
    bench.stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().commits, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_goes_to_zero_when_everything_is_committed() {
    let mut bench = Bench::new(&unbounded(), Script::new(&[]));
    bench.put(&["a", "b"]);
    let running = bench.spawn().await;
    until("the commit", || bench.ids().len() == 2).await;
    until("no lag", || {
        bench.metric(LAG) == Some(0.0) && bench.metric(LAG_SECONDS) == Some(0.0)
    })
    .await;
    bench.stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_acknowledged_while_the_topic_is_quiet() {
    let mut bench = Bench::new(&unbounded(), Script::new(&[]));
    bench.put(&["a", "b"]);
    let running = bench.spawn().await;
    until("the acknowledgement", || {
        bench.topics.committed() == position(2)
    })
    .await;
    assert_eq!(bench.ids(), [0, 1]);
    bench.stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_commit_of_a_drained_run_is_acknowledged() {
    let options = Options {
        pipeline: "  batch: { max_records: 2 }",
        ..Options::default()
    };
    let mut bench = Bench::new(&options, Script::new(&[]));
    bench.put(&["a", "b", "c"]);
    bench.run().await.unwrap();
    assert_eq!(bench.topics.committed(), position(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_sql_filters_out_still_move_the_position() {
    let options = Options {
        sql: "SELECT id, name FROM items WHERE name = 'nobody'",
        ..Options::default()
    };
    let mut bench = Bench::new(&options, Script::new(&[]));
    bench.put(&["a", "b"]);
    let outcome = bench.run().await.unwrap();
    assert_eq!((outcome.commits, outcome.position), (1, position(2)));
    assert_eq!(bench.ids(), [0_i64; 0]);
    assert_eq!(bench.run().await.unwrap().commits, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_means_no_commit() {
    let mut bench = Bench::new(&Options::default(), Script::new(&[]));
    bench.put(&["a"]);
    bench.run().await.unwrap();
    let again = bench.run().await.unwrap();
    assert_eq!((again.commits, again.position), (0, position(1)));
    assert_eq!(bench.script.attempts(), 1);
}
