//! Message shapes, told apart by their content.

use arrow::datatypes::DataType;
use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::format::{Decoder, Pushed};
use engine::spec::model::DeclaredType as T;
use sql::change::RejectReason as R;

use super::harness::*;

pub fn id_and_name() -> JsonDecoder {
    declared(&[
        ("id", T::Integer, DataType::Int64),
        ("name", T::Text, DataType::Utf8),
    ])
}

pub fn fields() -> String {
    [
        field("id", r#""type":"int64""#),
        field("name", r#""type":"string""#),
    ]
    .join(",")
}

pub const NAMES: [&str; 3] = ["id", "name", "_op"];

#[test]
fn envelopes_of_every_wrapping_are_the_same_row() {
    let plain = envelope("c", "null", r#"{"id":7,"name":"x"}"#);
    let schema = envelope_schema(&fields(), "postgresql");
    let cloud = |data: &str| {
        format!(
            r#"{{"id":"name:shop;lsn:1","source":"/debezium","specversion":"1.0","type":"io.debezium.connector.postgresql.DataChangeEvent","iodebeziumop":"c","iodebeziumtsms":"1700000000123","data":{data}}}"#
        )
    };
    let images = r#"{"before":null,"after":{"id":7,"name":"x"}}"#;
    let values = [
        plain.clone(),
        format!(r#"{{"schema":null,"payload":{plain}}}"#),
        format!(r#"{{"schema":{schema},"payload":{plain}}}"#),
        format!(r#" {{ "payload" : {plain} , "schema" : {schema} }} "#),
        cloud(images),
        cloud(&format!(r#"{{"schema":null,"payload":{images}}}"#)),
        r#"{"op":"c","ts_ms":1,"source":{"ts_ms":1700000000123},"after":{"name":"x","id":7}}"#.to_owned(),
        "\n{\t\"after\" : { \"n\\u0061me\" : \"x\" , \"id\":7 , \"more\":[{}] } , \"op\" : \"c\",\"source\":{\"ts_ms\" :1700000000123} }\r\n".to_owned(),
    ];
    let mut decoder = id_and_name();
    for value in values {
        let decoded = row(&mut decoder, &Message::value(&value));
        assert_eq!(cells(&decoded.rows, &NAMES, 0), ["7", "x", "c"], "{value}");
        assert_eq!(
            decoded.meta.commit_micros,
            [1_700_000_000_123_000],
            "{value}"
        );
    }
}

#[test]
fn the_same_schema_is_used_again_and_another_of_its_length_is_not_taken_for_it() {
    let mut decoder = decoder(DecoderOptions::default());
    let decimal = |scale: u8| {
        format!(
            r#"{{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{{"scale":"{scale}","connect.decimal.precision":"9"}},"optional":true,"field":"v"}}"#
        )
    };
    let scaled = |scale| with_schema(&decimal(scale), r#"{"v":"BBo="}"#);
    assert_eq!(cell(&row(&mut decoder, &scaled(2)).rows, "v", 0), "10.50");
    for _ in 0..2 {
        let rows = row(&mut decoder, &scaled(4)).rows;
        assert_eq!(cell(&rows, "v", 0), "0.1050");
        let rows = row(&mut decoder, &scaled(2)).rows;
        assert_eq!(cell(&rows, "v", 0), "10.5000");
    }
    let types =
        |kind: &str| with_schema(&field("v", &format!(r#""type":"{kind}""#)), r#"{"v":300}"#);
    let mut ints = self::decoder(DecoderOptions::default());
    assert_eq!(cell(&row(&mut ints, &types("int32")).rows, "v", 0), "300");
    assert_eq!(cell(&row(&mut ints, &types("int64")).rows, "v", 0), "300");
    assert_eq!(
        ints.schema().unwrap().field(0).data_type(),
        &DataType::Int64
    );
}

#[test]
fn what_follows_a_known_prefix_is_checked_to_its_end() {
    let mut decoder = decoder(DecoderOptions::default());
    let good = with_schema(&fields(), r#"{"id":7,"name":"x"}"#);
    row(&mut decoder, &good);
    let text = String::from_utf8(good.value.clone().unwrap()).unwrap();
    for bad in [
        format!("{text}x"),
        format!("{text}{text}"),
        text[..text.len() - 1].to_owned(),
        format!("{},\"more\":1}}", &text[..text.len() - 1]),
    ] {
        assert_eq!(
            reject(&mut decoder, &Message::value(&bad)).reason,
            R::Malformed,
            "{bad}"
        );
    }
    row(&mut decoder, &good);
}

#[test]
fn tombstones_and_records_that_are_never_rows() {
    let heartbeat = r#"{"schema":{"type":"struct","fields":[{"type":"int64","optional":false,"field":"ts_ms"}],"optional":false,"name":"io.debezium.connector.common.Heartbeat"},"payload":{"ts_ms":1}}"#;
    let notification = r#"{"id":"1","type":"COMPLETED","aggregate_type":"Initial Snapshot","additional_data":{},"timestamp":1}"#;
    let ddl = r#"{"source":{"version":"3","ts_ms":1,"snapshot":"true"},"ts_ms":1,"databaseName":"shop","schemaName":null,"ddl":"DROP DATABASE IF EXISTS shop","tableChanges":[]}"#;
    let ddl_schema = format!(
        r#"{{"schema":{{"type":"struct","fields":[{{"type":"string","field":"databaseName"}},{{"type":"string","field":"ddl"}}],"name":"io.debezium.connector.mysql.SchemaChangeValue"}},"payload":{ddl}}}"#
    );
    let message =
        r#"{"op":"m","ts_ms":1,"source":{"ts_ms":1},"message":{"prefix":"p","content":"AA=="}}"#;
    let transaction =
        r#"{"status":"BEGIN","id":"1:2","event_count":null,"data_collections":null,"ts_ms":1}"#;
    let tombstone = |pushed| pushed == Pushed::Tombstone;
    let control = |pushed| pushed == Pushed::Control;
    let key = Some(r#"{"id":1}"#);
    let mut decoder = id_and_name();
    for (message, right) in [
        (Message::new(key, None), tombstone as fn(Pushed) -> bool),
        (Message::new(key, Some("")), tombstone),
        (Message::new(key, Some("null")), tombstone),
        (Message::new(key, Some(" null ")), tombstone),
        (
            Message::new(key, Some(r#"{"schema":null,"payload":null}"#)),
            tombstone,
        ),
        (Message::new(None, None), control),
        (Message::new(None, Some("null")), control),
        (Message::new(key, Some(heartbeat)), control),
        (
            Message::new(key, Some(r#"{"ts_ms":1700000000000}"#)),
            control,
        ),
        (Message::new(key, Some(notification)), control),
        (Message::new(key, Some(ddl)), control),
        (Message::new(key, Some(&ddl_schema)), control),
        (Message::new(key, Some(message)), control),
        (Message::new(key, Some(transaction)), control),
    ] {
        let (pushed, _) = feed(&mut decoder, &message);
        assert!(right(pushed.clone()), "{pushed:?} of {message:?}");
    }
    let decoded = decoder.finish(0).unwrap();
    assert_eq!(decoded.rows.num_rows(), 0);
    assert_eq!((decoded.counts.tombstones, decoded.counts.control), (5, 9));
    assert_eq!(decoded.counts.records, 14);
}

#[test]
fn a_row_with_columns_of_those_names_is_still_a_row() {
    let mut decoder = declared(&[
        ("status", T::Text, DataType::Utf8),
        ("event_count", T::Integer, DataType::Int32),
        ("data_collections", T::Text, DataType::Utf8),
        ("op", T::Text, DataType::Utf8),
        ("source", T::Text, DataType::Utf8),
    ]);
    let value =
        r#"{"status":"BEGIN","event_count":1,"data_collections":"a","op":"buy","source":"web"}"#;
    let rows = row(&mut decoder, &Message::value(value)).rows;
    assert_eq!(
        cells(&rows, &["status", "op", "source"], 0),
        ["BEGIN", "buy", "web"]
    );
}

#[test]
fn a_schemaless_source_without_columns_says_what_to_declare() {
    let mut decoder = decoder(DecoderOptions::default());
    let message = Message::value(&envelope("c", "null", r#"{"id":7,"name":"x"}"#)).at(5);
    let error = message.push(&mut decoder).unwrap_err();
    assert_eq!(error.kind(), sql::ErrorKind::Config);
    assert_eq!(
        error.report(),
        "error: messages have no schema, so their columns must be declared\n  \
         at: shop.public.t/0@5\n  \
         expected: `columns:` as SQL DDL; the message has `id`, `name`\n  \
         next: Declare `columns:` in the source, or set value.converter.schemas.enable=true in the connector."
    );
    let flat = Message::value(r#"{"id":7}"#)
        .push(&mut decoder)
        .unwrap_err();
    assert!(flat.to_string().contains("the message has `id`"), "{flat}");
    // What is no row needs no columns.
    let marker = &fixture("transaction.jsonl")[0];
    assert_eq!(marker.push(&mut decoder).unwrap(), Pushed::Control);
    assert_eq!(
        Message::new(Some("1"), None).push(&mut decoder).unwrap(),
        Pushed::Tombstone
    );
    assert!(decoder.schema().is_none());
}

#[test]
fn a_payload_before_its_schema_is_read_with_its_own_schema_every_time() {
    let mut decoder = id_and_name();
    let schema = |second: &str| {
        envelope_schema(
            &[field("id", r#""type":"int64""#), field("name", second)].join(","),
            "postgresql",
        )
    };
    let message = |second: &str, name: &str| {
        let payload = envelope("c", "null", &format!(r#"{{"id":1,"name":{name}}}"#));
        let space = " ".repeat(5000);
        Message::value(&format!(
            r#"{space}{{"payload":{payload},"schema":{}}}"#,
            schema(second)
        ))
    };
    let text = r#""type":"string""#;
    let date = r#""type":"int32","name":"io.debezium.time.Date""#;
    for _ in 0..2 {
        let rows = row(&mut decoder, &message(text, "\"x\"")).rows;
        assert_eq!(cell(&rows, "name", 0), "x");
        assert_eq!(
            reject(&mut decoder, &message(date, "5")).reason,
            R::TypeMismatch
        );
    }
}

#[test]
fn rows_whose_columns_look_like_control_records_are_rows() {
    let mut decoder = decoder(DecoderOptions::default());
    for (names, after) in [
        (["op", "source"], r#"{"op":"buy","source":"web"}"#),
        (["ddl", "databaseName"], r#"{"ddl":"x","databaseName":"y"}"#),
    ] {
        let fields = names
            .map(|name| field(name, r#""type":"string""#))
            .join(",");
        let schema = format!(r#"{{"type":"struct","fields":[{fields}],"name":"t.Value"}}"#);
        let message = Message::value(&format!(r#"{{"schema":{schema},"payload":{after}}}"#));
        let rows = row(&mut decoder, &message).rows;
        assert_ne!(cell(&rows, names[0], 0), "NULL");
    }
    // Declared columns with the names of an envelope's parts, in an envelope and without one.
    let mut decoder = declared(&[
        ("op", T::Text, DataType::Utf8),
        ("after", T::Text, DataType::Utf8),
    ]);
    let image = r#"{"op":"buy","after":"noon"}"#;
    for value in [envelope("c", "null", image), image.to_owned()] {
        let rows = row(&mut decoder, &Message::value(&value)).rows;
        assert_eq!(
            cells(&rows, &["op", "after"], 0),
            ["buy", "noon"],
            "{value}"
        );
    }
}

#[test]
fn cloud_events_with_schemas_and_with_avro() {
    let mut decoder = id_and_name();
    let cloud = |data: &str| {
        Message::value(&format!(
            r#"{{"specversion":"1.0","iodebeziumop":"u","iodebeziumtsms":"5","data":{data}}}"#
        ))
    };
    let image = |name: &str| {
        format!(
            r#"{{"type":"struct","fields":[{}],"optional":true,"field":"{name}"}}"#,
            fields()
        )
    };
    let schema = format!(
        r#"{{"type":"struct","fields":[{},{}]}}"#,
        image("before"),
        image("after")
    );
    let data = format!(
        r#"{{"schema":{schema},"payload":{{"before":null,"after":{{"id":7,"name":"x"}}}}}}"#
    );
    let decoded = row(&mut decoder, &cloud(&data));
    assert_eq!(cells(&decoded.rows, &NAMES, 0), ["7", "x", "u"]);
    assert_eq!(decoded.meta.commit_micros, [5_000]);
    assert_eq!(
        reject(&mut decoder, &cloud("\"T2JqAQ==\"")).reason,
        R::UnknownShape
    );
}

#[test]
fn keys_that_nobody_knows_do_not_get_in_the_way() {
    let mut decoder = id_and_name();
    for round in 0..3 {
        let unknown: Vec<String> = (0..700)
            .map(|i| format!("\"k{round}_{i}\":[{i}]"))
            .collect();
        let after = format!(r#"{{{},"name":"x","id":{round}}}"#, unknown.join(","));
        let rows = row(
            &mut decoder,
            &Message::value(&envelope("c", "null", &after)),
        )
        .rows;
        assert_eq!(cells(&rows, &NAMES, 0), [&round.to_string(), "x", "c"]);
    }
}

#[test]
fn rows_may_have_hundreds_of_columns() {
    let names: Vec<String> = (0..300).map(|i| format!("c{i}")).collect();
    let columns: Vec<(&str, T, DataType)> = names
        .iter()
        .map(|name| (name.as_str(), T::Integer, DataType::Int32))
        .collect();
    let mut decoder = declared(&columns);
    let member = |i: usize| format!("\"c{i}\":{i}");
    let forwards: Vec<String> = (0..300).map(member).collect();
    let backwards: Vec<String> = (0..300).rev().map(member).collect();
    for members in [&forwards, &backwards] {
        let after = format!("{{{}}}", members.join(","));
        let rows = row(
            &mut decoder,
            &Message::value(&envelope("c", "null", &after)),
        )
        .rows;
        for (i, name) in names.iter().enumerate() {
            assert_eq!(cell(&rows, name, 0), i.to_string());
        }
    }
    let twice = format!("{{{},{}}}", forwards.join(","), member(299));
    let rejected = reject(
        &mut decoder,
        &Message::value(&envelope("c", "null", &twice)),
    );
    assert_eq!(rejected.detail, "the key `c299` comes twice in one object");
}

#[test]
fn what_was_learned_of_earlier_messages_never_decides_a_value() {
    let mut decoder = id_and_name();
    let messages = [
        // A member that nobody wants stays the same, grows, ends the object, and is followed by white space.
        (r#"{"id":1,"x":12,"name":"a"}"#, ["1", "a"]),
        (r#"{"id":2,"x":12,"name":"b"}"#, ["2", "b"]),
        (r#"{"id":3,"x":123,"name":"c"}"#, ["3", "c"]),
        (r#"{"id":4,"x":12e1,"name":"d"}"#, ["4", "d"]),
        (r#"{"id":5,"x":12 ,"name":"e"}"#, ["5", "e"]),
        (r#"{"id":6,"name":"f","x":12}"#, ["6", "f"]),
        (r#"{"x":12,"name":"g","id":7}"#, ["7", "g"]),
        (r#"{"x":12}"#, ["NULL", "NULL"]),
        (r#"{"name":"h"}"#, ["NULL", "h"]),
        (r#"{"name":"i","id":9,"x":{"id":10}}"#, ["9", "i"]),
        (r#"{"idx":1,"id":10,"name_":"z","name":"j"}"#, ["10", "j"]),
    ];
    for _ in 0..3 {
        for (image, expected) in messages {
            // Two images with the same keys in one message, the second one of another kind.
            let value = format!(
                r#"{{"before":null,"id":0,"after":{image},"source":{{"x":12,"ts_ms":5}},"op":"c"}}"#
            );
            let (pushed, _) = feed(&mut decoder, &Message::value(&value));
            let decoded = decoder.finish(0).unwrap();
            if expected == ["NULL", "NULL"] {
                assert_eq!(pushed, Pushed::Reject, "{value}");
                continue;
            }
            assert_eq!(
                cells(&decoded.rows, &["id", "name"], 0),
                expected,
                "{value}"
            );
            assert_eq!(decoded.meta.commit_micros, [5_000]);
        }
        for broken in [
            r#"{"id":1,"x":12"name":"a"}"#,
            r#"{"id":1,"x":12,"x":12,,"name":"a"}"#,
            r#"{"id":1,"x":12]"#,
            r#"{"id":1,"x":12,}"#,
            r#"{"id":1 "x":12}"#,
        ] {
            let value = envelope("c", "null", broken);
            let rejected = reject(&mut decoder, &Message::value(&value));
            assert_eq!(rejected.reason, R::Malformed, "{value}");
        }
    }
}
