//! Whose rows a source takes, by what the events say of their table.

use arrow::datatypes::DataType;
use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::format::{Decoder, Pushed};
use engine::spec::model::{DeclaredType as T, SourceTables};
use serde_json::{Value, json};
use sql::ErrorKind;
use sql::change::Partition;

use super::harness::*;

const TOPIC: &str = "cdc.postgres.public.orders";

fn taking(tables: SourceTables) -> JsonDecoder {
    decoder(DecoderOptions {
        name: "orders".to_owned(),
        tables,
        columns: Some(columns_of(&[
            ("id", T::Integer, DataType::Int64),
            ("name", T::Text, DataType::Utf8),
        ])),
        ..DecoderOptions::default()
    })
}

fn only(tables: &[&str]) -> SourceTables {
    SourceTables::Only(tables.iter().map(|table| (*table).to_owned()).collect())
}

fn message(topic: &str, value: &Value) -> Message {
    let mut message = Message::value(&value.to_string());
    message.partition = Partition::new(topic, 0);
    message
}

/// An event of Postgres; `table` is `schema.table`.
fn event(table: &str) -> Value {
    let (schema, name) = table.split_once('.').unwrap();
    let source =
        json!({"connector": "postgresql", "db": "d", "schema": schema, "table": name, "ts_ms": 1});
    json!({"before": null, "after": {"id": 1, "name": "x"}, "source": source, "op": "c", "ts_ms": 2})
}

fn pushed(decoder: &mut JsonDecoder, value: &Value) -> Pushed {
    message(TOPIC, value).push(decoder).unwrap()
}

#[test]
fn rows_of_tables_that_are_not_named_are_left_out_and_leave_no_trace() {
    let mut decoder = taking(only(&["orders"]));
    assert_eq!(pushed(&mut decoder, &event("public.orders")), Pushed::Row);
    assert_eq!(
        pushed(&mut decoder, &event("public.customers")),
        Pushed::Control
    );
    assert_eq!(pushed(&mut decoder, &event("sales.orders")), Pushed::Row);
    let done = decoder.finish(0).unwrap();
    assert_eq!(done.rows.num_rows(), 2);
    assert_eq!(done.rejects, []);
    assert_eq!((done.counts.records, done.counts.control), (3, 1));
}

#[test]
fn a_table_is_named_with_or_without_schema_and_database_and_with_stars() {
    for (tables, expected) in [
        (&["public.orders"][..], [true, false, false]),
        (&["d.public.orders"], [true, false, false]),
        (&["*.orders"], [true, true, false]),
        (&["public.*"], [true, false, true]),
        (&["*"], [true, true, true]),
        (&["Orders", "order"], [false, false, false]),
        (&["sales.orders", "cust*"], [false, true, true]),
    ] {
        let mut decoder = taking(only(tables));
        let taken = ["public.orders", "sales.orders", "public.customers"]
            .map(|table| pushed(&mut decoder, &event(table)) == Pushed::Row);
        assert_eq!(taken, expected, "{tables:?}");
    }
}

#[test]
fn mysql_tables_are_named_with_their_database() {
    let mut of_shop = event("x.orders");
    of_shop["source"] = json!({"connector": "mysql", "db": "shop", "table": "orders", "ts_ms": 1});
    for (tables, expected) in [
        ("shop.orders", Pushed::Row),
        ("orders", Pushed::Row),
        ("other.orders", Pushed::Control),
    ] {
        assert_eq!(pushed(&mut taking(only(&[tables])), &of_shop), expected);
    }
}

#[test]
fn a_pattern_of_topics_takes_the_table_of_the_sources_name_and_stops_at_another() {
    let mut decoder = taking(SourceTables::OneOfTheName);
    assert_eq!(pushed(&mut decoder, &event("public.orders")), Pushed::Row);
    assert_eq!(pushed(&mut decoder, &event("sales.Orders")), Pushed::Row);
    let error = message(TOPIC, &event("public.customers"))
        .at(7)
        .push(&mut decoder)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.message(),
        "the topics hold rows of the table `public.customers`, but the source is called `orders` and does not say whose rows it reads"
    );
    assert_eq!(error.place(), Some("cdc.postgres.public.orders/0@7"));
    assert!(error.next_step().unwrap().contains("`tables: [customers]`"));
    assert_eq!(decoder.finish(0).unwrap().rows.num_rows(), 2);
}

