//! Every semantic type with the values at its edges: the Arrow type, the value, or the reason why there is none.

mod decimals;
mod declared;
mod temporals;

use arrow::datatypes::DataType;
use engine::format::debezium::DecoderOptions;
use sql::change::RejectReason as R;

use super::harness::*;

/// What a value must become.
pub(super) enum To<'a> {
    Cell(&'a str),
    Reject(R),
}
pub(super) use To::{Cell, Reject};

pub(super) fn check(kind: &str, data_type: &DataType, cases: &[(&str, To<'_>)]) {
    check_of("postgresql", kind, data_type, cases);
}

pub(super) fn check_of(
    connector: &str,
    kind: &str,
    data_type: &DataType,
    cases: &[(&str, To<'_>)],
) {
    let fields = field("v", kind);
    let mut decoder = decoder(DecoderOptions::default());
    for (json, to) in cases {
        let message = with_schema_of(&fields, &format!(r#"{{"v":{json}}}"#), connector);
        match to {
            Cell(expected) => {
                let rows = row(&mut decoder, &message).rows;
                let column = rows.column_by_name("v").unwrap();
                assert_eq!(column.data_type(), data_type, "{kind}");
                assert_eq!(cell(&rows, "v", 0), *expected, "{kind} {json}");
            }
            Reject(reason) => {
                let reject = reject(&mut decoder, &message);
                assert_eq!(reject.reason, *reason, "{kind} {json}: {}", reject.detail);
                if *reason != R::Malformed {
                    assert_eq!(reject.column.as_deref(), Some("v"), "{kind} {json}");
                }
            }
        }
    }
    let null = row(
        &mut decoder,
        &with_schema_of(&fields, r#"{"v":null}"#, connector),
    );
    assert_eq!(cell(&null.rows, "v", 0), "NULL", "{kind}");
    let absent = row(&mut decoder, &with_schema_of(&fields, "{}", connector));
    assert_eq!(cell(&absent.rows, "v", 0), "NULL", "{kind}");
}

pub(super) fn named(kind: &str, name: &str) -> String {
    format!(r#""type":"{kind}","name":"{name}","version":1"#)
}

#[test]
fn integers() {
    check(
        r#""type":"int64""#,
        &DataType::Int64,
        &[
            ("9223372036854775807", Cell("9223372036854775807")),
            ("-9223372036854775808", Cell("-9223372036854775808")),
            ("9007199254740993", Cell("9007199254740993")),
            ("-0", Cell("0")),
            (" 7 ", Cell("7")),
            ("9223372036854775808", Reject(R::OutOfRange)),
            ("-9223372036854775809", Reject(R::OutOfRange)),
            ("1.5", Reject(R::TypeMismatch)),
            ("1.0", Reject(R::TypeMismatch)),
            ("1e3", Reject(R::TypeMismatch)),
            ("\"7\"", Reject(R::TypeMismatch)),
            ("true", Reject(R::TypeMismatch)),
            ("[1]", Reject(R::TypeMismatch)),
            ("01", Reject(R::Malformed)),
            ("+1", Reject(R::Malformed)),
            ("1.", Reject(R::Malformed)),
            ("--1", Reject(R::Malformed)),
        ],
    );
    for (kind, data_type, low, high, over) in [
        ("int8", DataType::Int8, "-128", "127", "128"),
        ("int16", DataType::Int16, "-32768", "32767", "32768"),
        (
            "int32",
            DataType::Int32,
            "-2147483648",
            "2147483647",
            "-2147483649",
        ),
    ] {
        check(
            &format!(r#""type":"{kind}""#),
            &data_type,
            &[
                (low, Cell(low)),
                (high, Cell(high)),
                (over, Reject(R::OutOfRange)),
            ],
        );
    }
}

#[test]
fn integers_of_every_length() {
    let digits = "1234567890123456789";
    let texts: Vec<String> = (1..=digits.len())
        .flat_map(|len| [digits[..len].to_owned(), format!("-{}", &digits[..len])])
        .chain((1..=19).map(|len| "9".repeat(len).chars().take(18).collect()))
        .collect();
    let cases: Vec<(&str, To<'_>)> = texts
        .iter()
        .map(|text| (text.as_str(), Cell(text.as_str())))
        .collect();
    check(r#""type":"int64""#, &DataType::Int64, &cases);
    for len in 1..=18 {
        // A byte that is no digit, at every place of a number that is read eight digits at a time.
        for wrong in ['/', ':', ';', 'e', '\u{e9}'] {
            for at in 0..len {
                let text: String = digits[..at]
                    .chars()
                    .chain([wrong])
                    .chain(digits[at + 1..=len].chars())
                    .collect();
                let mut decoder = decoder(DecoderOptions::default());
                let message = with_schema(
                    &field("v", r#""type":"int64""#),
                    &format!(r#"{{"v":{text}}}"#),
                );
                let reason = reject(&mut decoder, &message).reason;
                let exponent = wrong == 'e' && at > 0;
                assert_eq!(
                    reason,
                    if exponent {
                        R::TypeMismatch
                    } else {
                        R::Malformed
                    },
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn booleans_and_floats() {
    check(
        r#""type":"boolean""#,
        &DataType::Boolean,
        &[
            ("true", Cell("true")),
            ("false", Cell("false")),
            ("1", Cell("true")),
            ("2", Reject(R::TypeMismatch)),
            ("\"true\"", Reject(R::TypeMismatch)),
            ("tru", Reject(R::Malformed)),
        ],
    );
    check(
        r#""type":"double""#,
        &DataType::Float64,
        &[
            ("0.1", Cell("0.1")),
            ("-0.0", Cell("-0.0")),
            ("3", Cell("3.0")),
            ("1.7976931348623157E308", Cell("1.7976931348623157e308")),
            ("\"NaN\"", Cell("NaN")),
            ("\"Infinity\"", Cell("inf")),
            ("\"-Infinity\"", Cell("-inf")),
            ("1e999", Reject(R::OutOfRange)),
            ("\"1.5\"", Reject(R::TypeMismatch)),
            ("NaN", Reject(R::Malformed)),
        ],
    );
    check(
        r#""type":"float""#,
        &DataType::Float32,
        &[
            ("3.4028235E38", Cell("3.4028235e38")),
            ("1.5", Cell("1.5")),
            ("\"NaN\"", Cell("NaN")),
            ("3.5E38", Reject(R::OutOfRange)),
        ],
    );
}

#[test]
fn text_and_bytes() {
    check(
        r#""type":"string""#,
        &DataType::Utf8,
        &[
            ("\"\"", Cell("")),
            ("\"ab   \"", Cell("ab   ")),
            (
                r#""\uD83D\uDE00 \u00e9 \"q\" \/ \\n \b\f\r\t""#,
                Cell("😀 é \"q\" / \\n \u{8}\u{c}\r\t"),
            ),
            (r#""\u0000""#, Cell("\0")),
            (r#""\uD83D""#, Reject(R::Malformed)),
            (r#""\uDE00\uD83D""#, Reject(R::Malformed)),
            (r#""\x""#, Reject(R::Malformed)),
            ("\"a\nb\"", Reject(R::Malformed)),
            ("7", Reject(R::TypeMismatch)),
            ("{}", Reject(R::TypeMismatch)),
        ],
    );
    check(
        r#""type":"bytes""#,
        &DataType::Binary,
        &[
            ("\"3q2+7w==\"", Cell("deadbeef")),
            ("\"\"", Cell("")),
            ("\"3q2+7w\"", Reject(R::TypeMismatch)),
            ("\"3q2-7w==\"", Reject(R::TypeMismatch)),
            ("7", Reject(R::TypeMismatch)),
        ],
    );
    check(
        &format!(
            r#"{},"parameters":{{"length":"3"}}"#,
            named("bytes", "io.debezium.data.Bits")
        ),
        &DataType::Binary,
        &[("\"BQ==\"", Cell("05")), ("\"\"", Cell(""))],
    );
    for name in ["Uuid", "Xml", "Enum", "EnumSet", "Ltree", "Tsvector"] {
        check(
            &named("string", &format!("io.debezium.data.{name}")),
            &DataType::Utf8,
            &[("\"x,z\"", Cell("x,z")), ("\"\"", Cell(""))],
        );
    }
    check(
        &named("string", "io.debezium.data.Json"),
        &DataType::Utf8,
        &[
            (r#""{\"b\": [1, 2]}""#, Cell("{\"b\": [1, 2]}")),
            ("\"null\"", Cell("null")),
        ],
    );
}
