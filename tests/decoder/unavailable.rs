//! Placeholders of unavailable values, in every typed form, and where the same text is a value.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use engine::format::debezium::{DecoderOptions, JsonDecoder, UNAVAILABLE_PLACEHOLDER as PH};
use engine::spec::model::DeclaredType as T;

use super::encoder::base64;
use super::harness::*;

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn options() -> DecoderOptions {
    let entries = DataType::Struct(
        vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, true),
        ]
        .into(),
    );
    let map = DataType::Map(Arc::new(Field::new("entries", entries, false)), false);
    DecoderOptions {
        columns: Some(columns_of(&[
            ("id", T::Integer, DataType::Int64),
            ("text", T::Text, DataType::Utf8),
            ("json", T::Json, DataType::Utf8),
            ("bytes", T::Binary, DataType::Binary),
            ("texts", T::List, list(DataType::Utf8)),
            ("blobs", T::List, list(DataType::Binary)),
            ("ints", T::List, list(DataType::Int64)),
            ("dates", T::List, list(DataType::Date32)),
            ("map", T::Text, map),
        ])),
        ..DecoderOptions::default()
    }
}

fn codes(text: &str) -> String {
    let codes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
    format!("[{}]", codes.join(","))
}

/// Each column with the forms that its placeholder takes.
fn forms() -> Vec<(&'static str, String)> {
    vec![
        ("text", format!("\"{PH}\"")),
        ("json", format!("\"{PH}\"")),
        ("json", format!(r#""{{\"{PH}\":\"{PH}\"}}""#)),
        ("bytes", format!("\"{}\"", base64(PH.as_bytes()))),
        ("bytes", format!("\"{PH}\"")),
        ("texts", format!("[ \"{PH}\" ]")),
        (
            "texts",
            "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]".to_owned(),
        ),
        ("blobs", format!("[\"{}\"]", base64(PH.as_bytes()))),
        ("ints", codes(PH)),
        ("dates", codes(PH)),
        ("map", format!("{{\"{PH}\":\"{PH}\"}}")),
        ("map", format!("[[\"{PH}\",\"{PH}\"]]")),
    ]
}

fn update(column: &str, value: &str) -> String {
    envelope("u", "null", &format!(r#"{{"id":1,"{column}":{value}}}"#))
}

#[test]
fn every_form_of_an_update_is_null_and_named() {
    let mut decoder = decoder(options());
    for (column, value) in forms() {
        let decoded = row(&mut decoder, &Message::value(&update(column, &value)));
        assert_eq!(
            cells(&decoded.rows, &["id", column, "_unavailable_columns"], 0),
            ["1", "NULL", &format!("[{column}]")],
            "{value}"
        );
    }
}

#[test]
fn only_updates_and_the_second_half_of_key_changes_have_them() {
    let mut decoder = decoder(options());
    let after = format!(r#"{{"id":1,"text":"{PH}","ints":[1]}}"#);
    for (op, headers, unavailable) in [
        ("u", false, true),
        ("c", true, true),
        ("c", false, false),
        ("r", false, false),
        ("r", true, false),
    ] {
        let mut message = Message::value(&envelope(op, "null", &after));
        if headers {
            message = message.header("__debezium.oldkey", r#"{"id":2}"#);
        }
        let rows = row(&mut decoder, &message).rows;
        let expected = if unavailable {
            ["1", "NULL", "[1]", "[text]"]
        } else {
            ["1", PH, "[1]", "NULL"]
        };
        let names = ["id", "text", "ints", "_unavailable_columns"];
        assert_eq!(cells(&rows, &names, 0), expected, "{op} {headers}");
    }
}

#[test]
fn what_only_resembles_a_placeholder_is_a_value() {
    let mut decoder = decoder(options());
    for (column, value, text) in [
        ("text", format!("\"{PH} \""), format!("{PH} ")),
        (
            "text",
            format!("\"{}\"", base64(PH.as_bytes())),
            base64(PH.as_bytes()),
        ),
        ("texts", format!("[\"{PH}\",\"x\"]"), format!("[{PH}, x]")),
        ("ints", "[95,95]".to_owned(), "[95, 95]".to_owned()),
        ("map", format!("{{\"{PH}\":\"x\"}}"), format!("{{{PH}: x}}")),
    ] {
        let rows = row(&mut decoder, &Message::value(&update(column, &value))).rows;
        assert_eq!(
            cells(&rows, &[column, "_unavailable_columns"], 0),
            [text, "NULL".to_owned()]
        );
    }
}

#[test]
fn placeholders_are_found_in_columns_that_are_not_projected() {
    use engine::format::Decoder;
    let mut decoder = decoder(options());
    decoder
        .project(&["_unavailable_columns".to_owned()])
        .unwrap();
    let after = format!(r#"{{"id":1,"text":"{PH}","bytes":"{PH}"}}"#);
    let rows = row(
        &mut decoder,
        &Message::value(&envelope("u", "null", &after)),
    )
    .rows;
    assert_eq!(cell(&rows, "_unavailable_columns", 0), "[text, bytes]");
}

#[test]
fn a_customised_placeholder_takes_the_same_forms() {
    let with = |placeholder: &str| -> JsonDecoder {
        decoder(DecoderOptions {
            unavailable_placeholder: placeholder.to_owned(),
            ..options()
        })
    };
    // The name-based UUID of "abc", from RFC 1321's digest 900150983cd24fb0d6963f7d28e17f72.
    let uuid = "[\"90015098-3cd2-3fb0-9696-3f7d28e17f72\"]";
    for placeholder in ["abc", "hex:616263"] {
        let mut decoder = with(placeholder);
        for (column, value) in [
            ("text", "\"abc\""),
            ("bytes", "\"YWJj\""),
            ("ints", "[97,98,99]"),
            ("texts", uuid),
        ] {
            let rows = row(&mut decoder, &Message::value(&update(column, value))).rows;
            assert_eq!(
                cell(&rows, "_unavailable_columns", 0),
                format!("[{column}]")
            );
        }
        let rows = row(
            &mut decoder,
            &Message::value(&update("text", &format!("\"{PH}\""))),
        )
        .rows;
        assert_eq!(cell(&rows, "text", 0), PH);
    }
    let empty = JsonDecoder::try_new(DecoderOptions {
        unavailable_placeholder: String::new(),
        ..options()
    });
    assert_eq!(empty.unwrap_err().kind(), sql::ErrorKind::Config);
}

#[test]
fn a_placeholder_of_bytes_that_are_no_text() {
    // Java makes text of them with replacement characters, and numbers of them with signs.
    let mut decoder = decoder(DecoderOptions {
        unavailable_placeholder: "hex:41ff".to_owned(),
        ..options()
    });
    for (column, value) in [
        ("text", "\"A\u{fffd}\""),
        ("bytes", "\"Qf8=\""),
        ("blobs", "[\"Qf8=\"]"),
        ("ints", "[65,-1]"),
        ("ints", "[65,255]"),
        ("map", "{\"A\u{fffd}\":\"A\u{fffd}\"}"),
    ] {
        let rows = row(&mut decoder, &Message::value(&update(column, value))).rows;
        assert_eq!(
            cell(&rows, "_unavailable_columns", 0),
            format!("[{column}]")
        );
    }
    let other = row(&mut decoder, &Message::value(&update("ints", "[65,-2]"))).rows;
    assert_eq!(cell(&other, "ints", 0), "[65, -2]");
}

#[test]
fn a_placeholder_that_is_nothing_or_no_hexadecimal_is_refused() {
    for text in ["hex:", "hex:4", "hex:zz", "hex:+1"] {
        let refused = JsonDecoder::try_new(DecoderOptions {
            unavailable_placeholder: text.to_owned(),
            ..options()
        });
        assert_eq!(
            refused.unwrap_err().kind(),
            sql::ErrorKind::Config,
            "{text}"
        );
    }
}
