//! Damaged messages: never a panic, never a trace in their neighbours, never accepted unless they are still JSON.

use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::format::{Decoder, Pushed};
use proptest::prelude::*;

use super::harness::*;

/// A decoder that knows the fixture's columns, and the fixture's messages.
fn prepared(name: &str) -> (JsonDecoder, Vec<Message>) {
    let messages = fixture(name);
    let mut decoder = decoder(DecoderOptions::default());
    feed(&mut decoder, &messages[0]);
    decoder.finish(0).unwrap();
    (decoder, messages)
}

#[derive(Debug, Clone)]
enum Damage {
    Cut(usize),
    Flip(usize, u8),
    Remove(usize),
    Double(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 20));
    (at, 0..4u8, any::<u8>()).prop_map(|(at, kind, byte)| match kind {
        0 => Damage::Cut(at),
        1 => Damage::Flip(at, byte),
        2 => Damage::Remove(at),
        _ => Damage::Double(at),
    })
}

/// Any JSON value; objects only inside, because a bare object in `before` would be read as a row.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let object = prop::collection::hash_map(any::<String>(), inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(serde_json::Value::from),
            object.prop_map(|members| members.into_iter().collect::<serde_json::Value>()),
        ]
    })
    .prop_map(|value| match value {
        serde_json::Value::Object(_) => serde_json::Value::from(vec![value]),
        other => other,
    })
}

/// By the grammar alone: a number may be greater than any type holds, in a field that nobody reads.
fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}

