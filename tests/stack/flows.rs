//! The shipped flows end to end: a database, its connector, the engine, the table. The latest row of each key is
//! `SELECT *`; the change data feed and the version history of the Delta tables tell what each commit did.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::capture::Record;
use tests::connect::Worker;
use tests::engine::Engine;
use tests::kafka::Broker;
use tests::python::{Location, Reader, Readers};
use tests::{mariadb, need, note, postgres};

use super::account;
use super::debezium::{self, latest};
use super::pipeline::Sink;

const RUN: Duration = Duration::from_secs(300);
const SEEN: Duration = Duration::from_secs(120);

/// A shipped pipeline of orders.
#[derive(Debug, Clone, Copy)]
struct Flow {
    /// Its name, its file's, and its table's without the ending.
    pipeline: &'static str,
    /// The one topic whose records become rows.
    topic: &'static str,
    system: &'static str,
}

const POSTGRES: Flow = Flow {
    pipeline: "postgres_orders_delta",
    topic: "cdc.postgres.public.orders",
    system: "postgres_cdc",
};

const MARIADB: Flow = Flow {
    pipeline: "mysql_orders_delta",
    topic: "cdc.mysql.shop.orders",
    system: "mysql_cdc",
};

impl Flow {
    fn file(self) -> String {
        format!("pipelines/{}.yaml", self.pipeline)
    }

    fn table(self, warehouse: &Path) -> Location {
        let folder = self.pipeline.trim_end_matches("_delta");
        Location::Delta(warehouse.join("delta").join(folder))
    }
}

const POSTGRES_ORDERS: &str = "
CREATE TABLE orders (
    order_id bigint PRIMARY KEY, customer_id bigint NOT NULL, status text NOT NULL, amount numeric(12,2), city text,
    country text, placed_at timestamptz NOT NULL);
ALTER TABLE orders REPLICA IDENTITY FULL;
CREATE TABLE shipments (order_id bigint PRIMARY KEY, carrier text);
INSERT INTO shipments VALUES (1, 'DHL'), (2, NULL);
INSERT INTO orders
SELECT n, n % 7 + 1, (ARRAY['new', 'paid', 'shipped'])[n % 3 + 1], CASE WHEN n % 8 > 0 THEN n * 1234.57 END,
       (ARRAY['São Paulo', NULL, '', '東京'])[n % 4 + 1], CASE WHEN n % 5 > 0 THEN 'Brazil' END,
       '2026-11-22 23:59:59.270388+00'::timestamptz - n * interval '7 hours 0.000007 seconds'
FROM generate_series(1, 30) n;
";

/// 1 insert, 10 updates, 2 updates, 3 deletes with tombstones, 1 insert, a key change (3 records).
const POSTGRES_CHANGES: &str = "
BEGIN;
INSERT INTO orders VALUES (31, 3, 'new', 99999999.99, 'Berlin', 'Germany', '1969-12-31 23:59:59.999999+00');
UPDATE orders SET status = 'paid', amount = coalesce(amount, 0) + 0.01 WHERE order_id BETWEEN 1 AND 10;
UPDATE orders SET status = 'cancelled', amount = NULL WHERE order_id IN (11, 12);
DELETE FROM orders WHERE order_id BETWEEN 12 AND 14;
COMMIT;
INSERT INTO orders VALUES (13, 5, 'new', 0.01, NULL, NULL, now());
UPDATE orders SET order_id = 1000 WHERE order_id = 20;
DELETE FROM shipments;
";

const POSTGRES_NOW: &str = r#"
SELECT order_id, customer_id, status, amount::text AS amount,
       nullif(concat_ws(', ', nullif(btrim(city), ''), nullif(btrim(country), '')), '') AS location,
       to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS placed_at,
       (placed_at AT TIME ZONE 'UTC')::date::text AS order_date
FROM orders ORDER BY order_id
"#;

