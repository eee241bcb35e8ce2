//! What others may do to a table and an upsert cannot go on from: it stops with a sentence, and goes on after its advice.

use tests::python::Readers;
use tests::spark::{Session, Spark, View};
use tests::{full, need};

use super::model::{Step, Which, assert_rows};
use super::{Format, Job, Topic};

#[test]
fn deletion_vectors_stop_the_engine() {
    full!();
    let readers = need!(Readers::ready());
    let mut spark = need!(Spark::ready()).talk();
    let topic = Topic::new(&readers);
    let mut job = Job::new(&topic, Format::Delta, "");
    job.engine_turn(500);
    let vectors = "ALTER TABLE {t} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')";
    spark.run(&job.table, vectors);
    job.spark_turn(&mut spark, &[Step::Delete(Which::of_all(11, 3))]);
    refused(&mut job, &["`deletionVectors`", "REORG TABLE", "next:"]);
}

#[test]
fn equality_deletes_stop_the_engine_until_they_are_rewritten() {
    full!();
    let readers = need!(Readers::ready());
    let mut spark = need!(Spark::ready()).talk();
    let topic = Topic::new(&readers);
    let mut job = Job::new(&topic, Format::Iceberg, "");
    job.engine_turn(500);
    let gone = [1, 2, 3, 250];
    let path = spark.equality_delete(&job.table, "customer_id", &gone);
    job.rows.retain(|key, _| !gone.contains(key));
    // Pyiceberg refuses such tables too.
    let table = spark.read(&View::table(&job.table));
    assert_rows("after an equality delete", &table, &job.rows);
    let name = path.rsplit('/').next().expect("a name").to_owned();
    refused(&mut job, &["equality deletes", &name, "next:"]);

    let rewrite = "CALL lake.system.rewrite_data_files(table => 'db.t', options => map('rewrite-all', 'true', \
                   'remove-dangling-deletes', 'true'))";
    spark.run(&job.table, rewrite);
    job.engine_turn(topic.records.len());
    // The deletes take out nothing now, but may still be listed: pyiceberg refuses the table for that alone.
    let table = spark.read(&View::table(&job.table));
    assert_rows("after the rewrite", &table, &job.rows);
}

#[test]
fn format_version_3_stops_the_engine() {
    full!();
    let readers = need!(Readers::ready());
    let mut spark = need!(Spark::ready()).talk();
    let topic = Topic::new(&readers);
    let mut job = Job::new(&topic, Format::Iceberg, "");
    job.engine_turn(500);
    upgrade(&mut spark, &job);
    refused(&mut job, &["format version 3", "format version 2", "next:"]);
}

fn upgrade(spark: &mut Session, job: &Job<'_>) {
    let version = "ALTER TABLE {t} SET TBLPROPERTIES ('format-version' = '3')";
    spark.run(&job.table, version);
}

/// The engine does not take the next part of the topic, says why, and leaves the table as it is. The part stays to be taken.
fn refused(job: &mut Job<'_>, words: &[&str]) {
    let before = job.table.commits();
    assert!(before > 0, "the engine has committed");
    job.feed(job.fed + 200);
    job.run(70).expect_code(2).expect_words(words);
    assert_eq!(job.table.commits(), before, "nothing was committed");
}
