//! Every type that a table takes comes back as it went in; every other one is refused with what to write instead.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
    Decimal256Array, DictionaryArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, Int64Builder, LargeBinaryArray, LargeStringArray,
    ListArray, MapBuilder, RecordBatch, StringArray, StringBuilder, StringViewArray, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, IntervalUnit, Schema, TimeUnit, i256};
use engine::lake::cast::Caster;
use engine::lake::schema::{TableFormat, target_schema};

use super::harness::{Bench, Kind, step};

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None, Some(3)]),
        None,
    ]);
    let item = StructArray::try_new(
        Fields::from(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8View, true),
        ]),
        vec![
            Arc::new(Int64Array::from(vec![Some(1), None])),
            Arc::new(StringViewArray::from(vec![None, Some("hidden")])),
        ],
        Some(NullBuffer::from(vec![true, false])),
    )
    .unwrap();
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(7);
    map.append(true).unwrap();
    map.append(false).unwrap();
    let dictionary: DictionaryArray<Int32Type> = vec![Some("d"), None].into_iter().collect();
    let wide = Decimal256Array::from(vec![Some(i256::from(-12_345)), None]);
    vec![
        (
            "boolean",
            Arc::new(BooleanArray::from(vec![Some(true), None])),
        ),
        ("int8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None]))),
        (
            "int16",
            Arc::new(Int16Array::from(vec![Some(i16::MIN), None])),
        ),
        (
            "int32",
            Arc::new(Int32Array::from(vec![Some(i32::MIN), None])),
        ),
        (
            "int64",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
        ),
        (
            "uint8",
            Arc::new(UInt8Array::from(vec![Some(u8::MAX), None])),
        ),
        (
            "uint16",
            Arc::new(UInt16Array::from(vec![Some(u16::MAX), None])),
        ),
        (
            "uint32",
            Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])),
        ),
        (
            "uint64",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
        ),
        (
            "float32",
            Arc::new(Float32Array::from(vec![Some(1.5), None])),
        ),
        (
            "float64",
            Arc::new(Float64Array::from(vec![Some(f64::MAX), None])),
        ),
        ("utf8", Arc::new(StringArray::from(vec![Some("é"), None]))),
        (
            "large_utf8",
            Arc::new(LargeStringArray::from(vec![Some("l"), None])),
        ),
        (
            "utf8_view",
            Arc::new(StringViewArray::from(vec![
                Some("longer than twelve bytes"),
                None,
            ])),
        ),
        ("dictionary", Arc::new(dictionary)),
        (
            "binary",
            Arc::new(BinaryArray::from(vec![Some(&b"\xff\x00"[..]), None])),
        ),
        (
            "large_binary",
            Arc::new(LargeBinaryArray::from(vec![Some(&b"\x01"[..]), None])),
        ),
        (
            "fixed",
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    [Some([1_u8, 2, 3, 4]), None].into_iter(),
                    4,
                )
                .unwrap(),
            ),
        ),
        ("date32", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        (
            "date64",
            Arc::new(Date64Array::from(vec![Some(86_400_000), None])),
        ),
        (
            "seconds",
            Arc::new(TimestampSecondArray::from(vec![Some(-1), None])),
        ),
        (
            "millis",
            Arc::new(TimestampMillisecondArray::from(vec![Some(-1), None])),
        ),
        (
            "micros",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(i64::MAX), None])),
        ),
        (
            "nanos",
            Arc::new(TimestampNanosecondArray::from(vec![Some(-3_000), None])),
        ),
        (
            "nanos_utc",
            Arc::new(TimestampNanosecondArray::from(vec![Some(5_000), None]).with_timezone("UTC")),
        ),
        (
            "micros_paris",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(5), None]).with_timezone("Europe/Paris"),
            ),
        ),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(-1), None])
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
        ),
        (
            "decimal256",
            Arc::new(wide.with_precision_and_scale(30, 3).unwrap()),
        ),
        ("list", Arc::new(list)),
        ("struct", Arc::new(item)),
        ("map", Arc::new(map.finish())),
    ]
}

