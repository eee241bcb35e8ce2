//! Messages that resemble another shape than theirs.

use arrow::datatypes::DataType;
use engine::format::debezium::DecoderOptions;
use engine::spec::model::DeclaredType as T;
use sql::change::RejectReason as R;

use super::harness::*;
use super::shapes::id_and_name;

#[test]
fn an_envelope_is_one_even_if_the_row_has_columns_of_all_its_names() {
    let mut decoder = declared(&[
        ("op", T::Text, DataType::Utf8),
        ("before", T::Json, DataType::Utf8),
        ("after", T::Json, DataType::Utf8),
        ("source", T::Json, DataType::Utf8),
    ]);
    let image = r#"{"op":"buy","before":"a","after":{"op":1},"source":{"ts_ms":"x"}}"#;
    let expected = ["buy", "a", r#"{"op":1}"#, r#"{"ts_ms":"x"}"#];
    for value in [envelope("c", "null", image), image.to_owned()] {
        let rows = row(&mut decoder, &Message::value(&value)).rows;
        assert_eq!(
            cells(&rows, &["op", "before", "after", "source"], 0),
            expected,
            "{value}"
        );
    }
    let truncate = r#"{"op":"t","ts_ms":1,"source":{"ts_ms":1,"table":"t"}}"#;
    let rows = row(&mut decoder, &Message::value(truncate)).rows;
    assert_eq!(cells(&rows, &["op", "_op"], 0), ["NULL", "t"]);
}

#[test]
fn what_only_resembles_another_shape_is_a_row() {
    let mut outbox = declared(&[
        ("id", T::Integer, DataType::Int64),
        ("payload", T::Text, DataType::Utf8),
    ]);
    for value in [
        r#"{"id":1,"aggregate_type":"order","type":"created","payload":"p"}"#,
        r#"{"id":1,"op":"buy","source":"web","payload":"p"}"#,
        r#"{"id":1,"op":"c","after":"noon","payload":"p"}"#,
    ] {
        let rows = row(&mut outbox, &Message::value(value)).rows;
        assert_eq!(cells(&rows, &["id", "payload"], 0), ["1", "p"], "{value}");
    }
    let mut wrapped = declared(&[
        ("schema", T::Text, DataType::Utf8),
        ("payload", T::Text, DataType::Utf8),
    ]);
    let value = r#"{"schema":"public","payload":"p"}"#;
    let rows = row(&mut wrapped, &Message::value(value)).rows;
    assert_eq!(cells(&rows, &["schema", "payload"], 0), ["public", "p"]);
    // A key of two columns with these names.
    let delete = Message::new(Some(value), Some(&envelope("d", "null", "null")));
    let rows = row(&mut wrapped, &delete).rows;
    assert_eq!(cells(&rows, &["schema", "payload"], 0), ["public", "p"]);
}

#[test]
fn a_flattened_row_may_have_a_struct_called_after() {
    let point = r#"{"type":"struct","fields":[{"type":"int32","field":"x"}],"optional":true,"field":"after"}"#;
    for fields in [
        format!("{},{point}", field("id", r#""type":"int64""#)),
        format!(
            "{},{point},{}",
            field("id", r#""type":"int64""#),
            field("op", r#""type":"string""#)
        ),
    ] {
        let mut decoder = decoder(DecoderOptions::default());
        let message = Message::value(&format!(
            r#"{{"schema":{{"type":"struct","fields":[{fields}]}},"payload":{{"id":1,"after":{{"x":2}}}}}}"#
        ));
        let rows = row(&mut decoder, &message).rows;
        assert_eq!(cells(&rows, &["id", "after"], 0), ["1", "{x: 2}"]);
    }
}

#[test]
fn an_image_with_none_of_the_columns_is_no_row() {
    let mut decoder = id_and_name();
    let other = Message::value(&envelope("u", "null", r#"{"order":7,"total":"1"}"#));
    let rejected = reject(&mut decoder, &other);
    assert_eq!(rejected.reason, R::UnknownShape);
    assert_eq!(
        rejected.detail,
        "the image has none of the columns, it has: `order`, `total`; expected the columns id, name"
    );
}

#[test]
fn an_envelope_of_documents_is_refused() {
    // MongoDB's images are strings of JSON.
    let schema = r#"{"type":"struct","fields":[{"type":"string","optional":true,"name":"io.debezium.data.Json","field":"after"},{"type":"string","field":"op"}],"name":"m.c.Envelope"}"#;
    let message = Message::value(&format!(
        r#"{{"schema":{schema},"payload":{{"after":"{{\"_id\":1}}","op":"c"}}}}"#
    ));
    let rejected = reject(&mut decoder(DecoderOptions::default()), &message);
    assert_eq!(rejected.reason, R::UnknownShape);
    assert_eq!(
        rejected.detail,
        "the message's schema is of an envelope whose `before` and `after` are no structs; expected the images of a \
         table's rows"
    );
}
