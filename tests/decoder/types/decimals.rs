//! Decimals of fixed and variable scale.

use arrow::datatypes::DataType;
use engine::spec::model::DeclaredType as T;
use sql::change::RejectReason as R;

use super::super::encoder::{base64, big_endian};
use super::super::harness::*;
use super::{Cell, Reject, To, check, named};

pub(super) fn decimal_kind(scale: i32, precision: Option<u32>) -> String {
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
fn scales_at_their_extremes() {
    for scale in [i32::MIN, -40, 39, i32::MAX] {
        let cases: &[(&str, To<'_>)] = match scale {
            -40 => &[(
                "\"AQ==\"",
                Cell("10000000000000000000000000000000000000000"),
            )],
            39 => &[(
                "\"AQ==\"",
                Cell("0.000000000000000000000000000000000000001"),
            )],
            _ => &[("\"AQ==\"", Reject(R::OutOfRange))],
        };
        check(&decimal_kind(scale, Some(3)), &DataType::Utf8, cases);
    }
}
