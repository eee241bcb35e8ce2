//! In turn on Iceberg tables of format version 2: Spark's position deletes, its rewritten files, its upkeep.

use tests::python::Readers;
use tests::spark::{Session, Spark};
use tests::{full, need, note};

use super::model::{Step, Which};
use super::{Format, Job, OWN, Topic};

#[test]
fn spark_and_the_engine_take_turns_on_iceberg_tables() {
    full!();
    let readers = need!(Readers::ready());
    let mut spark = need!(Spark::ready()).talk();
    let topic = Topic::new(&readers);
    for sink in ["", "  partition_by: [tier]\n"] {
        turns(&topic, sink, &readers, &mut spark);
    }
}

/// How Spark changes rows from now on. `granularity`: its delete files are about one data file, or a whole partition.
fn mode(mode: &str, granularity: &str) -> Step {
    Step::Upkeep(format!(
        "ALTER TABLE {{t}} SET TBLPROPERTIES ('write.delete.mode' = '{mode}', 'write.update.mode' = '{mode}', \
         'write.merge.mode' = '{mode}', 'write.delete.granularity' = '{granularity}')"
    ))
}

fn call(procedure: &str, arguments: &str) -> Step {
    Step::Upkeep(format!(
        "CALL lake.system.{procedure}(table => 'db.t'{arguments})"
    ))
}

const REWRITE_ALL: &str = ", options => map('rewrite-all', 'true')";

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
                mode("merge-on-read", "partition"),
                Step::Insert([to_come[..20].to_vec(), own(0)].concat()),
                Step::Update(Which::of_all(7, 1), "Sp ark/ä%20"),
                Step::Delete(Which::of_all(11, 3)),
            ],
        ),
        (
            760,
            vec![
                mode("merge-on-read", "file"),
                Step::Merge(mixed(200)),
                Step::Update(Which::of_all(5, 2), "Gold"),
                call("rewrite_position_delete_files", REWRITE_ALL),
            ],
        ),
        (
            1_010,
            vec![
                mode("copy-on-write", "file"),
                Step::Delete(Which::of_all(13, 4)),
                Step::Update(Which::of_all(6, 5), "Silver"),
                Step::Merge(mixed(240)),
                Step::Insert(own(100)),
            ],
        ),
        (
            1_290,
            vec![
                mode("merge-on-read", "partition"),
                Step::Update(Which::of_all(3, 1), "Sp ark/ä%20"),
                call(
                    "rewrite_data_files",
                    ", options => map('rewrite-all', 'true', 'remove-dangling-deletes', 'true')",
                ),
                call("rewrite_manifests", ""),
                // The engine's own snapshots go, and the positions in them.
                call(
                    "expire_snapshots",
                    ", older_than => TIMESTAMP '2999-01-01 00:00:00', retain_last => 1",
                ),
            ],
        ),
        (
            1_560,
            vec![
                Step::Delete(Which {
                    by: 2,
                    rest: 0,
                    from: OWN + 100,
                }),
                Step::Update(Which::of_all(2, 1), "Silver"),
            ],
        ),
    ]
}

fn turns(topic: &Topic, sink: &str, readers: &Readers, spark: &mut Session) {
    let mut job = Job::new(topic, Format::Iceberg, sink);
    for (part, steps) in steps(topic) {
        job.engine_turn(part);
        job.check_once(&format!("{part} records"), readers, spark);
        job.spark_turn(spark, &steps);
        job.check_once(&format!("{part} records, then {steps:?}"), readers, spark);
    }
    job.engine_turn(topic.records.len());
    job.check("the whole topic", readers, spark);
    let before = job.table.commits();
    job.run(70).expect_code(0).expect_words(&["nothing to do"]);
    assert_eq!(job.table.commits(), before);
    note::figure(&format!(
        "Spark and the engine in turn on an Iceberg table: {before} versions, {} rows",
        job.rows.len()
    ));
}
