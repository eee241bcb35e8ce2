//! A clock that jumps under the running engine.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::capture::{self, Record};
use tests::engine::Running;
use tests::faketime::Clock;
use tests::python::Readers;
use tests::{need, repository, wait};

use super::super::pipeline::{Pipeline, Sink};

const TOPIC: &str = "postgres.public.customers";
const SEEN: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400;

#[test]
fn the_wall_clock_of_a_running_engine_jumps_and_nothing_is_lost() {
    let readers = need!(Readers::ready());
    let clock = need!(Clock::new());
    let pipeline = Pipeline::replaying(Sink::Delta, TOPIC);
    let records = capture::read(&repository::path("pipelines/data/customers.jsonl"));
    let (first, rest) = records[..300].split_at(100);
    let (second, third) = rest.split_at(100);

    append(&pipeline.capture(), first);
    let mut running = clock.of(pipeline.run()).start();
    wait_for_commits(&mut running, 1);
    clock.jump(10 * DAY);
    append(&pipeline.capture(), second);
    wait_for_commits(&mut running, 2);
    clock.jump(-30 * DAY);
    append(&pipeline.capture(), third);
    wait_for_commits(&mut running, 3);
    running.terminate();
    let said = running.finish(SEEN).expect_code(0).stderr;

    let table = pipeline.assert_settled(&readers);
    let [now, ahead, behind] = [0, 100, 200].map(|offset| {
        let row = table.rows.iter().find(|row| row["_offset"] == offset);
        seconds(&row.expect("the offset's row")["_ingestion_timestamp"])
    });
    assert_eq!(days(ahead - now), 10);
    assert_eq!(days(behind - now), -20);
    let mut logged: Vec<i64> = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["message"] == "batch committed")
        .map(|event| days(seconds(&event["timestamp"]) - now))
        .collect();
    logged.dedup();
    assert_eq!(logged, [0, 10, -20], "{said}");
    assert_eq!(clock.ahead(), -20 * DAY);
}

fn append(file: &Path, records: &[Record]) {
    let lines = capture::lines(TOPIC, records);
    // Appended in place: the engine holds the file open.
    let mut there = fs::File::options()
        .create(true)
        .append(true)
        .open(file)
        .expect("a temporary folder is writable");
    std::io::Write::write_all(&mut there, lines.as_bytes()).expect("a writable file");
}

fn wait_for_commits(running: &mut Running, count: usize) {
    let seen = wait::until(SEEN, || {
        let commits = running.stderr().matches("batch committed").count();
        (commits >= count || running.ended()).then_some(())
    });
    assert!(
        seen.is_some() && !running.ended(),
        "not {count} commits:\n{}",
        running.said()
    );
}

/// Whole seconds since the epoch of a reader's instant.
fn seconds(instant: &Value) -> i64 {
    let instant = instant.as_str().expect("an instant");
    let output = Command::new("date")
        .args(["--utc", "+%s", "--date", instant])
        .output()
        .expect("date");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().expect("seconds")
}

/// Whole days, rounded.
fn days(seconds: i64) -> i64 {
    (seconds + DAY.div_euclid(2)).div_euclid(DAY)
}
