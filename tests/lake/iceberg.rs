//! Iceberg only: what stands in the metadata, transforms, expired snapshots and rollbacks.

use std::path::PathBuf;

use engine::spec::model::PartitionTransform;
use serde_json::{Value, json};
use sql::change::Partition;

use super::harness::{Bench, Kind, fitted, position, rows, step};

/// The newest metadata file and what it says.
fn metadata(bench: &Bench) -> (PathBuf, Value) {
    let folder = bench.folder.join("analytics/customers/metadata");
    let newest = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".metadata.json"))
        .max()
        .unwrap();
    let text = std::fs::read_to_string(&newest).unwrap();
    (newest, serde_json::from_str(&text).unwrap())
}

const KEY: &str = "engine.customers.pos.db.customers.0";

async fn three_commits() -> Bench {
    let bench = Bench::new(Kind::Iceberg);
    let mut sink = bench.sink().await;
    for at in 0..3 {
        let batch = fitted(sink.as_ref(), &rows(at, at + 1));
        sink.write(&[batch], &step(at, at + 1)).await.unwrap();
    }
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_are_in_the_snapshot_and_in_the_properties() {
    let bench = three_commits().await;
    let (_, metadata) = metadata(&bench);
    assert_eq!(metadata["format-version"], 2);
    assert_eq!(metadata["properties"][KEY], "3");
    let snapshots = metadata["snapshots"].as_array().unwrap();
    assert_eq!(snapshots.len(), 3);
    let mut summaries: Vec<_> = snapshots
        .iter()
        .map(|snapshot| snapshot["summary"][KEY].as_str().unwrap())
        .collect();
    summaries.sort_unstable();
    assert_eq!(summaries, ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_files_that_left_the_log_are_deleted() {
    let bench = Bench::new(Kind::Iceberg);
    bench.sink().await;
    let (path, mut first) = metadata(&bench);
    let properties = &mut first["properties"];
    assert_eq!(
        properties["write.metadata.delete-after-commit.enabled"],
        "true"
    );
    assert_eq!(properties["write.metadata.previous-versions-max"], "100");
    properties["write.metadata.previous-versions-max"] = json!("2");
    std::fs::write(&path, first.to_string()).unwrap();
    let mut sink = bench.sink().await;
    for at in 0..6 {
        let batch = fitted(sink.as_ref(), &rows(at, at + 1));
        sink.write(&[batch], &step(at, at + 1)).await.unwrap();
    }
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().flatten();
    let files = files.filter(|f| f.path().to_string_lossy().ends_with(".metadata.json"));
    assert_eq!(files.count(), 3, "the current one and two before it");
    assert_eq!(bench.ids().await, (0..6).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_without_rows_makes_a_snapshot() {
    let bench = Bench::new(Kind::Iceberg);
    bench.sink().await.write(&[], &step(0, 7)).await.unwrap();
    let (_, metadata) = metadata(&bench);
    assert_eq!(metadata["snapshots"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_rolled_back_has_the_positions_of_its_rows() {
    let bench = three_commits().await;
    let (path, mut metadata) = metadata(&bench);
    let second = metadata["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .find(|snapshot| snapshot["summary"][KEY] == "2")
        .unwrap()["snapshot-id"]
        .clone();
    metadata["current-snapshot-id"] = second.clone();
    metadata["refs"]["main"]["snapshot-id"] = second;
    std::fs::write(path, metadata.to_string()).unwrap();
    assert_eq!(bench.ids().await, [0, 1]);
    let stored = bench.sink().await.progress().await.unwrap();
    assert_eq!(stored, position(&[("db.customers", 0, 2)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_came_after_the_snapshot_of_a_rollback_has_no_position() {
    let bench = three_commits().await;
    let (path, before) = metadata(&bench);
    let mut sink = bench.sink().await;
    let late = super::harness::span(&[], &[("late", 0, 5)]);
    sink.write(&[], &late).await.unwrap();
    let (newest, mut metadata) = metadata(&bench);
    assert_ne!(path, newest);
    metadata["current-snapshot-id"] = before["current-snapshot-id"].clone();
    metadata["refs"]["main"]["snapshot-id"] = before["current-snapshot-id"].clone();
    assert_eq!(metadata["properties"]["engine.customers.pos.late.0"], "5");
    std::fs::write(newest, metadata.to_string()).unwrap();
    let stored = bench.sink().await.progress().await.unwrap();
    assert_eq!(stored, position(&[("db.customers", 0, 3)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_outlive_the_snapshots_that_made_them() {
    let bench = three_commits().await;
    // Another writer's snapshot on top, and all of ours expired.
    let mut other = bench
        .try_open("other", &super::harness::output())
        .await
        .unwrap();
    other.write(&[], &step(0, 1)).await.unwrap();
    let (path, mut metadata) = metadata(&bench);
    let current = metadata["current-snapshot-id"].clone();
    let keep = |list: &Value| -> Value {
        let kept = list.as_array().unwrap().iter();
        json!(
            kept.filter(|s| s["snapshot-id"] == current)
                .cloned()
                .collect::<Vec<_>>()
        )
    };
    metadata["snapshots"] = keep(&metadata["snapshots"]);
    metadata["snapshot-log"] = keep(&metadata["snapshot-log"]);
    std::fs::write(path, metadata.to_string()).unwrap();
    let mut sink = bench.sink().await;
    let stored = sink.progress().await.unwrap();
    assert_eq!(stored, position(&[("db.customers", 0, 3)]));
    sink.write(&[], &step(3, 4)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partition_transforms_are_written_and_read() {
    let cases = [
        PartitionTransform::Identity,
        PartitionTransform::Bucket(2),
        PartitionTransform::Truncate(10),
    ];
    for transform in cases {
        let bench = Bench::new(Kind::Iceberg).partitioned(&[("id", transform)]);
        let mut sink = bench.sink().await;
        let batch = fitted(sink.as_ref(), &rows(0, 20));
        let receipt = sink.write(&[batch], &step(0, 20)).await.unwrap();
        let files = match transform {
            PartitionTransform::Identity => 20,
            _ => 2,
        };
        assert_eq!(receipt.files, files, "{transform:?}");
        assert_eq!(bench.ids().await, (0..20).collect::<Vec<_>>());
        let stored = bench.sink().await.progress().await.unwrap();
        assert_eq!(stored.get(&Partition::new("db.customers", 0)), Some(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_transforms_are_written_and_read() {
    use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
    use std::sync::Arc;
    const HOUR: i64 = 3_600_000_000;
    for (transform, files) in [
        (PartitionTransform::Year, 1),
        (PartitionTransform::Month, 2),
        (PartitionTransform::Day, 3),
        (PartitionTransform::Hour, 4),
    ] {
        let at = vec![0, HOUR, 30 * HOUR, 24 * 40 * HOUR];
        let at = TimestampMicrosecondArray::from(at).with_timezone("UTC");
        let batch =
            RecordBatch::try_from_iter_with_nullable([("at", Arc::new(at) as ArrayRef, true)])
                .unwrap();
        let bench = Bench::new(Kind::Iceberg).partitioned(&[("at", transform)]);
        let mut sink = bench.try_open("customers", &batch.schema()).await.unwrap();
        let batch = fitted(sink.as_ref(), &batch);
        let receipt = sink.write(&[batch], &step(0, 4)).await.unwrap();
        assert_eq!((receipt.rows, receipt.files), (4, files), "{transform:?}");
        let count = bench.query("SELECT count(*) FROM t").await;
        assert_eq!(super::harness::longs(&count), [4]);
    }
}
