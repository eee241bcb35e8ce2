//! What a value is decides, and not how Arrow holds it.

use std::sync::Arc;

use arrow::array::types::{Int8Type, Int32Type};
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, IntervalDayTime, IntervalMonthDayNano, i256};

use super::array;
use super::row_checksum::{assert_all_differ, assert_all_equal};

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
    let list = array(ListArray::from_iter_primitive::<Int32Type, _, _>(
        rows.clone(),
    ));
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    assert_all_equal(vec![
        list.clone(),
        array(LargeListArray::from_iter_primitive::<Int32Type, _, _>(
            rows.clone(),
        )),
        array(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
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
