//! The row of a delete: the key decides.

use arrow::datatypes::DataType;
use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::spec::model::DeclaredType as T;
use sql::change::RejectReason as R;

use super::harness::*;

fn options(key: &[&str]) -> DecoderOptions {
    DecoderOptions {
        columns: Some(columns_of(&[
            ("id", T::Integer, DataType::Int64),
            ("region", T::Text, DataType::Utf8),
            ("title", T::Text, DataType::Utf8),
        ])),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        ..DecoderOptions::default()
    }
}

const NAMES: [&str; 3] = ["id", "region", "title"];
const MADE_UP: &str = r#"{"id":99,"region":"eu","title":""}"#;

fn delete(key: Option<&str>, before: &str) -> Message {
    Message::new(key, Some(&envelope("d", before, "null")))
}

fn deleted(options: DecoderOptions, message: &Message) -> Vec<String> {
    cells(&row(&mut decoder(options), message).rows, &NAMES, 0)
}

#[test]
fn keys_of_every_converter() {
    let wrapped = r#"{"schema":{"type":"struct","fields":[{"type":"int64","optional":false,"field":"id"}],"optional":false,"name":"t.Key"},"payload":{"id":7}}"#;
    let primitive = r#"{"schema":{"type":"int64","optional":false},"payload":7}"#;
    for key in [
        wrapped,
        r#"{"id":7}"#,
        r#" { "x":1, "id" : 7 } "#,
        r#"{"schema":null,"payload":{"id":7}}"#,
    ] {
        let row = deleted(options(&[]), &delete(Some(key), MADE_UP));
        assert_eq!(row, ["7", "NULL", "NULL"], "{key}");
    }
    for key in [wrapped, "7", primitive, r#"{"id":7}"#] {
        let row = deleted(options(&["id"]), &delete(Some(key), MADE_UP));
        assert_eq!(row, ["7", "NULL", "NULL"], "{key}");
    }
    for (key, text) in [
        ("\"eu west\"", "eu west"),
        ("eu west", "eu west"),
        ("12", "12"),
    ] {
        let row = deleted(options(&["region"]), &delete(Some(key), "null"));
        assert_eq!(row, ["NULL", text, "NULL"], "{key}");
    }
}

#[test]
fn a_key_that_cannot_be_read_leaves_it_to_the_declared_columns_of_before() {
    for key in [
        Some("****"),
        Some("Struct{id=1}"),
        Some("{\"id\":"),
        Some("\0\0\0\0\u{1}"),
        None,
    ] {
        let row = deleted(options(&["id"]), &delete(key, MADE_UP));
        assert_eq!(row, ["99", "NULL", "NULL"], "{key:?}");
        let reject = reject(&mut decoder(options(&[])), &delete(key, MADE_UP));
        assert_eq!(reject.reason, R::MissingKey, "{key:?}: {}", reject.detail);
    }
    let composite = delete(Some(r#"{"id":7}"#), MADE_UP);
    assert_eq!(
        deleted(options(&["id", "region"]), &composite),
        ["99", "eu", "NULL"]
    );
}

#[test]
fn a_delete_that_names_no_row_is_rejected() {
    for (key, before) in [
        (None, "null"),
        (Some(r#"{"id":null}"#), "null"),
        (Some(r#"{"other":1}"#), "null"),
        (Some("{}"), r#"{"region":"eu"}"#),
        (Some("Struct{id=1}"), "null"),
    ] {
        let reject = reject(&mut decoder(options(&["id"])), &delete(key, before));
        assert_eq!(reject.reason, R::MissingKey, "{key:?}: {}", reject.detail);
    }
}

#[test]
fn a_true_image_is_the_whole_row() {
    let full = || DecoderOptions {
        before_image_full: true,
        ..options(&[])
    };
    assert_eq!(deleted(full(), &delete(None, MADE_UP)), ["99", "eu", ""]);
    assert_eq!(
        deleted(full(), &delete(Some(r#"{"id":7}"#), "null")),
        ["7", "NULL", "NULL"]
    );
    let reject = reject(&mut decoder(full()), &delete(None, "null"));
    assert_eq!(reject.reason, R::MissingKey);
}

#[test]
fn the_key_is_needed_even_if_its_column_is_not_projected() {
    use engine::format::Decoder;
    let mut decoder: JsonDecoder = decoder(options(&["id"]));
    decoder
        .project(&["title".to_owned(), "_op".to_owned()])
        .unwrap();
    let rows = row(&mut decoder, &delete(Some(r#"{"id":7}"#), "null")).rows;
    assert_eq!(cells(&rows, &["title", "_op"], 0), ["NULL", "d"]);
    let rejected = reject(&mut decoder, &delete(Some(r#"{"region":"eu"}"#), "null"));
    assert_eq!(rejected.reason, R::MissingKey);
    let rows = row(&mut decoder, &delete(Some("????"), MADE_UP)).rows;
    assert_eq!(cells(&rows, &["title", "_op"], 0), ["NULL", "d"]);
}

#[test]
fn other_key_columns_stop_the_pipeline() {
    let key = |name: &str| {
        format!(
            r#"{{"schema":{{"type":"struct","fields":[{{"type":"int64","optional":false,"field":"{name}"}}]}},"payload":{{"{name}":1}}}}"#
        )
    };
    let value = envelope("u", "null", r#"{"id":1}"#);
    let mut decoder = decoder(options(&[]));
    row(&mut decoder, &Message::new(Some(&key("id")), Some(&value)));
    row(&mut decoder, &Message::new(Some(&key("id")), Some(&value)));
    let changed = Message::new(Some(&key("region")), Some(&value)).at(9);
    let error = changed.push(&mut decoder).unwrap_err();
    assert_eq!(error.kind(), sql::ErrorKind::Policy);
    assert_eq!(
        error.to_string(),
        "the key columns changed from id to region: rows have another identity now, at shop.public.t/0@9; \
         expected the same key columns in every message of a topic"
    );
    // The message left no trace.
    row(&mut decoder, &Message::new(Some(&key("id")), Some(&value)));
}
