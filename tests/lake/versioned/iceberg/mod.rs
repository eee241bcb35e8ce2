//! Iceberg tables: the changes of each version are what two readings of the whole table differ by, as independent readers have them.

mod own;
mod pyiceberg;
mod refused;
mod scan;
mod spark;

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use engine::lake::versioned::iceberg::IcebergVersions;
use futures::TryStreamExt as _;
use serde_json::{Map, Value, json};
use sql::change::CHANGE_TYPE;
use sql::versioned::{VersionedTable, Wanted};

/// How often each row is there.
type Rows = BTreeMap<String, i64>;

/// A change: its word, and its row as JSON.
type Change = (String, Value);

/// A version as an independent reader has it.
#[derive(Debug)]
struct State {
    version: i64,
    rows: Rows,
}

/// States as the scripts print them: `sequence` and `rows`.
fn states(printed: &[Value]) -> Vec<State> {
    let state = |printed: &Value| State {
        version: printed["sequence"].as_i64().unwrap(),
        rows: counted(printed["rows"].as_array().unwrap()),
    };
    printed.iter().map(state).collect()
}

fn counted(rows: &[Value]) -> Rows {
    let mut counted = Rows::new();
    for row in rows {
        *counted.entry(row.to_string()).or_default() += 1;
    }
    counted
}

/// A cell as `canonical.py` spells it.
fn cell(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    let list = |items: &dyn Array| (0..items.len()).map(|at| cell(items, at)).collect();
    match column.data_type() {
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 | DataType::Float32 | DataType::Float64 | DataType::Boolean => {
            serde_json::from_str(&text(column, row)).unwrap()
        }
        DataType::Timestamp(_, zone) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let seconds = text(
                &arrow::array::TimestampSecondArray::from(vec![micros.div_euclid(1_000_000)]),
                0,
            );
            let zone = if zone.is_some() { "Z" } else { "" };
            json!(format!(
                "{seconds}.{:06}{zone}",
                micros.rem_euclid(1_000_000)
            ))
        }
        DataType::List(_) => Value::Array(list(column.as_list::<i32>().value(row).as_ref())),
        DataType::Struct(_) => {
            let own = column.as_struct();
            let names = own.column_names().into_iter().map(str::to_owned);
            Value::Object(
                names
                    .zip(own.columns().iter().map(|c| cell(c, row)))
                    .collect(),
            )
        }
        DataType::Map(..) => {
            let pairs = column.as_map().value(row);
            let pair = |at| json!([cell(pairs.column(0), at), cell(pairs.column(1), at)]);
            Value::Array((0..pairs.len()).map(pair).collect())
        }
        _ => json!(text(column, row)),
    }
}

fn text(column: &dyn Array, row: usize) -> String {
    let formatter = ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap();
    formatter.value(row).to_string()
}

/// Rows as JSON objects.
fn objects(batch: &RecordBatch) -> Vec<Value> {
    let names: Vec<String> = batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    let object = |row| {
        let cells = batch.columns().iter().map(|column| cell(column, row));
        Value::Object(names.iter().cloned().zip(cells).collect::<Map<_, _>>())
    };
    (0..batch.num_rows()).map(object).collect()
}

