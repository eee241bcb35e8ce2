//! Columns beside the key: nested ones, and files that others wrote in their own way.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int32Builder, Int64Array, ListBuilder, MapBuilder, MapFieldNames,
    RecordBatch, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use sql::change::NetChange;
use tests::need;
use tests::python::Readers;

use super::harness::{Bench, Kind, Shape, change, ids, many};
use super::iceberg::runtime;

/// A map and lists hold as many elements as `n` says.
fn nested(rows: &[(i64, i32)]) -> RecordBatch {
    let element = Field::new("element", DataType::Int32, true);
    let mut lists = ListBuilder::new(Int32Builder::new()).with_field(element);
    let names = MapFieldNames {
        entry: "key_value".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), Int32Builder::new());
    for (_, n) in rows {
        for value in 0..*n {
            lists.values().append_value(value);
            maps.keys().append_value(format!("k{value}"));
            maps.values().append_value(value);
        }
        lists.append(*n > 0);
        maps.append(*n > 0).unwrap();
    }
    let fields = Fields::from(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
    ]);
    let parts: Vec<ArrayRef> = vec![
        Arc::new(
            rows.iter()
                .map(|row| (row.1 > 1).then_some(row.0))
                .collect::<Int64Array>(),
        ),
        Arc::new(
            rows.iter()
                .map(|row| Some(row.1.to_string()))
                .collect::<StringArray>(),
        ),
    ];
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "id",
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
        ),
        ("list", Arc::new(lists.finish())),
        ("map", Arc::new(maps.finish())),
        ("struct", Arc::new(StructArray::new(fields, parts, None))),
    ];
    let fields = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|c| c.1).collect()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_columns_are_kept_compared_and_replaced() {
    for kind in [Kind::Memory, Kind::Delta, Kind::Iceberg] {
        let schema = nested(&[]).schema();
        let shape = Shape {
            schema: schema.as_ref().clone(),
            ..Shape::plain().copied()
        };
        let bench = Bench::new(kind, shape);
        let mut writer = bench.writer().await;
        let fitted = |rows: &[(i64, i32)], writer: &super::harness::Writer| {
            let batch = nested(rows);
            let caster =
                engine::lake::cast::Caster::try_new(batch.schema_ref(), &writer.sink.schema())
                    .unwrap();
            NetChange::try_new(false, caster.cast(&batch).unwrap(), ids(&[])).unwrap()
        };
        writer
            .apply(&fitted(&[(1, 0), (2, 2), (3, 3)], &writer))
            .await;
        let same = writer
            .apply(&fitted(&[(3, 3), (1, 0), (2, 2)], &writer))
            .await;
        assert_eq!((same.rows, same.files), (0, 0), "{kind:?}");
        let changed = writer.apply(&fitted(&[(1, 1), (2, 2)], &writer)).await;
        assert_eq!(changed.rows, 1, "{kind:?}");
        let rows = bench.query("SELECT id, array_length(list), cardinality(map), \"struct\"['a'], \"struct\"['b'] FROM t ORDER BY id").await;
        assert_eq!(rows, ["1|1|1|∅|1", "2|2|2|2|2", "3|3|3|3|3"], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_several_row_groups_is_rewritten_whole_and_in_order() {
    for kind in [Kind::Delta, Kind::Iceberg] {
        large_file(&Bench::new(kind, Shape::plain().copied())).await;
    }
}

async fn large_file(bench: &Bench) {
    let mut writer = bench.writer().await;
    let rows = many(0..150_000, "eu", 1);
    writer.apply(&change(&rows, &[])).await;
    let receipt = writer
        .apply(&change(
            &[(140_000, None, Some(0)), (3, None, Some(0))],
            &[131_072, 149_999],
        ))
        .await;
    assert_eq!((receipt.rows, receipt.files), (2, 1));
    let count = "SELECT count(*), count(DISTINCT id), sum(n), min(id), max(id) FROM t";
    let sum = 149_999_i64 * 75_000 - 140_000 - 3 - 131_072 - 149_999;
    assert_eq!(
        bench.query(count).await,
        [format!("149998|149998|{sum}|0|149998")]
    );
    if bench.kind == Kind::Delta {
        bench.feed_tells(receipt.version);
    }
}

/// As floating-point numbers in the statistics they are others, too large for their columns, and nobody opens the table
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_decimals_of_many_digits_is_opened_again() {
    const NINES: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;
    let decimal = |digits, scale| DataType::Decimal128(digits, scale);
    let part = Field::new("part", decimal(38, 2), true);
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("wide", decimal(38, 10), true),
        Field::new("whole", decimal(38, 0), true),
        Field::new("small", decimal(12, 10), true),
        Field::new("both", DataType::Struct(vec![part.clone()].into()), true),
    ]);
    let shape = Shape {
        schema: schema.clone(),
        ..Shape::plain()
    };
    let rows = |rows: &[(i64, i128)]| {
        let values = |digits, scale, of: fn(i128) -> i128| -> ArrayRef {
            let values = rows.iter().map(|row| of(row.1));
            let array = Decimal128Array::from_iter_values(values);
            Arc::new(array.with_precision_and_scale(digits, scale).unwrap())
        };
        let parts = vec![values(38, 2, |n| n)];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
            values(38, 10, |n| n),
            values(38, 0, |n| n),
            values(12, 10, |n| n.signum()),
            Arc::new(StructArray::new(vec![part.clone()].into(), parts, None)),
        ];
        let rows = RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap();
        NetChange::try_new(false, rows, ids(&[])).unwrap()
    };
    for kind in [Kind::Delta, Kind::Iceberg] {
        let bench = Bench::new(kind, shape.clone());
        for change in [[(1, NINES), (2, -NINES)], [(2, 7), (3, NINES - 1)]] {
            // A new writer reads what the one before wrote.
            bench.writer().await.apply(&rows(&change)).await;
        }
        if kind == Kind::Delta {
            let add = &bench.actions(1, "add")[0];
            let stats: serde_json::Value =
                serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
            let least = serde_json::json!({"id": 1, "small": -1e-10, "both": {}});
            assert_eq!(stats["minValues"], least);
        }
        let found = bench
            .query(
                "SELECT id, wide, whole, small, \"both\"['part'] FROM t WHERE wide > 1 ORDER BY id",
            )
            .await;
        let nines = |point: usize, last: char| {
            let mut text = format!("{}{last}", "9".repeat(37));
            text.insert(point, '.');
            text.trim_end_matches('.').to_owned()
        };
        let expected = [(1, '9'), (3, '8')].map(|(id, last)| {
            let [wide, whole, part] = [28, 38, 36].map(|point| nines(point, last));
            format!("{id}|{wide}|{whole}|0.0000000001|{part}")
        });
        assert_eq!(found, expected, "{kind:?}");
    }
}