async fn every_type_comes_back(kind: Kind) {
    let mut columns = columns();
    if kind == Kind::Iceberg {
        let times = Time64MicrosecondArray::from(vec![Some(86_399_999_999), None]);
        columns.push(("time", Arc::new(times)));
    }
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let bench = Bench::new(kind);
    let mut sink = bench.try_open("p", &batch.schema()).await.unwrap();
    let written = Caster::try_new(&batch.schema(), &sink.schema())
        .unwrap()
        .cast(&batch)
        .unwrap();
    sink.write(std::slice::from_ref(&written), &step(0, 2))
        .await
        .unwrap();
    let read = bench.query("SELECT * FROM t").await;
    let read = concat_batches(&read[0].schema(), &read).unwrap();
    let read = Caster::try_new(&read.schema(), &sink.schema())
        .unwrap()
        .cast(&read)
        .unwrap();
    assert_eq!(read, written);
    assert!(read.columns().iter().all(|column| column.is_null(1)));
    assert!(read.columns().iter().all(|column| column.is_valid(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_comes_back_from_delta() {
    every_type_comes_back(Kind::Delta).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_comes_back_from_iceberg() {
    every_type_comes_back(Kind::Iceberg).await;
}

fn mapped(data_type: DataType, format: TableFormat) -> DataType {
    let schema = Schema::new(vec![Field::new("c", data_type, false)]);
    let target = target_schema(&schema, format).unwrap();
    assert!(target.field(0).is_nullable());
    target.field(0).data_type().clone()
}

#[test]
fn types_map_as_the_table_in_the_docs_says() {
    let zoned = |unit, zone: &str| DataType::Timestamp(unit, Some(zone.into()));
    let cases = [
        (DataType::Int8, DataType::Int8, DataType::Int32),
        (DataType::UInt8, DataType::Int16, DataType::Int32),
        (DataType::UInt16, DataType::Int32, DataType::Int32),
        (DataType::UInt32, DataType::Int64, DataType::Int64),
        (
            DataType::UInt64,
            DataType::Decimal128(20, 0),
            DataType::Decimal128(20, 0),
        ),
        (DataType::Float16, DataType::Float32, DataType::Float32),
        (DataType::Utf8View, DataType::Utf8, DataType::Utf8),
        (
            DataType::BinaryView,
            DataType::Binary,
            DataType::LargeBinary,
        ),
        (
            zoned(TimeUnit::Nanosecond, "+02:00"),
            zoned(TimeUnit::Microsecond, "UTC"),
            zoned(TimeUnit::Microsecond, "+00:00"),
        ),
    ];
    for (from, delta, iceberg) in cases {
        assert_eq!(mapped(from.clone(), TableFormat::Delta), delta, "{from}");
        assert_eq!(
            mapped(from.clone(), TableFormat::Iceberg),
            iceberg,
            "{from}"
        );
    }
}

fn refused(fields: Vec<Field>, format: TableFormat) -> (String, String) {
    let error = target_schema(&Schema::new(fields), format).unwrap_err();
    assert_eq!(error.kind(), sql::ErrorKind::Config);
    (
        error.message().to_owned(),
        error.next_step().unwrap_or_default().to_owned(),
    )
}

#[test]
fn a_type_without_a_home_is_refused_with_a_cast() {
    let one = |data_type| vec![Field::new("Total", data_type, true)];
    let cases = [
        (
            DataType::Time64(TimeUnit::Microsecond),
            "Delta cannot store column `Total` of type Time64(µs): the format has no time of day",
            "Write CAST(\"Total\" AS BIGINT) or CAST(\"Total\" AS TEXT).",
        ),
        (
            DataType::Decimal256(50, 2),
            "Delta cannot store column `Total` of type Decimal256(50, 2): a decimal has at most 38 digits",
            "Write CAST(\"Total\" AS DECIMAL(38, s)) with the scale you need, or CAST(\"Total\" AS TEXT).",
        ),
        (
            DataType::Null,
            "Delta cannot store column `Total` of type Null: NULL alone has no type",
            "Write CAST(NULL AS …) with the type you want for \"Total\".",
        ),
        (
            DataType::Interval(IntervalUnit::MonthDayNano),
            "Delta cannot store column `Total` of type Interval(MonthDayNano): the format has no intervals",
            "Write CAST(\"Total\" AS TEXT), or compute a number with date_part('epoch', …).",
        ),
    ];
    for (data_type, message, remedy) in cases {
        assert_eq!(
            refused(one(data_type), TableFormat::Delta),
            (message.to_owned(), remedy.to_owned())
        );
    }
}

#[test]
fn names_that_cannot_be_told_apart_are_refused() {
    let two = |a: &str, b: &str| {
        vec![
            Field::new(a, DataType::Int64, true),
            Field::new(b, DataType::Int64, true),
        ]
    };
    let remedy = "Rename one of them with AS in the SELECT list, or leave it out.".to_owned();
    for format in [TableFormat::Delta, TableFormat::Iceberg] {
        assert_eq!(
            refused(two("id", "id"), format),
            (
                "the SQL returns two columns named `id`".to_owned(),
                remedy.clone()
            )
        );
        assert_eq!(
            refused(two("id", "ID"), format),
            (
                "the SQL returns two columns that differ only in case: `id` and `ID`".to_owned(),
                remedy.clone()
            )
        );
    }
    let (message, _) = refused(two("count(*)", "b"), TableFormat::Delta);
    assert_eq!(message, "Delta cannot store a column named `count(*)`");
}
