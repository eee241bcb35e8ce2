//! Rules, rejects and their rate, lookups, macros, and several topics at once.

use std::fs;

use arrow::array::AsArray;
use engine::run::error_rate::ErrorRate;
use engine::sink::memory::MemoryTable;
use sql::ErrorKind;
use sql::change::{Partition, Position};

use super::doubles::Script;
use super::harness::{Bench, Options, position_of, until};
use super::job::{Job, Kind, insert, items, message};

const T: &str = "shop.items";
const SQL: &str = "transform: SELECT id, name, _topic, _partition, _offset FROM items\n";

fn rule(on_fail: &str) -> String {
    format!(
        "rules:\n  - {{ name: named, expect: \"name IS NOT NULL\", on_fail: {on_fail} }}\n{SQL}"
    )
}

/// Three items; the middle one has no name.
fn nameless(kind: Kind, pipeline: &str, on_fail: &str) -> Job {
    let job = Job::new(kind, pipeline, &items(T), &rule(on_fail));
    for (offset, name) in [Some("a"), None, Some("c")].into_iter().enumerate() {
        job.capture(&insert(T, 0, i64::try_from(offset).unwrap(), name));
    }
    job
}

const FAILED: &str = r#"engine_rule_failed_rows_total{pipeline="job",rule="named"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn rules_count_and_keep_drop_or_set_aside() {
    for (kind, on_fail, ids, aside) in [
        (Kind::Delta, "warn", vec!["0", "1", "2"], 0.0),
        (Kind::Delta, "drop", vec!["0", "2"], 0.0),
        (Kind::Delta, "quarantine", vec!["0", "2"], 1.0),
        (Kind::Iceberg, "quarantine", vec!["0", "2"], 1.0),
    ] {
        let job = nameless(kind, "", on_fail);
        assert_eq!(job.run().await.unwrap().position, position_of(T, 3));
        assert_eq!(
            job.query("SELECT id FROM t ORDER BY id").await,
            ids,
            "{on_fail}"
        );
        assert_eq!(job.metric(FAILED), Some(1.0), "{on_fail}");
        let quarantined = job.metric(r#"engine_quarantine_written_rows_total{pipeline="job"}"#);
        assert_eq!(quarantined, Some(aside), "{on_fail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_rule_sets_aside_is_kept_as_it_came_also_where_rejects_are_skipped() {
    for policy in ["quarantine", "skip"] {
        let pipeline = format!("  on_error: {{ policy: {policy} }}");
        let job = nameless(Kind::Delta, &pipeline, "quarantine");
        job.capture(&message(T, 0, 3, "{ not json"));
        job.run().await.unwrap();
        assert_eq!(job.query("SELECT id FROM t ORDER BY id").await, ["0", "2"]);
        let kept = job
            .quarantine("SELECT topic, partition, \"offset\", reason FROM t ORDER BY \"offset\"")
            .await;
        let by_rule = format!("{T}|0|1|rule");
        let broken = format!("{T}|0|3|malformed");
        let expected = if policy == "skip" {
            vec![by_rule]
        } else {
            vec![by_rule, broken]
        };
        assert_eq!(kept, expected, "{policy}");
        let raw = job
            .quarantine("SELECT CAST(value AS VARCHAR) FROM t WHERE \"offset\" = 1")
            .await;
        let line: serde_json::Value = serde_json::from_str(&insert(T, 0, 1, None)).unwrap();
        assert_eq!(raw, [line["payload"].as_str().unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_fails_stops_before_the_batch_is_committed() {
    let job = nameless(Kind::Delta, "", "fail");
    let error = job.run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert_eq!(job.query("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_error_fail_stops_before_the_batch_and_says_which_record() {
    let job = Job::new(Kind::Delta, "  on_error: { policy: fail }", &items(T), SQL);
    job.capture(&insert(T, 0, 0, Some("a")));
    job.capture(&message(T, 0, 1, "{ not json"));
    let error = job.run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert_eq!(error.place(), Some("shop.items/0@1"));
    assert_eq!(job.query("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_go_to_the_quarantine_once_however_often_the_batch_is_read() {
    let job = Job::new(Kind::Delta, "  batch: { max_records: 2 }", &items(T), SQL);
    job.capture(&insert(T, 0, 0, Some("a")));
    job.capture(&message(T, 0, 1, "{ not json"));
    job.run().await.unwrap();
    // The table is lost, the quarantine is not: everything is read again.
    fs::remove_dir_all(job.folder.path().join("table")).unwrap();
    job.run().await.unwrap();
    assert_eq!(job.query("SELECT id FROM t").await, ["0"]);
    assert_eq!(job.quarantine("SELECT \"offset\" FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_rejects_stop_the_pipeline_after_the_commit() {
    let job = Job::new(
        Kind::Delta,
        "  on_error: { policy: skip, max_rate: 0.001 }",
        &items(T),
        SQL,
    );
    job.capture(&insert(T, 0, 0, Some("a")));
    job.capture(&message(T, 0, 1, "{ not json"));
    // One of a thousand is allowed.
    assert_eq!(job.run().await.unwrap().position, position_of(T, 2));
    job.capture(&message(T, 0, 2, "{ not json"));
    job.capture(&message(T, 0, 3, "{ not json"));
    job.capture(&insert(T, 0, 4, Some("e")));
    let error = job.run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert_eq!(job.query("SELECT id FROM t ORDER BY id").await, ["0", "4"]);
    let again = job.run().await.unwrap();
    assert_eq!((again.commits, again.position), (0, position_of(T, 5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_about_messages_that_cannot_be_decoded_not_about_rules() {
    let pipeline = "  on_error: { policy: quarantine, max_rate: 0.0005 }";
    let job = nameless(Kind::Delta, pipeline, "quarantine");
    assert_eq!(job.run().await.unwrap().position, position_of(T, 3));
}

#[test]
fn the_rate_is_that_of_the_last_thousand_messages() {
    let mut rate = ErrorRate::new(0.01);
    // Few messages are judged as if the rest of the thousand were good.
    assert_eq!(rate.exceeded_by(10, 10), None);
    assert_eq!(rate.exceeded_by(10, 1), Some((11, 20)));
    // A thousand good ones later, the bad ones are forgotten.
    assert_eq!(rate.exceeded_by(1_000, 0), None);
    // The oldest batch leaves when a thousand messages came after it.
    assert_eq!(rate.exceeded_by(999, 20), Some((20, 1_999)));
    assert_eq!(rate.exceeded_by(1, 0), Some((20, 1_000)));
    assert_eq!(rate.exceeded_by(998, 0), Some((20, 1_998)));
    assert_eq!(rate.exceeded_by(1, 0), None);
    // A batch larger than the window is the window.
    assert_eq!(rate.exceeded_by(5_000, 50), None);
    assert_eq!(rate.exceeded_by(5_000, 51), Some((51, 5_000)));

    let mut none = ErrorRate::new(0.0);
    assert_eq!(none.exceeded_by(500, 0), None);
    assert_eq!(none.exceeded_by(1, 1), Some((1, 501)));
    let mut all = ErrorRate::new(1.0);
    assert_eq!(all.exceeded_by(2_000, 2_000), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_is_read_again_when_its_time_has_come() {
    let options = Options {
        pipeline: "  trigger: { interval: 1ms }",
        blocks: "tables:\n  - { name: labels, type: csv, path: labels.csv, refresh: 1ms }",
        sql: "SELECT i.id, l.label AS name FROM items i LEFT JOIN labels l ON l.name = i.name",
        once: false,
    };
    let mut bench = Bench::new(&options, Script::new(&[]));
    let file = bench.folder.path().join("labels.csv");
    fs::write(&file, "name,label\na,old\n").unwrap();
    bench.put(&["a"]);
    let running = bench.spawn().await;
    until("the first row", || bench.ids() == [0]).await;
    fs::write(&file, "name,label\na,new\n").unwrap();
    bench.put(&["a"]);
    until("the second row", || bench.ids() == [0, 1]).await;
    bench.stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(names(bench.table.as_ref().unwrap()), ["old", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_without_refresh_stays_as_it_was_at_start() {
    let options = Options {
        pipeline: "  trigger: { interval: 1ms }",
        blocks: "tables:\n  - { name: labels, type: csv, path: labels.csv }",
        sql: "SELECT i.id, l.label AS name FROM items i LEFT JOIN labels l ON l.name = i.name",
        once: false,
    };
    let mut bench = Bench::new(&options, Script::new(&[]));
    let file = bench.folder.path().join("labels.csv");
    fs::write(&file, "name,label\na,old\n").unwrap();
    bench.put(&["a"]);
    let running = bench.spawn().await;
    until("the first row", || bench.ids() == [0]).await;
    fs::remove_file(&file).unwrap();
    bench.put(&["a"]);
    until("the second row", || bench.ids() == [0, 1]).await;
    bench.stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(names(bench.table.as_ref().unwrap()), ["old", "old"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn macros_are_inlined() {
    let options = Options {
        blocks: "functions:\n  - CREATE FUNCTION shout(a TEXT) RETURNS TEXT RETURN upper(a)",
        sql: "SELECT id, shout(name) AS name FROM items",
        ..Options::default()
    };
    let mut bench = Bench::new(&options, Script::new(&[]));
    bench.put(&["a", "b"]);
    bench.run().await.unwrap();
    assert_eq!(names(bench.table.as_ref().unwrap()), ["A", "B"]);
}

fn names(table: &MemoryTable) -> Vec<String> {
    let rows = table.rows();
    rows.iter()
        .flat_map(|batch| {
            let names = batch.column_by_name("name").unwrap().as_string::<i32>();
            names
                .iter()
                .map(|n| n.unwrap_or("").to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_of_every_topic_has_its_own_position() {
    for topics in [
        "  topics: [shop.a, shop.b]",
        "  topics_regex: \"shop\\\\.[ab]\"\n  tables: [\"*\"]",
        "  topics: [\"shop.a*\", shop.b]\n  tables: [a, b]",
    ] {
        let source =
            format!("{topics}\n  columns: |\n    id BIGINT NOT NULL PRIMARY KEY, name TEXT");
        let job = Job::new(Kind::Delta, "  batch: { max_records: 2 }", &source, SQL);
        job.capture(&insert("shop.a", 0, 0, Some("x")));
        job.capture(&insert("shop.b", 0, 5, Some("x")));
        job.capture(&insert("shop.other", 0, 0, Some("x")));
        job.capture(&insert("shop.a", 1, 7, Some("x")));
        job.run().await.unwrap();
        job.capture(&insert("shop.b", 0, 6, Some("x")));
        job.capture(&insert("shop.a", 0, 1, Some("x")));
        let outcome = job.run().await.unwrap();
        let ends = [("shop.a", 0, 2), ("shop.a", 1, 8), ("shop.b", 0, 7)];
        let ends = ends.map(|(topic, number, next)| (Partition::new(topic, number), next));
        assert_eq!(outcome.position, Position::from_iter(ends));
        let rows = "SELECT _topic, _partition, _offset FROM t ORDER BY 1, 2, 3";
        assert_eq!(
            job.query(rows).await,
            [
                "shop.a|0|0",
                "shop.a|0|1",
                "shop.a|1|7",
                "shop.b|0|5",
                "shop.b|0|6"
            ]
        );
    }
}