fn damaged(bytes: &[u8], damage: &Damage) -> Vec<u8> {
    let mut out = bytes.to_vec();
    match damage {
        Damage::Cut(at) => out.truncate(at % bytes.len()),
        Damage::Flip(at, byte) => out[at % bytes.len()] = *byte,
        Damage::Remove(at) => {
            out.remove(at % bytes.len());
        }
        Damage::Double(at) => out.insert(at % bytes.len(), bytes[at % bytes.len()]),
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_values_leave_their_neighbours_alone(
        which in 0..2usize,
        tail in any::<bool>(),
        damage in damage(),
    ) {
        let (mut decoder, messages) = prepared("all_types.schema.jsonl");
        let good = &messages[0];
        let whole = row(&mut decoder, good).rows;
        let mut bad = messages[which * 2].clone();
        let bytes = bad.value.clone().unwrap();
        // Half of the damage goes to the payload: the schema is most of the message.
        let payload = bytes.windows(12).rposition(|window| window == b"\"payload\":{\"").unwrap();
        let start = if tail { payload } else { 0 };
        let mut value = bytes[..start].to_vec();
        value.extend(damaged(&bytes[start..], &damage));
        bad.value = Some(value.clone());

        assert_eq!(good.push(&mut decoder).unwrap(), Pushed::Row);
        let taken = bad.push(&mut decoder);
        let rows = decoder.len();
        assert_eq!(good.push(&mut decoder).unwrap(), Pushed::Row);
        let decoded = decoder.finish(0).unwrap();
        let last = decoded.rows.num_rows() - 1;
        prop_assert_eq!(last, rows);
        for name in ["id", "n", "t", "by", "ia", "pt", "nv", "_source", "_offset"] {
            prop_assert_eq!(cell(&decoded.rows, name, 0), cell(&whole, name, 0));
            prop_assert_eq!(cell(&decoded.rows, name, last), cell(&whole, name, 0));
        }
        if matches!(taken, Ok(Pushed::Row)) {
            prop_assert!(is_json(&value), "accepted, but it is no JSON");
        }
        let counts = &decoded.counts;
        let explained = decoded.rows.num_rows() as u64 + decoded.rejects.len() as u64
            + counts.tombstones + counts.control;
        prop_assert_eq!(explained, counts.records);
    }

    #[test]
    fn of_keys_and_schemaless_values_never_panic(
        damage_value in damage(),
        damage_key in damage(),
        which in 0..11usize,
    ) {
        let messages = fixture("docs.jsonl");
        let mut decoder = declared(&[
            ("id", engine::spec::model::DeclaredType::Integer, arrow::datatypes::DataType::Int32),
            ("title", engine::spec::model::DeclaredType::Text, arrow::datatypes::DataType::Utf8),
        ]);
        let mut bad = messages[which].clone();
        bad.key = bad.key.map(|key| damaged(&key, &damage_key));
        bad.value = bad.value.map(|value| damaged(&value, &damage_value));
        row(&mut decoder, &messages[0]);
        let pushed = bad.push(&mut decoder);
        if matches!(pushed, Ok(Pushed::Row)) {
            let json = bad.value.as_deref().is_some_and(is_json);
            prop_assert!(json, "accepted, but it is no JSON");
        }
        decoder.finish(0).unwrap();
        prop_assert_eq!(cell(&row(&mut decoder, &messages[0]).rows, "id", 0), "1");
    }

    #[test]
    fn whatever_is_json_is_stepped_over_and_kept(value in any_json(), pretty in any::<bool>()) {
        use engine::spec::model::DeclaredType as T;
        let mut decoder = declared(&[
            ("id", T::Integer, arrow::datatypes::DataType::Int32),
            ("kept", T::Json, arrow::datatypes::DataType::Utf8),
        ]);
        let text = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        let after = format!(r#"{{"unknown":{text},"kept":{text},"id":7}}"#);
        let rows = row(&mut decoder, &Message::value(&envelope("c", &text, &after))).rows;
        prop_assert_eq!(cell(&rows, "id", 0), "7");
        let expected = match &value {
            serde_json::Value::Null => "NULL".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            _ => text,
        };
        prop_assert_eq!(cell(&rows, "kept", 0), expected);
    }

    #[test]
    fn of_random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[{}\\[\\]\",:0-9a-z\\\\ ]{0,60}") {
        let (mut decoder, _) = prepared("docs.schema.jsonl");
        for value in [bytes, text.into_bytes()] {
            let mut message = Message::value("");
            message.value = Some(value.clone());
            let valid = serde_json::from_slice::<serde_json::Value>(&value).is_ok();
            let pushed = message.push(&mut decoder);
            if matches!(pushed, Ok(Pushed::Row)) {
                prop_assert!(valid);
            }
        }
    }
}

#[test]
fn deep_nesting_is_refused_without_overflowing_the_stack() {
    let (mut decoder, _) = prepared("docs.schema.jsonl");
    for open in ["[", "{\"a\":"] {
        let value = open.repeat(100_000);
        let rejected = reject(&mut decoder, &Message::value(&format!("{{\"x\":{value}")));
        assert_eq!(rejected.reason, sql::change::RejectReason::Malformed);
    }
}

#[test]
fn a_schema_that_nests_deeply_is_refused() {
    let (mut decoder, _) = prepared("docs.schema.jsonl");
    let mut schema = r#"{"type":"int32"}"#.to_owned();
    for _ in 0..40 {
        schema = format!(r#"{{"type":"array","items":{schema}}}"#);
    }
    let message = Message::value(&format!(r#"{{"schema":{schema},"payload":1}}"#));
    assert_eq!(
        reject(&mut decoder, &message).reason,
        sql::change::RejectReason::UnknownShape
    );
}

#[test]
fn a_number_beyond_every_type_is_json_where_nobody_reads_it() {
    let (mut decoder, messages) = prepared("all_types.schema.jsonl");
    let mut message = messages[0].clone();
    let text = String::from_utf8(message.value.unwrap()).unwrap();
    let huge = text.replace(r#""op":"r","ts_ms":1"#, r#""op":"r","ts_ms":1e9999"#);
    assert!(huge != text && is_json(huge.as_bytes()));
    message.value = Some(huge.into_bytes());
    assert_eq!(message.push(&mut decoder).unwrap(), Pushed::Row);
}
