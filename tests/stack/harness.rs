//! The harness itself: what every other test here stands on.

mod clock;
mod connect;
mod cuts;
mod databases;
mod disk;

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tests::capture::{self, Record};
use tests::connect::Worker;
use tests::kafka::Broker;
use tests::postgres::Server;
use tests::python::Readers;
use tests::{need, repository};

const SEEN: Duration = Duration::from_secs(60);

#[test]
fn a_broker_keeps_records_as_captured_and_across_kill_and_stop() {
    let mut broker = need!(Broker::start());
    let records: Vec<Record> = capture::read(&repository::path("pipelines/data/customers.jsonl"));
    broker.create_topic("kept", 1, &[]);
    broker.produce("kept", &records);

    broker.kill();
    broker.restart();
    broker.stop();
    broker.restart();

    let kept = broker.read("kept");
    assert_eq!(kept.len(), records.len());
    for (kept, sent) in kept.iter().zip(&records) {
        assert_eq!(
            (&kept.key, &kept.payload, &kept.headers),
            (&sent.key, &sent.payload, &sent.headers)
        );
    }
    broker.delete_records("kept", 0, 100);
    assert_eq!(broker.offsets("kept", 0), (100, 1727));
}

#[test]
fn changes_in_postgres_come_out_of_debezium_as_events() {
    let server = need!(Server::given_or_start());
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::given_or_start(&broker));
    server.execute("CREATE TABLE harness (id int PRIMARY KEY, name text, amount numeric(12,2))");
    server.execute("INSERT INTO harness VALUES (1, 'before', 1.50)");
    worker.capture_postgres(&server, "harness", "public.harness", &[]);
    // A change before the snapshot is read would be part of it.
    broker.wait_for("harness.public.harness", 1, SEEN);
    server.execute(
        "INSERT INTO harness VALUES (2, 'Ünal', 12.34); UPDATE harness SET name = 'after' WHERE id = 1;
         DELETE FROM harness WHERE id = 2; TRUNCATE harness;",
    );

    let events = broker.wait_for("harness.public.harness", 6, SEEN);
    let operations: Vec<Value> = events
        .iter()
        .map(|record| record.event()["op"].clone())
        .collect();
    assert_eq!(json!(operations), json!(["r", "c", "u", "d", null, "t"]));
    assert_eq!(
        events[1].event()["after"],
        json!({"id": 2, "name": "Ünal", "amount": "BNI="})
    );
    assert_eq!(events[4].key.as_deref(), Some(r#"{"id":2}"#));
    assert_eq!(events[5].key, None);
}

#[test]
fn independent_readers_agree_on_a_table_that_they_did_not_write() {
    let readers = need!(Readers::ready());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tables = readers.write_samples(folder.path());
    for location in tables {
        let [one, other] = location.readers();
        let (one, other) = (readers.read(one, &location), readers.read(other, &location));
        assert_eq!(one.rows, other.rows);
        assert_eq!(one.version, other.version);
        assert_eq!(
            one.rows[1],
            json!({
                "id": 2, "amount": "-0.05", "at": "2026-11-22T10:07:32.270388Z",
                "local": "1969-12-31T23:59:59.999999", "_partition": 0, "_offset": 8,
            })
        );
        assert_eq!(one.rows[0]["amount"], Value::Null);
    }
}

#[test]
fn the_reference_counts_the_fixture_as_postgres_made_it() {
    let readers = need!(Readers::ready());
    let file = repository::path("pipelines/data/customers.jsonl");
    let rows = readers.reference(&file);
    let count = |operation: &str| {
        rows.iter()
            .filter(|row| row["_cdc_operation"] == operation)
            .count()
    };
    assert_eq!(
        ["SNAPSHOT", "INSERT", "UPDATE", "DELETE"].map(count),
        [400, 441, 632, 127]
    );
    let tombstones = capture::read(&file)
        .iter()
        .filter(|record| record.payload.is_none())
        .count();
    assert_eq!(
        rows.len() + tombstones,
        fs::read_to_string(&file).expect("text").lines().count()
    );
}