#[test]
fn postgres_orders_into_delta_and_customers_into_iceberg_are_the_tables_through_truncate_and_restart()
 {
    let readers = need!(Readers::ready());
    let server = need!(postgres::Server::given_or_start());
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::given_or_start(&broker));
    let warehouse = tempfile::tempdir().expect("a temporary folder");
    server.execute(POSTGRES_ORDERS);
    server.execute(debezium::TABLE);
    worker.capture_postgres(
        &server,
        "cdc.postgres",
        "public.orders,public.shipments",
        &[],
    );
    worker.capture_postgres(&server, "postgres", "public.customers", &[]);
    broker.wait_for(POSTGRES.topic, 30, SEEN);
    broker.wait_for("postgres.public.customers", 300, SEEN);
    server.execute(POSTGRES_CHANGES);
    server.execute(debezium::CHANGES);
    let changed = 30 + 1 + 10 + 2 + 6 + 1 + 3;
    broker.wait_for(POSTGRES.topic, changed, SEEN);
    broker.wait_for("cdc.postgres.public.shipments", 2 + 4, SEEN);
    broker.wait_for("postgres.public.customers", 513, SEEN);

    let flows = [POSTGRES.file(), "pipelines/customers.yaml".to_owned()];
    run(&flows, &broker, warehouse.path());
    let check = || {
        let sent = broker.read(POSTGRES.topic);
        let expected = server.rows(POSTGRES_NOW);
        judge(POSTGRES, &readers, &sent, &expected, warehouse.path());
        let iceberg = Sink::Iceberg.location(warehouse.path());
        for reader in iceberg.readers() {
            let rows = readers.read(reader, &iceberg).rows;
            let expected = server.rows(debezium::EXPECTED);
            assert_eq!(latest(rows, "customer_id"), expected, "{reader:?}");
        }
    };
    check();

    server.execute(TRUNCATED);
    broker.wait_for(POSTGRES.topic, changed + 4, SEEN);
    run(&flows, &broker, warehouse.path());
    check();
    the_topic_is_asked(&broker, changed);

    assert_a_run_adds_nothing(POSTGRES, &flows, &broker, warehouse.path());
}

/// `kafka()` reads the offsets that it is asked for from the broker; the last four are those of [`TRUNCATED`].
fn the_topic_is_asked(broker: &Broker, changed: usize) {
    let end = json!([
        {"_op": "t", "order_id": null}, {"_op": "c", "order_id": 5}, {"_op": "c", "order_id": 6}, {"_op": "u", "order_id": 6}
    ]);
    for (arguments, expected) in [
        ("-4".to_owned(), end.clone()),
        (format!("{changed}, {}", changed + 3), end.clone()),
        (changed.to_string(), end.clone()),
        (format!("{changed}, 'follow'"), end),
        (
            format!("{}, {}", changed + 1, changed + 1),
            json!([{"_op": "c", "order_id": 5}]),
        ),
        ("'latest'".to_owned(), json!([])),
    ] {
        let sql = format!(
            "SELECT _op, order_id FROM kafka('{}', {arguments}) LIMIT 4",
            POSTGRES.topic
        );
        let file = POSTGRES.file();
        let said = Engine::new(["sql", &file, "--format", "json", "-c", &sql])
            .env("KAFKA_BROKERS", broker.bootstrap())
            .run(SEEN)
            .expect_code(0)
            .stdout;
        let rows: Value = serde_json::from_str(&said).unwrap_or_else(|_| {
            said.lines()
                .map(|line| serde_json::from_str::<Value>(line).expect("a row"))
                .collect()
        });
        assert_eq!(rows, expected, "{sql}");
    }
}

/// A truncate and what comes after it, on both databases: 1 truncate, 2 inserts, 1 update.
const TRUNCATED: &str = "
TRUNCATE TABLE orders;
INSERT INTO orders (order_id, customer_id, status, amount, city, country, placed_at)
VALUES (5, 1, 'new', 5, NULL, 'Peru', now()), (6, 1, 'new', 6, 'Lima', NULL, now());
UPDATE orders SET status = 'paid' WHERE order_id = 6;
";

/// The amount has a default and may be null: a converter that is not told otherwise sends the default for the null.
const MARIADB_ORDERS: &str = "
CREATE TABLE orders (
    order_id bigint PRIMARY KEY, customer_id bigint NOT NULL,
    status enum('new', 'paid', 'shipped', 'cancelled') NOT NULL, amount decimal(12,2) DEFAULT 0.00,
    city varchar(80), country varchar(80), placed_at timestamp(6) NOT NULL) CHARACTER SET utf8mb4;
