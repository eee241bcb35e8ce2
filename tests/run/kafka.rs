//! `engine run` against brokers: what the consumer group is told.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use tests::wait;

use super::folder::{FREE_PORTS, Folder, LIMIT, T, said, wait_for};

/// Brokers inside this process, with one topic.
struct Brokers {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Brokers {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(T, 1, 1).unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .unwrap();
        Self { cluster, producer }
    }

    fn put(&self, id: i64) {
        let event = json!({
            "before": null, "after": {"id": id, "name": "x"}, "op": "c", "ts_ms": 1_700_000_000_000_i64,
            "source": {"ts_ms": 1_700_000_000_000_i64, "connector": "postgresql"},
        });
        let (key, value) = (json!({"id": id}).to_string(), event.to_string());
        let record = BaseRecord::to(T).partition(0).key(&key).payload(&value);
        self.producer
            .send(record)
            .map_err(|(error, _)| error)
            .unwrap();
        self.producer.flush(Duration::from_secs(20)).unwrap();
    }

    fn set(&self) -> String {
        format!(
            "source.bootstrap_servers={}",
            self.cluster.bootstrap_servers()
        )
    }

    /// Where the pipeline's group stands.
    fn committed(&self) -> Offset {
        let tool: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "engine-items")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(T, 0);
        let found = tool
            .committed_offsets(list, Duration::from_secs(20))
            .unwrap();
        found.elements()[0].offset()
    }
}

#[test]
fn the_group_stands_where_the_table_does_when_a_run_has_ended() {
    let (brokers, folder) = (Brokers::new(), Folder::new());
    folder.pipeline("items", 0, "");
    (0..3).for_each(|id| brokers.put(id));
    let outcome = folder.run(&["items.yaml", "--once", "--set", &brokers.set()]);
    outcome.expect_code(0);
    assert_eq!(folder.rows("items"), "3");
    assert_eq!(brokers.committed(), Offset::Offset(3));
}

#[test]
fn the_group_stands_where_the_table_does_while_the_topic_is_quiet() {
    let (brokers, folder) = (Brokers::new(), Folder::new());
    folder.pipeline("items", 0, FREE_PORTS);
    (0..3).for_each(|id| brokers.put(id));
    let mut running = folder.start(&["items.yaml", "--set", &brokers.set()]);
    wait_for(&mut running, "batch committed", 1);
    let told = wait::until(LIMIT, || {
        (brokers.committed() == Offset::Offset(3)).then_some(())
    });
    assert!(
        told.is_some(),
        "{:?}\n{}",
        brokers.committed(),
        running.stderr()
    );
    running.terminate();
    let outcome = running.finish(LIMIT).expect_code(0);
    assert_eq!(said(&outcome.stderr, "pipeline ended").len(), 1);
    assert_eq!(folder.rows("items"), "3");
}