#[test]
fn records_that_are_no_rows_are_of_no_table() {
    let heartbeat = json!({"ts_ms": 1});
    let transaction =
        json!({"status": "END", "id": "1", "event_count": 1, "data_collections": [], "ts_ms": 1});
    let source = json!({"connector": "mysql", "db": "shop", "table": "customers", "ts_ms": 1});
    let ddl = json!({"source": source, "ts_ms": 1, "databaseName": "shop", "ddl": "DROP TABLE x", "tableChanges": []});
    let mut said = event("x.y");
    said["op"] = json!("m");
    said["source"]["schema"] = json!("");
    said["source"]["table"] = json!("");
    for tables in [SourceTables::OneOfTheName, only(&["orders"])] {
        let mut decoder = taking(tables);
        for control in [&heartbeat, &transaction, &ddl, &said] {
            let pushed = message("cdc.postgres.transaction", control).push(&mut decoder);
            assert_eq!(pushed.unwrap(), Pushed::Control, "{control}");
        }
        let tombstone = Message::new(Some(r#"{"id":1}"#), None).push(&mut decoder);
        assert_eq!(tombstone.unwrap(), Pushed::Tombstone);
        let broken = Message::value("{\"op\":").push(&mut decoder);
        assert_eq!(broken.unwrap(), Pushed::Reject);
    }
}

#[test]
fn a_truncate_empties_its_own_table_only() {
    let truncate = |table: &str| {
        let mut event = event(table);
        event["op"] = json!("t");
        event.as_object_mut().unwrap().remove("after");
        event
    };
    let mut decoder = taking(only(&["orders"]));
    let foreign = pushed(&mut decoder, &truncate("public.customers"));
    assert_eq!(foreign, Pushed::Control);
    assert_eq!(
        pushed(&mut decoder, &truncate("public.orders")),
        Pushed::Row
    );
}

#[test]
fn the_schema_of_a_foreign_table_never_becomes_columns() {
    let field = |kind: &str, name: &str| json!({"type": kind, "optional": true, "field": name});
    let row = |name: &str, column: &str| json!({"type": "struct", "optional": true, "field": name, "fields": [field("int32", "id"), field("string", column)]});
    let wrapped = |table: &str, column: &str| {
        let schema = json!({"type": "struct", "name": format!("cdc.{table}.Envelope"), "fields": [
            row("before", column), row("after", column), field("string", "op")]});
        let mut payload = event(table);
        payload["after"] = json!({"id": 1, column: "x"});
        json!({"schema": schema, "payload": payload})
    };
    let mut decoder = decoder(DecoderOptions {
        name: "orders".to_owned(),
        tables: only(&["orders"]),
        ..DecoderOptions::default()
    });
    let foreign = pushed(&mut decoder, &wrapped("public.customers", "email"));
    assert_eq!(foreign, Pushed::Control);
    assert!(decoder.schema().is_none());
    let ours = message(TOPIC, &wrapped("public.orders", "status"));
    assert_eq!(feed(&mut decoder, &ours).0, Pushed::Row);
    let schema = decoder.schema().unwrap();
    assert!(schema.field_with_name("status").is_ok());
    assert!(schema.field_with_name("email").is_err());
}

#[test]
fn a_flattened_row_says_its_table_or_is_of_the_table_that_its_topic_ends_with() {
    let row = json!({"id": 1, "name": "x"});
    let said = json!({"id": 1, "name": "x", "__table": "customers"});
    let mut decoder = taking(only(&["public.orders"]));
    let mut at = |topic: &str, value: &Value| message(topic, value).push(&mut decoder).unwrap();
    assert_eq!(at(TOPIC, &row), Pushed::Row);
    assert_eq!(at("cdc.postgres.public.customers", &row), Pushed::Control);
    assert_eq!(at(TOPIC, &said), Pushed::Control);
    let done = decoder.finish(0).unwrap();
    assert_eq!((done.rows.num_rows(), done.counts.records), (1, 3));
}

#[test]
fn a_cloud_event_says_its_table_beside_its_data() {
    let cloud = |table: &str| {
        json!({"specversion": "1.0", "iodebeziumop": "c", "iodebeziumtsms": "1", "iodebeziumschema": "public",
            "iodebeziumtable": table, "data": {"before": null, "after": {"id": 1, "name": "x"}}})
    };
    let mut decoder = taking(only(&["orders"]));
    assert_eq!(pushed(&mut decoder, &cloud("orders")), Pushed::Row);
    assert_eq!(pushed(&mut decoder, &cloud("customers")), Pushed::Control);
}

fn keyed(tables: SourceTables) -> JsonDecoder {
    decoder(DecoderOptions {
        name: "orders".to_owned(),
        tables,
        columns: Some(columns_of(&[
            ("id", T::Integer, DataType::Int64),
            ("name", T::Text, DataType::Utf8),
        ])),
        key: vec!["id".to_owned()],
        keyed: true,
        ..DecoderOptions::default()
    })
}

fn delete(topic: &str, table: &str, id: i64) -> Message {
    let mut event = event(table);
    event["before"] = json!({"id": id, "name": null});
    event["after"] = Value::Null;
    event["op"] = json!("d");
    with_key(message(topic, &event), id)
}

fn tombstone(topic: &str, id: i64) -> Message {
    let mut message = Message::new(None, None);
    message.partition = Partition::new(topic, 0);
    with_key(message, id)
}

fn with_key(mut message: Message, id: i64) -> Message {
    message.key = Some(json!({ "id": id }).to_string().into_bytes());
    message
}

#[test]
fn tombstones_of_a_renamed_topic_are_those_of_the_table_that_it_holds() {
    const RENAMED: &str = "cdc.all_shards";
    for tables in [only(&["orders"]), SourceTables::OneOfTheName] {
        let mut decoder = keyed(tables);
        let mut push = |message: Message| message.push(&mut decoder).unwrap();
        assert_eq!(push(delete(RENAMED, "public.orders", 1)), Pushed::Row);
        assert_eq!(push(tombstone(RENAMED, 1)), Pushed::Row);
        assert_eq!(push(tombstone(RENAMED, 5)), Pushed::Row, "it stands alone");
    }
}

#[test]
fn tombstones_of_a_topic_of_several_tables_follow_their_deletes() {
    const MIXED: &str = "cdc.everything";
    let mut decoder = keyed(only(&["orders"]));
    let mut push = |message: Message| message.push(&mut decoder).unwrap();
    assert_eq!(push(delete(MIXED, "public.orders", 1)), Pushed::Row);
    assert_eq!(push(delete(MIXED, "public.customers", 7)), Pushed::Control);
    assert_eq!(push(tombstone(MIXED, 7)), Pushed::Control);
    assert_eq!(push(delete(MIXED, "public.orders", 7)), Pushed::Row);
    assert_eq!(push(tombstone(MIXED, 7)), Pushed::Row);
    assert_eq!(
        push(tombstone(MIXED, 1)),
        Pushed::Control,
        "it stands alone"
    );
    // A topic that is called after our table may hold others, too.
    assert_eq!(push(delete(TOPIC, "public.customers", 3)), Pushed::Control);
    assert_eq!(push(tombstone(TOPIC, 3)), Pushed::Control);
    assert_eq!(push(tombstone(TOPIC, 4)), Pushed::Row);
}

#[test]
fn a_tombstone_that_comes_first_is_of_the_table_that_its_topic_ends_with() {
    let mut decoder = keyed(only(&["orders"]));
    let mut push = |message: Message| message.push(&mut decoder).unwrap();
    assert_eq!(push(tombstone("cdc.everything", 1)), Pushed::Control);
    assert_eq!(push(tombstone(TOPIC, 1)), Pushed::Row);
}