INSERT INTO orders
SELECT seq, seq % 7 + 1, elt(seq % 3 + 1, 'new', 'paid', 'shipped'), IF(seq % 8 > 0, seq * 1234.57, NULL),
       elt(seq % 4 + 1, 'São Paulo', NULL, '', '東京'), IF(seq % 5 > 0, 'Brazil', NULL),
       timestamp'2026-11-22 23:59:59.270388' - INTERVAL seq * 7 HOUR - INTERVAL seq * 7 MICROSECOND
FROM seq_1_to_30;
";

/// As on Postgres, then two updates of a table that has gained a column.
const MARIADB_CHANGES: &str = "
BEGIN;
INSERT INTO orders VALUES (31, 3, 'new', 9999999999.99, 'Berlin', 'Germany', '1970-01-02 00:00:00.000001');
UPDATE orders SET status = 'paid', amount = coalesce(amount, 0) + 0.01 WHERE order_id BETWEEN 1 AND 10;
UPDATE orders SET status = 'cancelled', amount = NULL WHERE order_id IN (11, 12);
DELETE FROM orders WHERE order_id BETWEEN 12 AND 14;
COMMIT;
INSERT INTO orders VALUES (13, 5, 'new', 0.01, NULL, NULL, now(6));
UPDATE orders SET order_id = 1000 WHERE order_id = 20;
ALTER TABLE orders ADD COLUMN note text;
UPDATE orders SET note = 'gift', amount = -1 WHERE order_id IN (1, 2);
";

const MARIADB_NOW: &str = "
SELECT order_id, customer_id, status, CAST(amount AS CHAR) AS amount,
       nullif(concat_ws(', ', nullif(trim(city), ''), nullif(trim(country), '')), '') AS location,
       date_format(convert_tz(placed_at, @@session.time_zone, '+00:00'), '%Y-%m-%dT%H:%i:%s.%fZ') AS placed_at,
       date_format(convert_tz(placed_at, @@session.time_zone, '+00:00'), '%Y-%m-%d') AS order_date
FROM orders ORDER BY order_id
";

#[test]
fn orders_from_the_binary_log_into_delta_are_the_table_through_truncate_and_restart() {
    let readers = need!(Readers::ready());
    let server = need!(mariadb::Server::given_or_start());
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::given_or_start(&broker));
    let warehouse = tempfile::tempdir().expect("a temporary folder");
    server.execute(MARIADB_ORDERS);
    worker.capture_mariadb(&server, "cdc.mysql", "shop.orders", &WITH_SCHEMAS);
    broker.wait_for(MARIADB.topic, 30, SEEN);
    server.execute(MARIADB_CHANGES);
    let changed = 30 + 1 + 10 + 2 + 6 + 1 + 3 + 2;
    broker.wait_for(MARIADB.topic, changed, SEEN);

    let flows = [MARIADB.file()];
    run(&flows, &broker, warehouse.path());
    let check = || {
        let sent = broker.read(MARIADB.topic);
        let expected = server.rows(MARIADB_NOW);
        judge(MARIADB, &readers, &sent, &expected, warehouse.path());
    };
    check();

    server.execute(TRUNCATED);
    broker.wait_for(MARIADB.topic, changed + 4, SEEN);
    run(&flows, &broker, warehouse.path());
    check();
    assert_a_run_adds_nothing(MARIADB, &flows, &broker, warehouse.path());
}

/// What the README says of the connector's converter.
const WITH_SCHEMAS: [(&str, &str); 3] = [
    (
        "value.converter",
        "org.apache.kafka.connect.json.JsonConverter",
    ),
    ("value.converter.schemas.enable", "true"),
    ("value.converter.replace.null.with.default", "false"),
];

fn assert_a_run_adds_nothing(flow: Flow, files: &[String], broker: &Broker, warehouse: &Path) {
    let before = flow.table(warehouse).commits();
    run(files, broker, warehouse);
    assert_eq!(
        flow.table(warehouse).commits(),
        before,
        "a run without new records makes no version"
    );
}

