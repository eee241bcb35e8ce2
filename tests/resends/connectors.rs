//! What tells the events of each connector apart, and records that do not say where they come from.

use serde_json::{Value, json};
use sql::ErrorKind;
use tests::capture::Record;

use super::harness::Bench;

fn record(offset: i64, key: Option<i64>, value: &Value, run: Option<&str>) -> Record {
    Record {
        partition: 0,
        offset,
        timestamp: 1_700_000_000_000,
        headers: run
            .map(|run| ("__debezium.context.runId".to_owned(), run.to_owned()))
            .into_iter()
            .collect(),
        key: key.map(|key| json!({ "id": key }).to_string()),
        payload: Some(value.to_string()),
    }
}

/// Events out of `(source, op, key, value)`; which offsets become rows, and how many jumps were reported.
async fn rows(events: &[(Value, &str, Option<i64>, &str)], run: Option<&str>) -> (Vec<i64>, u64) {
    let mut bench = Bench::new();
    for (offset, (source, op, key, value)) in events.iter().enumerate() {
        let offset = i64::try_from(offset).unwrap();
        let image = json!({ "id": key, "name": value });
        let event =
            json!({ "before": null, "after": image, "source": source, "op": op, "ts_ms": offset });
        bench.put(&[record(offset, *key, &event, run)]);
    }
    bench.run("resends: drop", 2).await.unwrap();
    (bench.offsets(), bench.jumps())
}

fn mysql(file: &str, pos: u64, row: u64) -> Value {
    json!({ "version": "3.4", "connector": "mysql", "name": "shop", "ts_ms": 1_700_000_000_000_i64, "snapshot": "false",
        "db": "shop", "table": "items", "server_id": 223_344, "gtid": null, "file": file, "pos": pos, "row": row,
        "thread": 7, "query": null })
}

fn postgres(commit: u64, lsn: u64, transaction: u64) -> Value {
    json!({ "version": "3.4", "connector": "postgresql", "name": "shop", "ts_ms": 1_700_000_000_000_i64, "snapshot": "false",
        "db": "shop", "schema": "public", "table": "items", "txId": transaction, "lsn": lsn,
        "sequence": format!("[\"{commit}\",\"{lsn}\"]") })
}

#[tokio::test]
async fn mysql_rows_of_one_event_differ_and_events_sent_again_do_not() {
    let a = |row| mysql("mysql-bin.000003", 1_442, row);
    let b = |row| mysql("mysql-bin.000004", 4, row);
    let events = [
        (a(0), "c", Some(1), "x"),
        (a(1), "c", Some(2), "x"),
        (b(0), "u", Some(1), "y"),
        (a(0), "c", Some(1), "x"),
        (a(1), "c", Some(2), "x"),
        (b(0), "u", Some(1), "y"),
        (b(1), "u", Some(2), "y"),
    ];
    assert_eq!(rows(&events, None).await, (vec![0, 1, 2, 6], 0));
    assert_eq!(rows(&events, Some("one")).await, (vec![0, 1, 2, 6], 0));
}

/// A connector that lost its connection reads the last event of the binlog again, right after the first time.
#[tokio::test]
async fn rows_of_the_last_event_are_known_in_the_same_run() {
    let a = |row| mysql("mysql-bin.000003", 1_442, row);
    let events = [
        (a(0), "c", Some(1), "x"),
        (a(1), "c", Some(2), "x"),
        (a(0), "c", Some(1), "x"),
        (a(1), "c", Some(2), "x"),
        (mysql("mysql-bin.000003", 1_900, 0), "u", Some(1), "y"),
    ];
    assert_eq!(rows(&events, Some("one")).await, (vec![0, 1, 4], 0));
}

#[tokio::test]
async fn a_key_change_shares_position_and_row_and_is_two_events() {
    let source = mysql("mysql-bin.000003", 99, 0);
    let events = [
        (source.clone(), "u", Some(1), "x"),
        (source, "c", Some(2), "x"),
    ];
    assert_eq!(rows(&events, Some("one")).await, (vec![0, 1], 0));
}

#[tokio::test]
async fn a_binlog_that_starts_again_is_reported_and_applied() {
    let events = [
        (mysql("mysql-bin.000009", 500, 0), "c", Some(1), "x"),
        (mysql("mysql-bin.000001", 154, 0), "c", Some(2), "x"),
        (mysql("mysql-bin.000001", 300, 0), "c", Some(3), "x"),
    ];
    assert_eq!(rows(&events, None).await, (vec![0, 1, 2], 1));
}

#[tokio::test]
async fn mariadb_events_with_a_gtid_are_known_under_another_file() {
    let at = |file: &str| {
        let mut source = mysql(file, 700, 0);
        source["connector"] = json!("mariadb");
        source["gtid"] = json!("0-1-17");
        source
    };
    let events = [
        (at("mysql-bin.000003"), "u", Some(1), "x"),
        (at("mysql-bin.000001"), "u", Some(1), "x"),
    ];
    assert_eq!(rows(&events, None).await, (vec![0], 0));
}

