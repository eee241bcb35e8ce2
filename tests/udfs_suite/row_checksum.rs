//! Values computed by another implementation of the documented algorithm, and what rows and columns do to a checksum.

use arrow::array::*;

use super::{array, failure, query, session, text, texts, with_columns};

const NONE: &str = "af09f71516247c32";

/// The checksum of a column.
async fn of(column: ArrayRef) -> String {
    let context = with_columns(vec![("a", column)]);
    text(&context, "SELECT row_checksum(a) FROM t")
        .await
        .unwrap()
}

pub(super) async fn assert_all_equal(columns: Vec<ArrayRef>) {
    let expected = of(columns[0].clone()).await;
    for column in &columns[1..] {
        let kind = column.data_type().clone();
        assert_eq!(of(column.clone()).await, expected, "{kind}");
    }
}

pub(super) async fn assert_all_differ(columns: Vec<ArrayRef>) {
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
