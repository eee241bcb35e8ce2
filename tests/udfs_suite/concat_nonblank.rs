//! What is skipped, what is kept, and what is refused.

use std::sync::Arc;

use arrow::array::types::Int32Type;
use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, DurationSecondArray,
    Float64Array, Int64Array, IntervalYearMonthArray, LargeStringArray, NullArray, StringArray,
    StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt8Array,
};
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::{array, failure, session, text, texts, with_columns};

fn owned(values: &[Option<&str>]) -> Vec<Option<String>> {
    values.iter().map(|v| v.map(str::to_owned)).collect()
}

#[tokio::test]
async fn blanks_are_skipped_and_the_rest_is_kept_as_it_is() {
    for (call, expected) in [
        ("concat_nonblank(', ', 'a', 'b', 'c')", Some("a, b, c")),
        ("concat_nonblank(', ', NULL, 'b', NULL)", Some("b")),
        ("concat_nonblank(', ', 'a', '', 'c')", Some("a, c")),
        ("concat_nonblank(', ', '', '', 'c')", Some("c")),
        ("concat_nonblank(', ', 'a', '   ', 'c')", Some("a, c")),
        ("concat_nonblank(', ', ' a ', 'b ')", Some(" a , b ")),
        ("concat_nonblank(', ', E'\\t\\n ', 'b')", Some("b")),
        ("concat_nonblank(', ', '\u{a0}\u{3000}', 'b')", Some("b")),
        (
            "concat_nonblank(', ', '\u{200b}', 'b')",
            Some("\u{200b}, b"),
        ),
        ("concat_nonblank('', 'a', 'b')", Some("ab")),
        ("concat_nonblank(' ', 'a')", Some("a")),
        ("concat_nonblank('–', 'ä', '日本')", Some("ä–日本")),
        ("concat_nonblank(', ', '', ' ', NULL)", None),
        ("concat_nonblank(', ', NULL)", None),
        ("concat_nonblank(NULL, 'a', 'b')", None),
        ("concat_nonblank(NULL, NULL)", None),
    ] {
        let got = text(&session(), &format!("SELECT {call}")).await;
        assert_eq!(got.as_deref(), expected, "{call}");
    }
}

#[tokio::test]
async fn columns_and_scalars_mix_in_every_place() {
    let context = with_columns(vec![
        (
            "s",
            array(StringArray::from(vec![Some("-"), None, Some("+")])),
        ),
        (
            "a",
            array(StringArray::from(vec![Some("x"), Some("y"), None])),
        ),
        (
            "b",
            array(StringViewArray::from(vec![Some(""), Some("z"), Some("w")])),
        ),
        (
            "c",
            array(LargeStringArray::from(vec![Some("1"), None, Some("2")])),
        ),
    ]);
    for (call, expected) in [
        (
            "concat_nonblank(s, a, b, c)",
            [Some("x-1"), None, Some("w+2")],
        ),
        (
            "concat_nonblank('/', a, b, c)",
            [Some("x/1"), Some("y/z"), Some("w/2")],
        ),
        ("concat_nonblank(s, 'k', a)", [Some("k-x"), None, Some("k")]),
        (
            "concat_nonblank(s, 'k', 'l')",
            [Some("k-l"), None, Some("k+l")],
        ),
        (
            "concat_nonblank('/', '', a, NULL)",
            [Some("x"), Some("y"), None],
        ),
        ("concat_nonblank(NULL, a, b)", [None, None, None]),
    ] {
        let got = texts(&context, &format!("SELECT {call} FROM t")).await;
        assert_eq!(got, owned(&expected), "{call}");
    }
}