#[tokio::test]
async fn rows_of_one_copy_share_an_lsn() {
    let events = [
        (postgres(1, 50, 7), "c", Some(1), "x"),
        (postgres(1, 50, 7), "c", Some(2), "x"),
        (postgres(1, 50, 7), "c", Some(2), "y"),
        (postgres(1, 50, 7), "c", Some(1), "x"),
    ];
    // The last one equals the first: another row if the same run sent it, else the first one again.
    assert_eq!(rows(&events, None).await, (vec![0, 1, 2], 0));
    assert_eq!(rows(&events, Some("one")).await, (vec![0, 1, 2, 3], 0));
}

#[tokio::test]
async fn equal_rows_without_a_key_are_all_kept_where_nothing_tells_them_apart() {
    let events = [
        (postgres(1, 50, 7), "c", None, "x"),
        (postgres(1, 50, 7), "c", None, "x"),
        (postgres(60, 90, 8), "c", None, "x"),
        (postgres(1, 50, 7), "c", None, "x"),
        (postgres(1, 50, 7), "c", None, "x"),
        (postgres(60, 90, 8), "c", None, "x"),
    ];
    assert_eq!(rows(&events, None).await, (vec![0, 1, 2], 0));
}

#[tokio::test]
async fn another_connector_is_known_by_its_whole_source_block() {
    let at = |scn: &str| json!({ "connector": "oracle", "name": "shop", "ts_ms": 5, "scn": scn, "snapshot": "false" });
    let events = [
        (at("10"), "u", Some(1), "x"),
        (at("11"), "u", Some(1), "y"),
        (at("10"), "u", Some(1), "x"),
        (at("11"), "u", Some(1), "y"),
        (at("11"), "u", Some(1), "z"),
    ];
    assert_eq!(rows(&events, None).await, (vec![0, 1, 4], 0));
}

#[tokio::test]
async fn two_sources_in_one_topic_have_their_own_order() {
    let of = |name: &str, lsn: u64| {
        let mut source = postgres(lsn - 1, lsn, lsn);
        source["name"] = json!(name);
        source
    };
    let events = [
        (of("a", 500), "c", Some(1), "x"),
        (of("b", 20), "c", Some(1), "x"),
        (of("a", 600), "c", Some(2), "x"),
        (of("b", 30), "c", Some(2), "x"),
        (of("a", 500), "c", Some(1), "x"),
    ];
    assert_eq!(rows(&events, None).await, (vec![0, 1, 2, 3], 0));
}

#[tokio::test]
async fn snapshot_rows_of_old_connectors_are_inserts_and_rows_all_the_same() {
    let mut of_mysql = mysql("mysql-bin.000003", 154, 0);
    of_mysql["server_id"] = json!(0);
    let mut of_postgres = postgres(1, 50, 7);
    of_postgres["sequence"] = json!("[null,\"50\"]");
    for mut source in [of_mysql, of_postgres] {
        source["snapshot"] = json!("true");
        let events = [(source.clone(), "c", None, "x"), (source, "c", None, "x")];
        assert_eq!(rows(&events, None).await, (vec![0, 1], 0));
    }
}

/// As PostgreSQL's connector sends them after it was killed while an incremental snapshot was being read.
#[tokio::test]
async fn streamed_events_that_are_marked_as_a_snapshot_are_known_all_the_same() {
    let of = |connector: &str, place: u64| {
        let mut source = match connector {
            "postgresql" => postgres(40, 50 + place, 7),
            _ => mysql("mysql-bin.000003", 154 + place, 0),
        };
        source["snapshot"] = json!("true");
        source
    };
    for connector in ["postgresql", "mysql"] {
        let events = [
            (of(connector, 0), "c", Some(1), "x"),
            (of(connector, 1), "u", Some(1), "y"),
            (of(connector, 2), "d", Some(1), "y"),
            (of(connector, 0), "c", Some(1), "x"),
            (of(connector, 1), "u", Some(1), "y"),
            (of(connector, 2), "d", Some(1), "y"),
            (of(connector, 3), "c", Some(1), "z"),
        ];
        assert_eq!(
            rows(&events, None).await,
            (vec![0, 1, 2, 6], 0),
            "{connector}"
        );
    }
}

#[tokio::test]
async fn records_without_a_source_are_refused_with_what_to_do() {
    for value in [
        json!({ "id": 1, "name": "flattened" }),
        json!({ "before": null, "after": { "id": 1 }, "op": "c", "ts_ms": 1 }),
        json!({ "before": null, "after": { "id": 1 }, "op": "c", "source": { "connector": "postgresql", "lsn": null } }),
    ] {
        let mut bench = Bench::new();
        let good = postgres(1, 50, 7);
        let first =
            json!({ "before": null, "after": { "id": 1, "name": "x" }, "source": good, "op": "c" });
        bench.put(&[
            record(0, Some(1), &first, None),
            record(1, Some(1), &value, None),
        ]);
        let error = bench.run("resends: drop", 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Policy);
        let report = error.report();
        assert!(report.contains("shop.public.items/0@1"), "{report}");
        assert!(report.contains("Set `source.resends: keep`"), "{report}");
        assert_eq!(bench.offsets(), [0], "what came before is committed");
        bench.run("resends: keep", 10).await.unwrap();
        assert_eq!(bench.offsets(), [0, 1]);
    }
}
