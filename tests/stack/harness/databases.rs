//! Both databases: statements, rows as JSON, sessions whose transactions meet.

use std::thread;

use serde_json::json;
use tests::sql::{LOST, Sql};
use tests::{mariadb, need, postgres};

#[test]
fn mariadb_gives_rows_as_json_and_runs_transactions_side_by_side() {
    let server = need!(mariadb::Server::given_or_start());
    has_a_full_binary_log_and_keeps_its_rows(server);
}

#[test]
fn mysql_gives_rows_as_json_and_runs_transactions_side_by_side() {
    let server = need!(mariadb::Server::start_mysql());
    let version = server.rows("SELECT version() AS v").remove(0);
    assert!(
        version["v"].as_str().is_some_and(|v| v.starts_with("8.0.")),
        "{version}"
    );
    has_a_full_binary_log_and_keeps_its_rows(server);
}

fn has_a_full_binary_log_and_keeps_its_rows(mut server: mariadb::Server) {
    rows_come_back_in_order_with_their_types(&server);
    transactions_meet(&server, "1213", "1205", "1062");
    assert_eq!(
        server.rows("SELECT @@binlog_format f, @@binlog_row_image i, @@log_bin b"),
        [json!({"f": "ROW", "i": "FULL", "b": 1})]
    );
    if !server.is_own() {
        return;
    }

    let mut lost = server.session();
    server.kill_and_restart();
    let said = lost.send("SELECT 1").expect_err("the server was killed");
    assert!(said.starts_with(LOST), "{said}");
    server.restart();
    assert_eq!(
        server.rows("SELECT count(*) n FROM harness_rows")[0]["n"],
        3
    );
}

#[test]
fn postgres_gives_rows_as_json_and_runs_transactions_side_by_side() {
    let server = need!(postgres::Server::given_or_start());
    rows_come_back_in_order_with_their_types(&server);
    transactions_meet(&server, "40P01", "55P03", "23505");
    let mut lost = server.session();
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
    let said = lost.send("SELECT 1").expect_err("the session was ended");
    assert!(said.starts_with(LOST), "{said}");
}

fn rows_come_back_in_order_with_their_types(server: &dyn Sql) {
    server.execute(
        "CREATE TABLE harness_rows (id int PRIMARY KEY, name varchar(60), amount numeric(12,2))",
    );
    server.execute(
        "INSERT INTO harness_rows VALUES (1, NULL, NULL), (3, 'NULL', -0.5);
         INSERT INTO harness_rows VALUES (2, 'Ü\"''{}😀\t\n', 1234567890.12)",
    );
    let rows =
        server.rows("SELECT id, name AS \"the 'name'\", amount FROM harness_rows ORDER BY id DESC");
    assert_eq!(
        rows,
        [
            json!({"id": 3, "the 'name'": "NULL", "amount": -0.5}),
            json!({"id": 2, "the 'name'": "Ü\"'{}😀\t\n", "amount": 1_234_567_890.12}),
            json!({"id": 1, "the 'name'": null, "amount": null}),
        ]
    );
    assert!(
        server
            .rows("SELECT id FROM harness_rows WHERE id > 9")
            .is_empty()
    );
}

/// The codes of a deadlock, a lock that was not had in time, and a key that is there already.
fn transactions_meet(server: &dyn Sql, deadlock: &str, timeout: &str, doubled: &str) {
    let update = |id: i32| format!("UPDATE harness_rows SET amount = amount + 1 WHERE id = {id}");
    let (mut one, mut other) = (server.session(), server.session());
    one.send("BEGIN").expect("a transaction");
    one.send(&update(2)).expect("a free row");
    other.send("BEGIN;").expect("a transaction");
    other.send(&update(3)).expect("a free row");

    // Each waits for the other's row: one of them is told.
    let (sql_of_one, sql_of_other) = (update(3), update(2));
    let (said_to_one, said_to_other) = thread::scope(|scope| {
        let waiting = scope.spawn(|| other.send(&sql_of_other));
        (one.send(&sql_of_one), waiting.join().expect("no panic"))
    });
    let victims = [&said_to_one, &said_to_other].map(|said| said.is_err());
    assert_eq!(victims.iter().filter(|is_victim| **is_victim).count(), 1);
    let said = said_to_one.and(said_to_other).expect_err("a deadlock");
    assert!(said.contains(deadlock), "{said}");
    one.send("ROLLBACK").expect("an open session");
    other.send("ROLLBACK").expect("an open session");

    one.send(&format!("BEGIN; {}", update(2)))
        .expect("a free row");
    let said = other.send(&update(2)).expect_err("a row that is locked");
    assert!(said.contains(timeout), "{said}");
    let said = other
        .send("INSERT INTO harness_rows VALUES (2, NULL, NULL)")
        .expect_err("waits too");
    assert!(said.contains(timeout), "{said}");
    one.send("COMMIT").expect("an open session");
    let said = other
        .send("INSERT INTO harness_rows VALUES (2, NULL, NULL)")
        .expect_err("a doubled key");
    assert!(said.contains(doubled), "{said}");

    // What a session leaves open is rolled back when it closes.
    one.send(&format!("BEGIN; {}", update(3)))
        .expect("a free row");
    drop(one);
    other.send(&update(3)).expect("the row is free again");
    let amounts = server.rows("SELECT amount FROM harness_rows WHERE id > 1 ORDER BY id");
    assert_eq!(
        amounts,
        [json!({"amount": 1_234_567_891.12}), json!({"amount": 0.5})]
    );
}
