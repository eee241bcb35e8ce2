//! What rows of a table's changes are: columns, types of changes, schemas that change, records for the quarantine.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use engine::source::lake::{LakeFeed, LakeOptions};
use engine::spec::model::SchemaChange;
use sql::ErrorKind;
use sql::change::{Op, Position, metadata_names};
use sql::feed::ChangeFeed;
use sql::versioned::MemoryTable;

use super::support::*;

fn updated() -> MemoryTable {
    let table = table();
    commit(&table, &[("insert", 1, "a"), ("insert", 2, "b")]);
    commit(
        &table,
        &[
            ("update_preimage", 1, "a"),
            ("update_postimage", 1, "A"),
            ("delete", 2, "b"),
        ],
    );
    table
}

#[tokio::test]
async fn the_schema_is_the_row_then_what_the_change_is() {
    let feed = LakeFeed::try_new(Arc::new(updated()), options()).unwrap();
    let schema = feed.schema();
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let metadata = [
        "_op",
        "_change_type",
        "_commit_version",
        "_commit_timestamp",
        "_ingested_at",
    ];
    assert_eq!(names, [&["id", "name"], &metadata[..]].concat());
    assert_eq!(metadata_names(&schema), metadata);
    assert_eq!(feed.key(), ["id"]);
}

#[tokio::test]
async fn columns_that_a_topics_rows_may_not_have_are_the_tables_own() {
    let row = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("_topic", DataType::Utf8, true),
        Field::new("_offset", DataType::Int64, true),
    ]);
    let table = MemoryTable::new(NAME, Arc::new(row), &[], 1);
    let feed = LakeFeed::try_new(Arc::new(table), options()).unwrap();
    assert!(!metadata_names(&feed.schema()).contains(&"_topic".to_owned()));
    let row = Schema::new(vec![Field::new("_op", DataType::Utf8, true)]);
    let table = MemoryTable::new(NAME, Arc::new(row), &[], 1);
    let error = LakeFeed::try_new(Arc::new(table), options()).err().unwrap();
    assert!(
        error.message().starts_with("the column `_op` of items"),
        "{error}"
    );
}

#[tokio::test]
async fn metadata_says_operation_version_and_times() {
    let table = updated();
    let mut feed = LakeFeed::try_new(Arc::new(table), options()).unwrap();
    let columns = ["_ingested_at", "_op", "_commit_timestamp", "name"];
    feed.project(&columns.map(str::to_owned)).unwrap();
    feed.seek(&at(&[(0, 1)])).await.unwrap();
    let batch = feed.next(&limit(9)).await.unwrap().unwrap();
    let rows = batch.rows();
    let names: Vec<_> = rows
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names, columns);
    let ops: Vec<_> = rows.column(1).as_string::<i32>().iter().flatten().collect();
    assert_eq!(ops, ["u", "u", "d"]);
    let times = |column: usize| {
        rows.column(column)
            .as_primitive::<TimestampMicrosecondType>()
    };
    assert_eq!(times(0).values(), &[7, 7, 7]);
    assert_eq!(times(2).values(), &[micros(2); 3]);
    assert_eq!(batch.meta().ops, [Op::Update, Op::Update, Op::Delete]);
    assert!(batch.meta().keyed.is_none() && batch.meta().raw.is_none());
}

#[tokio::test]
async fn no_column_at_all_still_counts_rows() {
    let mut feed = LakeFeed::try_new(Arc::new(updated()), options()).unwrap();
    feed.project(&["_op".to_owned()]).unwrap();
    feed.seek(&Position::new()).await.unwrap();
    let batch = feed.next(&limit(9)).await.unwrap().unwrap();
    assert_eq!(
        (batch.rows().num_rows(), batch.rows().num_columns()),
        (5, 1)
    );
}

#[tokio::test]
async fn unwanted_types_of_changes_are_counted_and_move_the_position() {
    let options = LakeOptions {
        change_types: Some(vec!["update_postimage".to_owned(), "delete".to_owned()]),
        ..options()
    };
    let mut feed = sought(&updated(), options, &Position::new()).await;
    let batch = feed.next(&limit(9)).await.unwrap().unwrap();
    assert_eq!(rows(&batch), ["2 update_postimage 1 A", "2 delete 2 b"]);
    assert_eq!((batch.counts().records, batch.counts().control), (5, 3));
    assert_eq!(batch.span().to(), &at(&[(0, 2)]));
}

