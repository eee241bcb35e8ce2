//! What real connectors sent, decoded and folded in batches of every length, is the table that the database had.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::format::{Decoded, Decoder, Pushed};
use engine::spec::model::DeclaredType as T;
use sql::change::{ChangeBatch, Folded, KeyedMeta, Op, Span, fold};

use crate::decoder::harness::{Message, cell, columns_of, decoder, fixture, row};

type Table = BTreeMap<String, Vec<String>>;

fn keyed(columns: &[(&str, T, DataType)], key: &[&str]) -> JsonDecoder {
    decoder(DecoderOptions {
        columns: Some(columns_of(columns)),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        keyed: true,
        ..DecoderOptions::default()
    })
}

fn docs() -> JsonDecoder {
    keyed(
        &[
            ("id", T::Integer, DataType::Int64),
            ("title", T::Text, DataType::Utf8),
            ("body", T::Text, DataType::Utf8),
            ("lang", T::Text, DataType::Utf8),
        ],
        &["id"],
    )
}

fn batch(decoded: Decoded) -> ChangeBatch {
    let Decoded {
        rows,
        meta,
        rejects,
        counts,
    } = decoded;
    ChangeBatch::try_new(rows, meta, rejects, Span::default(), counts).unwrap()
}

fn folded(decoder: &mut JsonDecoder) -> Folded {
    let batch = batch(decoder.finish(0).unwrap());
    assert_eq!(batch.rejects(), []);
    fold(&batch, decoder.key(), &|_| false).unwrap()
}

/// Applies a folded batch as a sink would.
fn apply(table: &mut Table, folded: &Folded, key: &str, columns: &[&str]) {
    let old: Vec<Option<Vec<String>>> = (0..folded.wanted.num_rows())
        .map(|row| table.get(&cell(&folded.wanted, key, row)).cloned())
        .collect();
    if folded.truncate {
        table.clear();
    }
    for row in 0..folded.deletes.num_rows() {
        table.remove(&cell(&folded.deletes, key, row));
    }
    for row in 0..folded.rows.num_rows() {
        let mut values: Vec<String> = columns
            .iter()
            .map(|column| cell(&folded.rows, column, row))
            .collect();
        for missing in folded.missing.iter().filter(|missing| missing.row == row) {
            let name = folded.rows.schema().field(missing.column).name().clone();
            let place = columns.iter().position(|column| *column == name).unwrap();
            assert_eq!(values[place], "NULL");
            let from = missing.from.and_then(|from| old[from].as_ref());
            values[place].clone_from(&from.expect("a value that is nowhere")[place]);
        }
        table.insert(cell(&folded.rows, key, row), values);
    }
}

/// The table after `messages` in batches of `length` records; no batch ends inside a key change.
fn replayed(decoder: &mut JsonDecoder, messages: &[Message], length: usize) -> Table {
    let columns: Vec<String> = decoder
        .schema()
        .unwrap()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .filter(|name| !name.starts_with('_'))
        .collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let key = decoder.key()[0].clone();
    let mut table = Table::new();
    let mut pending = 0;
    for message in messages {
        let pushed = message.push(decoder).unwrap();
        assert!(
            matches!(pushed, Pushed::Row | Pushed::Control),
            "{pushed:?}"
        );
        pending += 1;
        let moves = message
            .headers
            .iter()
            .any(|(name, _)| name == "__debezium.newkey");
        if pending >= length && !moves {
            apply(&mut table, &folded(decoder), &key, &columns);
            pending = 0;
        }
    }
    apply(&mut table, &folded(decoder), &key, &columns);
    table
}

#[test]
fn docs_keep_their_text_through_an_update_and_a_changed_key() {
    let messages = fixture("docs.jsonl");
    for length in 1..=messages.len() {
        let table = replayed(&mut docs(), &messages, length);
        let body = |id: &str| table[id][2].clone();
        assert_eq!(
            table.keys().collect::<Vec<_>>(),
            ["20", "3", "4"],
            "{length}"
        );
        assert_eq!(body("20").len(), 12_800, "the text moved with the row");
        assert!(
            body("20").starts_with("c9f0f895fb98"),
            "it is that of row 2"
        );
        assert_eq!(table["3"], ["3", "third!", "short", "en"]);
        assert_eq!(table["4"], ["4", "NULL", "x", "en"]);
    }
}

