//! Connections that are cut: to a broker, and of Debezium to both databases.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;
use tests::connect::Worker;
use tests::kafka::Broker;
use tests::proxy::Cutter;
use tests::sql::{Address, Sql};
use tests::{mariadb, need, postgres, wait};

const SEEN: Duration = Duration::from_secs(120);
const ANSWER: Duration = Duration::from_secs(2);

#[test]
fn clients_behind_a_cutter_lose_the_broker_until_it_goes_on() {
    let (mut broker, cutter) = need!(Broker::start_behind_cutter());
    let mut config = broker.client();
    config.set("bootstrap.servers", cutter.address());
    config.set("reconnect.backoff.max.ms", "100");
    let client: BaseConsumer = config.create().expect("a client's settings");
    let metadata = client.fetch_metadata(None, SEEN).expect("the broker");
    // What the broker tells its clients is the cutter's address: they stay behind it.
    let told: Vec<String> = metadata
        .brokers()
        .iter()
        .map(|broker| format!("{}:{}", broker.host(), broker.port()))
        .collect();
    assert_eq!(told, [cutter.address()]);

    assert!(cutter.refuse() > 0);
    client
        .fetch_metadata(None, ANSWER)
        .expect_err("no connection");
    assert_eq!(cutter.open(), 0);
    assert!(cutter.refused() > 0);
    broker.create_topic("beside", 1, &[]);
    cutter.go_on();
    let metadata = client.fetch_metadata(None, SEEN).expect("the broker");
    assert!(
        metadata
            .topics()
            .iter()
            .any(|topic| topic.name() == "beside")
    );

    broker.kill();
    broker.restart();
    client.fetch_metadata(None, SEEN).expect("the broker");
    assert!(cutter.cut() > 0);
    client.fetch_metadata(None, SEEN).expect("the broker");
}

#[test]
fn debezium_comes_back_after_its_connections_to_the_databases_were_cut() {
    let postgres = need!(postgres::Server::given_or_start());
    let mariadb = need!(mariadb::Server::given_or_start());
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::given_or_start(&broker));
    let database = mariadb.address().database;
    let tables = ["public.cut".to_owned(), format!("{database}.cut")];
    let cutters = [before(&postgres.address()), before(&mariadb.address())];
    let ports = [&cutters[0], &cutters[1]].map(|cutter| cutter.port().to_string());
    let through = |port| [("database.hostname", "127.0.0.1"), ("database.port", port)];
    for server in [&postgres as &dyn Sql, &mariadb] {
        server.execute("CREATE TABLE cut (id int PRIMARY KEY)");
        server.execute("INSERT INTO cut VALUES (1)");
    }
    worker.capture_postgres(&postgres, "cut", &tables[0], &through(&ports[0]));
    worker.capture_mariadb(&mariadb, "cutmaria", &tables[1], &through(&ports[1]));
    let topics = [
        format!("cut.{}", tables[0]),
        format!("cutmaria.{}", tables[1]),
    ];
    for topic in &topics {
        broker.wait_for(topic, 1, SEEN);
    }

    for (server, (cutter, topic)) in [&postgres as &dyn Sql, &mariadb]
        .into_iter()
        .zip(cutters.iter().zip(&topics))
    {
        server.execute("INSERT INTO cut VALUES (2)");
        broker.wait_for(topic, 2, SEEN);
        assert!(cutter.cut() > 0, "{topic}: Debezium is behind the cutter");
        server.execute("INSERT INTO cut VALUES (3)");
        seen(&broker, topic, 3);
        assert!(cutter.refuse() > 0);
        server.execute("INSERT INTO cut VALUES (4)");
        let tried = wait::until(SEEN, || (cutter.refused() > 0).then_some(()));
        assert!(tried.is_some(), "{topic}: Debezium does not try again");
        cutter.go_on();
        seen(&broker, topic, 4);
    }
}

fn before(address: &Address<'_>) -> Cutter {
    Cutter::before(&format!("{}:{}", address.host, address.port))
}

/// Waits for the event of the row `id`. Those before it may have come twice.
fn seen(broker: &Broker, topic: &str, id: u32) {
    let key = json!({ "id": id }).to_string();
    let there = wait::until(SEEN, || {
        let records = broker.read(topic);
        let is = |key_of: &Option<String>| key_of.as_ref() == Some(&key);
        records.iter().any(|record| is(&record.key)).then_some(())
    });
    assert!(there.is_some(), "{topic}: {key} does not come");
}