#[tokio::test]
async fn records_for_the_quarantine_have_an_offset_each() {
    let raw = || LakeOptions {
        keep_raw: true,
        ..options()
    };
    let mut offsets = Vec::new();
    for size in [1, 2, 100] {
        let mut feed = LakeFeed::try_new(Arc::new(updated()), raw()).unwrap();
        feed.project(&["name".to_owned()]).unwrap();
        feed.seek(&Position::new()).await.unwrap();
        let mut found = Vec::new();
        while let Some(batch) = feed.next(&limit(size)).await.unwrap() {
            let records = batch.meta().raw.clone().unwrap();
            assert_eq!(records.len(), batch.rows().num_rows());
            found.extend(records);
        }
        assert!(found.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        let last = &found[4];
        assert_eq!(last.value.as_deref(), Some(&br#"{"id":2,"name":"b"}"#[..]));
        assert_eq!(last.key.as_deref(), Some(&br#"{"id":2}"#[..]));
        assert_eq!(last.partition.to_string(), "items/0");
        assert_eq!(last.timestamp_ms, Some(micros(2) / 1000));
        let header = |name: &str| {
            let mut headers = last.headers.iter();
            headers
                .find(|(own, _)| own == name)
                .and_then(|(_, value)| value.clone())
        };
        assert_eq!(header("version"), Some(b"2".to_vec()));
        assert_eq!(header("change_type"), Some(b"delete".to_vec()));
        offsets.push(found.iter().map(|record| record.offset).collect::<Vec<_>>());
    }
    // However the batches were cut.
    assert_eq!(offsets[0], offsets[1]);
    assert_eq!(offsets[0], offsets[2]);
}

fn wider() -> Arc<Schema> {
    let mut fields: Vec<_> = schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("city", DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
}

fn with_city(id: i64, city: &str) -> arrow::array::RecordBatch {
    use arrow::array::StringArray;
    let plain = changes(&[("insert", id, "n")]);
    let mut fields: Vec<_> = plain.schema().fields().iter().cloned().collect();
    let mut columns = plain.columns().to_vec();
    fields.insert(2, Arc::new(Field::new("city", DataType::Utf8, true)));
    columns.insert(2, Arc::new(StringArray::from(vec![city])));
    arrow::array::RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[tokio::test]
async fn a_new_column_is_announced_between_versions() {
    let table = updated();
    let unbounded = LakeOptions {
        bounded: false,
        ..options()
    };
    let stop = unbounded.stop.clone();
    let mut feed = sought(&table, unbounded, &Position::new()).await;
    let soon = sql::feed::BatchLimit {
        max_wait: std::time::Duration::from_millis(1),
        ..limit(5)
    };
    let mut position = Position::new();
    let batch = feed.next(&soon).await.unwrap().unwrap();
    position.try_advance(batch.span()).unwrap();
    table.evolve(wider());
    table.commit(with_city(3, "Oslo"), micros(3)).unwrap();
    let batch = feed.next(&soon).await.unwrap().unwrap();
    let announced = batch.next_schema().unwrap().clone();
    assert!(batch.span().is_empty() && batch.rows().num_rows() == 0);
    assert_eq!(announced.field(2).name(), "city");
    assert_eq!(feed.schema(), announced);
    assert!(
        feed.next(&soon).await.is_err(),
        "it waits for the projection"
    );
    feed.project(&["id", "city"].map(str::to_owned)).unwrap();
    let batch = feed.next(&soon).await.unwrap().unwrap();
    position.try_advance(batch.span()).unwrap();
    let city = batch.rows().column(1).as_string::<i32>();
    assert_eq!(city.value(0), "Oslo");
    assert_eq!(position, at(&[(0, 3)]));
    // A column that goes stays, and is null.
    table.evolve(schema());
    commit(&table, &[("insert", 4, "d")]);
    let batch = feed.next(&soon).await.unwrap().unwrap();
    assert!(batch.next_schema().is_none());
    assert!(batch.rows().column(1).is_null(0));
    assert_eq!(
        batch.rows().column(0).as_primitive::<Int64Type>().value(0),
        4
    );
    stop.cancel();
}

#[tokio::test]
async fn a_changed_schema_can_be_ignored_or_refused() {
    for (policy, refused) in [(SchemaChange::Ignore, false), (SchemaChange::Fail, true)] {
        let table = updated();
        let options = LakeOptions {
            bounded: false,
            schema_change: policy,
            ..options()
        };
        let mut feed = sought(&table, options, &at(&[(0, 2)])).await;
        table.evolve(wider());
        table.commit(with_city(3, "Oslo"), micros(3)).unwrap();
        let soon = sql::feed::BatchLimit {
            max_wait: std::time::Duration::from_millis(1),
            ..limit(5)
        };
        match feed.next(&soon).await {
            Ok(batch) => {
                assert!(!refused);
                assert_eq!(rows(&batch.unwrap()), ["3 insert 3 n"]);
            }
            Err(error) => {
                assert!(refused);
                assert_eq!(error.kind(), ErrorKind::Policy);
                assert_eq!(error.message(), "the schema changed: `city` Utf8 is new");
            }
        }
    }
}
