//! Plans over sources as bytes and back: equal display, equal rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::SessionContext;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use sql::feed::{ChangeFeed, MemoryFeed};
use sql::session::{Role, session};
use sql::table::{Ends, FeedTable, SlotTable, Slots, SourceCodec, SourceExec};

use super::rows::{lookups, rows_of, source_schema};

fn columns() -> Vec<String> {
    source_schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect()
}

fn context() -> SessionContext {
    let context = session(Role::Pipeline);
    context
        .register_table(
            "customers",
            Arc::new(SlotTable::new("customers", &source_schema())),
        )
        .unwrap();
    let rows = rows_of(&columns(), 50);
    context
        .register_table(
            "feed",
            Arc::new(FeedTable::new("feed", rows.schema(), vec!["t".into()])),
        )
        .unwrap();
    for (name, table) in lookups() {
        context.register_table(name.as_str(), table).unwrap();
    }
    let slots: Arc<Slots> = context.state().config().get_extension().unwrap();
    slots.put_rows("customers", rows.clone());
    slots.put_feed(
        "feed",
        Arc::new(move || {
            let feed = MemoryFeed::unbounded("t", rows.clone());
            Box::pin(async { Ok(Box::new(feed) as Box<dyn ChangeFeed>) })
        }),
    );
    context
}

async fn run(plan: Arc<dyn ExecutionPlan>, task: Arc<TaskContext>) -> String {
    let rows: Vec<RecordBatch> = collect(plan, task).await.unwrap();
    arrow::util::pretty::pretty_format_batches(&rows)
        .unwrap()
        .to_string()
}

fn shown(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(true).to_string()
}

#[tokio::test]
async fn plans_come_back_equal() {
    for sql in [
        "SELECT id, upper(city) AS city, _op FROM customers WHERE tier = 'gold'",
        "SELECT * FROM customers",
        "SELECT tier, count(*) AS n FROM customers GROUP BY tier ORDER BY tier",
        "SELECT cdc_operation(_op) AS op, concat_nonblank(' ', city, country) AS c FROM customers",
        "SELECT c.id, d.id AS other FROM customers c JOIN (SELECT id FROM feed LIMIT 3) d ON c.id = d.id",
        "SELECT id FROM feed LIMIT 7",
        "SELECT id, tier FROM feed WHERE id > 3 LIMIT 7",
    ] {
        let context = context();
        let plan = context
            .sql(sql)
            .await
            .unwrap()
            .create_physical_plan()
            .await
            .unwrap();
        let bytes =
            physical_plan_to_bytes_with_extension_codec(Arc::clone(&plan), &SourceCodec).unwrap();
        let task = context.task_ctx();
        let back =
            physical_plan_from_bytes_with_extension_codec(&bytes, &task, &SourceCodec).unwrap();
        assert_eq!(shown(&back), shown(&plan), "{sql}");
        assert_eq!(
            run(back, Arc::clone(&task)).await,
            run(plan, task).await,
            "{sql}"
        );
    }
}

fn encoded() -> Vec<u8> {
    let schema = source_schema();
    let exec = SourceExec::try_new(
        "c".into(),
        &schema,
        Some(vec![0, 3]),
        Ends::Never,
        vec!["t".into()],
    )
    .unwrap();
    let mut bytes = Vec::new();
    SourceCodec
        .try_encode(Arc::new(exec.limited(Some(9))), &mut bytes)
        .unwrap();
    bytes
}

#[test]
fn the_description_is_readable_and_versioned() {
    let bytes = encoded();
    assert_eq!(bytes[0], 1);
    let length = u32::from_le_bytes(bytes[1..5].try_into().unwrap()) as usize;
    assert_eq!(
        std::str::from_utf8(&bytes[5..5 + length]).unwrap(),
        r#"{"name":"c","projection":[0,3],"ends":"never","topics":["t"],"fetch":9}"#
    );
}

#[test]
fn foreign_bytes_are_refused() {
    let context = session(Role::Query);
    let decode = |bytes: &[u8]| SourceCodec.try_decode(bytes, &[], &context.task_ctx());
    assert!(decode(&encoded()).is_ok());
    let mut other_version = encoded();
    other_version[0] = 2;
    let error = decode(&other_version).expect_err("version 2").to_string();
    assert!(
        error.contains("all processes of a query must run one version of the engine"),
        "{error}"
    );
    for cut in [0, 3, 6, 40, encoded().len() / 2] {
        assert!(decode(&encoded()[..cut]).is_err(), "{cut} bytes");
    }
}
