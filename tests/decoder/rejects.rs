//! The sentences of rejects, word by word.

use arrow::datatypes::DataType;
use engine::format::debezium::JsonDecoder;
use engine::spec::model::DeclaredType as T;

use super::harness::*;

fn customers() -> JsonDecoder {
    declared(&[
        ("id", T::Integer, DataType::Int32),
        ("name", T::Text, DataType::Utf8),
        ("lifetime_value", T::Decimal, DataType::Decimal128(12, 2)),
        ("created_at", T::TimestampTz, utc()),
        ("updated_at", T::Timestamp { precision: 6 }, micros()),
    ])
}

fn detail(value: &str) -> String {
    let reject = reject(&mut customers(), &Message::value(value));
    assert_eq!(reject.record.value.as_deref(), Some(value.as_bytes()));
    let column = reject.column.as_deref().unwrap_or("-");
    format!("{} {column}: {}", reject.reason.name(), reject.detail)
}

fn detail_of(after: &str) -> String {
    detail(&envelope("c", "null", after))
}

#[test]
fn values() {
    assert_eq!(
        detail_of(r#"{"id":1,"lifetime_value":"abc"}"#),
        "type_mismatch lifetime_value: field `lifetime_value`: \"abc\" is no base64 and no decimal; expected \
         base64 of an unscaled value, a decimal string or a number"
    );
    assert_eq!(
        detail_of(r#"{"id":1.5}"#),
        "type_mismatch id: field `id`: 1.5 is no integer; expected a JSON integer"
    );
    assert_eq!(
        detail_of(r#"{"id":2147483648}"#),
        "out_of_range id: field `id`: 2147483648 does not fit the column; expected an integer of 32 bits"
    );
    assert_eq!(
        detail_of(r#"{"lifetime_value":12.345}"#),
        "out_of_range lifetime_value: field `lifetime_value`: 12.345 has more digits after the point than the \
         column; expected at most 2 digits after the point"
    );
    assert_eq!(
        detail_of(r#"{"created_at":"infinity"}"#),
        "out_of_range created_at: field `created_at`: \"infinity\" is outside of the years 0001 to 9999; expected a \
         finite date; declare the column BIGINT (numbers) or TEXT (strings) to keep such values"
    );
    assert_eq!(
        detail_of(r#"{"updated_at":"2024-01-01T00:00:00+02:00"}"#),
        "type_mismatch updated_at: field `updated_at`: \"2024-01-01T00:00:00+02:00\" has a zone, the column has \
         none; expected the column declared TIMESTAMPTZ"
    );
    let long = "x".repeat(500);
    let sentence = detail_of(&format!(r#"{{"id":"{long}"}}"#));
    assert_eq!(
        sentence,
        format!(
            "type_mismatch id: field `id`: \"{}… is no integer; expected a JSON integer",
            "x".repeat(59)
        )
    );
}

#[test]
fn documents() {
    assert_eq!(
        detail("{"),
        "malformed -: broken JSON at byte 1: expected a key"
    );
    let whole = envelope("c", "null", r#"{"id":1}"#);
    assert_eq!(
        detail(&format!("{whole} x")),
        format!(
            "malformed -: broken JSON at byte {}: expected nothing after the document",
            whole.len() + 1
        )
    );
    assert_eq!(
        detail(r#"{"op":"c","after":{"id":1,"name":"a","id":2},"source":{}}"#),
        "malformed -: the key `id` comes twice in one object"
    );
    assert_eq!(
        detail(r#"{"op":"x","after":{"id":1},"source":{}}"#),
        "unknown_shape -: the operation \"x\" is not known; expected `op` c, r, u, d, t or m"
    );
    assert_eq!(
        detail(r#"{"op":"u","after":null,"source":{}}"#),
        "unknown_shape -: an event with `op` u has no `after`; expected the image of the row after the change"
    );
    assert_eq!(
        detail(r#"{"what":1,"is":2,"this":{}}"#),
        "unknown_shape -: no envelope and none of the columns; the message's keys are: `what`, `is`, `this`; \
         expected `op` with `before`, `after` and `source`, or a row"
    );
    assert_eq!(
        detail("[1]"),
        "unknown_shape -: the message is [1]; expected a JSON object: a Debezium envelope or a row"
    );
    assert_eq!(
        detail("\0\0\0\0\u{1}abc"),
        "malformed -: the first byte is 0: this is registry-framed (Avro, Protobuf or JSON Schema with a schema id), \
         not plain JSON; expected JSON; set the connector's value.converter to \
         org.apache.kafka.connect.json.JsonConverter"
    );
    let mut message = Message::value("");
    message.value = Some(b"{\"op\":\"\xff\"}".to_vec());
    let reject = reject(&mut customers(), &message);
    assert_eq!(reject.detail, "the bytes at 7 are no UTF-8");
}

#[test]
fn keys() {
    let delete = envelope("d", "null", "null");
    let reject = reject(&mut customers(), &Message::new(None, Some(&delete)));
    assert_eq!(
        reject.detail,
        "a delete without a Kafka key does not say which row; expected a key with the row's key columns; declare \
         `key:` if they are in `before`, or `before_image: full`"
    );
}
