//! Generated values of every semantic type, through an encoder of our own, and back: with and without schema, keys in
//! any order, white space, unknown fields, escapes that need not be.

use arrow::datatypes::DataType;
use engine::format::debezium::DecoderOptions;
use engine::spec::model::DeclaredType as T;
use proptest::prelude::*;

use super::cases::{Case, any_case, named};
use super::encoder::{base64, big_endian, decimal};
use super::harness::*;

/// How an object is written: in which order, with what between.
#[derive(Debug, Clone)]
struct Style {
    order: Vec<prop::sample::Index>,
    space: bool,
    unknown: bool,
    nulls: Vec<bool>,
}

fn style() -> impl Strategy<Value = Style> {
    (
        prop::collection::vec(any::<prop::sample::Index>(), 12),
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(prop::bool::weighted(0.2), 12),
    )
        .prop_map(|(order, space, unknown, nulls)| Style {
            order,
            space,
            unknown,
            nulls,
        })
}

fn object(cases: &[Case], style: &Style) -> String {
    let mut members: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(i, case)| {
            let json = if style.nulls[i] { "null" } else { &case.json };
            if style.space {
                format!(" \"f{i}\"\n:\t{json} ")
            } else {
                format!("\"f{i}\":{json}")
            }
        })
        .collect();
    if style.unknown {
        members.push(r#""unknown":{"a":[1,"}\"{",null],"b":{}}"#.to_owned());
    }
    for (i, index) in style.order.iter().enumerate().take(members.len()) {
        let other = index.index(members.len());
        members.swap(i, other);
    }
    format!("{{{}}}", members.join(","))
}

/// Floats in one notation: they are the same if they have the same bits.
fn shown(case: &Case, text: &str) -> String {
    match case.declared.1 {
        DataType::Float32 if text != "NULL" => {
            format!("{:x}", text.parse::<f32>().unwrap().to_bits())
        }
        DataType::Float64 if text != "NULL" => {
            format!("{:x}", text.parse::<f64>().unwrap().to_bits())
        }
        _ => text.to_owned(),
    }
}

fn check(
    decoder: &mut engine::format::debezium::JsonDecoder,
    message: &Message,
    cases: &[Case],
    style: &Style,
) -> Result<(), TestCaseError> {
    let rows = row(decoder, message).rows;
    for (i, case) in cases.iter().enumerate() {
        let expected = if style.nulls[i] { "NULL" } else { &case.cell };
        let actual = cell(&rows, &format!("f{i}"), 0);
        prop_assert_eq!(shown(case, &actual), shown(case, expected), "{}", case.json);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_survive(cases in prop::collection::vec(any_case(), 1..10), styles in prop::collection::vec(style(), 1..4)) {
        let names: Vec<String> = (0..cases.len()).map(|i| format!("f{i}")).collect();
        let columns: Vec<(&str, T, DataType)> = cases
            .iter()
            .zip(&names)
            .map(|(case, name)| (name.as_str(), case.declared.0, case.declared.1.clone()))
            .collect();
        let fields: Vec<String> = cases
            .iter()
            .zip(&names)
            .map(|(case, name)| field(name, &case.kind))
            .collect();
        let fields = fields.join(",");
        // Declared without schema, declared with schema, learned. A variable scale is text unless
        // declared, and has a test of its own.
        let mut plain = declared(&columns);
        let mut both = declared(&columns);
        let mut learned = decoder(DecoderOptions::default());
        for style in &styles {
            let after = object(&cases, style);
            check(&mut plain, &Message::value(&envelope("c", "null", &after)), &cases, style)?;
            check(&mut plain, &Message::value(&after), &cases, style)?;
            check(&mut both, &with_schema(&fields, &after), &cases, style)?;
            if !fields.contains("VariableScaleDecimal") {
                check(&mut learned, &with_schema(&fields, &after), &cases, style)?;
            }
        }
    }

    #[test]
    fn exact_text_of_any_variable_decimal(unscaled in any::<i128>(), scale in -40i32..60) {
        let kind = format!(r#"{},"fields":[]"#, named("struct", "io.debezium.data.VariableScaleDecimal"));
        let value = base64(&big_endian(unscaled));
        let message = with_schema(&field("v", &kind), &format!(r#"{{"v":{{"scale":{scale},"value":"{value}"}}}}"#));
        let rows = row(&mut decoder(DecoderOptions::default()), &message).rows;
        prop_assert_eq!(cell(&rows, "v", 0), decimal(unscaled, scale));
    }

    #[test]
    fn any_rescaling_is_exact_or_refused(unscaled in any::<i64>(), from in 0i32..=12, to in 0i8..=12, precision in 12u8..=38) {
        let kind = format!(
            r#"{},"parameters":{{"scale":"{from}"}}"#,
            named("bytes", "org.apache.kafka.connect.data.Decimal")
        );
        let value = base64(&big_endian(i128::from(unscaled)));
        let message = with_schema(&field("v", &kind), &format!(r#"{{"v":"{value}"}}"#));
        let mut decoder = declared(&[("v", T::Decimal, DataType::Decimal128(precision, to))]);
        // In units of 10^-12, which every scale here divides.
        let units = i128::from(unscaled) * 10i128.pow(u32::try_from(12 - from).unwrap());
        let unit = 10i128.pow(12 - u32::try_from(to).unwrap());
        let fits = units % unit == 0 && (units / unit).abs() < 10i128.pow(u32::from(precision));
        if fits {
            let rows = row(&mut decoder, &message).rows;
            prop_assert_eq!(cell(&rows, "v", 0), decimal(units / unit, i32::from(to)));
        } else {
            let rejected = reject(&mut decoder, &message);
            prop_assert_eq!(rejected.reason, sql::change::RejectReason::OutOfRange);
        }
    }
}