fn run(files: &[String], broker: &Broker, warehouse: &Path) {
    let arguments = files.iter().map(String::as_str);
    Engine::new(["run", "--once"].into_iter().chain(arguments))
        .env("WAREHOUSE", warehouse)
        .env("KAFKA_BROKERS", broker.bootstrap())
        .run(RUN)
        .expect_code(0);
}

/// Asserts that the flow's table holds every record that was sent once, that the latest row of each key is `expected`, and
/// that feed and history tell the same.
fn judge(flow: Flow, readers: &Readers, sent: &[Record], expected: &[Value], warehouse: &Path) {
    let table = flow.table(warehouse);
    let Location::Delta(path) = &table else {
        panic!("{table:?}")
    };
    for reader in Reader::DELTA {
        let rows = readers.read(reader, &table).rows;
        account::assert_each_once(sent, &rows, &[]);
        assert!(rows.iter().all(|row| row["_source_system"] == flow.system));
        assert_statuses_follow(&rows);
        let mut now = latest(rows, "order_id");
        for row in &mut now {
            // It is about the change, not of the row.
            row.as_object_mut()
                .expect("a row")
                .remove("previous_status");
        }
        assert_eq!(now, expected, "{reader:?}: the latest row of each key");
    }
    let rows = readers.read(Reader::Deltalake, &table).rows;
    let by_version = judge_history(flow, &readers.history(path), sent);
    let mut changes = readers.changes(path, 0).rows;
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    for change in &mut changes {
        let change = change.as_object_mut().expect("a row");
        assert_eq!(change.remove("_change_type"), Some(json!("insert")));
        let version = change.remove("_commit_version").and_then(|v| v.as_u64());
        *found.entry(version.expect("a version")).or_default() += 1;
        assert!(change.remove("_commit_timestamp").is_some());
    }
    assert_eq!(changes, rows, "the feed holds each row as the table does");
    assert_eq!(found, by_version, "the feed's versions are the history's");
    note::figure(&format!(
        "{}: {} rows in {} commits",
        flow.pipeline,
        rows.len(),
        found.len()
    ));
}

/// What an update or a delete says of the status before is the status that the row had, in the topic's order.
fn assert_statuses_follow(rows: &[Value]) {
    let mut now: BTreeMap<Option<i64>, Value> = BTreeMap::new();
    for row in rows {
        let key = row["order_id"].as_i64();
        match row["_cdc_operation"].as_str() {
            Some("TRUNCATE") => now.clear(),
            Some("UPDATE" | "DELETE") => {
                assert_eq!(Some(&row["previous_status"]), now.get(&key), "{row}");
            }
            _ => assert_eq!(row["previous_status"], Value::Null, "{row}"),
        }
        now.insert(key, row["status"].clone());
    }
}

/// Asserts that the history names the pipeline and leads from the first offset to the last, without a hole. Returns the
/// rows that each version says it added, where it added some.
fn judge_history(flow: Flow, history: &[Value], sent: &[Record]) -> BTreeMap<u64, u64> {
    assert_eq!(history[0]["operation"], "CREATE TABLE");
    let place = format!("{}/0", flow.topic);
    let (mut next, mut rows) = (Value::Null, BTreeMap::new());
    for commit in &history[1..] {
        assert_eq!(commit["operation"], "WRITE", "{commit}");
        let engine = commit["engineInfo"].as_str().unwrap_or_default();
        assert!(engine.starts_with("engine/"), "{commit}");
        let origin = commit["userMetadata"].as_str().expect("user metadata");
        let origin: Value = serde_json::from_str(origin).expect("JSON");
        assert_eq!(origin["pipeline"], flow.pipeline);
        if let Some(moved) = origin["offsets"].get(&place) {
            assert_eq!(moved[0], next, "{commit}");
            next = moved[1].clone();
        }
        let added = commit["operationMetrics"]["numOutputRows"].as_str();
        let added: u64 = added.and_then(|n| n.parse().ok()).expect("a number");
        let version = commit["version"].as_u64().expect("a version");
        if added > 0 {
            rows.insert(version, added);
        }
    }
    let end = sent.last().map(|record| record.offset + 1);
    assert_eq!(next.as_i64(), end, "the history leads to the topic's end");
    rows
}
