//! A clock that was ahead, for a table whose format has times that must not go back.

use std::time::Duration;

use tests::capture;
use tests::faketime::Clock;
use tests::need;
use tests::python::Readers;

use crate::stack::pipeline::{Pipeline, Sink};
use crate::stack::workload;

const RUN: Duration = Duration::from_secs(120);
const DAY: i64 = 86_400;

#[test]
fn a_clock_that_was_a_day_ahead_does_not_stop_iceberg() {
    was_ahead(Sink::Iceberg);
}

#[test]
fn a_clock_that_was_a_day_ahead_does_not_stop_delta() {
    was_ahead(Sink::Delta);
}

fn was_ahead(sink: Sink) {
    let readers = need!(Readers::ready());
    let clock = need!(Clock::new());
    let pipeline = Pipeline::replaying(sink, workload::TOPIC);
    let run = |records: i64| {
        let records = workload::records(0, records);
        capture::write(&pipeline.capture(), workload::TOPIC, &records);
        let engine = clock.of(pipeline.run()).args(["--once"]);
        engine.run(RUN).expect_code(0);
    };
    run(100);
    clock.jump(DAY);
    run(200);
    clock.jump(-DAY);
    run(300);
    // The commit before had to take the time of the one before it.
    run(400);
    clock.jump(2 * DAY);
    run(500);
    let table = pipeline.assert_settled(&readers);
    assert_eq!(table.rows.len(), workload::rows_of(0, 500));
}
