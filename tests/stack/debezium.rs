//! The shipped pipelines behind real PostgreSQL, real Debezium and a real Kafka.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::connect::Worker;
use tests::kafka::Broker;
use tests::need;
use tests::postgres::Server;
use tests::python::{Reader, Readers};

use super::account;
use super::customers::run_shipped;
use super::pipeline::Sink;

const TOPIC: &str = "postgres.public.customers";
const RUN: Duration = Duration::from_secs(300);
const SEEN: Duration = Duration::from_secs(120);

pub(super) const TABLE: &str = "
CREATE TABLE customers (
    customer_id bigint PRIMARY KEY, email text, first_name text NOT NULL, last_name text, phone text, city text,
    state text, country text, tier text, lifetime_value numeric(12,2),
    created_at timestamptz NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE FUNCTION nonblank(text) RETURNS text LANGUAGE sql AS $$ SELECT CASE WHEN btrim($1) <> '' THEN $1 END $$;
INSERT INTO customers
SELECT n, 'c' || n || '@example.com', (ARRAY['Karen', 'Ünal', ' ', '', 'José'])[n % 5 + 1],
       CASE WHEN n % 3 > 0 THEN 'Müller' END, '+1', (ARRAY['São Paulo', NULL, '', '東京'])[n % 4 + 1],
       CASE WHEN n % 2 = 0 THEN 'SP' END, CASE WHEN n % 7 > 0 THEN 'Brazil' END, 'Gold',
       CASE WHEN n % 6 > 0 THEN (n - 100) * 1234.57 END,
       '2026-11-22 10:07:32.270388+00'::timestamptz - n * interval '1 month 3 hours 0.000007 seconds',
       '2026-11-22 10:07:32.270388'::timestamp - n * interval '5 months 0.000011 seconds'
FROM generate_series(1, 300) n;
";

pub(super) const CHANGES: &str = "
INSERT INTO customers SELECT n, NULL, 'New', 'Customer', NULL, 'Berlin', '  ', 'Germany', 'Silver', 9999999999.99,
    '1899-12-31 23:59:59.999999+00', '1969-12-31 23:59:59.999999' FROM generate_series(301, 350) n;
UPDATE customers SET tier = 'Platinum', lifetime_value = -lifetime_value, updated_at = '2262-04-12 00:00:00.000001'
    WHERE customer_id % 4 = 0;
BEGIN;
UPDATE customers SET first_name = first_name || '\"quoted\\\\' WHERE customer_id BETWEEN 10 AND 20;
DELETE FROM customers WHERE customer_id BETWEEN 15 AND 30;
INSERT INTO customers VALUES (15, 'again@example.com', 'Back', NULL, NULL, NULL, NULL, NULL, NULL, 0.01, now(), now());
COMMIT;
UPDATE customers SET customer_id = customer_id + 1000 WHERE customer_id BETWEEN 40 AND 49;
DELETE FROM customers WHERE customer_id = 1045;
";

/// The table as the pipelines' SQL would make it, worked out by PostgreSQL.
pub(super) const EXPECTED: &str = r#"
SELECT customer_id, email,
       nullif(concat_ws(' ', nonblank(first_name), nonblank(last_name)), '') AS full_name,
       nullif(concat_ws(', ', nonblank(city), nonblank(state), nonblank(country)), '') AS location,
       tier, lifetime_value::text AS lifetime_value,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
       to_char(updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.US') AS updated_at
FROM customers ORDER BY customer_id
"#;

#[test]
fn the_latest_row_of_each_key_is_the_row_in_postgres_through_truncate_and_restart() {
    let readers = need!(Readers::ready());
    let server = need!(Server::given_or_start());
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::given_or_start(&broker));
    let warehouse = tempfile::tempdir().expect("a temporary folder");
    server.execute(TABLE);
    worker.capture_postgres(&server, "postgres", "public.customers", &[]);
    broker.wait_for(TOPIC, 300, SEEN);
    server.execute(CHANGES);
    // 50 inserts, 87 updates, 11 updates, 16 deletes with tombstones, 1 insert, 10 keys changed (3 records each),
    // 1 delete with its tombstone.
    let changed = 300 + 50 + 87 + 11 + 32 + 1 + 30 + 2;
    assert_eq!(broker.wait_for(TOPIC, changed, SEEN).len(), changed);

    run_against(&broker, warehouse.path());
    compare(&readers, &server, &broker, warehouse.path());

    server.execute("TRUNCATE customers");
    server.execute(
        "INSERT INTO customers SELECT n, 'x', 'After', 'Truncate', NULL, NULL, NULL, NULL, 'Gold', n, now(), now()
         FROM generate_series(5, 9) n",
    );
    assert_eq!(broker.wait_for(TOPIC, changed + 6, SEEN).len(), changed + 6);
    run_against(&broker, warehouse.path());
    compare(&readers, &server, &broker, warehouse.path());
}

fn run_against(broker: &Broker, warehouse: &Path) {
    run_shipped(warehouse)
        .env("KAFKA_BROKERS", broker.bootstrap())
        .run(RUN)
        .expect_code(0);
}

fn compare(readers: &Readers, server: &Server, broker: &Broker, warehouse: &Path) {
    let sent = broker.read(TOPIC);
    let expected = server.rows(EXPECTED);
    for (sink, reader) in [
        (Sink::Iceberg, Reader::Pyiceberg),
        (Sink::Delta, Reader::Deltalake),
    ] {
        let rows = readers.read(reader, &sink.location(warehouse)).rows;
        account::assert_each_once(&sent, &rows, &[]);
        assert_eq!(
            latest(rows, "customer_id"),
            expected,
            "{reader:?}: the latest row of each key"
        );
    }
}

/// The last row of each key after the last truncate, without deleted keys and without metadata.
pub(super) fn latest(rows: Vec<Value>, key: &str) -> Vec<Value> {
    let mut by_key = BTreeMap::new();
    for mut row in rows {
        match row["_cdc_operation"].as_str() {
            Some("TRUNCATE") => by_key.clear(),
            Some("DELETE") => drop(by_key.remove(&row[key].as_i64())),
            _ => {
                let key = row[key].as_i64();
                let columns = row.as_object_mut().expect("a row is an object");
                columns.retain(|name, _| !name.starts_with('_'));
                by_key.insert(key, row);
            }
        }
    }
    by_key.into_values().collect()
}
