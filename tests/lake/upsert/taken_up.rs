//! Iceberg only: which delete files a new one takes up.

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use engine::lake::versioned::iceberg::IcebergVersions;
use sql::versioned::VersionedTable as _;

use super::harness::{Bench, Kind, Shape, change, many};
use crate::lake::harness::iceberg_spec;

/// How many rows each live delete file deletes, the largest first.
async fn deletes(bench: &Bench) -> Vec<i64> {
    let table = IcebergVersions::open(&iceberg_spec(&bench.folder)).await;
    let files: RecordBatch = table.unwrap().files(None).await.unwrap();
    let content = files.column_by_name("content").unwrap().as_string::<i32>();
    let rows = files.column_by_name("rows").unwrap();
    let rows = rows.as_primitive::<Int64Type>();
    let mut found: Vec<i64> = (0..files.num_rows())
        .filter(|row| content.value(*row) == "position_deletes")
        .map(|row| rows.value(row))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_delete_file_is_not_written_again_for_a_few_rows() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..300_000, "eu", 1), &[])).await;
    let mut gone = 0;
    for (deleted, expected) in [
        (10, &[10][..]),
        // Small ones are one.
        (20, &[30]),
        (50_000, &[50_030]),
        // Fifty times as large as the new one: it stays.
        (1_000, &[50_030, 1_000]),
        (100, &[50_030, 1_100]),
        // Less than four times as large.
        (15_000, &[66_130]),
        (16_000, &[66_130, 16_000]),
        (17_000, &[99_130]),
    ] {
        let ids: Vec<i64> = (gone..gone + deleted).collect();
        gone += deleted;
        writer.apply(&change(&[], &ids)).await;
        assert_eq!(deletes(&bench).await, expected, "after {deleted}");
    }
    let left = bench.query("SELECT count(*), min(id) FROM t").await;
    assert_eq!(left, [format!("{}|{gone}", 300_000 - gone)]);
    // A key that is deleted already, in the large file, comes back.
    writer.apply(&change(&[(7, Some("us"), None)], &[])).await;
    let back = bench.query("SELECT id, region FROM t WHERE id < 10").await;
    assert_eq!(back, ["7|us"]);
}
