//! The changes of a table in SQL: what is read of which versions, in which order, and plans as bytes and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, displayable};
use datafusion::prelude::SessionContext;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use futures::StreamExt;
use sql::session::{Role, session};
use sql::table::{ChangesTable, Range, SourceCodec};
use sql::versioned::MemoryTable;

const SECOND: i64 = 1_000_000;

/// Change rows of id, name.
fn changes(rows: &[(i64, &str, &str)]) -> RecordBatch {
    let text = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(ids)) as ArrayRef, true),
        ("name", text(rows.iter().map(|row| row.1).collect()), true),
        (
            "_change_type",
            text(rows.iter().map(|row| row.2).collect()),
            true,
        ),
    ])
    .unwrap()
}

/// Versions 1 to 5, a second apart; the third changes no row.
fn table() -> MemoryTable {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
    ]);
    let table = MemoryTable::new("items", Arc::new(schema), &["id"], 1);
    table
        .commit(changes(&[(1, "a", "insert"), (2, "b", "insert")]), SECOND)
        .unwrap();
    let update = [(1, "a", "update_preimage"), (1, "A", "update_postimage")];
    table.commit(changes(&update), 2 * SECOND).unwrap();
    table.compact(3 * SECOND).unwrap();
    table
        .commit(
            changes(&[(2, "b", "delete"), (3, "c", "insert")]),
            4 * SECOND,
        )
        .unwrap();
    table
        .commit(changes(&[(3, "c", "delete")]), 5 * SECOND)
        .unwrap();
    table
}

fn context(role: Role, table: &MemoryTable, from: i64, to: Option<i64>) -> SessionContext {
    let context = session(role);
    let range = Range { from, to };
    let changes = ChangesTable::try_new("items", Arc::new(table.clone()), range).unwrap();
    context
        .register_table("changes", Arc::new(changes))
        .unwrap();
    context
}

async fn planned(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    let frame = context.sql(sql).await.unwrap();
    frame.create_physical_plan().await.unwrap()
}

fn shown(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(true).to_string()
}

async fn run(plan: Arc<dyn ExecutionPlan>, task: Arc<TaskContext>) -> String {
    let rows = collect(plan, task).await.unwrap();
    pretty_format_batches(&rows).unwrap().to_string()
}

