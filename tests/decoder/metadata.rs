//! The metadata columns and what stands beside the rows.

use arrow::datatypes::DataType;
use engine::format::Decoder;
use engine::format::debezium::DecoderOptions;
use engine::spec::model::DeclaredType as T;
use sql::change::{Op, Partition};

use super::harness::*;

fn options() -> DecoderOptions {
    DecoderOptions {
        columns: Some(columns_of(&[
            ("id", T::Integer, DataType::Int64),
            ("name", T::Text, DataType::Utf8),
        ])),
        ..DecoderOptions::default()
    }
}

#[test]
fn every_metadata_column_has_its_value() {
    let mut decoder = decoder(options());
    let value = r#"{"before":{"id":1,"name":"old"},"after":{"id":1,"name":"new"},"source":{"version":"3.4","connector":"postgresql","name":"shop","ts_ms":1700000000123,"snapshot":false,"db":"d","sequence":"[null,\"9\"]","ts_us":1700000000123456,"schema":"public","table":"t","txId":5,"lsn":9223372036854775807,"xmin":null},"op":"u","ts_ms":1700000009999}"#;
    let mut message = Message::value(value).at(42);
    message.partition = Partition::new("shop.public.t", 3);
    assert_eq!(
        message.push(&mut decoder).unwrap(),
        engine::format::Pushed::Row
    );
    let decoded = decoder.finish(1_700_000_001_000_000).unwrap();
    for (name, expected) in [
        ("_op", "u"),
        ("_change_type", "update_postimage"),
        ("_commit_timestamp", "2023-11-14T22:13:20.123456Z"),
        ("_topic", "shop.public.t"),
        ("_partition", "3"),
        ("_offset", "42"),
        ("_before", "{id: 1, name: old}"),
        ("_ingested_at", "2023-11-14T22:13:21Z"),
        ("_unavailable_columns", "NULL"),
    ] {
        assert_eq!(cell(&decoded.rows, name, 0), expected, "{name}");
    }
    let source = cell(&decoded.rows, "_source", 0);
    for part in [
        "version: 3.4",
        "snapshot: false",
        "sequence: [null,\"9\"]",
        "ts_us: 1700000000123456",
        "txId: 5",
        "lsn: 9223372036854775807",
        "xmin: NULL",
        "gtid: NULL",
    ] {
        assert!(source.contains(part), "{part} in {source}");
    }
    let schema = decoder.schema().unwrap();
    assert_eq!(decoded.rows.schema(), schema);
    assert_eq!(decoded.meta.ops, [Op::Update]);
    assert_eq!(decoded.meta.commit_micros, [1_700_000_000_123_456]);
}

#[test]
fn before_and_source_are_null_where_they_were_not_sent() {
    let mut decoder = decoder(options());
    let messages = [
        envelope("c", "null", r#"{"id":1}"#),
        r#"{"op":"c","after":{"id":2}}"#.to_owned(),
        envelope("u", r#"{"id":3}"#, r#"{"id":3,"name":"x"}"#),
    ]
    .map(|value| Message::value(&value));
    let decoded = run(&mut decoder, &messages).remove(0);
    assert_eq!(decoded.rejects, []);
    let before: Vec<String> = (0..3)
        .map(|row| cell(&decoded.rows, "_before", row))
        .collect();
    assert_eq!(before, ["NULL", "NULL", "{id: 3, name: NULL}"]);
    assert_eq!(cell(&decoded.rows, "_source", 1), "NULL");
    assert_eq!(cell(&decoded.rows, "_commit_timestamp", 1), "NULL");
    assert_eq!(decoded.meta.commit_micros[1], i64::MIN);
}

#[test]
fn rows_of_many_partitions_know_theirs_and_bytes_are_counted() {
    let mut decoder = decoder(DecoderOptions {
        keep_raw: true,
        ..options()
    });
    let mut messages = Vec::new();
    for (offset, number) in [0, 1, 0, 2, 1].into_iter().enumerate() {
        let value = envelope("c", "null", &format!(r#"{{"id":{offset}}}"#));
        let mut message = Message::value(&value).at(offset as i64).header("h", "v");
        message.partition = Partition::new("t", number);
        messages.push(message);
    }
    messages.insert(2, Message::value("{"));
    let decoded = run(&mut decoder, &messages).remove(0);
    let meta = &decoded.meta;
    let numbers: Vec<i32> = meta
        .partition
        .iter()
        .map(|index| meta.partitions[*index as usize].number)
        .collect();
    assert_eq!(numbers, [0, 1, 0, 2, 1]);
    assert_eq!(meta.partitions.len(), 3);
    let raw = meta.raw.as_ref().unwrap();
    assert_eq!(raw.len(), 5);
    assert_eq!(raw[3].value, messages[4].value);
    assert_eq!(raw[3].headers, [("h".to_owned(), Some(b"v".to_vec()))]);
    let size = |m: &Message| {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = m.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        (len(&m.key) + len(&m.value) + headers) as u64
    };
    assert_eq!(decoded.counts.bytes, messages.iter().map(size).sum::<u64>());
    assert_eq!(decoded.counts.records, 6);
    assert_eq!(decoded.rejects.len(), 1);
    // The next batch starts empty.
    let next = decoder.finish(0).unwrap();
    assert_eq!((next.rows.num_rows(), next.counts.records), (0, 0));
    assert_eq!(next.meta.raw, Some(Vec::new()));
}

#[test]
fn a_projection_of_nothing_still_counts_rows() {
    let mut decoder = decoder(options());
    decoder.project(&[]).unwrap();
    let decoded = row(
        &mut decoder,
        &Message::value(&envelope("c", "null", r#"{"id":1}"#)),
    );
    assert_eq!(decoded.rows.num_columns(), 0);
    assert_eq!(decoded.rows.num_rows(), 1);
}
