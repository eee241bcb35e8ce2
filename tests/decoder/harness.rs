//! Messages, decoders and cells for the tests of this folder.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::format::{Decoded, Decoder, Pushed, RawMessage};
use engine::spec::model::{DeclaredColumn, DeclaredType};
use sql::change::{Partition, Reject};

/// A message that owns its bytes.
#[derive(Debug, Clone)]
pub struct Message {
    pub partition: Partition,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Message {
    pub fn new(key: Option<&str>, value: Option<&str>) -> Self {
        Self {
            partition: Partition::new("shop.public.t", 0),
            offset: 0,
            key: key.map(|key| key.as_bytes().to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            headers: Vec::new(),
        }
    }

    pub fn value(value: &str) -> Self {
        Self::new(Some(r#"{"id":1}"#), Some(value))
    }

    pub fn at(mut self, offset: i64) -> Self {
        self.offset = offset;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    pub fn push(&self, decoder: &mut JsonDecoder) -> sql::Result<Pushed> {
        let headers: Vec<(&str, Option<&[u8]>)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), Some(value.as_slice())))
            .collect();
        decoder.push(&RawMessage {
            partition: &self.partition,
            offset: self.offset,
            timestamp_ms: Some(1_700_000_000_000),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
        })
    }
}

/// The messages of `tests/fixtures/NAME`.
pub fn fixture(name: &str) -> Vec<Message> {
    let path = format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let bytes = |value: &serde_json::Value| value.as_str().map(|text| text.as_bytes().to_vec());
    text.lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let flat: Vec<String> = record["headers"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|text| text.as_str().unwrap().to_owned())
                .collect();
            Message {
                partition: Partition::new(
                    record["topic"].as_str().unwrap(),
                    i32::try_from(record["partition"].as_i64().unwrap()).unwrap(),
                ),
                offset: record["offset"].as_i64().unwrap(),
                key: bytes(&record["key"]),
                value: bytes(&record["payload"]),
                headers: flat
                    .chunks(2)
                    .map(|pair| (pair[0].clone(), pair[1].as_bytes().to_vec()))
                    .collect(),
            }
        })
        .collect()
}

pub fn decoder(options: DecoderOptions) -> JsonDecoder {
    JsonDecoder::try_new(options).unwrap()
}

/// A decoder with these columns.
pub fn declared(columns: &[(&str, DeclaredType, DataType)]) -> JsonDecoder {
    decoder(DecoderOptions {
        columns: Some(columns_of(columns)),
        ..DecoderOptions::default()
    })
}

pub fn columns_of(columns: &[(&str, DeclaredType, DataType)]) -> Vec<DeclaredColumn> {
    columns
        .iter()
        .map(|(name, encoding, data_type)| DeclaredColumn {
            field: Arc::new(Field::new(*name, data_type.clone(), true)),
            encoding: *encoding,
            not_null: false,
        })
        .collect()
}

/// Pushes a message as a feed does: a new schema ends the batch, is adopted, and the message comes again.
/// Returns what became of it and the batch that it ended.
pub fn feed(decoder: &mut JsonDecoder, message: &Message) -> (Pushed, Option<Decoded>) {
    match message.push(decoder).unwrap() {
        Pushed::NewSchema(schema) => {
            let done = decoder.finish(0).unwrap();
            decoder.adopt(schema).unwrap();
            let again = message.push(decoder).unwrap();
            assert!(!matches!(again, Pushed::NewSchema(_)), "asked twice");
            (again, Some(done))
        }
        pushed => (pushed, None),
    }
}

/// Pushes all and returns all batches.
pub fn run(decoder: &mut JsonDecoder, messages: &[Message]) -> Vec<Decoded> {
    let mut batches = Vec::new();
    for message in messages {
        batches.extend(feed(decoder, message).1);
    }
    batches.push(decoder.finish(0).unwrap());
    batches
}

/// Pushes one message that must become a row, alone in its batch.
pub fn row(decoder: &mut JsonDecoder, message: &Message) -> Decoded {
    let (pushed, _) = feed(decoder, message);
    let decoded = decoder.finish(0).unwrap();
    assert_eq!(pushed, Pushed::Row, "{:?}", decoded.rejects);
    assert_eq!(decoded.rows.num_rows(), 1);
    decoded
}

/// Pushes one message that must be rejected.
pub fn reject(decoder: &mut JsonDecoder, message: &Message) -> Reject {
    let (pushed, _) = feed(decoder, message);
    let mut decoded = decoder.finish(0).unwrap();
    assert_eq!(pushed, Pushed::Reject, "{:?}", decoded.rows);
    assert_eq!(decoded.rows.num_rows(), 0);
    assert_eq!(decoded.rejects.len(), 1);
    decoded.rejects.remove(0)
}

/// A cell as text; `NULL` for null.
pub fn cell(rows: &RecordBatch, column: &str, row: usize) -> String {
    let array = rows
        .column_by_name(column)
        .unwrap_or_else(|| panic!("no column {column}"));
    let options = FormatOptions::default().with_null("NULL");
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    ArrayFormatter::try_new(array.as_ref(), &options)
        .unwrap()
        .value(row)
        .to_string()
}

/// All cells of a row.
pub fn cells(rows: &RecordBatch, columns: &[&str], row: usize) -> Vec<String> {
    columns.iter().map(|name| cell(rows, name, row)).collect()
}

/// The Connect schema of an envelope whose row has these fields, as JSON.
pub fn envelope_schema(fields: &str, connector: &str) -> String {
    let image = |name: &str| {
        format!(
            r#"{{"type":"struct","fields":[{fields}],"optional":true,"name":"t.Value","field":"{name}"}}"#
        )
    };
    let source = format!(
        r#"{{"type":"struct","fields":[{{"type":"string","optional":false,"field":"version"}},{{"type":"int64","optional":false,"field":"ts_ms"}}],"optional":false,"name":"io.debezium.connector.{connector}.Source","field":"source"}}"#
    );
    format!(
        r#"{{"type":"struct","fields":[{},{},{source},{{"type":"string","optional":false,"field":"op"}}],"optional":false,"name":"t.Envelope","version":2}}"#,
        image("before"),
        image("after"),
    )
}

/// A create event with its schema.
pub fn with_schema(fields: &str, after: &str) -> Message {
    with_schema_of(fields, after, "postgresql")
}

pub fn with_schema_of(fields: &str, after: &str, connector: &str) -> Message {
    let schema = envelope_schema(fields, connector);
    Message::value(&format!(
        r#"{{"schema":{schema},"payload":{}}}"#,
        envelope("c", "null", after)
    ))
}

/// An envelope without schema.
pub fn envelope(op: &str, before: &str, after: &str) -> String {
    format!(
        r#"{{"before":{before},"after":{after},"source":{{"version":"3.4","ts_ms":1700000000123}},"op":"{op}","ts_ms":1700000000999}}"#
    )
}

/// One field of a Connect schema: `kind` as JSON members.
pub fn field(name: &str, kind: &str) -> String {
    format!(r#"{{{kind},"optional":true,"field":"{name}"}}"#)
}

pub fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

pub fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
