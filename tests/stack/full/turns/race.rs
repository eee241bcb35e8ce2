//! At the same time: Spark changes rows of its own keys while the engine commits.

use std::time::Duration;

use tests::engine::Running;
use tests::python::Readers;
use tests::spark::{Session, Spark};
use tests::{full, need, note};

use super::model::{Step, Which};
use super::{Format, Job, OWN, Topic};

/// An attempt may lose against the commits of one part of the topic; while it is made again no more come.
const TRIES: u32 = 12;
const STOPPING: Duration = Duration::from_secs(120);

#[test]
fn spark_writes_to_a_delta_table_while_the_engine_commits() {
    full!();
    race(Format::Delta, &[], "OPTIMIZE {t}");
}

#[test]
fn spark_writes_to_an_iceberg_table_while_the_engine_commits() {
    full!();
    let merge_on_read = "ALTER TABLE {t} SET TBLPROPERTIES ('write.delete.mode' = 'merge-on-read', \
                         'write.update.mode' = 'merge-on-read')";
    let rewrite = "CALL lake.system.rewrite_data_files(table => 'db.t', options => map('rewrite-all', 'true'))";
    race(Format::Iceberg, &[merge_on_read], rewrite);
}

/// Spark's statements, about its own keys alone.
fn steps(compact: &str) -> Vec<Step> {
    let own = |by, rest| Which {
        by,
        rest,
        from: OWN,
    };
    let keys = |from: i64, count: i64| (OWN + from..OWN + from + count).collect::<Vec<_>>();
    vec![
        Step::Insert(keys(0, 40)),
        Step::Update(own(3, 0), "Gold"),
        Step::Insert(keys(40, 1)),
        Step::Insert(keys(41, 1)),
        Step::Delete(own(7, 2)),
        Step::Upkeep(compact.to_owned()),
        Step::Merge(keys(30, 30)),
        Step::Insert(keys(100, 5)),
        Step::Update(own(5, 1), "Silver"),
        Step::Upkeep(compact.to_owned()),
        Step::Insert(keys(200, 5)),
        Step::Delete(own(4, 3)),
    ]
}

fn race(format: Format, before: &[&str], compact: &str) {
    let readers = need!(Readers::ready());
    let mut spark = need!(Spark::ready()).talk();
    let topic = Topic::new(&readers);
    let mut job = Job::new(&topic, format, "");
    job.engine_turn(400);
    for statement in before {
        spark.run(&job.table, statement);
    }
    let mut engine = job.engine(6, &[]).start();
    let first = job.table.commits();
    let steps = steps(compact);
    let part = (topic.records.len() - job.fed) / (steps.len() + 1);
    let (mut conflicts, mut during) = (0, 0);
    for step in &steps {
        let (lost, commits) = meanwhile(&mut job, &mut spark, step, part);
        conflicts += lost;
        during += commits;
        still_runs(&mut engine);
    }
    let rest = topic.records.len();
    job.feed(rest);
    engine.terminate();
    engine.finish(STOPPING).expect_code(0);
    // What it had not read when it was asked to stop.
    job.run(70).expect_code(0);
    job.check("after the race", &readers, &mut spark);
    note::figure(&format!(
        "Spark and the engine at once, {format:?}: {} commits, {during} of them while a statement ran, {conflicts} attempts \
         of Spark lost",
        job.table.commits() - first
    ));
}

/// Runs a statement while the engine takes one more part of the topic. Returns how many attempts lost, and how many commits
/// there were.
fn meanwhile(job: &mut Job<'_>, spark: &mut Session, step: &Step, part: usize) -> (usize, u64) {
    let table = job.table.clone();
    let before = table.commits();
    let ran = spark.insist(&table, &step.sql(), TRIES, |attempt| {
        if attempt == 1 {
            job.feed(job.fed + part);
        }
    });
    step.apply(&mut job.rows);
    (ran.conflicts.len(), table.commits() - before)
}

fn still_runs(engine: &mut Running) {
    if let Some(outcome) = engine.outcome() {
        panic!(
            "the engine ended with {}:\n{}",
            outcome.end(),
            outcome.stderr
        );
    }
}
