//! Brokers that are down, refuse, or have lost what is asked for: exit codes and sentences.

use std::time::Duration;

use tests::kafka::{Broker, USER};
use tests::python::Readers;
use tests::{need, ports};

use super::account;
use super::pipeline::{Pipeline, Sink};
use super::workload;

/// Connecting at start is given 30 s.
const RUN: Duration = Duration::from_secs(180);

#[test]
fn a_broker_that_is_down_is_named_after_the_time_for_connecting() {
    let address = format!("127.0.0.1:{}", ports::free());
    let pipeline = Pipeline::new(Sink::Delta, &address, "nobody.home", "");
    pipeline
        .run()
        .args(["--once"])
        .run(RUN)
        .expect_code(3)
        .expect_words(&[&address, "next:"]);
    assert!(
        !pipeline.target().exists(),
        "nothing was read, so there is no table"
    );
}

#[test]
fn a_topic_that_does_not_exist_is_named_and_the_nearest_one_too() {
    let broker = need!(Broker::start());
    broker.create_topic("shop.public.customers", 1, &[]);
    Pipeline::new(Sink::Delta, broker.bootstrap(), "shop.public.costumers", "")
        .run()
        .args(["--once"])
        .run(RUN)
        .expect_code(2)
        .expect_words(&["shop.public.costumers", "shop.public.customers", "next:"]);
}

#[test]
fn a_wrong_password_is_refused_and_the_right_one_reads() {
    let readers = need!(Readers::ready());
    let broker = need!(Broker::start());
    let records = workload::records(0, 200);
    broker.create_topic(workload::TOPIC, 2, &[]);
    broker.produce(workload::TOPIC, &records);
    let with_password = |password: &str| {
        let properties = format!(
            "  properties: {{ security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN, \
             sasl.username: {USER}, sasl.password: {password} }}\n"
        );
        Pipeline::new(
            Sink::Delta,
            broker.sasl_bootstrap(),
            workload::TOPIC,
            &properties,
        )
    };

    let refused = with_password("wrong-one")
        .run()
        .args(["--once"])
        .run(RUN)
        .expect_code(3);
    assert!(
        !refused.stderr.contains("wrong-one"),
        "a password is never printed:\n{}",
        refused.stderr
    );
    refused.expect_words(&["refuse", broker.sasl_bootstrap(), "next:"]);

    let pipeline = with_password(tests::kafka::PASSWORD);
    pipeline.run().args(["--once"]).run(RUN).expect_code(0);
    account::assert_each_once(
        &broker.read(workload::TOPIC),
        &pipeline.rows(&readers),
        &pipeline.rejects(&readers),
    );
}

#[test]
fn records_lost_by_retention_stop_the_pipeline_unless_the_gap_is_accepted() {
    let readers = need!(Readers::ready());
    let broker = need!(Broker::start());
    broker.create_topic(workload::TOPIC, 2, &[]);
    broker.produce(workload::TOPIC, &workload::records(0, 100));
    let pipeline = Pipeline::new(Sink::Iceberg, broker.bootstrap(), workload::TOPIC, "");
    pipeline.run().args(["--once"]).run(RUN).expect_code(0);
    let held = pipeline.rows(&readers).len();

    broker.produce(workload::TOPIC, &workload::records(100, 300));
    broker.delete_records(workload::TOPIC, 1, 70);
    pipeline
        .run()
        .args(["--once"])
        .run(RUN)
        .expect_code(4)
        .expect_words(&[
            workload::TOPIC,
            "gone",
            "50",
            "70",
            "fail_on_data_loss",
            "next:",
        ]);
    assert_eq!(
        pipeline.rows(&readers).len(),
        held,
        "nothing is written past the gap"
    );

    pipeline
        .run()
        .args(["--once", "--set", "source.fail_on_data_loss=false"])
        .run(RUN)
        .expect_code(0);
    let sent = broker.read(workload::TOPIC);
    let known: Vec<_> = pipeline.rows(&readers).iter().map(account::place).collect();
    let in_the_gap = |place: &&account::Place| place.0 == 1 && (50..70).contains(&place.1);
    assert_eq!(known.iter().find(in_the_gap), None, "the gap has no rows");
    for record in sent.iter().filter(|record| workload::makes_a_row(record)) {
        let place = (i64::from(record.partition), record.offset);
        assert_eq!(
            known.iter().filter(|known| **known == place).count(),
            1,
            "{place:?}"
        );
    }
}

#[test]
fn an_outage_in_mid_run_is_waited_out() {
    let readers = need!(Readers::ready());
    let mut broker = need!(Broker::start());
    broker.create_topic(workload::TOPIC, 2, &[]);
    broker.produce(workload::TOPIC, &workload::records(0, 400));
    let pipeline = Pipeline::new(Sink::Delta, broker.bootstrap(), workload::TOPIC, "");
    let engine = pipeline.run().start();
    let there = |engine: &tests::engine::Running, records: usize| {
        let settled = || pipeline.rows(&readers).len() == records;
        let seen = tests::wait::until(RUN, || settled().then_some(()));
        assert!(
            seen.is_some(),
            "{records} rows are not there:\n{}",
            engine.said()
        );
    };
    there(&engine, workload::rows_of(0, 400));

    broker.kill();
    broker.restart();
    broker.produce(workload::TOPIC, &workload::records(400, 600));
    there(&engine, workload::rows_of(0, 600));

    engine.terminate();
    engine.finish(RUN).expect_code(0);
    account::assert_each_once(
        &broker.read(workload::TOPIC),
        &pipeline.rows(&readers),
        &pipeline.rejects(&readers),
    );
}

/// The last word to the broker, the group's offsets, is for tools that watch lag: nobody waits for it.
#[test]
fn a_stop_during_an_outage_does_not_wait_for_the_broker() {
    let mut broker = need!(Broker::start());
    broker.create_topic(workload::TOPIC, 2, &[]);
    broker.produce(workload::TOPIC, &workload::records(0, 4_000));
    let pipeline = Pipeline::new(Sink::Delta, broker.bootstrap(), workload::TOPIC, "");
    let mut engine = pipeline
        .run()
        .args(["--set", "pipeline.batch.max_records=20"])
        .start();
    let commits = || (pipeline.target().commits() > 3).then_some(());
    let seen = tests::wait::until(RUN, commits);
    assert!(seen.is_some() && !engine.ended(), "{}", engine.said());
    broker.kill();
    engine.terminate();
    // The library itself waits for a minute.
    engine.finish(Duration::from_secs(45)).expect_code(0);
}
