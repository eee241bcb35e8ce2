//! `kill -9` at random times, and two engines on one pipeline.
//!
//! | variable | meaning |
//! |---|---|
//! | `ENGINE_KILLS` | kills for each sink, 200 unless told |
//! | `ENGINE_CHAOS_SEED` | the printed seed of a run that is to be repeated |

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use tests::capture;
use tests::engine::Running;
use tests::note;
use tests::python::Readers;
use tests::{need, wait};

use super::pipeline::{Pipeline, Sink};
use super::workload;

const RUN: Duration = Duration::from_secs(300);
const BATCH: [&str; 2] = ["--set", "pipeline.batch.max_records=20"];
/// Records that are there before the first start, and that come before each further one.
const AT_FIRST: i64 = 400;
const EACH_TIME: i64 = 60;
/// How long an engine that has begun to commit may go on: time for some commits more, and for the middle of one.
const COMMITTING: Duration = Duration::from_millis(250);

#[test]
fn iceberg_killed_at_random_times() {
    killed_at_random_times(Sink::Iceberg);
}

#[test]
fn delta_killed_at_random_times() {
    killed_at_random_times(Sink::Delta);
}

#[test]
fn iceberg_lets_one_of_two_engines_write() {
    one_of_two_engines_is_fenced(Sink::Iceberg);
}

#[test]
fn delta_lets_one_of_two_engines_write() {
    one_of_two_engines_is_fenced(Sink::Delta);
}

fn killed_at_random_times(sink: Sink) {
    let readers = need!(Readers::ready());
    let mut random = Random::seeded();
    let wanted =
        std::env::var("ENGINE_KILLS").map_or(200, |kills| kills.parse().expect("a number"));
    let mut traffic = Traffic::start(Pipeline::replaying(sink, workload::TOPIC), AT_FIRST);

    let start = Instant::now();
    let mut engine = traffic.pipeline.run().args(BATCH).start();
    // Making the table is a commit as well.
    wait_for_commit(&traffic, &mut engine, 2);
    let first_commit = start.elapsed();
    let mut killed = u32::from(engine.kill9().0);

    let (mut moved, mut runs) = (0, 1);
    while killed < wanted {
        assert!(
            runs < 2 * wanted,
            "{runs} starts, only {killed} were there to be killed"
        );
        traffic.grow(EACH_TIME);
        let before = commits(&traffic);
        let mut engine = traffic.pipeline.run().args(BATCH).start();
        // Every other one from its first instruction on, the others while they commit: how long a start takes
        // depends on what else the machine does.
        let life = if runs % 2 == 0 {
            random.up_to(first_commit)
        } else {
            wait_for_commit(&traffic, &mut engine, before);
            random.up_to(COMMITTING)
        };
        let (landed, outcome) = live(engine, life).kill9();
        assert!(
            landed,
            "the engine ended by itself:\n{}{}",
            outcome.stdout, outcome.stderr
        );
        killed += 1;
        runs += 1;
        moved += u32::from(commits(&traffic) > before);
    }
    traffic
        .pipeline
        .run()
        .args(BATCH)
        .args(["--once"])
        .run(RUN)
        .expect_code(0);

    let table = traffic.pipeline.assert_settled(&readers);
    let count = table.rows.len();
    note::figure(&format!(
        "{sink:?}: {killed} kills in {runs} runs, {moved} of them after a commit, {count} rows, none lost or doubled, \
         seed {}",
        random.seed
    ));
    assert!(
        moved > 0,
        "no run got as far as a commit: the kills prove nothing"
    );
}

fn one_of_two_engines_is_fenced(sink: Sink) {
    let readers = need!(Readers::ready());
    let mut traffic = Traffic::start(Pipeline::replaying(sink, workload::TOPIC), 4_000);
    let mut engines = [0, 1].map(|_| traffic.pipeline.run().args(BATCH).start());

    // There is always a next batch, until one engine has met the other's commit.
    let loser = wait::until(RUN, || {
        traffic.grow(EACH_TIME);
        engines.iter_mut().position(Running::ended)
    });
    let said = engines.each_ref().map(Running::said);
    let loser =
        loser.unwrap_or_else(|| panic!("two engines wrote on:\n{}\n---\n{}", said[0], said[1]));
    let [one, other] = engines;
    let (fenced, winner) = if loser == 0 {
        (one, other)
    } else {
        (other, one)
    };
    fenced
        .finish(RUN)
        .expect_code(5)
        .expect_words(&["another engine", "next:"]);

    winner.terminate();
    winner.finish(RUN).expect_code(0);
    traffic
        .pipeline
        .run()
        .args(["--once"])
        .run(RUN)
        .expect_code(0);
    traffic.pipeline.assert_settled(&readers);
}

/// A pipeline and its growing input.
struct Traffic {
    pipeline: Pipeline,
    next: i64,
}

impl Traffic {
    fn start(pipeline: Pipeline, records: i64) -> Self {
        capture::write(
            &pipeline.capture(),
            workload::TOPIC,
            &workload::records(0, records),
        );
        Self {
            pipeline,
            next: records,
        }
    }

    fn grow(&mut self, by: i64) {
        let records = workload::records(self.next, self.next + by);
        self.next += by;
        let mut file = OpenOptions::new()
            .append(true)
            .open(self.pipeline.capture())
            .expect("the capture file");
        file.write_all(capture::lines(workload::TOPIC, &records).as_bytes())
            .expect("a temporary folder is writable");
    }
}

fn commits(traffic: &Traffic) -> u64 {
    traffic.pipeline.target().commits()
}

/// Waits until the table has more than `before` commits.
fn wait_for_commit(traffic: &Traffic, engine: &mut Running, before: u64) {
    let seen = wait::until(RUN, || {
        (engine.ended() || commits(traffic) > before).then_some(())
    });
    assert!(
        seen.is_some() && !engine.ended(),
        "no commit:\n{}",
        engine.said()
    );
}

fn live(mut engine: Running, life: Duration) -> Running {
    wait::until(life, || engine.ended().then_some(()));
    engine
}

/// A xorshift generator: good enough to pick times, and repeatable by its seed.
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    fn seeded() -> Self {
        let clock = || {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.map_or(1, |now| now.subsec_nanos().into())
        };
        let given = std::env::var("ENGINE_CHAOS_SEED").ok();
        let seed = given.map_or_else(clock, |seed| seed.parse().expect("a number"));
        Self {
            seed,
            state: seed | 1,
        }
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.state % micros)
    }
}
