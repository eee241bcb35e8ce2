//! In turn on Delta tables: with and without partitions, the change feed through all of it.

use std::collections::BTreeMap;

use tests::python::{Location, Readers};
use tests::spark::{Session, Spark, View};
use tests::{full, need, note};

use super::model::{Rows, Step, Which, assert_same, replay_feed};
use super::{Format, Job, OWN, Topic};

#[test]
fn spark_and_the_engine_take_turns_on_delta_tables() {
    full!();
    let readers = need!(Readers::ready());
    let mut spark = need!(Spark::ready()).talk();
    let topic = Topic::new(&readers);
    for sink in ["", "  partition_by: [tier]\n"] {
        turns(&topic, sink, &readers, &mut spark);
    }
}

fn optimize(how: &str) -> Step {
    Step::Upkeep(format!("OPTIMIZE {{t}}{how}"))
}

/// What Spark does after each part of the topic. The tier names a folder where the table is partitioned by it.
fn steps(topic: &Topic) -> [(usize, Vec<Step>); 5] {
    let to_come = topic.to_come(500);
    let own = |from: i64| (OWN + from..OWN + from + 10).collect::<Vec<_>>();
    let mixed = |from: usize| {
        let early = to_come[from..from + 20].iter().copied();
        early.chain(1..20).chain(OWN..OWN + 15).collect()
    };
    [
        (
            500,
            vec![
                Step::Insert([to_come[..20].to_vec(), own(0)].concat()),
                Step::Update(Which::of_all(7, 1), "Sp ark/ä%20"),
                Step::Delete(Which::of_all(11, 3)),
            ],
        ),
        (
            760,
            vec![
                optimize(""),
                Step::Merge(mixed(200)),
                Step::Update(Which::of_all(5, 2), "Gold"),
            ],
        ),
        (
            1_010,
            vec![
                Step::Delete(Which::of_all(13, 4)),
                optimize(" ZORDER BY (customer_id)"),
                Step::Insert(own(100)),
            ],
        ),
        (
            1_290,
            vec![
                Step::Update(Which::of_all(3, 1), "Sp ark/ä%20"),
                Step::Delete(Which {
                    by: 2,
                    rest: 0,
                    from: OWN + 100,
                }),
                optimize(""),
            ],
        ),
        (1_560, vec![Step::Update(Which::of_all(2, 1), "Silver")]),
    ]
}

fn turns(topic: &Topic, sink: &str, readers: &Readers, spark: &mut Session) {
    let mut job = Job::new(topic, Format::Delta, sink);
    let mut states = BTreeMap::new();
    for (part, steps) in steps(topic) {
        job.engine_turn(part);
        states.insert(job.table.commits() - 1, job.rows.clone());
        job.check_once(&format!("{part} records"), readers, spark);
        job.spark_turn(spark, &steps);
        states.insert(job.table.commits() - 1, job.rows.clone());
        job.check_once(&format!("{part} records, then {steps:?}"), readers, spark);
    }
    check_feed(&job.table, &states, spark);

    // Everything that is not the table goes; the engine's folder beside it stays.
    let check = "SET spark.databricks.delta.retentionDurationCheck.enabled = false";
    spark.run(&job.table, check);
    spark.run(&job.table, "VACUUM {t} RETAIN 0 HOURS");
    job.engine_turn(topic.records.len());
    job.check("after VACUUM", readers, spark);
    let before = job.table.commits();
    job.run(70).expect_code(0).expect_words(&["nothing to do"]);
    assert_eq!(job.table.commits(), before);
    note::figure(&format!(
        "Spark and the engine in turn on a Delta table: {before} versions, {} rows",
        job.rows.len()
    ));
}

/// The change feed from the first version on leads to the table at each turn.
///
/// By Spark's own reading alone: the wheel's `load_cdf` does not find the change files of a folder whose name Spark escapes (the log
/// says `Sp%20ark%252F…`, and it looks for `Sp ark%252F…`).
fn check_feed(table: &Location, states: &BTreeMap<u64, Rows>, spark: &mut Session) {
    let feed = spark.read(&View::changes(table, 0));
    let replayed = replay_feed("Spark's feed", &feed.rows);
    for (version, expected) in states {
        // A version without changes (OPTIMIZE) is what the one before it was.
        let (_, rows) = replayed.range(..=version).next_back().expect("a version");
        assert_same(&format!("to version {version}"), rows, expected);
    }
}
