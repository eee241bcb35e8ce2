//! Functions travel in plans by name.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::{collect, displayable};
use datafusion_proto::bytes::{
    logical_plan_from_bytes, logical_plan_to_bytes, physical_plan_from_bytes,
    physical_plan_to_bytes,
};

use super::session;

const SQL: &str =
    "SELECT concat_nonblank('-', cdc_operation(op), a) AS what, row_checksum(op, a) AS checksum
    FROM (VALUES ('c', 'x'), ('d', ''), (NULL, 'y'), ('c', 'x')) AS t(op, a) GROUP BY 1 ORDER BY 1";

#[tokio::test]
async fn a_logical_plan_survives_the_wire() {
    let context = session();
    let plan = context
        .sql(SQL)
        .await
        .unwrap()
        .into_optimized_plan()
        .unwrap();
    let bytes = logical_plan_to_bytes(&plan).unwrap();
    let other = session();
    let back = logical_plan_from_bytes(&bytes, &other.task_ctx()).unwrap();
    assert_eq!(
        plan.display_indent().to_string(),
        back.display_indent().to_string()
    );
    let rows = context.execute_logical_plan(plan).await.unwrap();
    let rows_back = other.execute_logical_plan(back).await.unwrap();
    let rows = rows.collect().await.unwrap();
    assert_eq!(rows.iter().map(|b| b.num_rows()).sum::<usize>(), 3);
    assert_eq!(
        pretty_format_batches(&rows).unwrap().to_string(),
        pretty_format_batches(&rows_back.collect().await.unwrap())
            .unwrap()
            .to_string()
    );
}

#[tokio::test]
async fn a_physical_plan_survives_the_wire() {
    let context = session();
    let plan = context
        .sql(SQL)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    let bytes = physical_plan_to_bytes(Arc::clone(&plan)).unwrap();
    let other = session();
    let back = physical_plan_from_bytes(&bytes, &other.task_ctx()).unwrap();
    assert_eq!(
        displayable(plan.as_ref()).indent(false).to_string(),
        displayable(back.as_ref()).indent(false).to_string()
    );
    let rows = collect(plan, context.task_ctx()).await.unwrap();
    let rows_back = collect(back, other.task_ctx()).await.unwrap();
    assert_eq!(
        pretty_format_batches(&rows).unwrap().to_string(),
        pretty_format_batches(&rows_back).unwrap().to_string()
    );
}
