//! Delta tables by their log and files alone, without the engine and its libraries.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use datafusion::arrow::json::ArrayWriter;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use serde_json::Value;

/// The rows of a Delta table by its log and files alone; bytes as hexadecimal digits.
pub(super) fn delta_rows(table: &Path) -> Vec<Value> {
    let mut logs: Vec<_> = (fs::read_dir(table.join("_delta_log"))
        .into_iter()
        .flatten()
        .flatten())
    .map(|entry| entry.path())
    .filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    })
    .collect();
    logs.sort();
    let mut files = BTreeMap::new();
    for log in logs {
        for action in fs::read_to_string(log).unwrap().lines() {
            let action: Value = serde_json::from_str(action).unwrap();
            if let Some(path) = action["add"]["path"].as_str() {
                files.insert(path.to_owned(), ());
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                files.remove(path);
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut rows = Vec::new();
    for file in files.keys() {
        let path = table.join(file).display().to_string();
        let batches = runtime.block_on(async {
            let frame = SessionContext::new()
                .read_parquet(path, ParquetReadOptions::default())
                .await
                .unwrap();
            frame.collect().await.unwrap()
        });
        for batch in &batches {
            let mut writer = ArrayWriter::new(Vec::new());
            writer.write(batch).unwrap();
            writer.finish().unwrap();
            let found: Vec<Value> = serde_json::from_slice(&writer.into_inner()).unwrap();
            rows.extend(found);
        }
    }
    rows.sort_by_key(|row| row["offset"].as_i64());
    rows
}
