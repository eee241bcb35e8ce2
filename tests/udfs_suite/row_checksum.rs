//! What is equal, what differs, and values computed by another implementation of the documented algorithm.

use std::sync::Arc;

use arrow::array::types::{Int8Type, Int32Type};
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Fields, Int32Type as I32, IntervalDayTime, IntervalMonthDayNano, i256,
};

use super::{array, failure, query, session, text, texts, with_columns};

const NONE: &str = "af09f71516247c32";

/// The checksum of a column.
async fn of(column: ArrayRef) -> String {
    let context = with_columns(vec![("a", column)]);
    text(&context, "SELECT row_checksum(a) FROM t")
        .await
        .unwrap()
}

async fn assert_all_equal(columns: Vec<ArrayRef>) {
    let expected = of(columns[0].clone()).await;
    for column in &columns[1..] {
        let kind = column.data_type().clone();
        assert_eq!(of(column.clone()).await, expected, "{kind}");
    }
}

async fn assert_all_differ(columns: Vec<ArrayRef>) {
    let mut seen = std::collections::HashMap::new();
    for (index, column) in columns.into_iter().enumerate() {
        let checksum = of(column).await;
        if let Some(other) = seen.insert(checksum, index) {
            panic!("columns {other} and {index} have the same checksum");
        }
    }
}

/// Computed outside of this project by an implementation of the algorithm in docs/functions.md.
#[tokio::test]
async fn checksums_are_those_of_the_documented_algorithm() {
    let customers =
        "(VALUES (1, 'ann@example.com', 12.50), (2, NULL, 0.00)) AS t(id, email, spent)";
    for (sql, expected) in [
        ("SELECT row_checksum(1) WHERE false".to_owned(), NONE),
        ("SELECT row_checksum(1, 'a')".to_owned(), "72bb0cad04a9ced8"),
        (
            "SELECT row_checksum(a, b) FROM (VALUES (1, 'a'), (2, NULL)) AS t(a, b)".to_owned(),
            "55c11e572186ea6d",
        ),
        (
            "SELECT row_checksum(b, a) FROM (VALUES (1, 'a'), (2, NULL)) AS t(a, b)".to_owned(),
            "5f7cd16da159f375",
        ),
        (
            format!("SELECT row_checksum(id, email, CAST(spent AS DECIMAL(12,2))) FROM {customers}"),
            "d69f89462b6ca59f",
        ),
        ("SELECT row_checksum(2, '')".to_owned(), "7bc4517b47de3a15"),
        (
            "SELECT row_checksum(true, -7, CAST('-12.345' AS DECIMAL(9,3)), CAST(1.5 AS DOUBLE), 'ü', DATE '2024-01-01',
                arrow_cast('2024-01-01T00:00:00.123456', 'Timestamp(Microsecond, None)'),
                arrow_cast('2024-01-01T00:00:00.123456', 'Timestamp(Microsecond, Some(\"UTC\"))'),
                [1, NULL], struct(1, 'x'))"
                .to_owned(),
            "c058fdd54ad6aeae",
        ),
    ] {
        assert_eq!(text(&session(), &sql).await.as_deref(), Some(expected), "{sql}");
    }
}

#[tokio::test]
async fn text_is_text_in_every_encoding() {
    let rows = vec![
        Some("a"),
        None,
        Some(""),
        Some("a longer text than a view holds inline"),
    ];
    let dictionary: DictionaryArray<Int8Type> = rows.iter().copied().collect();
    let large = cast(dictionary.values(), &DataType::LargeUtf8).unwrap();
    // A null that is a value of the dictionary, not a missing key.
    let values = array(StringArray::from(vec![None, Some("a"), Some(""), rows[3]]));
    let null_value = DictionaryArray::new(Int32Array::from(vec![1, 0, 2, 3]), values);
    assert_all_equal(vec![
        array(StringArray::from(rows.clone())),
        array(LargeStringArray::from(rows.clone())),
        array(StringViewArray::from(rows)),
        array(dictionary.with_values(large)),
        array(dictionary),
        array(null_value),
    ])
    .await;
}

