//! Generated values of every semantic type, through an encoder of our own, and back: with and without schema, keys in
//! any order, white space, unknown fields, escapes that need not be.

use arrow::datatypes::{DataType, TimeUnit};
use engine::format::debezium::DecoderOptions;
use engine::spec::model::DeclaredType as T;
use proptest::prelude::*;

use super::encoder::{base64, big_endian, decimal, iso, string, time};
use super::harness::*;

/// One field: how its schema says it, how it is declared, the value as JSON, and the cell that it must become.
#[derive(Debug, Clone)]
struct Case {
    kind: String,
    declared: (T, DataType),
    json: String,
    cell: String,
}

const DAY: i64 = 86_400_000_000;
const FIRST: i64 = -719_162;
const LAST: i64 = 2_932_896;

fn named(kind: &str, name: &str) -> String {
    format!(r#""type":"{kind}","name":"{name}","version":1"#)
}

fn case(kind: String, declared: (T, DataType), json: String, cell: String) -> Case {
    Case {
        kind,
        declared,
        json,
        cell,
    }
}

/// Arrow prints fractions in groups of three digits.
fn printed(text: &str) -> String {
    match text.split_once('.') {
        Some((whole, fraction)) => {
            let width = if fraction.len() <= 3 { 3 } else { 6 };
            format!("{whole}.{fraction:0<width$}")
        }
        None => text.to_owned(),
    }
}

fn integers() -> BoxedStrategy<Case> {
    prop_oneof![
        any::<i64>().prop_map(|v| ("int64", DataType::Int64, v)),
        any::<i32>().prop_map(|v| ("int32", DataType::Int32, v.into())),
        any::<i16>().prop_map(|v| ("int16", DataType::Int16, v.into())),
        any::<i8>().prop_map(|v| ("int8", DataType::Int8, v.into())),
    ]
    .prop_map(|(kind, data_type, v): (&str, DataType, i64)| {
        case(
            format!(r#""type":"{kind}""#),
            (T::Integer, data_type),
            v.to_string(),
            v.to_string(),
        )
    })
    .boxed()
}

fn floats() -> BoxedStrategy<Case> {
    let double =
        any::<f64>().prop_map(|v| (r#""type":"double""#, DataType::Float64, v, format!("{v:?}")));
    let float = any::<f32>().prop_map(|v| {
        (
            r#""type":"float""#,
            DataType::Float32,
            f64::from(v),
            format!("{v:?}"),
        )
    });
    prop_oneof![double, float]
        .prop_map(|(kind, data_type, v, text)| {
            let (json, cell) = match v {
                v if v.is_nan() => ("\"NaN\"".to_owned(), "NaN".to_owned()),
                v if v.is_infinite() && v > 0.0 => ("\"Infinity\"".to_owned(), "inf".to_owned()),
                v if v.is_infinite() => ("\"-Infinity\"".to_owned(), "-inf".to_owned()),
                _ => (text.clone(), text),
            };
            case(kind.to_owned(), (T::Float, data_type), json, cell)
        })
        .boxed()
}

fn texts() -> BoxedStrategy<Case> {
    (any::<String>(), any::<bool>(), 0..4usize)
        .prop_map(|(text, wild, which)| {
            let (kind, declared) = [
                (r#""type":"string""#.to_owned(), T::Text),
                (named("string", "io.debezium.data.Uuid"), T::Uuid),
                (named("string", "io.debezium.data.Enum"), T::Text),
                (named("string", "io.debezium.data.Json"), T::Json),
            ][which]
                .clone();
            case(kind, (declared, DataType::Utf8), string(&text, wild), text)
        })
        .boxed()
}

fn binaries() -> BoxedStrategy<Case> {
    prop::collection::vec(any::<u8>(), 0..40)
        .prop_map(|bytes| {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            case(
                r#""type":"bytes""#.to_owned(),
                (T::Binary, DataType::Binary),
                format!("\"{}\"", base64(&bytes)),
                hex,
            )
        })
        .boxed()
}

fn decimals() -> BoxedStrategy<Case> {
    // The scale is not 0: without a schema whole numbers in base64 may be ambiguous.
    (1u8..=38, any::<i128>(), 1u8..=38, any::<bool>())
        .prop_map(|(precision, seed, scale, form)| {
            let scale = scale.min(precision);
            let unscaled = seed % 10i128.pow(u32::from(precision));
            let text = decimal(unscaled, i32::from(scale));
            let json = if form {
                text.clone()
            } else {
                format!("\"{}\"", base64(&big_endian(unscaled)))
            };
            let kind = format!(
                r#"{},"parameters":{{"scale":"{scale}","connect.decimal.precision":"{precision}"}}"#,
                named("bytes", "org.apache.kafka.connect.data.Decimal")
            );
            let data_type = DataType::Decimal128(precision, i8::try_from(scale).unwrap());
            case(kind, (T::Decimal, data_type), json, text)
        })
        .boxed()
}

fn variable_decimals() -> BoxedStrategy<Case> {
    (any::<i64>(), 0i32..=18)
        .prop_map(|(unscaled, scale)| {
            let unscaled = i128::from(unscaled);
            let value = base64(&big_endian(unscaled));
            let exact = unscaled * 10i128.pow(u32::try_from(18 - scale).unwrap());
            // Declared with a schema: the decoder rescales.
            case(
                format!(
                    r#"{},"fields":[]"#,
                    named("struct", "io.debezium.data.VariableScaleDecimal")
                ),
                (T::Decimal, DataType::Decimal128(38, 18)),
                format!(r#"{{"scale":{scale},"value":"{value}"}}"#),
                decimal(exact, 18),
            )
        })
        .boxed()
}

fn dates() -> BoxedStrategy<Case> {
    (FIRST..=LAST, any::<bool>())
        .prop_map(|(day, text)| {
            let printed = iso(day * DAY)[..10].to_owned();
            let (kind, json) = if text {
                (
                    named("string", "io.debezium.time.IsoDate"),
                    format!("\"{printed}\""),
                )
            } else {
                (named("int32", "io.debezium.time.Date"), day.to_string())
            };
            case(kind, (T::Date, DataType::Date32), json, printed)
        })
        .boxed()
}

fn times() -> BoxedStrategy<Case> {
    (0..DAY, any::<bool>())
        .prop_map(|(micros, text)| {
            let (kind, json) = if text {
                (
                    named("string", "io.debezium.time.IsoTime"),
                    format!("\"{}\"", time(micros)),
                )
            } else {
                (
                    named("int64", "io.debezium.time.MicroTime"),
                    micros.to_string(),
                )
            };
            case(
                kind,
                (T::Time, DataType::Time64(TimeUnit::Microsecond)),
                json,
                printed(&time(micros)),
            )
        })
        .boxed()
}

fn timestamps() -> BoxedStrategy<Case> {
    (FIRST * DAY..(LAST + 1) * DAY, 0..3u8)
        .prop_map(|(micros, form)| {
            let millis = micros.div_euclid(1000);
            let (kind, precision, json, micros) = match form {
                0 => ("Timestamp", 3, millis.to_string(), millis * 1000),
                1 => ("MicroTimestamp", 6, micros.to_string(), micros),
                _ => {
                    let micros = micros % 9_000_000_000_000_000;
                    ("NanoTimestamp", 9, (micros * 1000).to_string(), micros)
                }
            };
            case(
                named("int64", &format!("io.debezium.time.{kind}")),
                (T::Timestamp { precision }, super::harness::micros()),
                json,
                printed(&iso(micros)),
            )
        })
        .boxed()
}

fn instants() -> BoxedStrategy<Case> {
    (FIRST * DAY + DAY..LAST * DAY, -18 * 60..=18 * 60i64)
        .prop_map(|(utc_micros, offset)| {
            let zone = if offset == 0 {
                "Z".to_owned()
            } else {
                let sign = if offset < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", offset.abs() / 60, offset.abs() % 60)
            };
            let wall = iso(utc_micros + offset * 60_000_000);
            case(
                named("string", "io.debezium.time.ZonedTimestamp"),
                (T::TimestampTz, utc()),
                format!("\"{wall}{zone}\""),
                format!("{}Z", printed(&iso(utc_micros))),
            )
        })
        .boxed()
}

fn lists() -> BoxedStrategy<Case> {
    prop::collection::vec(prop::option::of(any::<i32>()), 0..6)
        .prop_map(|items| {
            let show = |null: &str| {
                let items: Vec<String> = items
                    .iter()
                    .map(|item| item.map_or(null.to_owned(), |item| item.to_string()))
                    .collect();
                items
            };
            let data_type = DataType::List(std::sync::Arc::new(arrow::datatypes::Field::new(
                "item",
                DataType::Int32,
                true,
            )));
            case(
                r#""type":"array","items":{"type":"int32","optional":true}"#.to_owned(),
                (T::List, data_type),
                format!("[{}]", show("null").join(",")),
                format!("[{}]", show("NULL").join(", ")),
            )
        })
        .boxed()
}

fn any_case() -> BoxedStrategy<Case> {
    prop_oneof![
        integers(),
        floats(),
        texts(),
        binaries(),
        decimals(),
        variable_decimals(),
        dates(),
        times(),
        timestamps(),
        instants(),
        lists(),
    ]
    .boxed()
}

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
