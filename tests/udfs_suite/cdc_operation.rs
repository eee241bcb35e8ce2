//! Letters to words, in every encoding, and what is no letter.

use arrow::array::{
    DictionaryArray, Int8Array, LargeStringArray, StringArray, StringViewArray, types::Int8Type,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::{array, failure, session, text, texts, with_columns};

const LETTERS: [Option<&str>; 7] = [
    Some("c"),
    Some("u"),
    None,
    Some("d"),
    Some("r"),
    Some("t"),
    Some("c"),
];
const WORDS: [Option<&str>; 7] = [
    Some("INSERT"),
    Some("UPDATE"),
    None,
    Some("DELETE"),
    Some("SNAPSHOT"),
    Some("TRUNCATE"),
    Some("INSERT"),
];

#[tokio::test]
async fn every_encoding_of_text_gives_the_same_words() {
    let dictionary: DictionaryArray<Int8Type> = LETTERS.into_iter().collect();
    let view_values = cast(dictionary.values(), &DataType::Utf8View).unwrap();
    for letters in [
        array(StringArray::from(LETTERS.to_vec())),
        array(LargeStringArray::from(LETTERS.to_vec())),
        array(StringViewArray::from(LETTERS.to_vec())),
        array(dictionary.with_values(view_values)),
        array(dictionary),
    ] {
        let kind = letters.data_type().clone();
        let context = with_columns(vec![("op", letters)]);
        let words = texts(&context, "SELECT cdc_operation(op) FROM t").await;
        assert_eq!(words, WORDS.map(|w| w.map(str::to_owned)), "{kind}");
    }
}

#[tokio::test]
async fn every_letter_of_the_change_model_has_a_word() {
    for op in sql::change::Op::ALL {
        let sql = format!("SELECT cdc_operation('{}')", op.letter());
        assert!(text(&session(), &sql).await.is_some(), "{op:?}");
    }
}

#[tokio::test]
async fn no_rows_give_no_rows() {
    let context = with_columns(vec![("op", array(StringArray::new_null(0)))]);
    assert!(
        texts(&context, "SELECT cdc_operation(op) FROM t")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn null_stays_null() {
    assert_eq!(text(&session(), "SELECT cdc_operation(NULL)").await, None);
    let context = with_columns(vec![("op", array(StringArray::new_null(2)))]);
    assert_eq!(
        texts(&context, "SELECT cdc_operation(op) FROM t").await,
        [None, None]
    );
}

#[tokio::test]
async fn a_sliced_column_keeps_its_rows() {
    let letters = StringArray::from(LETTERS.to_vec()).slice(2, 2);
    let context = with_columns(vec![("op", array(letters))]);
    assert_eq!(
        texts(&context, "SELECT cdc_operation(op) FROM t").await,
        [None, Some("DELETE".to_owned())]
    );
}

#[tokio::test]
async fn an_unknown_letter_is_an_error_that_names_it_and_the_known_ones() {
    for unknown in ["x", "C", "", " c", "cc", "m"] {
        let context = with_columns(vec![("op", array(StringArray::from(vec!["c", unknown])))]);
        assert_eq!(
            failure(&context, "SELECT cdc_operation(op) FROM t").await,
            format!(
                "Execution error: cdc_operation does not know the operation '{unknown}'; it knows c (insert), \
                 u (update), d (delete), r (snapshot read) and t (truncate)"
            )
        );
    }
}

#[tokio::test]
async fn a_long_unknown_value_is_cut() {
    let long = "secret".repeat(100);
    let context = with_columns(vec![("op", array(StringArray::from(vec![long])))]);
    let said = failure(&context, "SELECT cdc_operation(op) FROM t").await;
    assert!(said.contains("'secretsecretsecretse…'"), "{said}");
}

#[tokio::test]
async fn a_dictionary_may_hold_unknown_values_that_no_row_has() {
    let values = array(StringArray::from(vec!["c", "bogus", "d"]));
    let keys = Int8Array::from(vec![Some(2), None, Some(0)]);
    let unused = DictionaryArray::try_new(keys, values.clone()).unwrap();
    let context = with_columns(vec![("op", array(unused))]);
    assert_eq!(
        texts(&context, "SELECT cdc_operation(op) FROM t").await,
        [Some("DELETE".to_owned()), None, Some("INSERT".to_owned())]
    );

    let used = DictionaryArray::try_new(Int8Array::from(vec![0, 1]), values).unwrap();
    let context = with_columns(vec![("op", array(used))]);
    let said = failure(&context, "SELECT cdc_operation(op) FROM t").await;
    assert!(said.contains("'bogus'"), "{said}");
}

#[tokio::test]
async fn wrong_arguments_are_refused_by_the_planner() {
    for (call, expected) in [
        ("cdc_operation()", "it was given 0"),
        ("cdc_operation('c', 'd')", "it was given 2"),
        ("cdc_operation(1)", "its argument is of type Int64"),
        ("cdc_operation(true)", "its argument is of type Boolean"),
    ] {
        let planned = session().sql(&format!("SELECT {call}")).await;
        let said = planned.unwrap_err().strip_backtrace();
        assert!(said.contains(expected), "{call}: {said}");
    }
}