#[tokio::test]
async fn numbers_are_numbers_in_every_width_and_scale() {
    let decimal = |value: i128, scale: i8| {
        let values = Decimal128Array::from(vec![Some(value), None]);
        array(values.with_precision_and_scale(20, scale).unwrap())
    };
    let wide = Decimal256Array::from(vec![Some(i256::from_i128(10_000)), None]);
    assert_all_equal(vec![
        array(Int8Array::from(vec![Some(100), None])),
        array(Int16Array::from(vec![Some(100), None])),
        array(Int32Array::from(vec![Some(100), None])),
        array(Int64Array::from(vec![Some(100), None])),
        array(UInt8Array::from(vec![Some(100), None])),
        array(UInt16Array::from(vec![Some(100), None])),
        array(UInt32Array::from(vec![Some(100), None])),
        array(UInt64Array::from(vec![Some(100), None])),
        decimal(100, 0),
        decimal(100_000, 3),
        decimal(1, -2),
        array(wide.with_precision_and_scale(40, 2).unwrap()),
        array(
            Decimal32Array::from(vec![Some(1_000), None])
                .with_precision_and_scale(9, 1)
                .unwrap(),
        ),
        array(
            Decimal64Array::from(vec![Some(1_000), None])
                .with_precision_and_scale(18, 1)
                .unwrap(),
        ),
    ])
    .await;
    assert_all_equal(vec![
        array(UInt64Array::from(vec![u64::MAX])),
        array(
            Decimal128Array::from(vec![i128::from(u64::MAX) * 10])
                .with_precision_and_scale(38, 1)
                .unwrap(),
        ),
    ])
    .await;
    assert_all_equal(vec![
        decimal(0, 5),
        array(Int8Array::from(vec![Some(0), None])),
    ])
    .await;
}

#[tokio::test]
async fn decimals_of_any_size_differ_where_they_differ() {
    let wide = |value: i256, scale: i8| {
        array(
            Decimal256Array::from(vec![value])
                .with_precision_and_scale(76, scale)
                .unwrap(),
        )
    };
    let big = i256::from_i128(i128::MAX)
        .checked_mul(i256::from_i128(1_000))
        .unwrap();
    assert_all_differ(vec![
        wide(big, 0),
        wide(big, 1),
        wide(big, -70),
        wide(big, -71),
        wide(i256::ONE, 76),
        wide(i256::ONE, 75),
        wide(i256::MINUS_ONE, 75),
        wide(i256::from_i128(i128::MIN), 0),
    ])
    .await;
}

#[tokio::test]
async fn floats_have_one_zero_and_one_nan() {
    let other_nan = f64::from_bits(f64::NAN.to_bits() | 1);
    assert_all_equal(vec![
        array(Float64Array::from(vec![0.0, f64::NAN, 1.5])),
        array(Float64Array::from(vec![-0.0, other_nan, 1.5])),
        array(Float32Array::from(vec![0.0, -f32::NAN, 1.5])),
        cast(
            &Float32Array::from(vec![-0.0, f32::NAN, 1.5]),
            &DataType::Float16,
        )
        .unwrap(),
    ])
    .await;
}

#[tokio::test]
async fn times_are_times_in_every_unit() {
    let micros = TimestampMicrosecondArray::from(vec![Some(1_704_067_200_000_000), None]);
    let seconds = TimestampSecondArray::from(vec![Some(1_704_067_200), None]);
    assert_all_equal(vec![
        array(micros.clone()),
        array(seconds.clone()),
        array(TimestampMillisecondArray::from(vec![
            Some(1_704_067_200_000),
            None,
        ])),
        array(TimestampNanosecondArray::from(vec![
            Some(1_704_067_200_000_000_000),
            None,
        ])),
    ])
    .await;
    assert_all_equal(vec![
        array(micros.with_timezone("UTC")),
        array(seconds.clone().with_timezone("+00:00")),
        array(seconds.with_timezone("+05:30")),
    ])
    .await;
    assert_all_equal(vec![
        array(Date32Array::from(vec![-1])),
        array(Date64Array::from(vec![-86_400_000])),
    ])
    .await;
    assert_all_equal(vec![
        array(Time32SecondArray::from(vec![3_600])),
        array(Time32MillisecondArray::from(vec![3_600_000])),
        array(Time64MicrosecondArray::from(vec![3_600_000_000])),
        array(Time64NanosecondArray::from(vec![3_600_000_000_000])),
    ])
    .await;
    assert_all_equal(vec![
        array(DurationSecondArray::from(vec![2])),
        array(DurationMillisecondArray::from(vec![2_000])),
        array(DurationMicrosecondArray::from(vec![2_000_000])),
        array(DurationNanosecondArray::from(vec![2_000_000_000])),
    ])
    .await;
    assert_all_equal(vec![
        array(IntervalYearMonthArray::from(vec![0])),
        array(IntervalDayTimeArray::from(vec![IntervalDayTime::new(0, 0)])),
        array(IntervalMonthDayNanoArray::from(vec![
            IntervalMonthDayNano::new(0, 0, 0),
        ])),
    ])
    .await;
}

