//! Every semantic type with the values at its edges: the Arrow type, the value, or the reason why there is none.

use arrow::datatypes::{DataType, TimeUnit};
use engine::format::debezium::DecoderOptions;
use engine::spec::model::DeclaredType as T;
use sql::change::RejectReason as R;

use super::encoder::{base64, big_endian};
use super::harness::*;

/// What a value must become.
enum To<'a> {
    Cell(&'a str),
    Reject(R),
}
use To::{Cell, Reject};

fn check(kind: &str, data_type: &DataType, cases: &[(&str, To<'_>)]) {
    check_of("postgresql", kind, data_type, cases);
}

fn check_of(connector: &str, kind: &str, data_type: &DataType, cases: &[(&str, To<'_>)]) {
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

fn named(kind: &str, name: &str) -> String {
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

#[test]
fn dates_and_times() {
    for name in [
        "io.debezium.time.Date",
        "org.apache.kafka.connect.data.Date",
    ] {
        check(
            &named("int32", name),
            &DataType::Date32,
            &[
                ("19782", Cell("2024-02-29")),
                ("0", Cell("1970-01-01")),
                ("-719162", Cell("0001-01-01")),
                ("2932896", Cell("9999-12-31")),
                ("-719163", Reject(R::OutOfRange)),
                ("2932897", Reject(R::OutOfRange)),
                ("-622191234", Reject(R::OutOfRange)),
                ("-2147472692", Reject(R::OutOfRange)),
                ("\"2024-02-29\"", Reject(R::TypeMismatch)),
            ],
        );
    }
    let micros = DataType::Time64(TimeUnit::Microsecond);
    for name in [
        "io.debezium.time.Time",
        "org.apache.kafka.connect.data.Time",
    ] {
        check(
            &named("int32", name),
            &micros,
            &[
                ("86399999", Cell("23:59:59.999")),
                ("86400000", Reject(R::OutOfRange)),
            ],
        );
    }
    check(
        &named("int64", "io.debezium.time.MicroTime"),
        &micros,
        &[
            ("0", Cell("00:00:00")),
            ("86399999999", Cell("23:59:59.999999")),
            ("86400000000", Reject(R::OutOfRange)),
            ("-1", Reject(R::OutOfRange)),
            ("9223372036854775807", Reject(R::OutOfRange)),
        ],
    );
    check(
        &named("int64", "io.debezium.time.NanoTime"),
        &micros,
        &[
            ("86399999999000", Cell("23:59:59.999999")),
            ("1", Reject(R::OutOfRange)),
        ],
    );
    for connector in ["mysql", "mariadb"] {
        check_of(
            connector,
            &named("int64", "io.debezium.time.MicroTime"),
            &DataType::Int64,
            &[
                ("-3020399000000", Cell("-3020399000000")),
                ("3020399999999", Cell("3020399999999")),
            ],
        );
    }
    check(
        &named("string", "io.debezium.time.IsoDate"),
        &DataType::Date32,
        &[
            ("\"2024-02-29Z\"", Cell("2024-02-29")),
            ("\"2023-02-29Z\"", Reject(R::OutOfRange)),
            ("\"0000-12-30Z\"", Reject(R::OutOfRange)),
            ("\"2024-2-29\"", Reject(R::TypeMismatch)),
            ("19782", Reject(R::TypeMismatch)),
        ],
    );
    check(
        &named("string", "io.debezium.time.IsoTime"),
        &micros,
        &[
            ("\"12:34:56.789012Z\"", Cell("12:34:56.789012")),
            ("\"24:00:00Z\"", Reject(R::OutOfRange)),
        ],
    );
    check(
        &named("string", "io.debezium.time.ZonedTime"),
        &DataType::Utf8,
        &[("\"07:59:59.999999Z\"", Cell("07:59:59.999999Z"))],
    );
}

#[test]
fn local_timestamps_have_no_zone() {
    for name in [
        "io.debezium.time.Timestamp",
        "org.apache.kafka.connect.data.Timestamp",
    ] {
        check(
            &named("int64", name),
            &micros(),
            &[
                ("1709210096789", Cell("2024-02-29T12:34:56.789")),
                ("-1", Cell("1969-12-31T23:59:59.999")),
                ("9223372036854775807", Reject(R::OutOfRange)),
            ],
        );
    }
    check(
        &named("int64", "io.debezium.time.MicroTimestamp"),
        &micros(),
        &[
            ("1709210096789012", Cell("2024-02-29T12:34:56.789012")),
            ("-62135596800000000", Cell("0001-01-01T00:00:00")),
            ("253402300799999999", Cell("9999-12-31T23:59:59.999999")),
            ("253402300800000000", Reject(R::OutOfRange)),
            ("9223372036825200000", Reject(R::OutOfRange)),
            ("-9223372036832400000", Reject(R::OutOfRange)),
        ],
    );
    check(
        &named("int64", "io.debezium.time.NanoTimestamp"),
        &micros(),
        &[
            ("1709210096789012000", Cell("2024-02-29T12:34:56.789012")),
            ("-1000", Cell("1969-12-31T23:59:59.999999")),
            ("1709210096789012345", Reject(R::OutOfRange)),
            ("9223372036854775807", Reject(R::OutOfRange)),
            ("-9223372036854775808", Reject(R::OutOfRange)),
        ],
    );
    check(
        &named("string", "io.debezium.time.IsoTimestamp"),
        &micros(),
        &[
            (
                "\"2024-02-29T12:34:56.789012Z\"",
                Cell("2024-02-29T12:34:56.789012"),
            ),
            ("\"2024-02-29T12:34:56+02:00\"", Reject(R::TypeMismatch)),
        ],
    );
}

#[test]
fn instants_are_utc() {
    check(
        &named("string", "io.debezium.time.ZonedTimestamp"),
        &utc(),
        &[
            ("\"2024-02-29T12:34:56Z\"", Cell("2024-02-29T12:34:56Z")),
            (
                "\"2024-02-29T12:34:56.7Z\"",
                Cell("2024-02-29T12:34:56.700Z"),
            ),
            (
                "\"2024-02-29T12:34:56.789012000Z\"",
                Cell("2024-02-29T12:34:56.789012Z"),
            ),
            ("\"2024-02-29T12:34Z\"", Cell("2024-02-29T12:34:00Z")),
            (
                "\"2024-02-29T12:34:56+05:30\"",
                Cell("2024-02-29T07:04:56Z"),
            ),
            ("\"2024-02-29T00:00:00-0130\"", Cell("2024-02-29T01:30:00Z")),
            ("\"2024-02-29 12:34:56+02\"", Cell("2024-02-29T10:34:56Z")),
            ("\"0001-01-01T00:00:00Z\"", Cell("0001-01-01T00:00:00Z")),
            (
                "\"9999-12-31T23:59:59.999999Z\"",
                Cell("9999-12-31T23:59:59.999999Z"),
            ),
            ("\"2024-02-29T12:34:56.789012345Z\"", Reject(R::OutOfRange)),
            ("\"9999-12-31T23:59:59-01:00\"", Reject(R::OutOfRange)),
            ("\"infinity\"", Reject(R::OutOfRange)),
            ("\"-infinity\"", Reject(R::OutOfRange)),
            ("\"0000-12-30T00:00:00Z\"", Reject(R::OutOfRange)),
            ("\"-0001-12-30T00:00:00Z\"", Reject(R::OutOfRange)),
            ("\"+294276-12-31T23:59:59.999999Z\"", Reject(R::OutOfRange)),
            ("\"2024-02-30T00:00:00Z\"", Reject(R::OutOfRange)),
            ("\"2024-02-29T25:00:00Z\"", Reject(R::OutOfRange)),
            ("\"2024-02-29T12:34:56\"", Reject(R::TypeMismatch)),
            ("\"2024-02-29\"", Reject(R::TypeMismatch)),
            (
                "\"2024-02-29T12:34:56.1234567890Z\"",
                Reject(R::TypeMismatch),
            ),
            ("\"2024-02-29T12:34:56Zx\"", Reject(R::TypeMismatch)),
            ("\"\"", Reject(R::TypeMismatch)),
            ("1709210096789", Reject(R::TypeMismatch)),
        ],
    );
}

#[test]
fn structured_temporals() {
    let date = r#"{"year":2024,"month":2,"day":29,"specialValue":null}"#;
    check(
        &format!(
            r#"{},"fields":[]"#,
            named("struct", "io.debezium.time.StructuredDate")
        ),
        &DataType::Date32,
        &[
            (date, Cell("2024-02-29")),
            (r#"{"year":0,"month":0,"day":0}"#, Reject(R::OutOfRange)),
            (r#"{"year":2024,"month":2}"#, Reject(R::OutOfRange)),
            (
                r#"{"specialValue":"POSITIVE_INFINITY"}"#,
                Reject(R::OutOfRange),
            ),
            ("\"2024-02-29\"", Reject(R::TypeMismatch)),
        ],
    );
    let parts = r#""year":2024,"month":2,"day":29,"hour":12,"minute":34,"second":56"#;
    check(
        &format!(
            r#"{},"fields":[]"#,
            named("struct", "io.debezium.time.StructuredTimestamp")
        ),
        &micros(),
        &[
            (
                &format!(r#"{{{parts},"nanos":789012000}}"#),
                Cell("2024-02-29T12:34:56.789012"),
            ),
            (
                &format!(r#"{{{parts},"picoseconds":789012000000}}"#),
                Cell("2024-02-29T12:34:56.789012"),
            ),
            (&format!(r#"{{{parts},"nanos":1}}"#), Reject(R::OutOfRange)),
        ],
    );
    check(
        &format!(
            r#"{},"fields":[]"#,
            named("struct", "io.debezium.time.StructuredZonedTimestamp")
        ),
        &utc(),
        &[(
            &format!(r#"{{{parts},"nanos":0,"offsetSeconds":7200,"zoneId":"+02:00"}}"#),
            Cell("2024-02-29T10:34:56Z"),
        )],
    );
    check(
        &format!(
            r#"{},"fields":[]"#,
            named("struct", "io.debezium.time.StructuredTime")
        ),
        &DataType::Time64(TimeUnit::Microsecond),
        &[
            (
                r#"{"hour":23,"minute":59,"second":59,"nanos":999999000}"#,
                Cell("23:59:59.999999"),
            ),
            (
                r#"{"hour":24,"minute":0,"second":0,"nanos":0}"#,
                Reject(R::OutOfRange),
            ),
        ],
    );
}

#[test]
fn durations_intervals_years() {
    for name in ["MicroDuration", "NanoDuration"] {
        check(
            &named("int64", &format!("io.debezium.time.{name}")),
            &DataType::Int64,
            &[
                ("37091106789000", Cell("37091106789000")),
                ("-1", Cell("-1")),
            ],
        );
    }
    check(
        &named("string", "io.debezium.time.Interval"),
        &DataType::Utf8,
        &[("\"P1Y2M-3DT4H5M6.789S\"", Cell("P1Y2M-3DT4H5M6.789S"))],
    );
    check(
        &named("int32", "io.debezium.time.Year"),
        &DataType::Int32,
        &[("1901", Cell("1901")), ("0", Cell("0"))],
    );
}

fn decimal_kind(scale: i32, precision: Option<u32>) -> String {
    let precision = precision.map_or(String::new(), |precision| {
        format!(r#","connect.decimal.precision":"{precision}""#)
    });
    format!(
        r#"{},"parameters":{{"scale":"{scale}"{precision}}}"#,
        named("bytes", "org.apache.kafka.connect.data.Decimal")
    )
}

#[test]
fn decimals_are_exact() {
    check(
        &decimal_kind(2, Some(12)),
        &DataType::Decimal128(12, 2),
        &[
            ("\"AA==\"", Cell("0.00")),
            ("\"/w==\"", Cell("-0.01")),
            ("\"BBo=\"", Cell("10.50")),
            ("\"AAAAAAQa\"", Cell("10.50")),
            ("\"\"", Cell("0.00")),
            ("12.34", Cell("12.34")),
            ("1.2e1", Cell("12.00")),
            ("-7", Cell("-7.00")),
            ("12.345", Reject(R::OutOfRange)),
            ("1e300", Reject(R::OutOfRange)),
            ("12345678901", Reject(R::OutOfRange)),
            ("\"abc\"", Reject(R::TypeMismatch)),
            ("\"12.34\"", Reject(R::TypeMismatch)),
            ("true", Reject(R::TypeMismatch)),
        ],
    );
    check(
        &decimal_kind(2, None),
        &DataType::Decimal128(38, 2),
        &[("\"BNI=\"", Cell("12.34"))],
    );
    // 3 digits and two zeros: 12300.
    let hundreds = format!("\"{}\"", base64(&big_endian(123)));
    check(
        &decimal_kind(-2, Some(3)),
        &DataType::Decimal128(5, 0),
        &[(&hundreds, Cell("12300"))],
    );
    let big = base64(&big_endian(
        99_999_999_999_999_999_999_999_999_999_999_999_999,
    ));
    check(
        &decimal_kind(0, Some(38)),
        &DataType::Decimal128(38, 0),
        &[(
            &format!("\"{big}\""),
            Cell("99999999999999999999999999999999999999"),
        )],
    );
}

#[test]
fn decimals_of_more_than_38_digits_are_exact_text() {
    let bytes = |negative: bool| {
        // 2^130 = 1361129467683753853853498429727072845824.
        let mut bytes = vec![if negative { 0xfc } else { 0x04 }];
        bytes.extend([0; 16]);
        format!("\"{}\"", base64(&bytes))
    };
    let (positive, negative) = (bytes(false), bytes(true));
    check(
        &decimal_kind(5, Some(50)),
        &DataType::Utf8,
        &[
            (&positive, Cell("13611294676837538538534984297270728.45824")),
            (
                &negative,
                Cell("-13611294676837538538534984297270728.45824"),
            ),
            ("\"AA==\"", Cell("0.00000")),
            ("\"BBo=\"", Cell("0.01050")),
        ],
    );
}

#[test]
fn variable_scale_decimals() {
    let kind = format!(
        r#"{},"fields":[{{"type":"int32","optional":false,"field":"scale"}},{{"type":"bytes","optional":false,"field":"value"}}]"#,
        named("struct", "io.debezium.data.VariableScaleDecimal")
    );
    check(
        &kind,
        &DataType::Utf8,
        &[
            (
                r#"{"scale":14,"value":"AR2552okgw=="}"#,
                Cell("3.14159265358979"),
            ),
            (r#"{"value":"AQ==","scale":0}"#, Cell("1")),
            (r#"{"scale":-3,"value":"Aw=="}"#, Cell("3000")),
            (
                r#"{"scale":2147483647,"value":"Aw=="}"#,
                Reject(R::OutOfRange),
            ),
            (r#"{"scale":1}"#, Reject(R::TypeMismatch)),
            (r#"{"scale":"1","value":"Aw=="}"#, Reject(R::TypeMismatch)),
            ("\"Aw==\"", Reject(R::TypeMismatch)),
        ],
    );
    // Declared, the same values are rescaled exactly or refused.
    let mut decoder = declared(&[("v", T::Decimal, DataType::Decimal128(12, 2))]);
    for (json, expected) in [
        (r#"{"scale":1,"value":"Fw=="}"#, Some("2.30")),
        (r#"{"scale":3,"value":"Ck8="}"#, None),
    ] {
        let message = with_schema(&field("v", &kind), &format!(r#"{{"v":{json}}}"#));
        match expected {
            Some(text) => assert_eq!(cell(&row(&mut decoder, &message).rows, "v", 0), text),
            None => assert_eq!(reject(&mut decoder, &message).reason, R::OutOfRange),
        }
    }
}

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

#[test]
fn declared_columns_without_schema() {
    let mut decoder = declared(&[
        ("b", T::Boolean, DataType::Boolean),
        ("s", T::Integer, DataType::Int16),
        ("dec", T::Decimal, DataType::Decimal128(12, 2)),
        ("whole", T::Decimal, DataType::Decimal128(20, 0)),
        ("j", T::Json, DataType::Utf8),
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
