//! Delta only: what stands in the log, checkpoints, order of rows.

use std::path::PathBuf;

use datafusion::prelude::{SessionConfig, SessionContext};
use engine::spec::model::{PartitionTransform, SinkTarget};
use serde_json::Value;
use sql::change::Partition;

use super::harness::{Bench, Kind, fitted, longs, position, rows, step};

fn log(bench: &Bench, name: &str) -> PathBuf {
    bench.folder.join("table/_delta_log").join(name)
}

fn commit(bench: &Bench, version: u64) -> Vec<Value> {
    std::fs::read_to_string(log(bench, &format!("{version:020}.json")))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn write_steps(bench: &Bench, from: i64, to: i64) {
    let mut sink = bench.sink().await;
    for at in from..to {
        let batch = fitted(sink.as_ref(), &rows(at, at + 1));
        sink.write(&[batch], &step(at, at + 1)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_table_has_the_feed_and_checkpoints_on() {
    let bench = Bench::new(Kind::Delta);
    bench.sink().await;
    let metadata = commit(&bench, 0)
        .into_iter()
        .find_map(|action| action.get("metaData").cloned())
        .unwrap();
    let configuration = &metadata["configuration"];
    assert_eq!(configuration["delta.enableChangeDataFeed"], "true");
    assert_eq!(configuration["delta.checkpointInterval"], "10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_positions_are_in_one_commit() {
    let bench = Bench::new(Kind::Delta);
    write_steps(&bench, 0, 1).await;
    let actions = commit(&bench, 1);
    let txn: Vec<_> = actions.iter().filter_map(|a| a.get("txn")).collect();
    assert_eq!(txn.len(), 1);
    assert_eq!(txn[0]["appId"], "customers/db.customers/0");
    assert_eq!(txn[0]["version"], 1);
    assert!(txn[0].get("lastUpdated").is_none(), "it must never expire");
    assert_eq!(actions.iter().filter(|a| a.get("add").is_some()).count(), 1);
    let info = actions.iter().find_map(|a| a.get("commitInfo")).unwrap();
    assert_eq!(info["isBlindAppend"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_comes_every_ten_commits_and_replaces_the_commits_before_it() {
    let bench = Bench::new(Kind::Delta);
    let mut open = bench.sink().await;
    write_steps(&bench, 0, 9).await;
    assert!(!log(&bench, "_last_checkpoint").exists());
    write_steps(&bench, 9, 25).await;
    assert!(log(&bench, &format!("{:020}.checkpoint.parquet", 10)).exists());
    assert!(log(&bench, &format!("{:020}.checkpoint.parquet", 20)).exists());
    for version in 0..20 {
        std::fs::remove_file(log(&bench, &format!("{version:020}.json"))).unwrap();
    }
    let expected = position(&[("db.customers", 0, 25)]);
    assert_eq!(bench.sink().await.progress().await.unwrap(), expected);
    // A sink that stood at a commit that is gone must not write the one after it.
    assert_eq!(open.progress().await.unwrap(), expected);
    write_steps(&bench, 25, 27).await;
    assert_eq!(bench.ids().await, (0..27).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_commits_make_sixty_files_and_no_other() {
    let bench = Bench::new(Kind::Delta);
    write_steps(&bench, 0, 60).await;
    assert_eq!(bench.data_files().len(), 60);
    let stored = bench.sink().await.progress().await.unwrap();
    assert_eq!(stored.get(&Partition::new("db.customers", 0)), Some(60));
    assert_eq!(bench.ids().await, (0..60).collect::<Vec<_>>());
}

async fn rows_keep_their_order(kind: Kind) {
    let bench = Bench::new(kind).partitioned(&[("tier", PartitionTransform::Identity)]);
    let mut sink = bench.sink().await;
    let batches = [
        fitted(sink.as_ref(), &rows(0, 1_000)),
        fitted(sink.as_ref(), &rows(1_000, 1_500)),
    ];
    let receipt = sink.write(&batches, &step(0, 1_500)).await.unwrap();
    assert_eq!((receipt.rows, receipt.files), (1_500, 3));
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context.register_table("t", bench.provider().await).unwrap();
    for (tier, first) in [("gold", 0), ("silver", 1), ("bronze", 2)] {
        let sql = format!("SELECT id FROM t WHERE tier = '{tier}'");
        let read = context.sql(&sql).await.unwrap().collect().await.unwrap();
        let expected: Vec<i64> = (first..1_500).step_by(3).collect();
        assert_eq!(longs(&read), expected, "{tier}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_keep_their_order_in_delta_partitions() {
    rows_keep_their_order(Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_keep_their_order_in_iceberg_partitions() {
    rows_keep_their_order(Kind::Iceberg).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_without_a_partition_value_have_a_partition() {
    for kind in [Kind::Delta, Kind::Iceberg] {
        let bench = Bench::new(kind).partitioned(&[("tier", PartitionTransform::Identity)]);
        let mut sink = bench.sink().await;
        let narrow = rows(0, 4).project(&[0]).unwrap();
        let batch = fitted(sink.as_ref(), &narrow);
        sink.write(&[batch], &step(0, 4)).await.unwrap();
        let nulls = bench
            .query("SELECT id FROM t WHERE tier IS NULL ORDER BY id")
            .await;
        assert_eq!(longs(&nulls), [0, 1, 2, 3], "{kind:?}");
    }
}

fn history(bench: &Bench, version: u64) -> Value {
    let mut actions = commit(bench, version);
    actions.remove(0)["commitInfo"].take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_says_what_a_commit_did_and_where_its_rows_come_from() {
    let bench = Bench::new(Kind::Delta);
    let mut sink = bench.sink().await;
    let batch = fitted(sink.as_ref(), &rows(0, 5));
    sink.write(&[batch], &step(0, 5)).await.unwrap();
    sink.write(&[], &step(5, 9)).await.unwrap();
    let [first, second] = [1, 2].map(|version| history(&bench, version));
    for (info, read, metrics, offsets) in [
        (&first, 0, ("1", "5"), "[null,5]"),
        (&second, 1, ("0", "0"), "[5,9]"),
    ] {
        assert_eq!(info["operation"], "WRITE");
        assert_eq!(info["operationParameters"]["mode"], "Append");
        assert_eq!(info["readVersion"], read);
        assert!(info["engineInfo"].as_str().unwrap().starts_with("engine/"));
        assert_eq!(info["operationMetrics"]["numFiles"], metrics.0);
        assert_eq!(info["operationMetrics"]["numOutputRows"], metrics.1);
        assert_eq!(
            info["userMetadata"],
            format!(r#"{{"pipeline":"customers","offsets":{{"db.customers/0":{offsets}}}}}"#)
        );
    }
}

fn properties(bench: &Bench, version: u64) -> Value {
    let metadata = commit(bench, version)
        .into_iter()
        .find_map(|action| action.get("metaData").cloned());
    metadata.expect("a metaData action")["configuration"].take()
}

fn with_properties(mut bench: Bench, said: &[(&str, &str)]) -> Bench {
    let SinkTarget::Delta(table) = &mut bench.spec.target else {
        panic!("{:?}", bench.spec)
    };
    let said = said.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    table.properties = said.collect();
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_are_set_in_a_new_table_and_later_where_they_differ() {
    let off = [("delta.enableChangeDataFeed", "false"), ("team", "sales")];
    let bench = with_properties(Bench::new(Kind::Delta), &off);
    write_steps(&bench, 0, 1).await;
    assert_eq!(properties(&bench, 0)["delta.enableChangeDataFeed"], "false");
    assert_eq!(properties(&bench, 0)["team"], "sales");
    // The same again is no commit; another value is one.
    write_steps(&bench, 1, 2).await;
    let on = [("delta.enableChangeDataFeed", "true")];
    let bench = with_properties(bench, &on);
    write_steps(&bench, 2, 3).await;
    assert_eq!(history(&bench, 3)["operation"], "SET TBLPROPERTIES");
    assert_eq!(properties(&bench, 3)["delta.enableChangeDataFeed"], "true");
    assert_eq!(properties(&bench, 3)["team"], "sales");
    write_steps(&bench, 3, 4).await;
    assert_eq!(history(&bench, 5)["operation"], "WRITE");
    let stored = bench.sink().await.progress().await.unwrap();
    assert_eq!(stored.get(&Partition::new("db.customers", 0)), Some(4));
    assert_eq!(bench.ids().await, [0, 1, 2, 3]);
}