#[tokio::test]
async fn timestamps_beyond_the_range_of_nanoseconds_differ() {
    assert_all_differ(vec![
        array(TimestampMicrosecondArray::from(vec![i64::MAX])),
        array(TimestampMicrosecondArray::from(vec![i64::MIN])),
        array(TimestampSecondArray::from(vec![i64::MAX])),
        array(TimestampSecondArray::from(vec![253_402_300_799])),
    ])
    .await;
}

#[tokio::test]
async fn binary_is_binary_in_every_encoding() {
    let rows = vec![Some(b"ab".as_slice()), None];
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows.clone().into_iter(), 2);
    assert_all_equal(vec![
        array(BinaryArray::from(rows.clone())),
        array(LargeBinaryArray::from(rows.clone())),
        array(BinaryViewArray::from(rows)),
        array(fixed.unwrap()),
    ])
    .await;
}

#[tokio::test]
async fn lists_are_lists_in_every_encoding() {
    let rows = vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![Some(2), Some(3)]),
    ];
    let list = array(ListArray::from_iter_primitive::<I32, _, _>(rows.clone()));
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    assert_all_equal(vec![
        list.clone(),
        array(LargeListArray::from_iter_primitive::<I32, _, _>(
            rows.clone(),
        )),
        array(FixedSizeListArray::from_iter_primitive::<I32, _, _>(
            rows, 2,
        )),
        cast(&list, &DataType::LargeList(item.clone())).unwrap(),
        cast(&list, &DataType::ListView(item.clone())).unwrap(),
        cast(&list, &DataType::LargeListView(item)).unwrap(),
    ])
    .await;
}

fn strings_map(entries: Vec<(&str, Option<&str>)>) -> ArrayRef {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (key, value) in entries {
        map.keys().append_value(key);
        map.values().append_option(value);
    }
    map.append(true).unwrap();
    array(map.finish())
}

#[tokio::test]
async fn nested_values_differ_where_they_differ() {
    let list = |rows: Vec<Option<i32>>| {
        array(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(rows),
        ]))
    };
    let structure = |a: Option<i32>, b: Option<&str>| {
        let fields = Fields::from(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Utf8, true),
        ]);
        let columns = vec![
            array(Int32Array::from(vec![a])),
            array(StringArray::from(vec![b])),
        ];
        array(StructArray::new(fields, columns, None))
    };
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let null_list = ListArray::new_null(item, 1);
    assert_all_differ(vec![
        list(vec![]),
        list(vec![None]),
        list(vec![Some(1)]),
        list(vec![Some(1), Some(2)]),
        list(vec![Some(2), Some(1)]),
        list(vec![Some(1), None]),
        array(null_list),
        structure(Some(1), Some("x")),
        structure(Some(1), None),
        structure(None, Some("x")),
        structure(None, None),
        strings_map(vec![]),
        strings_map(vec![("k", None)]),
        strings_map(vec![("k", Some(""))]),
        strings_map(vec![("k", Some("v"))]),
        strings_map(vec![("v", Some("k"))]),
        strings_map(vec![("k", Some("v")), ("l", None)]),
    ])
    .await;
}

#[tokio::test]
async fn a_list_s_borders_matter() {
    let lists = |offsets: Vec<i32>| {
        let item = Arc::new(Field::new("item", DataType::Int32, true));
        let values = array(Int32Array::from(vec![1, 2, 3]));
        array(ListArray::new(
            item,
            OffsetBuffer::new(offsets.into()),
            values,
            None,
        ))
    };
    assert_all_differ(vec![
        lists(vec![0, 1, 3]),
        lists(vec![0, 2, 3]),
        lists(vec![0, 3, 3]),
        lists(vec![0, 3]),
    ])
    .await;
}

