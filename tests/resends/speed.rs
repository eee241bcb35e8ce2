//! What looking for events sent again costs: a figure, not a limit.

use std::time::{Duration, Instant};

use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::format::{Decoder, RawMessage};
use engine::spec::model::{DeclaredColumn, DeclaredType};
use sql::change::{Partition, Remembered};
use tests::capture::Record;

use super::simulated::{Topic, changes};

fn decode(records: &[Record], drop: bool) -> (Duration, usize) {
    let field = |name: &str, data_type| arrow::datatypes::Field::new(name, data_type, true);
    let column = |field, encoding| DeclaredColumn {
        field: std::sync::Arc::new(field),
        encoding,
        not_null: false,
    };
    let columns = vec![
        column(
            field("id", arrow::datatypes::DataType::Int64),
            DeclaredType::Integer,
        ),
        column(
            field("name", arrow::datatypes::DataType::Utf8),
            DeclaredType::Text,
        ),
    ];
    let mut decoder = JsonDecoder::try_new(DecoderOptions {
        columns: Some(columns),
        ..DecoderOptions::default()
    })
    .unwrap();
    if drop {
        decoder.drop_resends(Remembered::new(), 100_000).unwrap();
    }
    let partition = Partition::new("shop.public.items", 0);
    let begun = Instant::now();
    for record in records {
        let headers: Vec<(&str, Option<&[u8]>)> = (record.headers.iter())
            .map(|(name, value)| (name.as_str(), Some(value.as_bytes())))
            .collect();
        let message = RawMessage {
            partition: &partition,
            offset: record.offset,
            timestamp_ms: Some(record.timestamp),
            key: record.key.as_deref().map(str::as_bytes),
            value: record.payload.as_deref().map(str::as_bytes),
            headers: &headers,
        };
        decoder.push(&message).unwrap();
    }
    let decoded = decoder.finish(0).unwrap();
    decoder.take_remembered();
    (begun.elapsed(), decoded.rows.num_rows())
}

#[test]
fn decoding_with_and_without_identities() {
    let mut topic = Topic::new(true);
    for change in changes(20_000) {
        topic.send(&change, false);
    }
    let (mut without, mut with) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let (time, rows) = decode(&topic.records, false);
        assert_eq!(rows, 20_000);
        without = without.min(time);
        let (time, rows) = decode(&topic.records, true);
        assert_eq!(rows, 20_000);
        with = with.min(time);
    }
    tests::note::figure(&format!(
        "decode of 26,666 records: {without:.1?} keeping, {with:.1?} dropping resends ({:.2} times)",
        with.as_secs_f64() / without.as_secs_f64()
    ));
}
