//! The SQL functions, through SQL.

mod cdc_operation;
mod checksum_encodings;
mod checksum_property;
mod concat_nonblank;
mod docs;
mod plans;
mod row_checksum;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::Result;
use datafusion::prelude::{SessionConfig, SessionContext};

/// A session with every function of `udfs`.
fn session() -> SessionContext {
    session_with(SessionConfig::new().with_target_partitions(4))
}

fn session_with(config: SessionConfig) -> SessionContext {
    let context = SessionContext::new_with_config(config);
    let functions = udfs::all();
    for function in functions.scalar {
        context.register_udf(function);
    }
    for function in functions.aggregate {
        context.register_udaf(function);
    }
    context
}

async fn query(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    context.sql(sql).await?.collect().await
}

/// The result as a table of text.
async fn table(sql: &str) -> String {
    let batches = query(&session(), sql).await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// The one text that a query returns.
async fn text(context: &SessionContext, sql: &str) -> Option<String> {
    texts(context, sql).await.pop().unwrap()
}

/// The first column of a query's result, which must be text.
async fn texts(context: &SessionContext, sql: &str) -> Vec<Option<String>> {
    let batches = query(context, sql).await.unwrap();
    let mut all = Vec::new();
    for batch in batches {
        assert_eq!(batch.column(0).data_type(), &DataType::Utf8, "{sql}");
        let column = batch.column(0).as_string::<i32>();
        all.extend(column.iter().map(|text| text.map(str::to_owned)));
    }
    all
}

/// What a query that must fail says.
async fn failure(context: &SessionContext, sql: &str) -> String {
    match query(context, sql).await {
        Ok(batches) => panic!("{sql} gave {batches:?}"),
        Err(error) => error.strip_backtrace(),
    }
}

/// A session with the table `t` of one batch.
fn with_columns(columns: Vec<(&str, ArrayRef)>) -> SessionContext {
    let context = session();
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    );
    context.register_batch("t", batch.unwrap()).unwrap();
    context
}

fn array<A: arrow::array::Array + 'static>(array: A) -> ArrayRef {
    Arc::new(array)
}
