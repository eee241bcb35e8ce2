//! Iceberg tables whose files are copied: what is written anew, and what is not.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use engine::sink::UpsertSink as _;
use engine::spec::model::WriteMode;
use sql::ErrorKind;
use sql::change::NetChange;

use super::harness::{Bench, Kind, Shape, change, ids, many};
use crate::lake::harness::step;

fn names(bench: &Bench, ending: &str) -> Vec<PathBuf> {
    let mut files = bench.data_files();
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_keep_their_order_and_untouched_files_their_names() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain().copied());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(100..105, "eu", 1), &[])).await;
    let first = names(&bench, "parquet");
    let rows = [7, 3, 9, 1, 8].map(|id| (id, Some("eu"), Some(id)));
    writer.apply(&change(&rows, &[])).await;
    let receipt = writer
        .apply(&change(
            &[
                (1, Some("us"), Some(0)),
                (7, None, None),
                (8, Some("eu"), Some(8)),
                (2, None, None),
            ],
            &[3],
        ))
        .await;
    // Row 8 is as it was; row 2 is new.
    assert_eq!((receipt.rows, receipt.files), (3, 2));
    let stored = bench
        .query("SELECT id, region, n FROM t WHERE id < 100 AND id <> 2")
        .await;
    assert_eq!(stored, ["7|∅|∅", "9|eu|9", "1|us|0", "8|eu|8"]);
    assert!(names(&bench, "parquet").contains(&first[0]));
    let receipt = writer
        .apply(&change(&many(100..105, "eu", 1), &[3, 4]))
        .await;
    assert_eq!((receipt.rows, receipt.files), (0, 0), "nothing changes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn position_deletes_are_applied_and_go_with_their_file() {
    let mut bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut merged = bench.writer().await;
    merged.apply(&change(&many(0..10, "eu", 1), &[])).await;
    merged.apply(&change(&many(20..30, "eu", 1), &[2, 5])).await;
    merged.apply(&change(&[], &[23])).await;
    let count = "SELECT count(*), sum(n), min(id) FROM t";
    assert_eq!(bench.query(count).await, ["17|260|0"]);
    bench.shape.write_mode = WriteMode::CopyOnWrite;
    let mut copied = bench.writer().await;
    // Nothing changes in the second file: its deletes stay.
    let receipt = copied
        .apply(&change(
            &[(21, Some("eu"), Some(21)), (3, Some("eu"), Some(0))],
            &[0],
        ))
        .await;
    assert_eq!((receipt.rows, receipt.files), (1, 1));
    let stored = bench.query("SELECT id FROM t WHERE id < 20").await;
    assert_eq!(stored, ["1", "3", "4", "6", "7", "8", "9"]);
    assert_eq!(bench.query(count).await, ["16|257|1"]);
    bench.shape.write_mode = WriteMode::MergeOnRead;
    let mut merged = bench.writer().await;
    merged
        .apply(&change(&[(23, None, Some(1))], &[3, 29]))
        .await;
    assert_eq!(bench.query(count).await, ["15|229|1"]);
    bench.shape.write_mode = WriteMode::CopyOnWrite;
    let mut copied = bench.writer().await;
    let receipt = copied
        .apply(&change(&[], &(0..20).collect::<Vec<_>>()))
        .await;
    assert_eq!((receipt.rows, receipt.files), (0, 0), "the file goes whole");
    assert_eq!(
        bench.query("SELECT count(*), min(id) FROM t").await,
        ["9|20"]
    );
}

/// Of ten files one is read and written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_the_keys_are_not_read() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain().copied());
    let mut writer = bench.writer().await;
    for start in 0..10 {
        let ids = start * 20_000..(start + 1) * 20_000;
        writer.apply(&change(&many(ids, "eu", 1), &[])).await;
    }
    let size = |file: &PathBuf| std::fs::metadata(file).unwrap().len();
    let all: u64 = names(&bench, "parquet").iter().map(size).sum();
    let mut sink = bench.iceberg("customers").await.unwrap();
    sink.fetch(&ids(&[-1])).await.unwrap();
    let before = sink.bytes_read();
    let receipt = sink
        .upsert(&change(&[(4_001, None, None)], &[]), &step(10, 11))
        .await
        .unwrap();
    assert_eq!((receipt.rows, receipt.files), (1, 1));
    let read = sink.bytes_read() - before;
    assert!(read < all / 2, "{read} of {all}");
}

fn timed(at: &[i64]) -> (Schema, RecordBatch) {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("at", time, true),
    ]);
    let times = TimestampMicrosecondArray::from(at.to_vec()).with_timezone("+00:00");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            0..i64::try_from(at.len()).unwrap(),
        )),
        Arc::new(times),
    ];
    let rows = RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap();
    (schema, rows)
}

/// Times that the library would panic over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_have_no_partition_are_an_error() {
    for (by, at) in [("at", -1), ("at", i64::MAX), ("at", i64::MIN)] {
        for shape in [Shape::plain(), Shape::plain().copied()] {
            let (schema, rows) = timed(&[0, at]);
            let shape = Shape {
                schema,
                partition_by: vec![by.to_owned()],
                ..shape
            };
            let bench = Bench::new(Kind::Iceberg, shape);
            let mut writer = bench.writer().await;
            let span = writer.next().await;
            let rows = NetChange::try_new(false, rows, ids(&[])).unwrap();
            let error = writer.sink.upsert(&rows, &span).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.message(), error.place()),
                (
                    ErrorKind::Policy,
                    "a value has no partition under `identity`",
                    Some("column `at`, row 1")
                )
            );
            assert!(bench.data_files().is_empty());
        }
    }
}
