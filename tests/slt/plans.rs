//! Plans that read changes: as bytes and back, bounded and not, and what a table's errors become.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, displayable};
use datafusion::prelude::SessionContext;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use engine::lake::versioned::{MissingFeed, VersionedSpec, open};
use engine::spec::model::DeltaTableSpec;
use sql::session::{Role, session};
use sql::table::{ChangesTable, Range, SourceCodec};

use super::items::Items;
use super::text;

/// A session with `changes`: those of the Delta table's versions `from` to `to`.
async fn context(role: Role, from: i64, to: Option<i64>) -> SessionContext {
    let spec = VersionedSpec::Delta(DeltaTableSpec {
        path: text(&Items::shared().folder().join("delta/items")),
        storage_options: BTreeMap::new(),
        properties: BTreeMap::new(),
    });
    let table = open(&spec, MissingFeed::Error).await.unwrap();
    let changes = ChangesTable::try_new("items", table, Range { from, to }).unwrap();
    let context = session(role);
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

fn there_and_back(
    plan: &Arc<dyn ExecutionPlan>,
    task: &Arc<TaskContext>,
) -> Arc<dyn ExecutionPlan> {
    let bytes =
        physical_plan_to_bytes_with_extension_codec(Arc::clone(plan), &SourceCodec).unwrap();
    physical_plan_from_bytes_with_extension_codec(&bytes, task, &SourceCodec).unwrap()
}

async fn rows(plan: Arc<dyn ExecutionPlan>, task: Arc<TaskContext>) -> String {
    let rows = collect(plan, task).await.unwrap();
    pretty_format_batches(&rows).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_come_back_equal() {
    for sql in [
        "SELECT * FROM changes",
        "SELECT id FROM changes WHERE _change_type = 'delete' AND _commit_version > 2",
        "SELECT _change_type, count(*) AS n FROM changes GROUP BY 1 ORDER BY 1",
        "SELECT name FROM changes LIMIT 3",
    ] {
        let context = context(Role::Pipeline, 0, Some(3)).await;
        let plan = planned(&context, sql).await;
        let task = context.task_ctx();
        let back = there_and_back(&plan, &task);
        assert_eq!(shown(&back), shown(&plan), "{sql}");
        let there = rows(plan, Arc::clone(&task)).await;
        assert_eq!(rows(back, task).await, there, "{sql}");
    }
    let context = context(Role::Tail, 2, None).await;
    let plan = planned(&context, "SELECT id FROM changes").await;
    let back = there_and_back(&plan, &context.task_ctx());
    assert_eq!(shown(&back), shown(&plan));
    assert!(back.boundedness().is_unbounded());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_a_node_is_readable() {
    let context = context(Role::Pipeline, 1, Some(3)).await;
    let sql = "SELECT id FROM changes WHERE _change_type = 'insert'";
    let mut leaf = planned(&context, sql).await;
    while let Some(child) = leaf.children().first().map(|child| Arc::clone(child)) {
        leaf = child;
    }
    let mut bytes = Vec::new();
    SourceCodec.try_encode(leaf, &mut bytes).unwrap();
    let length = u32::from_le_bytes(bytes[1..5].try_into().unwrap()) as usize;
    assert_eq!(
        std::str::from_utf8(&bytes[5..5 + length]).unwrap(),
        r#"{"table":"items","projection":[0,3],"versions":{"from":1,"to":3},"change_types":["insert"],"fetch":null}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_versions_needs_no_sort() {
    let context = context(Role::Query, 0, Some(3)).await;
    for (order, sorts) in [
        ("_commit_version", false),
        ("_commit_version DESC", true),
        ("id", true),
    ] {
        let sql = format!("SELECT id, _commit_version FROM changes ORDER BY {order}");
        let plan = shown(&planned(&context, &sql).await);
        assert_eq!(plan.contains("SortExec"), sorts, "{order}\n{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_which_nothing_is_known_is_an_error_of_its_kind() {
    let context = context(Role::Pipeline, -5, Some(3)).await;
    let plan = planned(&context, "SELECT id FROM changes").await;
    let error = collect(plan, context.task_ctx()).await.unwrap_err();
    let error = engine::command::query::cannot_run(error);
    assert_eq!(error.kind(), sql::ErrorKind::DataLoss, "{error}");
}
