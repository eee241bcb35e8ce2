//! Debezium behind a worker that is stopped, killed and started again.

use std::time::Duration;

use serde_json::{Value, json};
use tests::capture::Record;
use tests::connect::{self, OFTEN, RARELY, WITH_SCHEMAS, Worker};
use tests::kafka::Broker;
use tests::sql::Sql;
use tests::{mariadb, need, postgres};

const SEEN: Duration = Duration::from_secs(90);

#[test]
fn a_killed_worker_sends_postgres_changes_again() {
    let server = need!(postgres::Server::given_or_start());
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::start(&broker));
    server.execute("CREATE TABLE again (id int PRIMARY KEY, name text)");
    server.execute("INSERT INTO again VALUES (1, 'before')");
    worker.capture_postgres(&server, "again", "public.again", &[]);
    sends_again(&server, &broker, worker, "again.public.again", "again");
}

#[test]
fn a_killed_worker_sends_mariadb_changes_again() {
    let server = need!(mariadb::Server::given_or_start());
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::start(&broker));
    server.execute("CREATE TABLE again (id int PRIMARY KEY, name text)");
    server.execute("INSERT INTO again VALUES (1, 'before')");
    let table = format!("{}.again", server.address().database);
    worker.capture_mariadb(&server, "maria", &table, &WITH_SCHEMAS);
    sends_again(&server, &broker, worker, &format!("maria.{table}"), "maria");
}

#[test]
fn a_killed_worker_sends_mysql_changes_again() {
    let server = need!(mariadb::Server::start_mysql());
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::start(&broker));
    server.execute("CREATE TABLE again (id int PRIMARY KEY, name text)");
    server.execute("INSERT INTO again VALUES (1, 'before')");
    let table = format!("{}.again", server.address().database);
    worker.capture_mysql(&server, "my", &table, &WITH_SCHEMAS);
    sends_again(&server, &broker, worker, &format!("my.{table}"), "my");
}

fn sends_again(server: &dyn Sql, broker: &Broker, mut worker: Worker, topic: &str, prefix: &str) {
    // A change before the snapshot is read would be part of it.
    broker.wait_for(topic, 1, SEEN);
    server.execute("UPDATE again SET name = 'Ünal' WHERE id = 1");
    broker.wait_for(topic, 2, SEEN);

    // An orderly stop stores how far it is: nothing is sent again.
    worker.stop();
    worker.restart(RARELY);
    worker.wait_running(&connect::connector(prefix));
    server.execute("INSERT INTO again VALUES (2, 'two'), (3, 'three'); DELETE FROM again WHERE id = 3; UPDATE again SET name = 'new' WHERE id = 2");
    assert_eq!(
        operations(&broker.wait_for(topic, 7, SEEN)),
        json!(["r", "u", "c", "c", "d", null, "u"])
    );

    // After a kill everything since then comes again, as it was.
    worker.kill9();
    worker.restart(OFTEN);
    worker.wait_running(&connect::connector(prefix));
    let records = broker.wait_for(topic, 12, SEEN);
    assert_eq!(
        operations(&records),
        json!(["r", "u", "c", "c", "d", null, "u", "c", "c", "d", null, "u"])
    );
    for (sent, again) in records[2..7].iter().zip(&records[7..]) {
        assert_eq!(sent.key, again.key);
        assert_eq!(source(sent), source(again));
        assert_eq!(body(sent)["after"], body(again)["after"]);
    }
    // Its capture goes on.
    server.execute("DELETE FROM again WHERE id = 1");
    let records = broker.wait_for(topic, 14, SEEN);
    assert_eq!(operations(&records[12..]), json!(["d", null]));
}

/// The event, with or without a schema beside it.
fn body(record: &Record) -> Value {
    let mut event = record.event();
    match event.get_mut("payload") {
        Some(payload) => payload.take(),
        None => event,
    }
}

/// Where the change is in the database's log.
fn source(record: &Record) -> Value {
    body(record)["source"].clone()
}

fn operations(records: &[Record]) -> Value {
    let operation = |record: &Record| body(record)["op"].clone();
    records.iter().map(operation).collect()
}
