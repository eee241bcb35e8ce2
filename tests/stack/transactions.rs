//! Topics whose offsets have holes: transactional producers leave control records, also as the last of a partition,
//! and aborted records; compaction takes records away.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tests::capture::Record;
use tests::kafka::Broker;
use tests::need;
use tests::python::Readers;

use super::account;
use super::pipeline::{Pipeline, Sink};
use super::workload;

const RUN: Duration = Duration::from_secs(180);
const ANSWERING: Duration = Duration::from_secs(30);

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Abort,
}

/// Sends `records` in one transaction.
fn transact(broker: &Broker, records: &[Record], end: End) {
    let mut config = broker.client();
    config.set("transactional.id", "a-source-connector");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(ANSWERING).unwrap();
    producer.begin_transaction().unwrap();
    for record in records {
        let mut out = BaseRecord::<str, str>::to(workload::TOPIC).partition(record.partition);
        if let Some(key) = &record.key {
            out = out.key(key);
        }
        if let Some(payload) = &record.payload {
            out = out.payload(payload);
        }
        producer.send(out).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(ANSWERING).unwrap();
    match end {
        End::Commit => producer.commit_transaction(ANSWERING).unwrap(),
        End::Abort => producer.abort_transaction(ANSWERING).unwrap(),
    }
}

#[test]
fn aborted_records_are_no_rows_and_control_records_do_not_keep_a_run_waiting() {
    let readers = need!(Readers::ready());
    let broker = need!(Broker::start());
    broker.create_topic(workload::TOPIC, 2, &[]);
    transact(&broker, &workload::records(0, 40), End::Commit);
    transact(&broker, &workload::records(40, 80), End::Abort);
    transact(&broker, &workload::records(80, 100), End::Commit);
    for sink in Sink::BOTH {
        let pipeline = Pipeline::new(sink, broker.bootstrap(), workload::TOPIC, "");
        pipeline.run().args(["--once"]).run(RUN).expect_code(0);
        let committed = broker.read(workload::TOPIC);
        assert_eq!(
            committed.len(),
            60,
            "the harness reads committed records only"
        );
        account::assert_each_once(
            &committed,
            &pipeline.rows(&readers),
            &pipeline.rejects(&readers),
        );
        // The last offset of each partition is a control record: a second run knows that nothing is left.
        let (_, high) = broker.offsets(workload::TOPIC, 0);
        assert!(
            committed
                .iter()
                .all(|record| record.partition != 0 || record.offset < high - 1)
        );
        pipeline
            .run()
            .args(["--once"])
            .run(RUN)
            .expect_code(0)
            .expect_words(&["nothing to do"]);
    }
}

/// Nothing but an end that was aborted: there is nothing to commit, and the run ends all the same.
#[test]
fn a_topic_of_aborted_records_only_is_drained_at_once() {
    let readers = need!(Readers::ready());
    let broker = need!(Broker::start());
    broker.create_topic(workload::TOPIC, 1, &[]);
    let mut records = workload::records(0, 20);
    for record in &mut records {
        record.partition = 0;
    }
    transact(&broker, &records, End::Abort);
    let pipeline = Pipeline::new(Sink::Iceberg, broker.bootstrap(), workload::TOPIC, "");
    pipeline.run().args(["--once"]).run(RUN).expect_code(0);
    assert!(pipeline.rows(&readers).is_empty());
}
