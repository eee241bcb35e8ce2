//! Versions as tables of SQL: read in parallel, without what filters leave out, and as bytes and back.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use engine::lake::versioned::iceberg::{IcebergVersions, ScanCodec};
use sql::versioned::VersionedTable as _;
use tempfile::TempDir;
use tests::need;
use tests::python::Readers;

use super::{objects, rows};
use crate::lake::harness::{iceberg_spec, runtime};
use crate::lake::upsert::harness::{Bench, Kind, Shape, change, many};

/// The table at its newest version as `t`, for four tasks.
async fn context(table: &IcebergVersions) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(4));
    let last = table.refresh().await.unwrap().last;
    context
        .register_table("t", table.at(last).await.unwrap())
        .unwrap();
    context
}

async fn plan(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    let frame = context.sql(sql).await.unwrap();
    frame.create_physical_plan().await.unwrap()
}

fn shown(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(true).to_string()
}

/// The line of the scan.
fn scan(plan: &Arc<dyn ExecutionPlan>) -> String {
    let shown = shown(plan);
    let line = shown.lines().find(|line| line.contains("IcebergScanExec"));
    line.unwrap_or_else(|| panic!("no scan in {shown}"))
        .trim()
        .to_owned()
}

async fn run(context: &SessionContext, plan: Arc<dyn ExecutionPlan>) -> Vec<String> {
    let batches: Vec<RecordBatch> = collect(plan, context.task_ctx()).await.unwrap();
    let mut rows: Vec<String> = batches
        .iter()
        .flat_map(objects)
        .map(|row| row.to_string())
        .collect();
    rows.sort();
    rows
}

/// Three files of ten rows, two of which have lost rows.
async fn table_of_three() -> (Bench, IcebergVersions) {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
    writer.apply(&change(&many(100..110, "us", 1), &[])).await;
    writer
        .apply(&change(&many(200..210, "eu", 1), &[3, 104]))
        .await;
    let table = IcebergVersions::open(&iceberg_spec(&bench.folder))
        .await
        .unwrap();
    (bench, table)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_share_the_files_and_filters_leave_some_out() {
    let (_bench, table) = table_of_three().await;
    let context = context(&table).await;
    let all = plan(&context, "SELECT * FROM t").await;
    assert_eq!(
        scan(&all),
        "IcebergScanExec: table=lake.analytics.customers, version=3, files=3 of 3, delete_files=2, tasks=3, projection=[id, region, n]"
    );
    let mut expected: Vec<String> = rows(&table, 3)
        .await
        .iter()
        .map(ToString::to_string)
        .collect();
    expected.sort();
    assert_eq!(expected.len(), 28);
    assert_eq!(run(&context, all).await, expected);

    let some = plan(
        &context,
        "SELECT n FROM t WHERE id >= 105 AND region = 'us'",
    )
    .await;
    assert_eq!(
        scan(&some),
        "IcebergScanExec: table=lake.analytics.customers, version=3, files=1 of 3, delete_files=2, tasks=1, projection=[id, region, n], pruning=[id >= Int64(105), region = Utf8(\"us\")]"
    );
    let read = run(&context, some).await;
    assert_eq!(
        read,
        (105..110)
            .map(|n| format!("{{\"n\":{n}}}"))
            .collect::<Vec<_>>()
    );
    let none = plan(&context, "SELECT n FROM t WHERE n IS NULL").await;
    assert!(scan(&none).contains("files=0 of 3"), "{}", scan(&none));
    assert_eq!(run(&context, none).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_manifests_count_are_not_read() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
    writer.apply(&change(&many(20..30, "eu", 1), &[])).await;
    let table = IcebergVersions::open(&iceberg_spec(&bench.folder))
        .await
        .unwrap();
    let own = context(&table).await;
    let count = plan(&own, "SELECT count(*) AS n FROM t").await;
    assert!(
        !shown(&count).contains("IcebergScanExec"),
        "{}",
        shown(&count)
    );
    assert_eq!(run(&own, count).await, ["{\"n\":20}"]);
    assert_eq!(table.bytes_read(), 0);
    // A file of positions may name a row twice: it is read.
    writer.apply(&change(&[], &[4])).await;
    let own = context(&table).await;
    let count = plan(&own, "SELECT count(*) AS n FROM t").await;
    assert!(scan(&count).ends_with("projection=[]"), "{}", scan(&count));
    assert_eq!(run(&own, count).await, ["{\"n\":19}"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_come_back_equal() {
    let (_bench, table) = table_of_three().await;
    let context = context(&table).await;
    for sql in [
        "SELECT * FROM t",
        "SELECT region, count(*) AS c FROM t WHERE id < 150 GROUP BY region",
        "SELECT min(id) AS c FROM t WHERE n IN (1, 104, 205) OR region LIKE 'u%'",
        "SELECT a.id FROM t a JOIN t b ON a.id = b.n WHERE a.id > 5",
    ] {
        let there = plan(&context, sql).await;
        let bytes =
            physical_plan_to_bytes_with_extension_codec(Arc::clone(&there), &ScanCodec).unwrap();
        let task = context.task_ctx();
        let back = physical_plan_from_bytes_with_extension_codec(&bytes, task.as_ref(), &ScanCodec)
            .unwrap();
        assert_eq!(shown(&back), shown(&there));
        assert_eq!(
            run(&context, back).await,
            run(&context, there).await,
            "{sql}"
        );
    }
}

#[test]
fn a_large_file_is_shared_by_its_row_groups() {
    let readers = need!(Readers::ready());
    let folder = TempDir::new().unwrap();
    let arguments = [folder.path().display().to_string(), "large".to_owned()];
    readers.run("make_iceberg_history.py", arguments);
    runtime().block_on(async {
        let table = IcebergVersions::open(&iceberg_spec(folder.path()))
            .await
            .unwrap();
        let context = context(&table).await;
        let all = plan(&context, "SELECT id, n FROM t").await;
        let line = scan(&all);
        assert!(
            line.contains("files=1 of 1") && line.contains("tasks=4"),
            "{line}"
        );
        let sums = plan(
            &context,
            "SELECT count(*) AS c, count(DISTINCT id) AS d, sum(id) AS s FROM t WHERE id >= 0",
        )
        .await;
        let rows = 400_000_i64;
        let sum = rows * (rows - 1) / 2;
        let expected = format!("{{\"c\":{rows},\"d\":{rows},\"s\":{sum}}}");
        assert_eq!(run(&context, sums).await, [expected]);
        // One row group has it.
        let one = plan(&context, "SELECT n FROM t WHERE id = 250001").await;
        assert_eq!(run(&context, Arc::clone(&one)).await.len(), 1);
        let counted = DisplayableExecutionPlan::with_metrics(one.as_ref());
        let counted = counted.indent(true).to_string();
        assert!(
            counted.contains("row_groups_read=1") && counted.contains("row_groups_pruned=7"),
            "{counted}"
        );
    });
}