#[tokio::test]
async fn nothings_of_different_kinds_differ() {
    assert_all_differ(vec![
        array(StringArray::from(Vec::<&str>::new())),
        array(StringArray::from(vec![None::<&str>])),
        array(StringArray::from(vec![None::<&str>, None])),
        array(StringArray::from(vec![""])),
        array(BinaryArray::from_vec(vec![b""])),
        array(StringArray::from(vec!["0"])),
        array(Int64Array::from(vec![0])),
        array(Float64Array::from(vec![0.0])),
        array(BooleanArray::from(vec![false])),
        array(Date32Array::from(vec![0])),
        array(Time64MicrosecondArray::from(vec![0])),
        array(TimestampMicrosecondArray::from(vec![0])),
        array(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC")),
        array(DurationSecondArray::from(vec![0])),
        array(IntervalYearMonthArray::from(vec![0])),
    ])
    .await;
    assert_all_equal(vec![
        array(NullArray::new(2)),
        array(StringArray::from(vec![None::<&str>, None])),
        array(Int64Array::from(vec![None, None])),
        array(DictionaryArray::new(
            Int32Array::from(vec![None, None]),
            array(StringArray::from(Vec::<&str>::new())),
        )),
    ])
    .await;
}

#[tokio::test]
async fn columns_are_ordered_and_their_borders_matter() {
    let mut seen = std::collections::HashSet::new();
    for call in [
        "row_checksum('ab', 'c')",
        "row_checksum('a', 'bc')",
        "row_checksum('c', 'ab')",
        "row_checksum('abc')",
        "row_checksum('abc', '')",
        "row_checksum('abc', NULL)",
        "row_checksum('', 'abc')",
        "row_checksum(NULL, 'abc')",
    ] {
        let checksum = text(&session(), &format!("SELECT {call}")).await;
        assert!(seen.insert(checksum), "{call}");
    }
}

#[tokio::test]
async fn a_group_whose_rows_are_all_filtered_has_the_checksum_of_no_rows() {
    let sql = "SELECT row_checksum(v) FILTER (WHERE v > 1), g FROM (VALUES (1, 1), (1, 2), (2, 1), (3, 2)) AS t(g, v)
               GROUP BY g ORDER BY g";
    let two = text(&session(), "SELECT row_checksum(2)").await;
    let none = Some(NONE.to_owned());
    assert_eq!(texts(&session(), sql).await, [two.clone(), none, two]);
}

#[tokio::test]
async fn a_window_takes_rows_out_again() {
    let sql = "SELECT row_checksum(v) OVER (ORDER BY v ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
               FROM (VALUES (1), (2), (3)) AS t(v) ORDER BY v";
    let windows = texts(&session(), sql).await;
    for (window, rows) in windows.iter().zip(["(1)", "(1), (2)", "(3), (2)"]) {
        let sql = format!("SELECT row_checksum(v) FROM (VALUES {rows}) AS t(v)");
        assert_eq!(*window, text(&session(), &sql).await, "{rows}");
    }
    assert_eq!(windows.len(), 3);
}

#[tokio::test]
async fn distinct_is_right_or_refused() {
    let doubled = "(VALUES (1, 2), (1, 2)) AS t(a, b)";
    assert_eq!(
        text(
            &session(),
            &format!("SELECT row_checksum(DISTINCT a) FROM {doubled}")
        )
        .await,
        text(&session(), "SELECT row_checksum(1)").await
    );
    let sql = format!("SELECT row_checksum(DISTINCT a, b) FROM {doubled}");
    let said = failure(&session(), &sql).await;
    assert!(
        said.contains("select the distinct rows in a subquery"),
        "{said}"
    );
}

#[tokio::test]
async fn wrong_arguments_are_refused() {
    let said = failure(&session(), "SELECT row_checksum()").await;
    assert!(said.contains("row_checksum"), "{said}");

    let runs = RunArray::try_new(&Int32Array::from(vec![2]), &StringArray::from(vec!["a"]));
    let context = with_columns(vec![("a", array(runs.unwrap()))]);
    let said = failure(&context, "SELECT row_checksum(a) FROM t").await;
    assert!(
        said.contains("row_checksum does not take values of type RunEndEncoded"),
        "{said}"
    );
    assert!(query(&context, "SELECT count(a) FROM t").await.is_ok());
}
