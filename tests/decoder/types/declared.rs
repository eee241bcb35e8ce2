//! Values with parts, and columns that were declared.

use arrow::datatypes::{DataType, TimeUnit};
use engine::format::debezium::DecoderOptions;
use engine::format::{Decoder as _, Pushed};
use engine::spec::model::{DecimalHandling, DeclaredType as T};
use sql::change::RejectReason as R;

use super::super::encoder::{base64, big_endian};
use super::super::harness::*;
use super::decimals::decimal_kind;
use super::named;

#[test]
fn arrays_maps_and_structs() {
    let rows = |kind: &str, json: &str| {
        let mut decoder = decoder(DecoderOptions::default());
        let message = with_schema(&field("v", kind), &format!(r#"{{"v":{json}}}"#));
        cell(&row(&mut decoder, &message).rows, "v", 0)
    };
    let int = r#"{"type":"int32","optional":true}"#;
    let string = r#"{"type":"string","optional":true}"#;
    let array = format!(r#""type":"array","items":{int}"#);
    assert_eq!(rows(&array, "[1,null,-3]"), "[1, NULL, -3]");
    assert_eq!(rows(&array, "[]"), "[]");
    assert_eq!(rows(&array, "[null,null]"), "[NULL, NULL]");
    let nested = format!(r#""type":"array","items":{{{array},"optional":true}}"#);
    assert_eq!(rows(&nested, "[[1],null,[2,3]]"), "[[1], NULL, [2, 3]]");
    let map = format!(r#""type":"map","keys":{string},"values":{string}"#);
    assert_eq!(rows(&map, r#"{"a":"1","b":null}"#), "{a: 1, b: NULL}");
    let pairs = r#""type":"map","keys":{"type":"int16"},"values":{"type":"double"}"#;
    assert_eq!(rows(pairs, "[[1,2.5],[7,-1.0]]"), "{1: 2.5, 7: -1.0}");
    let point = format!(
        r#"{},"fields":[{{"type":"double","field":"x"}},{{"type":"bytes","optional":true,"field":"wkb"}},{{"type":"int32","optional":true,"field":"srid"}}]"#,
        named("struct", "io.debezium.data.geometry.Point")
    );
    assert_eq!(
        rows(&point, r#"{"srid":null,"x":1.5,"extra":[{}],"wkb":"AQ=="}"#),
        "{x: 1.5, wkb: 01, srid: NULL}"
    );
    assert_eq!(
        rows(
            &format!(r#""type":"array","items":{{{point},"optional":true}}"#),
            r#"[{"x":1},null]"#
        ),
        "[{x: 1.0, wkb: NULL, srid: NULL}, NULL]"
    );
}

/// A string of digits is a number as well as base64.
#[test]
fn what_strings_of_decimals_are_is_said() {
    use DecimalHandling::{Auto, Precise, Text};
    let read = |decimals, value: &str| {
        let mut decoder = decoder(DecoderOptions {
            columns: Some(columns_of(&[
                ("id", T::Integer, DataType::Int64),
                ("v", T::Decimal, DataType::Decimal128(20, 0)),
            ])),
            decimals,
            ..DecoderOptions::default()
        });
        let message = Message::value(&format!(r#"{{"id":1,"v":{value}}}"#));
        match feed(&mut decoder, &message).0 {
            Pushed::Row => Ok(cell(&decoder.finish(0).unwrap().rows, "v", 0)),
            _ => Err(Box::new(decoder.finish(0).unwrap().rejects.remove(0))),
        }
    };
    for (value, decimals, becomes) in [
        ("\"1234\"", Text, "1234"),
        ("\"1234\"", Precise, "-2658824"),
        ("\"-1234\"", Text, "-1234"),
        ("\"AQI=\"", Precise, "258"),
        ("\"AQI=\"", Auto, "258"),
        ("\"12345\"", Auto, "12345"),
        ("7", Text, "7"),
        ("7", Precise, "7"),
        ("7", Auto, "7"),
    ] {
        assert_eq!(
            read(decimals, value).unwrap(),
            becomes,
            "{decimals:?} {value}"
        );
    }
    for (value, decimals) in [
        ("\"1234\"", Auto),
        ("\"AQI=\"", Text),
        ("\"12345\"", Precise),
        ("\"1.5\"", Precise),
    ] {
        let reject = read(decimals, value).unwrap_err();
        assert_eq!(reject.reason, R::TypeMismatch, "{decimals:?} {value}");
        if decimals == Auto {
            assert!(
                reject.detail.contains("decimal_handling"),
                "{}",
                reject.detail
            );
        }
    }
}

#[test]
fn declared_columns_without_schema() {
    let mut decoder = declared(&[
        ("b", T::Boolean, DataType::Boolean),
        ("s", T::Integer, DataType::Int16),
        ("dec", T::Decimal, DataType::Decimal128(12, 2)),
        ("whole", T::Decimal, DataType::Decimal128(20, 0)),
        ("j", T::Json, DataType::Utf8),
        ("digits", T::Text, DataType::Utf8),
        ("d", T::Date, DataType::Date32),
        ("t", T::Time, DataType::Time64(TimeUnit::Microsecond)),
        ("tm", T::Time, DataType::Time32(TimeUnit::Millisecond)),
        ("ts3", T::Timestamp { precision: 3 }, micros()),
        ("ts6", T::Timestamp { precision: 6 }, micros()),
        ("ts9", T::Timestamp { precision: 9 }, micros()),
        ("tz", T::TimestampTz, utc()),
    ]);
    let cases = [
        ("b", "1", Ok("true")),
        ("s", "32768", Err(R::OutOfRange)),
        ("dec", "\"BBo=\"", Ok("10.50")),
        ("dec", "\"10.5\"", Ok("10.50")),
        ("dec", "10.5", Ok("10.50")),
        ("dec", r#"{"scale":1,"value":"aQ=="}"#, Ok("10.50")),
        ("dec", "\"abc\"", Err(R::TypeMismatch)),
        ("dec", "\"NaN\"", Err(R::OutOfRange)),
        ("dec", "\"10.505\"", Err(R::OutOfRange)),
        ("whole", "\"123\"", Ok("123")),
        ("whole", "\"1234\"", Err(R::TypeMismatch)),
        ("whole", "\"BBo=\"", Ok("1050")),
        ("whole", "18446744073709551615", Ok("18446744073709551615")),
        ("j", r#""{\"a\":1}""#, Ok("{\"a\":1}")),
        ("j", r#"{"a" : [1, "x\n"]}"#, Ok(r#"{"a" : [1, "x\n"]}"#)),
        ("j", "1.50", Ok("1.50")),
        (
            "digits",
            r#"{"scale":14,"value":"AR2552okgw=="}"#,
            Ok("3.14159265358979"),
        ),
        ("digits", r#"{"scale":-3,"value":"Aw=="}"#, Ok("3000")),
        ("digits", "\"3\"", Ok("3")),
        ("digits", r#"{"scale":14}"#, Err(R::TypeMismatch)),
        ("digits", "{}", Err(R::TypeMismatch)),
        ("digits", "3", Err(R::TypeMismatch)),
        ("d", "19782", Ok("2024-02-29")),
        ("d", "\"2024-02-29\"", Ok("2024-02-29")),
        ("t", "45296789012", Ok("12:34:56.789012")),
        ("t", "\"12:34:56\"", Ok("12:34:56")),
        ("tm", "45296789", Ok("12:34:56.789")),
        ("ts3", "1709210096789", Ok("2024-02-29T12:34:56.789")),
        ("ts6", "1709210096789012", Ok("2024-02-29T12:34:56.789012")),
        ("ts6", "\"2024-02-29T12:34:56\"", Ok("2024-02-29T12:34:56")),
        (
            "ts6",
            "\"2024-02-29 12:34:56.5\"",
            Ok("2024-02-29T12:34:56.500"),
        ),
        ("ts6", "\"2024-02-29T12:34:56+01:00\"", Err(R::TypeMismatch)),
        (
            "ts9",
            "1709210096789012345",
            Ok("2024-02-29T12:34:56.789012"),
        ),
        ("ts9", "-1", Ok("1969-12-31T23:59:59.999999")),
        ("tz", "\"2024-02-29T12:34:56Z\"", Ok("2024-02-29T12:34:56Z")),
        ("tz", "1709210096789012", Err(R::TypeMismatch)),
    ];
    for (name, json, expected) in cases {
        let message = Message::value(&envelope("c", "null", &format!(r#"{{"{name}":{json}}}"#)));
        match expected {
            Ok(text) => assert_eq!(
                cell(&row(&mut decoder, &message).rows, name, 0),
                text,
                "{name} {json}"
            ),
            Err(reason) => assert_eq!(
                reject(&mut decoder, &message).reason,
                reason,
                "{name} {json}"
            ),
        }
    }
}

#[test]
fn a_message_schema_decides_how_declared_columns_are_read() {
    let mut decoder = declared(&[
        ("amount", T::Decimal, DataType::Decimal128(12, 2)),
        ("at", T::Timestamp { precision: 6 }, micros()),
        ("flag", T::Boolean, DataType::Boolean),
        ("raw", T::Integer, DataType::Int64),
        ("doc", T::Json, DataType::Utf8),
    ]);
    let fields = [
        field("amount", &decimal_kind(4, Some(14))),
        field("at", &named("int64", "io.debezium.time.Timestamp")),
        field("flag", r#""type":"int16""#),
        field("raw", &named("int64", "io.debezium.time.MicroTimestamp")),
        field("unknown", r#""type":"string""#),
        field(
            "doc",
            r#""type":"struct","fields":[{"type":"int32","field":"a"}]"#,
        ),
    ]
    .join(",");
    let amount = |unscaled| base64(&big_endian(unscaled));
    let after = format!(
        r#"{{"amount":"{}","at":1709210096789,"flag":1,"raw":5,"unknown":"x","doc":{{"a": 1}}}}"#,
        amount(105_000)
    );
    let rows = row(&mut decoder, &with_schema(&fields, &after)).rows;
    assert_eq!(
        cells(&rows, &["amount", "at", "flag", "raw", "doc"], 0),
        [
            "10.50",
            "2024-02-29T12:34:56.789",
            "true",
            "5",
            "{\"a\": 1}"
        ]
    );
    let inexact = after.replace(&amount(105_000), &amount(105_001));
    let reject = reject(&mut decoder, &with_schema(&fields, &inexact));
    assert_eq!(
        (reject.reason, reject.column.as_deref()),
        (R::OutOfRange, Some("amount"))
    );
}

#[test]
fn floats_are_not_rounded_to_their_column() {
    let mut decoder = declared(&[
        ("narrow", T::Float, DataType::Float32),
        ("wide", T::Float, DataType::Float64),
    ]);
    let double = field("narrow", r#""type":"double""#);
    let float = field("wide", r#""type":"float""#);
    let rows = row(&mut decoder, &with_schema(&double, r#"{"narrow":0.5}"#)).rows;
    assert_eq!(cell(&rows, "narrow", 0), "0.5");
    for value in ["0.1", "16777217.0", "1e-60"] {
        let message = with_schema(&double, &format!(r#"{{"narrow":{value}}}"#));
        assert_eq!(
            reject(&mut decoder, &message).reason,
            R::OutOfRange,
            "{value}"
        );
    }
    // What the source holds is the float that is nearest to the text.
    let rows = row(&mut decoder, &with_schema(&float, r#"{"wide":0.1}"#)).rows;
    assert_eq!(cell(&rows, "wide", 0), f64::from(0.1f32).to_string());
}

#[test]
fn strings_for_declared_binary_columns() {
    let mut decoder = declared(&[("b", T::Binary, DataType::Binary)]);
    let text = field("b", r#""type":"string""#);
    for (json, expected) in [
        ("\"3q2+7w==\"", Some("deadbeef")),
        ("\"3q2-7w==\"", Some("deadbeef")),
        ("\"\"", Some("")),
        // binary.handling.mode=hex, which is base64 of something else.
        ("\"deadbeef\"", None),
        ("\"dead\"", None),
        ("\"deadbe\"", None),
    ] {
        let message = with_schema(&text, &format!(r#"{{"b":{json}}}"#));
        match expected {
            Some(hex) => assert_eq!(cell(&row(&mut decoder, &message).rows, "b", 0), hex),
            None => assert_eq!(
                reject(&mut decoder, &message).reason,
                R::TypeMismatch,
                "{json}"
            ),
        }
    }
}
