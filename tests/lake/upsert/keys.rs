//! Keys of every type, alone and together, also as partitions.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use engine::lake::schema::{TableFormat, target_schema};
use sql::change::NetChange;

use super::harness::{Bench, Kind, Shape};

/// Four different values of each type that may be a key; the first two have neighbours that a careless comparison takes for them.
fn values() -> Vec<ArrayRef> {
    let decimals = |values: Vec<i128>, precision, scale| {
        let values = Decimal128Array::from(values);
        Arc::new(values.with_precision_and_scale(precision, scale).unwrap()) as ArrayRef
    };
    let times = TimestampMicrosecondArray::from(vec![
        1_700_000_000_123_456,
        1_700_000_000_123_457,
        -1,
        253_402_300_799_999_999,
    ]);
    vec![
        Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX - 1, i64::MIN, 0])),
        Arc::new(Int32Array::from(vec![-1, 1, i32::MIN, 0])),
        Arc::new(Int16Array::from(vec![-1, 1, i16::MIN, 0])),
        Arc::new(StringArray::from(vec![
            "a",
            "A",
            "7d444840-9dc0-11d1-b245-5ffdce74fad2",
            "é",
        ])),
        Arc::new(StringArray::from(vec![
            "x".repeat(100),
            "x".repeat(99) + "y",
            "z".repeat(70),
            "\u{10FFFF}".repeat(40),
        ])),
        Arc::new(BinaryArray::from_vec(vec![b"a", b"a\0", b"", b"\xFF\xFE"])),
        decimals(
            vec![1_234_567_890_123_456_789, 1_234_567_890_123_456_788, -1, 0],
            38,
            0,
        ),
        decimals(vec![150, 15, -150, 0], 12, 2),
        Arc::new(Date32Array::from(vec![0, -1, 2_932_896, -719_162])),
        Arc::new(times.clone()),
        Arc::new(times.with_timezone("UTC")),
    ]
}

fn batch(shape: &Shape, keys: &[ArrayRef], n: &[i64]) -> RecordBatch {
    let mut columns = keys.to_vec();
    columns.push(Arc::new(Int64Array::from(n.to_vec())));
    RecordBatch::try_new(Arc::new(shape.schema.clone()), columns).unwrap()
}