#[test]
fn times_of_96_bits_are_the_times_that_they_are() {
    let readers = need!(Readers::ready());
    let runtime = runtime();
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let shape = Shape {
        schema: Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("at", time, true),
        ]),
        ..Shape::plain()
    };
    let bench = Bench::new(Kind::Delta, shape.clone());
    runtime.block_on(bench.sink());
    let file = bench.folder.join("spark.parquet").display().to_string();
    let size = readers
        .run("write_int96.py", [file.as_str(), "1", "2", "123456"])
        .remove(0);
    let add = serde_json::json!({"add": {
        "path": "spark.parquet", "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true,
    }});
    std::fs::write(bench.log(1), add.to_string()).unwrap();
    const START: i64 = 1_704_067_200_000_000;
    let rows = |rows: &[(i64, i64)]| {
        let times =
            TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| START + row.1));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
            Arc::new(times.with_timezone("UTC")),
        ];
        let rows = RecordBatch::try_new(Arc::new(shape.schema.clone()), columns).unwrap();
        NetChange::try_new(false, rows, ids(&[])).unwrap()
    };
    runtime.block_on(async {
        let mut writer = bench.writer().await;
        let same = writer.apply(&rows(&[(123_456, 123_456)])).await;
        assert_eq!((same.rows, same.files), (0, 0));
        let changed = writer.apply(&rows(&[(2, 20)])).await;
        assert_eq!((changed.rows, changed.files), (1, 1));
        let rows = bench
            .query("SELECT id, CAST(at AS BIGINT) FROM t ORDER BY id")
            .await;
        let expected = [(1, 1), (2, 20), (123_456, 123_456)];
        assert_eq!(
            rows,
            expected.map(|(id, at)| format!("{id}|{}", START + at))
        );
    });
}