#[test]
fn customers_are_the_table_in_batches_of_any_length() {
    let messages = fixture("customers.jsonl");
    let mut tables = [1, 7, 100, 5_000].map(|length| {
        let mut decoder = keyed(
            &[
                ("customer_id", T::Integer, DataType::Int64),
                ("email", T::Text, DataType::Utf8),
                ("tier", T::Text, DataType::Utf8),
            ],
            &["customer_id"],
        );
        replayed(&mut decoder, &messages, length)
    });
    let mut expected = Table::new();
    for message in &messages {
        let event: serde_json::Value = match &message.value {
            Some(value) => serde_json::from_slice(value).unwrap(),
            None => continue,
        };
        let text = |value: &serde_json::Value| value.as_str().map_or("NULL".into(), str::to_owned);
        let after = &event["after"];
        if event["op"] == "d" {
            expected.remove(&event["before"]["customer_id"].to_string());
        } else {
            let id = after["customer_id"].to_string();
            let row = vec![id.clone(), text(&after["email"]), text(&after["tier"])];
            expected.insert(id, row);
        }
    }
    assert!(expected.len() > 500);
    for table in &mut tables {
        assert_eq!(*table, expected);
    }
}

#[test]
fn a_truncate_empties_the_table_in_order() {
    let messages = fixture("orders.jsonl");
    let columns = [
        ("id", T::Integer, DataType::Int64),
        ("status", T::Text, DataType::Utf8),
    ];
    for length in 1..=messages.len() {
        let table = replayed(&mut keyed(&columns, &["id"]), &messages, length);
        // One more insert came after the truncate.
        assert_eq!(table.len(), 1, "{length}");
    }
}

#[test]
fn the_key_of_messages_with_schemas_is_that_of_the_first_message() {
    let mut decoder = decoder(DecoderOptions {
        keyed: true,
        ..DecoderOptions::default()
    });
    assert_eq!(decoder.key(), [] as [&str; 0]);
    let messages = fixture("docs.schema.jsonl");
    let first = row(&mut decoder, &messages[0]);
    assert_eq!(decoder.key(), ["id"]);
    assert!(first.meta.keyed.is_some());
}

/// Values and keys with schemas, headers without: what a worker writes unless told otherwise.
#[test]
fn docs_with_schemas_keep_their_text_too() {
    let messages = fixture("docs.schema.jsonl");
    for length in 1..=messages.len() {
        let mut decoder = decoder(DecoderOptions {
            keyed: true,
            ..DecoderOptions::default()
        });
        let mut table: BTreeMap<String, String> = BTreeMap::new();
        let mut settle = |decoder: &mut JsonDecoder| {
            let folded = folded(decoder);
            let mut whole = Table::new();
            whole.extend(
                table
                    .iter()
                    .map(|(id, body)| (id.clone(), vec![body.clone()])),
            );
            apply(&mut whole, &folded, "id", &["body"]);
            table = whole
                .into_iter()
                .map(|(id, row)| (id, row[0].clone()))
                .collect();
        };
        let mut pending = 0;
        for message in &messages {
            if let Pushed::NewSchema(schema) = message.push(&mut decoder).unwrap() {
                if decoder.schema().is_some() {
                    settle(&mut decoder);
                } else {
                    decoder.finish(0).unwrap();
                }
                decoder.adopt(schema).unwrap();
                assert_eq!(message.push(&mut decoder).unwrap(), Pushed::Row);
            }
            pending += 1;
            let moves = message
                .headers
                .iter()
                .any(|(name, _)| name == "__debezium.newkey");
            if pending >= length && !moves {
                settle(&mut decoder);
                pending = 0;
            }
        }
        settle(&mut decoder);
        let keys: Vec<&String> = table.keys().collect();
        assert_eq!(keys, ["20", "3", "4"], "{length}");
        assert_eq!(table["20"].len(), 12_800, "{length}");
    }
}

