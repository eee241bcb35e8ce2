//! Rows that the unwrap transformation left of their envelopes.

use arrow::datatypes::DataType;
use engine::format::Decoder;
use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::spec::model::DeclaredType as T;
use sql::change::RejectReason as R;

use super::harness::*;
use super::shapes::{NAMES, fields, id_and_name};

#[test]
fn flattened_rows_in_every_delete_mode() {
    let mut decoder = id_and_name();
    for (message, expected) in [
        (Message::value(r#"{"id":1,"name":"x"}"#), ["1", "x", "u"]),
        (
            Message::value(r#"{"id":1,"name":"x","__deleted":"false"}"#),
            ["1", "x", "u"],
        ),
        (
            Message::value(r#"{"id":1,"name":"","__deleted":"true"}"#),
            ["1", "NULL", "d"],
        ),
        (
            Message::value(r#"{"id":1,"name":"","__deleted":true,"__op":"d"}"#),
            ["1", "NULL", "d"],
        ),
        (
            Message::value(r#"{"__op":"r","__table":"t","__lsn":12,"name":"x","id":1}"#),
            ["1", "x", "r"],
        ),
        (
            Message::value(r#"{"id":1,"name":"x"}"#).header("__op", "c"),
            ["1", "x", "c"],
        ),
        (
            Message::value(r#"{"id":1,"name":"x"}"#).header("__op", "\"c\""),
            ["1", "x", "c"],
        ),
        (
            Message::value(r#"{"id":1,"name":"x"}"#).header(
                "__op",
                r#"{"schema":{"type":"string","optional":false},"payload":"r"}"#,
            ),
            ["1", "x", "r"],
        ),
    ] {
        let rows = row(&mut decoder, &message).rows;
        assert_eq!(cells(&rows, &NAMES, 0), expected, "{message:?}");
    }
    let timed = Message::value(r#"{"id":1,"__source_ts_ms":1700000000123}"#);
    assert_eq!(
        row(&mut decoder, &timed).meta.commit_micros,
        [1_700_000_000_123_000]
    );
    let timeless = Message::value(r#"{"id":1}"#);
    let decoded = row(&mut decoder, &timeless);
    assert_eq!(decoded.meta.commit_micros, [i64::MIN]);
    assert_eq!(cell(&decoded.rows, "_commit_timestamp", 0), "NULL");
    let odd = Message::value(r#"{"id":1,"__op":"x"}"#);
    assert_eq!(reject(&mut decoder, &odd).reason, R::UnknownShape);
}

#[test]
fn flattened_rows_with_a_schema_keep_added_fields_out_of_the_table() {
    let mut decoder = decoder(DecoderOptions::default());
    let schema = format!(
        r#"{{"type":"struct","fields":[{},{}],"optional":false,"name":"t.Value"}}"#,
        fields(),
        field("__deleted", r#""type":"string""#)
    );
    let message = Message::value(&format!(
        r#"{{"schema":{schema},"payload":{{"id":1,"name":"x","__deleted":"true"}}}}"#
    ));
    let rows = row(&mut decoder, &message).rows;
    assert_eq!(cells(&rows, &NAMES, 0), ["1", "NULL", "d"]);
    assert!(rows.column_by_name("__deleted").is_none());
}

#[test]
fn added_fields_decide_even_if_they_are_columns_too() {
    let mut decoder = declared(&[
        ("id", T::Integer, DataType::Int64),
        ("name", T::Text, DataType::Utf8),
        ("__deleted", T::Text, DataType::Utf8),
        ("__op", T::Text, DataType::Utf8),
        ("__lsn", T::Integer, DataType::Int64),
    ]);
    let columns = ["id", "name", "__deleted", "__op", "__lsn", "_op"];
    let live = r#"{"id":1,"name":"x","__deleted":"false","__op":"c","__lsn":9}"#;
    let dead = r#"{"id":1,"name":"","__deleted":"true","__op":"d","__lsn":9}"#;
    let schema = format!(
        r#"{{"type":"struct","fields":[{},{},{},{}]}}"#,
        fields(),
        field("__deleted", r#""type":"string""#),
        field("__op", r#""type":"string""#),
        field("__lsn", r#""type":"int64""#),
    );
    for wrap in [false, true] {
        let message = |row: &str| {
            Message::value(&if wrap {
                format!(r#"{{"schema":{schema},"payload":{row}}}"#)
            } else {
                row.to_owned()
            })
        };
        assert_eq!(
            cells(&row(&mut decoder, &message(live)).rows, &columns, 0),
            ["1", "x", "false", "c", "9", "c"]
        );
        assert_eq!(
            cells(&row(&mut decoder, &message(dead)).rows, &columns, 0),
            ["1", "NULL", "NULL", "NULL", "NULL", "d"]
        );
    }
}

#[test]
fn what_comes_between_flattened_rows_is_told_as_if_it_came_alone() {
    let flat = r#"{"id":1,"name":"x","status":"s","__op":"c"}"#;
    let wrapped = format!(r#"{{"schema":null,"payload":{flat}}}"#);
    let envelope = envelope("u", "null", r#"{"id":2,"name":"y"}"#);
    let others = [
        envelope.as_str(),
        wrapped.as_str(),
        r#"{"ts_ms":1}"#,
        r#"{"status":"BEGIN","id":"1:2","event_count":null,"data_collections":null,"ts_ms":1}"#,
        r#"{"id":"7","aggregate_type":"Initial Snapshot","type":"DONE","additional_data":{}}"#,
        r#"{"id":1,"source":"web","data":1,"type":"t","ts_ms":5}"#,
        r#"{"id":"not a number","name":"x"}"#,
        r#"{"id":1,"name":"x""#,
        r#"{"other":1}"#,
        r#"{"id":3,"name":"","__deleted":"true"}"#,
        "null",
        "[]",
    ];
    let seen = |decoder: &mut JsonDecoder, value: &str| {
        let (pushed, _) = feed(decoder, &Message::value(value));
        let decoded = decoder.finish(0).unwrap();
        let cells: Vec<_> = (0..decoded.rows.num_rows())
            .map(|row| cells(&decoded.rows, &NAMES, row))
            .collect();
        let details: Vec<_> = decoded.rejects.into_iter().map(|r| r.detail).collect();
        (pushed, cells, details)
    };
    let mut running = id_and_name();
    for other in others {
        for value in [flat, flat, other, other, flat] {
            assert_eq!(
                seen(&mut running, value),
                seen(&mut id_and_name(), value),
                "{value}"
            );
        }
    }
}