#[tokio::test]
async fn values_of_every_kind_are_joined_as_their_text() {
    let dictionary: DictionaryArray<Int32Type> = [Some("d"), None].into_iter().collect();
    let decimal = Decimal128Array::from(vec![Some(-1250), None]).with_precision_and_scale(6, 2);
    let zoned = TimestampMicrosecondArray::from(vec![Some(1_704_067_200_123_456), None]);
    for (column, expected) in [
        (array(Int64Array::from(vec![Some(-7), None])), "-7"),
        (array(UInt8Array::from(vec![Some(255), None])), "255"),
        (array(Float64Array::from(vec![Some(1.5), None])), "1.5"),
        (array(decimal.unwrap()), "-12.50"),
        (array(BooleanArray::from(vec![Some(false), None])), "false"),
        (
            array(Date32Array::from(vec![Some(19_723), None])),
            "2024-01-01",
        ),
        (
            array(Time64MicrosecondArray::from(vec![
                Some(3_600_000_000),
                None,
            ])),
            "01:00:00",
        ),
        (array(zoned.clone()), "2024-01-01T00:00:00.123456"),
        (
            array(zoned.with_timezone("UTC")),
            "2024-01-01T00:00:00.123456Z",
        ),
        (
            array(DurationSecondArray::from(vec![Some(1), None])),
            "0 days 0 hours 0 mins 1 secs",
        ),
        (
            array(IntervalYearMonthArray::from(vec![Some(14), None])),
            "1 years 2 mons",
        ),
        (array(dictionary), "d"),
        (array(StringViewArray::from(vec![Some("v"), None])), "v"),
        (array(LargeStringArray::from(vec![Some("l"), None])), "l"),
    ] {
        let kind = column.data_type().clone();
        let context = with_columns(vec![("v", column)]);
        let got = texts(&context, "SELECT concat_nonblank('|', 'a', v, 'b') FROM t").await;
        let expected = format!("a|{expected}|b");
        assert_eq!(got, owned(&[Some(&expected), Some("a|b")]), "{kind}");
    }
    let context = with_columns(vec![("v", array(NullArray::new(1)))]);
    assert_eq!(
        texts(&context, "SELECT concat_nonblank('|', v) FROM t").await,
        [None]
    );
}

#[tokio::test]
async fn no_rows_and_slices() {
    let context = with_columns(vec![("a", array(StringArray::new_null(0)))]);
    let sql = "SELECT concat_nonblank('|', a, 'x') FROM t";
    assert!(texts(&context, sql).await.is_empty());

    let rows = StringArray::from(vec![Some("no"), None, Some("y"), Some("no")]).slice(1, 2);
    let context = with_columns(vec![("a", array(rows))]);
    assert_eq!(texts(&context, sql).await, owned(&[Some("x"), Some("y|x")]));
}

#[tokio::test]
async fn wrong_arguments_are_refused_by_the_planner() {
    for (call, expected) in [
        ("concat_nonblank()", "it was given 0 argument(s)"),
        (
            "concat_nonblank(',')",
            "takes a separator and at least one value",
        ),
        (
            "concat_nonblank(',', 'a', [1, 2])",
            "argument 3 of concat_nonblank is of type List",
        ),
        (
            "concat_nonblank(',', struct(1))",
            "argument 2 of concat_nonblank is of type Struct",
        ),
    ] {
        let planned = session().sql(&format!("SELECT {call}")).await;
        let said = planned.unwrap_err().strip_backtrace();
        assert!(said.contains(expected), "{call}: {said}");
    }
    let context = with_columns(vec![("b", array(BinaryArray::from_vec(vec![b"a"])))]);
    let said = failure(&context, "SELECT concat_nonblank(',', b) FROM t").await;
    assert!(
        said.contains("argument 2 of concat_nonblank is of type Binary"),
        "{said}"
    );
}

#[tokio::test]
async fn the_result_can_be_grouped_and_filtered() {
    let context = with_columns(vec![(
        "a",
        array(StringArray::from(vec![
            Some("x"),
            None,
            Some("x"),
            Some(""),
        ])),
    )]);
    let sql = "SELECT concat_nonblank('-', a, 'k') FROM t WHERE concat_nonblank('-', a) IS NOT NULL GROUP BY 1";
    assert_eq!(texts(&context, sql).await, owned(&[Some("x-k")]));
}

/// Called without the planner's casts, it says so and does not guess.
#[test]
fn another_encoding_than_the_planner_gives_is_an_error() {
    let function: Arc<ScalarUDF> = Arc::new(udfs::ConcatNonblank::new().into());
    let args = ScalarFunctionArgs {
        args: vec![
            ColumnarValue::Scalar(ScalarValue::from(",")),
            ColumnarValue::Array(array(Int64Array::from(vec![1]))),
        ],
        arg_fields: vec![
            Arc::new(Field::new("s", DataType::Utf8, true)),
            Arc::new(Field::new("v", DataType::Int64, true)),
        ],
        number_rows: 1,
        return_field: Arc::new(Field::new("r", DataType::Utf8, true)),
        config_options: Arc::default(),
    };
    let said = function.inner().invoke_with_args(args).unwrap_err();
    assert!(said.to_string().contains("called with Int64"), "{said}");
}
