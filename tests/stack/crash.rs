//! Killed at a chosen instruction, started again: every offset ends as exactly one row, tombstone or reject.

use std::time::Duration;

use tests::engine::Outcome;
use tests::need;
use tests::note;
use tests::python::Readers;

use super::pipeline::{Pipeline, Sink};
use super::workload;

const RUN: Duration = Duration::from_secs(120);
/// Records in all; with batches of [`BATCH`] that is twelve commits.
const RECORDS: i64 = 600;
const BATCH: &str = "pipeline.batch.max_records=50";
/// More kills than batches: a pipeline that needs more does not get on.
const MOST_KILLS: usize = 30;

/// Where `ENGINE_FAILPOINT` makes the engine kill itself, and whether the batch is in the table by then.
#[derive(Debug, Clone, Copy)]
struct Point {
    name: &'static str,
    committed: bool,
}

const BEFORE_WRITE: Point = Point {
    name: "before_write",
    committed: false,
};
const AFTER_FILES: Point = Point {
    name: "after_files",
    committed: false,
};
const AFTER_COMMIT: Point = Point {
    name: "after_commit",
    committed: true,
};
const BEFORE_ACK: Point = Point {
    name: "before_ack",
    committed: true,
};

#[test]
fn iceberg_killed_before_write() {
    killed_again_and_again(Sink::Iceberg, BEFORE_WRITE);
}

#[test]
fn iceberg_killed_after_files() {
    killed_again_and_again(Sink::Iceberg, AFTER_FILES);
}

#[test]
fn iceberg_killed_after_commit() {
    killed_again_and_again(Sink::Iceberg, AFTER_COMMIT);
}

#[test]
fn iceberg_killed_before_ack() {
    killed_again_and_again(Sink::Iceberg, BEFORE_ACK);
}

#[test]
fn delta_killed_before_write() {
    killed_again_and_again(Sink::Delta, BEFORE_WRITE);
}

#[test]
fn delta_killed_after_files() {
    killed_again_and_again(Sink::Delta, AFTER_FILES);
}

#[test]
fn delta_killed_after_commit() {
    killed_again_and_again(Sink::Delta, AFTER_COMMIT);
}

#[test]
fn delta_killed_before_ack() {
    killed_again_and_again(Sink::Delta, BEFORE_ACK);
}

fn killed_again_and_again(sink: Sink, point: Point) {
    let readers = need!(Readers::ready());
    let pipeline = Pipeline::replaying(sink, workload::TOPIC);
    tests::capture::write(
        &pipeline.capture(),
        workload::TOPIC,
        &workload::records(0, RECORDS),
    );

    // In the very first batch: the table tells whether the kill fell before or after its commit.
    assert_killed_at(point, &run_to(&pipeline, point, 1));
    let rows = pipeline.rows(&readers).len();
    assert_eq!(
        rows > 0,
        point.committed,
        "{point:?}: {rows} rows after the first kill"
    );
    assert!(rows <= 50, "{point:?}: {rows} rows of one batch");

    // Then in the second batch of each run, so that every run gets on by at least one.
    let mut kills = 1;
    let drained = loop {
        let outcome = run_to(&pipeline, point, 2);
        if outcome.code() == Some(0) {
            break outcome;
        }
        assert_killed_at(point, &outcome);
        kills += 1;
        assert!(
            kills <= MOST_KILLS,
            "{point:?}: killed {kills} times and still not drained"
        );
    };
    assert!(!drained.stderr.contains("failpoint"), "{}", drained.stderr);
    assert!(
        kills >= 3,
        "{point:?}: only {kills} kills before the source was drained"
    );
    pipeline.assert_settled(&readers);
    note::figure(&format!(
        "{sink:?} {}: {kills} kills, all in their phase",
        point.name
    ));
}

fn run_to(pipeline: &Pipeline, point: Point, nth: u32) -> Outcome {
    pipeline
        .run()
        .args(["--once", "--set", BATCH])
        .env("ENGINE_FAILPOINT", format!("{}:{nth}", point.name))
        .run(RUN)
}

fn assert_killed_at(point: Point, outcome: &Outcome) {
    assert_eq!(
        outcome.signal(),
        Some(9),
        "{point:?}: the engine was to be killed:\n{}{}",
        outcome.stdout,
        outcome.stderr
    );
    let message = format!("failpoint {} reached", point.name);
    assert!(
        outcome.stderr.contains(&message),
        "no {message:?} in:\n{}",
        outcome.stderr
    );
}