fn all_columns(table: &IcebergVersions) -> Vec<String> {
    let schema = table.schema();
    schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

async fn changes(table: &IcebergVersions, version: i64, columns: &[String]) -> Vec<Change> {
    let wanted = Wanted {
        columns: columns.to_vec(),
        change_types: None,
    };
    let batches: Vec<RecordBatch> = match table.changes(version, &wanted).await {
        Ok(rows) => rows.try_collect().await.unwrap(),
        Err(error) => panic!("version {version}: {}", error.report()),
    };
    let mut changes = Vec::new();
    for mut row in batches.iter().flat_map(objects) {
        let word = row.as_object_mut().unwrap().remove(CHANGE_TYPE).unwrap();
        changes.push((word.as_str().unwrap().to_owned(), row));
    }
    changes
}

async fn rows(table: &IcebergVersions, version: i64) -> Vec<Value> {
    let rows = match table.rows(version, &all_columns(table)).await {
        Ok(rows) => rows,
        Err(error) => panic!("version {version}: {}", error.report()),
    };
    let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
    batches.iter().flat_map(objects).collect()
}

/// What leads from one state to the next.
fn difference(from: &Rows, to: &Rows) -> Rows {
    let mut difference = to.clone();
    for (row, count) in from {
        *difference.entry(row.clone()).or_default() -= count;
    }
    difference.retain(|_, count| *count != 0);
    difference
}

fn net(changes: &[Change]) -> Rows {
    let mut net = Rows::new();
    for (word, row) in changes {
        let sign = match word.as_str() {
            "insert" | "update_postimage" => 1,
            "delete" | "update_preimage" => -1,
            other => panic!("{other}"),
        };
        *net.entry(row.to_string()).or_default() += sign;
    }
    net.retain(|_, count| *count != 0);
    net
}

/// No row cancels another, and with a key no row that went stands apart from the one that came for it.
fn are_exact(changes: &[Change], key: &[String]) {
    let total: i64 = net(changes).values().map(|count| count.abs()).sum();
    assert_eq!(total, i64::try_from(changes.len()).unwrap(), "{changes:#?}");
    let key_of = |row: &Value| key.iter().map(|name| row[name].clone()).collect::<Vec<_>>();
    let mut apart = BTreeMap::new();
    let mut at = 0;
    while let Some((word, row)) = changes.get(at) {
        at += 1;
        if word == "update_preimage" {
            let (after, new) = &changes[at];
            assert_eq!(after, "update_postimage");
            assert!(!key.is_empty() && key_of(row) == key_of(new) && row != new);
            at += 1;
            continue;
        }
        assert!(["insert", "delete"].contains(&word.as_str()), "{word}");
        if !key.is_empty() {
            let other = apart.insert(json!(key_of(row)).to_string(), word);
            assert_eq!(other, None, "a pair stands apart: {row}");
        }
    }
    if key.is_empty() {
        let first = changes.iter().position(|(word, _)| word == "insert");
        let first = first.unwrap_or(changes.len());
        assert!(changes[first..].iter().all(|(word, _)| word == "insert"));
    }
}

/// The table agrees with what an independent reader says of each of its versions.
async fn agrees(table: &IcebergVersions, states: &[State]) {
    let readable = table.refresh().await.unwrap();
    assert_eq!(readable.last, states.last().unwrap().version);
    let columns = all_columns(table);
    let numbers: Vec<i64> = states.iter().map(|state| state.version).collect();
    let versions = table.versions(readable.first, i64::MAX).await.unwrap();
    let listed: Vec<i64> = versions.iter().map(|version| version.number).collect();
    let from = numbers.iter().position(|number| *number == readable.first);
    assert_eq!(listed, numbers[from.unwrap()..]);
    for (at, state) in states.iter().enumerate() {
        let number = state.version;
        let own = rows(table, number).await;
        assert_eq!(counted(&own), state.rows, "rows of version {number}");
        assert_eq!(own, rows(table, number).await, "in the same order again");
        if number < readable.first {
            continue;
        }
        let before = at.checked_sub(1).map(|at| states[at].rows.clone());
        let before = before.unwrap_or_default();
        let made = changes(table, number, &columns).await;
        assert_eq!(
            net(&made),
            difference(&before, &state.rows),
            "version {number}"
        );
        are_exact(&made, &table.key());
        assert_eq!(
            made,
            changes(table, number, &columns).await,
            "in the same order again"
        );
        let version = versions
            .iter()
            .find(|version| version.number == number)
            .unwrap();
        assert!(version.changes_rows || made.is_empty(), "{version:?}");
        // Fewer columns, in another order, are parts of the same changes.
        let two = [columns[1].clone(), columns[0].clone()];
        let parts = changes(table, number, &two).await;
        let part = |(word, row): &Change| {
            let row = two.iter().map(|name| (name.clone(), row[name].clone()));
            (word.clone(), Value::Object(row.collect()))
        };
        assert_eq!(parts, made.iter().map(part).collect::<Vec<_>>());
        let bare = changes(table, number, &[]).await;
        let words =
            |changes: &[Change]| changes.iter().map(|own| own.0.clone()).collect::<Vec<_>>();
        assert_eq!(words(&bare), words(&made));
    }
    is_a_table(table, states).await;
}

/// The newest and the oldest version as tables, and the lists.
async fn is_a_table(table: &IcebergVersions, states: &[State]) {
    for state in [&states[0], states.last().unwrap()] {
        let context = SessionContext::new();
        let provider = table.at(state.version).await.unwrap();
        context.register_table("t", provider).unwrap();
        let count = context.sql("SELECT count(*) FROM t").await.unwrap();
        let count = count.collect().await.unwrap();
        let count = count[0].column(0).as_primitive::<Int64Type>().value(0);
        assert_eq!(count, state.rows.values().sum::<i64>());
        let all = context.sql("SELECT * FROM t").await.unwrap();
        let all: Vec<Value> = all
            .collect()
            .await
            .unwrap()
            .iter()
            .flat_map(objects)
            .collect();
        assert_eq!(i64::try_from(all.len()).unwrap(), count);
        let last = std::ptr::eq(state, states.last().unwrap());
        if last {
            assert_eq!(counted(&all), state.rows, "the newest version as a table");
        }
    }
    let snapshots = objects(&table.snapshots().await.unwrap());
    let listed: Vec<i64> = snapshots
        .iter()
        .map(|own| own["version"].as_i64().unwrap())
        .collect();
    assert!(listed.ends_with(&[states.last().unwrap().version]));
    let current: Vec<bool> = snapshots
        .iter()
        .map(|own| own["is_current"] == true)
        .collect();
    assert_eq!(current.iter().filter(|current| **current).count(), 1);
    assert_eq!(current.last(), Some(&true));
    // Rows in data files less the deleted ones, where that is known without reading, are the rows that are there.
    let files = objects(&table.files(None).await.unwrap());
    let data: Vec<_> = files
        .iter()
        .filter(|file| file["content"] == "data")
        .collect();
    if data.iter().all(|file| !file["deleted_rows"].is_null()) {
        let number = |file: &Value, name: &str| file[name].as_i64().unwrap();
        let live: i64 = data
            .iter()
            .map(|f| number(f, "rows") - number(f, "deleted_rows"))
            .sum();
        assert_eq!(live, states.last().unwrap().rows.values().sum::<i64>());
    }
    let manifests = objects(&table.manifests(None).await.unwrap());
    let live = |own: &Value, of: &str| {
        let number = |name: &str| own[format!("{name}_{of}")].as_i64().unwrap();
        number("added") + number("existing")
    };
    let total: i64 = manifests.iter().map(|own| live(own, "files")).sum();
    assert_eq!(total, i64::try_from(files.len()).unwrap());
}