/// What is read for `sql` over the versions 1 to 5: the leaf as EXPLAIN shows it, and the number of rows taken.
async fn reads(sql: &str) -> (String, u64) {
    let table = table();
    let context = context(Role::Query, &table, 1, Some(5));
    let plan = planned(&context, sql).await;
    let leaf = shown(&plan);
    let leaf = leaf.lines().last().unwrap().trim().to_owned();
    collect(plan, context.task_ctx()).await.unwrap();
    (leaf, table.delivered())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_by_version_with_what_is_said_of_it() {
    let context = context(Role::Pipeline, &table(), 1, Some(4));
    let plan = planned(&context, "SELECT * FROM changes").await;
    assert_eq!(
        run(plan, context.task_ctx()).await,
        "\
+----+------+------------------+-----------------+----------------------+
| id | name | _change_type     | _commit_version | _commit_timestamp    |
+----+------+------------------+-----------------+----------------------+
| 1  | a    | insert           | 1               | 1970-01-01T00:00:01Z |
| 2  | b    | insert           | 1               | 1970-01-01T00:00:01Z |
| 1  | a    | update_preimage  | 2               | 1970-01-01T00:00:02Z |
| 1  | A    | update_postimage | 2               | 1970-01-01T00:00:02Z |
| 2  | b    | delete           | 4               | 1970-01-01T00:00:04Z |
| 3  | c    | insert           | 4               | 1970-01-01T00:00:04Z |
+----+------+------------------+-----------------+----------------------+"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_what_is_read() {
    for (filter, leaf, rows) in [
        (
            "_commit_version > 1 AND _commit_version < 5",
            "versions=[2 to 4], projection=[id, _commit_version]",
            4,
        ),
        (
            "_commit_version IN (2, 4)",
            "versions=[2 to 4], projection=[id, _commit_version]",
            4,
        ),
        (
            "_commit_version % 2 = 0",
            "versions=[2 to 4], projection=[id, _commit_version]",
            4,
        ),
        // A version that changed no row is no reason to begin there.
        (
            "_commit_version >= 3",
            "versions=[4 to 5], projection=[id, _commit_version]",
            3,
        ),
        (
            "_commit_timestamp <= '1970-01-01T00:00:01Z'",
            "versions=[1], projection=[id, _commit_timestamp]",
            2,
        ),
        (
            "_commit_timestamp > to_timestamp(4)",
            "versions=[5], projection=[id, _commit_timestamp]",
            1,
        ),
        (
            "_change_type = 'delete'",
            "versions=[1 to 5], projection=[id, _change_type], change_types=[delete]",
            2,
        ),
        (
            "_change_type <> 'update_preimage' AND _commit_version < 3",
            "versions=[1 to 2], projection=[id, _change_type, _commit_version], change_types=[insert, update_postimage, delete]",
            3,
        ),
        (
            "_change_type LIKE 'update%'",
            "versions=[1 to 5], projection=[id, _change_type], change_types=[update_preimage, update_postimage]",
            2,
        ),
        // It is about both: all is read, and the filter decides.
        (
            "_change_type = 'delete' OR _commit_version = 1",
            "versions=[1 to 5], projection=[id, _change_type, _commit_version]",
            7,
        ),
        ("id = 2", "versions=[1 to 5], projection=[id]", 7),
    ] {
        let (read, taken) = reads(&format!("SELECT id FROM changes WHERE {filter}")).await;
        assert_eq!(
            read,
            format!("ChangesExec: table=items, {leaf}"),
            "{filter}"
        );
        assert_eq!(taken, rows, "{filter}");
    }
    for never in [
        "_commit_version > 5",
        "_change_type = 'truncate'",
        "_change_type IS NULL",
    ] {
        let (read, taken) = reads(&format!("SELECT id FROM changes WHERE {never}")).await;
        assert_eq!((read.as_str(), taken), ("EmptyExec", 0), "{never}");
    }
    let (read, _) = reads("SELECT count(*) FROM changes").await;
    assert_eq!(
        read,
        "ChangesExec: table=items, versions=[1 to 5], projection=[]"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_versions_needs_no_sort() {
    let context = context(Role::Query, &table(), 1, Some(5));
    for (sql, sorts) in [
        (
            "SELECT id, _commit_version FROM changes ORDER BY _commit_version",
            false,
        ),
        (
            "SELECT id, _commit_version FROM changes ORDER BY _commit_version DESC",
            true,
        ),
        ("SELECT id, _commit_version FROM changes ORDER BY id", true),
    ] {
        let plan = shown(&planned(&context, sql).await);
        assert_eq!(plan.contains("SortExec"), sorts, "{sql}\n{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_come_back_equal() {
    let table = table();
    for sql in [
        "SELECT * FROM changes",
        "SELECT id FROM changes WHERE _change_type = 'delete' AND _commit_version > 2",
        "SELECT _change_type, count(*) AS n FROM changes GROUP BY 1 ORDER BY 1",
        "SELECT name FROM changes LIMIT 3",
    ] {
        let context = context(Role::Pipeline, &table, 1, Some(5));
        let plan = planned(&context, sql).await;
        let bytes =
            physical_plan_to_bytes_with_extension_codec(Arc::clone(&plan), &SourceCodec).unwrap();
        let task = context.task_ctx();
        let back =
            physical_plan_from_bytes_with_extension_codec(&bytes, &task, &SourceCodec).unwrap();
        assert_eq!(shown(&back), shown(&plan), "{sql}");
        let rows = run(plan, Arc::clone(&task)).await;
        assert_eq!(run(back, task).await, rows, "{sql}");
    }
    let context = context(Role::Tail, &table, 2, None);
    let plan = planned(&context, "SELECT id FROM changes").await;
    let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&plan), &SourceCodec);
    let back = physical_plan_from_bytes_with_extension_codec(
        &bytes.unwrap(),
        &context.task_ctx(),
        &SourceCodec,
    );
    let back = back.unwrap();
    assert_eq!(shown(&back), shown(&plan));
    assert!(back.boundedness().is_unbounded());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_without_an_end_goes_on_with_new_versions() {
    let table = table();
    let context = context(Role::Tail, &table, 5, None);
    let frame = context.sql("SELECT id, _commit_version FROM changes").await;
    let mut stream = frame.unwrap().execute_stream().await.unwrap();
    let next = |batch: RecordBatch| pretty_format_batches(&[batch]).unwrap().to_string();
    let first = next(stream.next().await.unwrap().unwrap());
    assert!(first.contains("| 3  | 5 "), "{first}");
    table
        .commit(changes(&[(9, "z", "insert")]), 6 * SECOND)
        .unwrap();
    let second = next(stream.next().await.unwrap().unwrap());
    assert!(second.contains("| 9  | 6 "), "{second}");
    // A lower bound in the filter skips versions; a limit ends it.
    let plan = planned(
        &context,
        "SELECT id FROM changes WHERE _commit_version > 5 LIMIT 1",
    )
    .await;
    assert!(
        shown(&plan).contains("versions=[6 and on]"),
        "{}",
        shown(&plan)
    );
    let rows = run(plan, context.task_ctx()).await;
    assert!(rows.contains("| 9  |"), "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_table_come_through_with_their_kind() {
    let table = table();
    let context = context(Role::Query, &table, 1, Some(5));
    let plan = planned(&context, "SELECT * FROM changes").await;
    table.expire(3);
    let error = collect(plan, context.task_ctx()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("version 1 of items is not there: 3 to 5 can be read"),
        "{text}"
    );
}

#[test]
fn a_column_of_a_name_that_changes_add_is_refused() {
    let schema = Schema::new(vec![Field::new("_commit_version", DataType::Int64, true)]);
    let table = MemoryTable::new("items", Arc::new(schema), &[], 1);
    let range = Range { from: 1, to: None };
    let error = ChangesTable::try_new("items", Arc::new(table), range).unwrap_err();
    assert!(
        error
            .message()
            .contains("the table's own column `_commit_version`"),
        "{error}"
    );
    assert!(
        error.next_step().unwrap().contains("at('t', version)"),
        "{error}"
    );
}
