//! Made-up customers traffic: what a Debezium topic holds, in any amount, the same for the same numbers.

use serde_json::json;
use tests::capture::Record;

/// The topic that the traffic pretends to be of.
pub(super) const TOPIC: &str = "postgres.public.customers";
/// Partitions of it.
const PARTITIONS: i32 = 2;
/// Of so many records, the last is none that can be decoded.
const REJECT_EVERY: i64 = 97;
/// Of so many offsets, one is missing, as after a transaction marker or compaction.
const GAP_EVERY: i64 = 41;

const NAMES: [&str; 5] = ["Karen", "Ünal", " ", "", "José"];
/// First characters of bytes in base64, of both signs.
const BYTES: &[u8] = b"AHZfgz9+/";
const CITIES: [Option<&str>; 4] = [Some("São Paulo"), None, Some(""), Some("東京")];

/// The records number `from` up to before `to`: two partitions, gaps in the offsets, deletes with their
/// tombstones, and now and then a value that is no event.
pub(super) fn records(from: i64, to: i64) -> Vec<Record> {
    (from..to).map(record).collect()
}

fn record(number: i64) -> Record {
    let partition = i32::try_from(number % i64::from(PARTITIONS)).expect("a small number");
    let nth = number / i64::from(PARTITIONS);
    let customer = nth / 5 + 1;
    Record {
        partition,
        offset: nth + nth / GAP_EVERY,
        timestamp: 1_795_342_053_000 + number,
        headers: vec![("traffic".to_owned(), number.to_string())],
        key: Some(json!({ "customer_id": customer }).to_string()),
        payload: payload(number, nth, customer),
    }
}

/// Five records a customer: inserted, updated, updated, deleted, tombstone.
fn payload(number: i64, nth: i64, customer: i64) -> Option<String> {
    if number % REJECT_EVERY == REJECT_EVERY - 1 {
        let broken = [
            "no event",
            r#"{"op":"z","source":{},"before":null,"after":null}"#,
        ];
        return Some(broken[usize::from(number % 2 == 0)].to_owned());
    }
    let operation = match nth % 5 {
        0 => "c",
        1 | 2 => "u",
        3 => "d",
        _ => return None,
    };
    let pick = |list: usize| usize::try_from(number).expect("a natural number") % list;
    let image = json!({
        "customer_id": customer,
        "email": format!("{number}@example.com"),
        "first_name": NAMES[pick(NAMES.len())],
        "last_name": format!("No. {nth}"),
        "phone": null,
        "city": CITIES[pick(CITIES.len())],
        "state": null,
        "country": "USA",
        "tier": "Gold",
        // One byte in base64: an unscaled value from -128 to 127.
        "lifetime_value": format!("{}A==", char::from(BYTES[pick(BYTES.len())])),
        "created_at": "2026-11-22T10:07:32.270388Z",
        "updated_at": 1_795_342_052_270_388_i64 + number,
    });
    let (before, after) = match operation {
        "d" => (json!({ "customer_id": customer }), json!(null)),
        _ => (json!(null), image),
    };
    let source = json!({
        "version": "3.4.0.Final", "connector": "postgresql", "name": "postgres", "db": "postgres",
        "schema": "public", "table": "customers", "snapshot": "false", "ts_ms": 1_795_342_052_000_i64 + number,
        "txId": number, "lsn": number, "sequence": null, "xmin": null,
    });
    let event = json!({ "before": before, "after": after, "source": source, "op": operation,
        "ts_ms": 1_795_342_052_500_i64 + number, "transaction": null });
    Some(event.to_string())
}

/// Whether a record of this traffic is a row in a table: neither a tombstone nor a reject.
pub(super) fn makes_a_row(record: &Record) -> bool {
    let operation = record.event()["op"].as_str().map(str::to_owned);
    operation.is_some_and(|op| ["c", "u", "d"].contains(&op.as_str()))
}

/// How many rows the records number `from` up to before `to` make.
pub(super) fn rows_of(from: i64, to: i64) -> usize {
    records(from, to)
        .iter()
        .filter(|record| makes_a_row(record))
        .count()
}