/// Values with schemas, keys without: a tombstone may be the first that a run reads.
#[test]
fn bare_keys_beside_values_with_schemas() {
    let messages = fixture("docs.schema.jsonl");
    let bare: Vec<Message> = messages
        .into_iter()
        .map(|mut message| {
            let key: serde_json::Value =
                serde_json::from_slice(message.key.as_ref().unwrap()).unwrap();
            message.key = Some(key["payload"].to_string().into_bytes());
            message
        })
        .collect();
    let mut decoder = decoder(DecoderOptions {
        keyed: true,
        ..DecoderOptions::default()
    });
    let first = row(&mut decoder, &bare[0]);
    assert_eq!(cell(&first.rows, "id", 0), "1");
    let columns: Vec<String> = ["id", "body"].map(str::to_owned).to_vec();
    decoder.project(&columns).unwrap();
    let (rows, ops, keyed) = noted(
        &mut decoder,
        &[bare[7].clone(), bare[3].clone(), bare[5].clone()],
    );
    assert_eq!(ops, [Op::Delete, Op::Delete, Op::Create]);
    assert_eq!([0, 1, 2].map(|i| cell(&rows, "id", i)), ["1", "2", "20"]);
    assert_eq!(cell(&keyed.old_keys, "id", 0), "2");
}

fn noted(decoder: &mut JsonDecoder, messages: &[Message]) -> (RecordBatch, Vec<Op>, KeyedMeta) {
    for message in messages {
        assert_eq!(message.push(decoder).unwrap(), Pushed::Row);
    }
    let batch = batch(decoder.finish(0).unwrap());
    let meta = batch.meta();
    (
        batch.rows().clone(),
        meta.ops.clone(),
        meta.keyed.clone().unwrap(),
    )
}

#[test]
fn tombstones_are_rows_and_key_changes_are_noted_in_every_spelling() {
    let spellings = [
        r#"{"id":2}"#,
        r#"{"schema":{"type":"struct","fields":[{"type":"int64","optional":false,"field":"id"}],"optional":false},"payload":{"id":2}}"#,
    ];
    let insert = r#"{"op":"c","source":{},"before":null,"after":{"id":20,"title":"t","body":"__debezium_unavailable_value"}}"#;
    for old in spellings {
        let mut decoder = docs();
        let delete = r#"{"op":"d","source":{},"before":{"id":2},"after":null}"#;
        let key = Some(r#"{"id":2}"#);
        let (rows, ops, keyed) = noted(
            &mut decoder,
            &[
                Message::new(key, Some(delete)).header("__debezium.newkey", "whatever"),
                Message::new(key, None).header("__debezium.newkey", "whatever"),
                Message::new(Some(r#"{"id":20}"#), Some(insert)).header("__debezium.oldkey", old),
                Message::new(Some(r#"{"id":5}"#), None),
            ],
        );
        assert_eq!(ops, [Op::Delete, Op::Delete, Op::Create, Op::Delete]);
        let ids: Vec<String> = (0..4).map(|row| cell(&rows, "id", row)).collect();
        assert_eq!(ids, ["2", "2", "20", "5"]);
        assert_eq!(keyed.tombstones, [1, 3]);
        assert_eq!(keyed.leaving, [0, 1]);
        assert_eq!(keyed.arriving, [2]);
        assert_eq!(cell(&keyed.old_keys, "id", 0), "2");
        assert_eq!(keyed.unavailable, [(2, 2)]);
    }
}

#[test]
fn an_old_key_that_cannot_be_read_is_a_key_of_nulls() {
    let insert = r#"{"op":"c","source":{},"before":null,"after":{"id":20,"title":"t","body":"b"}}"#;
    let message = Message::new(Some(r#"{"id":20}"#), Some(insert));
    for old in ["Struct{id=2}", "", "{", r#"{"other":2}"#] {
        let message = message.clone().header("__debezium.oldkey", old);
        let (rows, _, keyed) = noted(&mut docs(), &[message]);
        assert_eq!(cell(&rows, "id", 0), "20");
        assert_eq!(keyed.arriving, [0]);
        assert_eq!(cell(&keyed.old_keys, "id", 0), "NULL", "{old}");
    }
}

#[test]
fn rows_without_a_whole_key_are_set_aside() {
    let event =
        |after: &str| format!(r#"{{"op":"c","source":{{}},"before":null,"after":{after}}}"#);
    for after in [r#"{"id":null,"title":"t"}"#, r#"{"title":"t"}"#] {
        let mut decoder = docs();
        let message = Message::new(Some(r#"{"id":1}"#), Some(&event(after)));
        assert_eq!(message.push(&mut decoder).unwrap(), Pushed::Reject);
        let reject = decoder.finish(0).unwrap().rejects.remove(0);
        assert!(reject.detail.contains("`id`"), "{}", reject.detail);
    }
    let mut decoder = docs();
    let tombstone = Message::new(Some(r#"{"other":1}"#), None);
    assert_eq!(tombstone.push(&mut decoder).unwrap(), Pushed::Reject);
}
