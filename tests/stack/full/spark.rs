//! Spark reads what the engine wrote: the shipped tables, and what they say to change for Spark.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::engine::Engine;
use tests::kafka::Broker;
use tests::python::{Reader, Readers, Table};
use tests::spark::{Spark, View};
use tests::{capture, full, need, note, repository};

use super::super::account;
use super::super::customers::run_shipped;
use super::super::pipeline::Sink;

const RUN: Duration = Duration::from_secs(300);

#[test]
fn spark_sees_every_captured_change_once_in_both_shipped_tables() {
    full!();
    let readers = need!(Readers::ready());
    let spark = need!(Spark::ready());
    let warehouse = tempfile::tempdir().expect("a temporary folder");
    run_shipped(warehouse.path()).run(RUN).expect_code(0);

    let [iceberg, delta] = Sink::BOTH.map(|sink| sink.location(warehouse.path()));
    let [delta, mut iceberg] = read(
        &spark,
        // Iceberg reserves the column's name, and Spark refuses it in a table.
        [
            View::table(&delta),
            View::table(&iceberg).without(&["_partition"]),
        ],
    );
    assert_eq!(kinds(&delta), KINDS);
    let others: Vec<_> = KINDS
        .into_iter()
        .filter(|(name, _)| *name != "_partition")
        .collect();
    assert_eq!(kinds(&iceberg), others);
    // The captured topic has one partition.
    for row in &mut iceberg.rows {
        row["_partition"] = json!(0);
    }
    assert_reference("Delta", &readers, delta.rows);
    assert_reference("Iceberg", &readers, iceberg.rows);
}

#[test]
fn spark_reads_partitions_the_change_feed_and_a_kafka_partition_of_another_name() {
    full!();
    let readers = need!(Readers::ready());
    let spark = need!(Spark::ready());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let warehouse = folder.path().join("warehouse");
    let in_batches = |name: &str| format!("name: {name}\n  batch: {{ max_records: 400 }}\n");
    let delta = changed(
        "customers_delta.yaml",
        folder.path(),
        &[
            ("name: customers_delta\n", &in_batches("customers_delta")),
            ("mode: append", "mode: append\n  partition_by: [tier]"),
        ],
    );
    let iceberg = changed(
        "customers.yaml",
        folder.path(),
        &[("    _partition,\n", "    _partition AS kafka_partition,\n")],
    );
    let capture = repository::path("pipelines/data/customers.jsonl");
    Engine::new(["run", &delta, &iceberg, "--once"])
        .env("WAREHOUSE", &warehouse)
        .env("KAFKA_BROKERS", format!("file:{}", capture.display()))
        .run(RUN)
        .expect_code(0);

    let [in_iceberg, in_delta] = Sink::BOTH.map(|sink| sink.location(&warehouse));
    let [table, feed, mut renamed] = read(
        &spark,
        [
            View::table(&in_delta),
            View::changes(&in_delta, 0),
            View::table(&in_iceberg),
        ],
    );
    assert!(
        fs::read_dir(warehouse.join("delta/customers"))
            .expect("the table's folder")
            .flatten()
            .any(|entry| entry.file_name() == "tier=Gold"),
        "a folder for each value of the partition's column"
    );
    assert_reference("partitioned Delta", &readers, table.rows);
    assert_feed(&readers, &table.version, feed.rows);
    take_kafka_partition(&mut renamed.rows);
    assert_reference("Iceberg with another name", &readers, renamed.rows);
}

#[test]
fn structured_streaming_writes_what_the_engine_does() {
    full!();
    let readers = need!(Readers::ready());
    let spark = need!(Spark::ready());
    let broker = need!(Broker::start());
    let topic = "postgres.public.customers";
    let records = capture::read(&repository::path("pipelines/data/customers.jsonl"));
    broker.create_topic(topic, 1, &[]);
    broker.produce(topic, &records);
    let warehouse = tempfile::tempdir().expect("a temporary folder");

    let streamed = need!(spark.stream_customers(&broker, topic, warehouse.path()));
    note::figure(&format!("Spark's Structured Streaming: {streamed:?}"));
    let location = Sink::Iceberg.location(warehouse.path());
    let mut table = readers.read(Reader::Pyiceberg, &location);
    take_kafka_partition(&mut table.rows);
    assert_reference("Structured Streaming", &readers, table.rows);
    assert_eq!(streamed.records, records.len() as u64);

    let again = need!(spark.stream_customers(&broker, topic, warehouse.path()));
    assert_eq!(
        again.records, 0,
        "it goes on from its checkpoint: {again:?}"
    );
    assert_eq!(
        readers.read(Reader::Pyiceberg, &location).version,
        table.version
    );
}

/// Names and types of the shipped tables as Spark spells them.
const KINDS: [(&str, &str); 14] = [
    ("customer_id", "bigint"),
    ("email", "string"),
    ("full_name", "string"),
    ("location", "string"),
    ("tier", "string"),
    ("lifetime_value", "decimal(12,2)"),
    ("created_at", "timestamp"),
    ("updated_at", "timestamp_ntz"),
    ("_cdc_operation", "string"),
    ("_ingestion_timestamp", "timestamp"),
    ("_source_system", "string"),
    ("_topic", "string"),
    ("_partition", "int"),
    ("_offset", "bigint"),
];

fn kinds(table: &Table) -> Vec<(&str, &str)> {
    let both = table.schema.iter();
    both.map(|(name, kind)| (name.as_str(), kind.as_str()))
        .collect()
}

fn read<const N: usize>(spark: &Spark, views: [View<'_>; N]) -> [Table; N] {
    let tables = spark.read(&views);
    tables.try_into().expect("a table for each view")
}

/// Gives the column the name that it has in the reference.
fn take_kafka_partition(rows: &mut [Value]) {
    for row in rows {
        let columns = row.as_object_mut().expect("a row is an object");
        let partition = columns.remove("kafka_partition").expect("the column");
        columns.insert("_partition".to_owned(), partition);
    }
}

fn assert_reference(what: &str, readers: &Readers, rows: Vec<Value>) {
    let expected = readers.reference(&repository::path("pipelines/data/customers.jsonl"));
    account::assert_same_rows(what, &account::without_ingestion_time(rows), &expected);
}

/// Every row of the table once, as an insert of one of its commits: nothing was ever changed or taken out.
fn assert_feed(readers: &Readers, version: &Value, mut rows: Vec<Value>) {
    let mut versions = BTreeSet::new();
    for row in &mut rows {
        let columns = row.as_object_mut().expect("a row is an object");
        assert_eq!(columns.remove("_change_type"), Some(json!("insert")));
        let commit = columns.remove("_commit_version").expect("the column");
        versions.insert(commit.as_u64().expect("a version"));
    }
    // 1,727 records in batches of at most 400; version 0 made the table, and has no rows.
    assert!(versions.len() >= 5, "the commits with rows: {versions:?}");
    assert_eq!(versions.last().copied(), version.as_u64());
    assert_reference("the change feed", readers, rows);
}

/// A shipped pipeline with replacements, in `folder`; its path.
fn changed(pipeline: &str, folder: &Path, replacements: &[(&str, &str)]) -> String {
    let shipped = repository::path(&format!("pipelines/{pipeline}"));
    let mut text = fs::read_to_string(shipped).expect("text");
    for (old, new) in replacements {
        assert_eq!(
            text.matches(old).count(),
            1,
            "{pipeline} has {old:?} other than once"
        );
        text = text.replace(old, new);
    }
    let file = folder.join(pipeline);
    fs::write(&file, text).expect("a temporary folder is writable");
    file.display().to_string()
}