async fn lives_through_everything(kind: Kind, mut shape: Shape, keys: &[ArrayRef]) {
    let mut keys = keys.to_vec();
    if kind == Kind::Iceberg {
        shape.schema = target_schema(&shape.schema, TableFormat::Iceberg).unwrap();
        for (key, field) in keys.iter_mut().zip(shape.schema.fields()) {
            *key = cast(key, field.data_type()).unwrap();
        }
    }
    let label = format!("{kind:?} {:?}", shape.schema.fields());
    let bench = Bench::new(kind, shape.clone());
    let part = |from: usize, to: usize| {
        keys.iter()
            .map(|k| k.slice(from, to - from))
            .collect::<Vec<_>>()
    };
    let named = |keys: Vec<ArrayRef>| {
        RecordBatch::try_from_iter(shape.key.iter().cloned().zip(keys)).unwrap()
    };
    let change = |rows: Vec<ArrayRef>, n: &[i64], deletes: Vec<ArrayRef>| {
        NetChange::try_new(false, batch(&shape, &rows, n), named(deletes)).unwrap()
    };
    let mut writer = bench.writer().await;
    writer.apply(&change(part(0, 1), &[1], part(1, 2))).await;
    writer
        .apply(&change(part(1, 4), &[2, 3, 4], part(0, 0)))
        .await;
    let again = writer
        .apply(&change(part(0, 4), &[1, 2, 3, 4], part(0, 0)))
        .await;
    if !bench.writes_blindly() {
        assert_eq!((again.rows, again.files), (0, 0), "{label}");
    }
    assert_eq!(
        bench.query("SELECT n FROM t ORDER BY n").await,
        ["1", "2", "3", "4"],
        "{label}"
    );
    let mut reopened = bench.writer().await;
    let receipt = reopened
        .apply(&change(part(2, 4), &[30, 40], part(1, 2)))
        .await;
    assert_eq!(receipt.rows, 2, "{label}");
    assert_eq!(
        bench.query("SELECT n FROM t ORDER BY n").await,
        ["1", "30", "40"],
        "{label}"
    );
    writer.apply(&change(part(1, 2), &[20], part(3, 4))).await;
    assert_eq!(
        bench.query("SELECT n FROM t ORDER BY n").await,
        ["1", "20", "30"],
        "{label}"
    );
    let fetched = writer.sink.fetch(&named(part(0, 4))).await.unwrap();
    let found: Vec<_> = fetched.found.iter().map(Option::is_some).collect();
    assert_eq!(found, [true, true, true, false], "{label}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_each_type() {
    for kind in [Kind::Memory, Kind::Delta, Kind::Iceberg] {
        for key in values() {
            let shape = Shape::keyed_by(&[("k", key.data_type().clone())]);
            let key = [key];
            lives_through_everything(kind, shape.clone(), &key).await;
            if kind == Kind::Iceberg {
                lives_through_everything(kind, shape.copied(), &key).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_three_columns() {
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true, true]));
    let same: ArrayRef = Arc::new(Int64Array::from(vec![5, 5, 5, 5]));
    for kind in [Kind::Memory, Kind::Delta, Kind::Iceberg] {
        for key in values() {
            let shape = Shape::keyed_by(&[
                ("same", same.data_type().clone()),
                ("flag", flags.data_type().clone()),
                ("k", key.data_type().clone()),
            ]);
            lives_through_everything(kind, shape, &[same.clone(), flags.clone(), key]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_key_is_the_partition() {
    for key in values() {
        let data_type = key.data_type().clone();
        if matches!(
            data_type.to_string().split('(').next(),
            Some("Decimal128" | "Binary")
        ) {
            continue;
        }
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2, 2]));
        let mut shape =
            Shape::keyed_by(&[("k", data_type), ("number", number.data_type().clone())]);
        shape.partition_by = vec!["k".to_owned()];
        lives_through_everything(Kind::Delta, shape, &[key, number]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_key_is_the_partition_of_an_iceberg_table() {
    for key in values() {
        let data_type = key.data_type().clone();
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2, 2]));
        let name = data_type.to_string();
        // No truncation of dates, times and bytes.
        let cut = ["Int", "Utf8", "Decimal"]
            .iter()
            .any(|of| name.starts_with(of));
        for by in ["k", "bucket:3:k", "truncate:2:k", "bucket:2:number"] {
            // Fractions of seconds before 1970 are an error.
            let zoned = by == "k" && name.contains("UTC");
            if by.starts_with("truncate") && !cut || zoned {
                continue;
            }
            let mut shape =
                Shape::keyed_by(&[("k", data_type.clone()), ("number", DataType::Int64)]);
            shape.partition_by = vec![by.to_owned()];
            for shape in [shape.clone(), shape.copied()] {
                let keys = [key.clone(), number.clone()];
                lives_through_everything(Kind::Iceberg, shape, &keys).await;
            }
        }
    }
}

#[tokio::test]
async fn partitions_whose_values_cannot_be_read_back_are_refused() {
    for key in values() {
        let name = key.data_type().to_string();
        if !name.starts_with("Decimal128") && !name.starts_with("Binary") {
            continue;
        }
        let mut shape = Shape::keyed_by(&[("k", key.data_type().clone())]);
        shape.partition_by = vec!["k".to_owned()];
        let bench = Bench::new(Kind::Delta, shape);
        let error = bench.try_open("p").await.err().unwrap();
        assert_eq!(
            error.message(),
            format!(
                "the Delta table is partitioned by `k` of type {name}, whose values cannot be read back exactly"
            )
        );
    }
}

#[tokio::test]
async fn an_empty_text_in_a_key_that_is_a_partition_is_refused() {
    let mut shape = Shape::keyed_by(&[("k", DataType::Utf8)]);
    shape.partition_by = vec!["k".to_owned()];
    let bench = Bench::new(Kind::Delta, shape.clone());
    let key: ArrayRef = Arc::new(StringArray::from(vec![""]));
    let none = RecordBatch::try_from_iter(vec![("k", key.slice(0, 0))]).unwrap();
    let change = NetChange::try_new(false, batch(&shape, &[key], &[1]), none).unwrap();
    let mut writer = bench.writer().await;
    let span = writer.next().await;
    let error = writer.sink.upsert(&change, &span).await.unwrap_err();
    assert_eq!(error.kind(), sql::ErrorKind::Policy, "{}", error.report());
    assert_eq!(bench.data_files().len(), 0);
}
