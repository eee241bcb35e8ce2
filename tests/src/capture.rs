//! Captured messages: one Kafka record a line, as `kcat -J` prints it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// One Kafka record with text keys and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// The key.
    pub key: Option<String>,
    /// The value; `None` is a tombstone.
    pub payload: Option<String>,
}

impl Record {
    /// The value as JSON; `Null` for a tombstone and for what is no JSON.
    pub fn event(&self) -> Value {
        let payload = self.payload.as_deref().unwrap_or("null");
        serde_json::from_str(payload).unwrap_or(Value::Null)
    }
}

/// Reads a capture file.
///
/// # Panics
/// If a line is not a captured record: the fixtures are ours.
pub fn read(file: &Path) -> Vec<Record> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", file.display()),
    };
    text.lines().map(parse).collect()
}

/// Writes a capture file of `topic`.
pub fn write(file: &Path, topic: &str, records: &[Record]) {
    fs::write(file, lines(topic, records)).expect("a temporary folder is writable");
}

/// Records as lines of a capture file of `topic`.
pub fn lines(topic: &str, records: &[Record]) -> String {
    records
        .iter()
        .map(|record| line(topic, record) + "\n")
        .collect()
}

fn parse(line: &str) -> Record {
    let value: Value = serde_json::from_str(line).expect("a captured record is JSON");
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let number = |name: &str| value[name].as_i64().expect("a number");
    let headers: Vec<&str> = value["headers"]
        .as_array()
        .map(|headers| {
            headers
                .iter()
                .map(|part| part.as_str().unwrap_or(""))
                .collect()
        })
        .unwrap_or_default();
    Record {
        partition: i32::try_from(number("partition")).expect("a partition"),
        offset: number("offset"),
        timestamp: number("ts"),
        headers: headers
            .chunks_exact(2)
            .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
            .collect(),
        key: text("key"),
        payload: text("payload"),
    }
}

fn line(topic: &str, record: &Record) -> String {
    let headers: Vec<&String> = record.headers.iter().flat_map(|(k, v)| [k, v]).collect();
    json!({
        "topic": topic,
        "partition": record.partition,
        "offset": record.offset,
        "tstype": "create",
        "ts": record.timestamp,
        "broker": 1,
        "headers": headers,
        "key": record.key,
        "payload": record.payload,
    })
    .to_string()
}
