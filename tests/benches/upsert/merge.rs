//! The MERGE of the Delta library, on the same batches.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::{SessionContext, col, lit};
use deltalake::{DeltaTable, DeltaTableBuilder, ensure_table_uri};
use serde_json::{Value, json};

use crate::data::{Batch, Keys, batch, rows, schema};
use crate::table::{files, written};

pub(crate) async fn rounds(folder: &Path, of: Keys, size: i64, rounds: i64) -> Value {
    let url = ensure_table_uri(folder.join("table").to_str().expect("text")).expect("a URL");
    let mut table = DeltaTableBuilder::from_url(url)
        .and_then(DeltaTableBuilder::build)
        .expect("a table");
    table.load().await.expect("a table");
    let mut done = Vec::new();
    for round in 1..=rounds {
        let batch = batch(round, of, size);
        let before = files(folder);
        let start = Instant::now();
        table = merge(table, &batch, round).await;
        let seconds = start.elapsed().as_secs_f64();
        let bytes = written(&before, &files(folder));
        done.push(json!({ "seconds": seconds, "bytes": bytes }));
    }
    json!({ "rounds": done })
}

/// The batch's rows, and those to delete with `gone`.
fn source(batch: &Batch, round: i64) -> RecordBatch {
    let all: Vec<i64> = batch
        .written
        .iter()
        .chain(&batch.deleted)
        .copied()
        .collect();
    let rows = rows(&all, round);
    let gone: BooleanArray = (0..all.len())
        .map(|at| Some(at >= batch.written.len()))
        .collect();
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(gone));
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("gone", DataType::Boolean, true)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of the schema")
}

async fn merge(table: DeltaTable, batch: &Batch, round: i64) -> DeltaTable {
    let source = SessionContext::new()
        .read_batch(source(batch, round))
        .expect("a frame");
    let schema = schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let (table, _) = table
        .merge(source, col("target.id").eq(col("source.id")))
        .with_source_alias("source")
        .with_target_alias("target")
        .when_matched_delete(|delete| delete.predicate(col("source.gone").eq(lit(true))))
        .expect("a delete")
        .when_matched_update(|mut update| {
            for name in &names {
                update = update.update(*name, col(format!("source.{name}")));
            }
            update
        })
        .expect("an update")
        .when_not_matched_insert(|mut insert| {
            insert = insert.predicate(col("source.gone").eq(lit(false)));
            for name in &names {
                insert = insert.set(*name, col(format!("source.{name}")));
            }
            insert
        })
        .expect("an insert")
        .await
        .expect("a MERGE");
    table
}
