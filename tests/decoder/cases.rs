//! Generated values of every semantic type, and what a converter makes of them.

use arrow::datatypes::{DataType, TimeUnit};
use engine::spec::model::DeclaredType as T;
use proptest::prelude::*;

use super::encoder::{base64, big_endian, decimal, iso, string, time};
use super::harness::{micros as local, utc};

/// One field: how its schema says it, how it is declared, the value as JSON, and the cell that it must become.
#[derive(Debug, Clone)]
pub struct Case {
    pub kind: String,
    pub declared: (T, DataType),
    pub json: String,
    pub cell: String,
}

const DAY: i64 = 86_400_000_000;
const FIRST: i64 = -719_162;
const LAST: i64 = 2_932_896;

pub fn named(kind: &str, name: &str) -> String {
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
                (T::Timestamp { precision }, local()),
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

pub fn any_case() -> BoxedStrategy<Case> {
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
