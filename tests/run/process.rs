//! `engine run` as a process: signals, a growing file, endpoints, several pipelines, what it logs.

use std::net::TcpListener;
use std::process::Command;

use tests::wait;

use super::folder::{FREE_PORTS, Folder, LIMIT, T, events, get, said, wait_for};
use super::harness::metric;
use super::job::{append, message};

#[test]
fn a_growing_file_is_committed_and_sigterm_ends_in_order() {
    let folder = Folder::new();
    folder.pipeline("items", 2, FREE_PORTS);
    let mut running = folder.start(&["items.yaml"]);
    wait_for(&mut running, "batch committed", 1);
    folder.put("items", 2);
    wait_for(&mut running, "batch committed", 2);
    running.terminate();
    let outcome = running.finish(LIMIT).expect_code(0);
    let ended = said(&outcome.stderr, "pipeline ended");
    assert_eq!(ended[0]["position"], "shop.items/0@3");
    assert_eq!(folder.rows("items"), "3");
}

#[test]
fn sigterm_does_not_wait_for_the_trigger_and_commits_what_was_read() {
    let folder = Folder::new();
    folder.pipeline("items", 5, FREE_PORTS);
    // Full batches are committed at once, the fifth record would be in an hour.
    let sets = [
        "pipeline.trigger={ interval: 1h }",
        "pipeline.batch.max_records=2",
    ];
    let mut running = folder.start(&["items.yaml", "--set", sets[0], "--set", sets[1]]);
    wait_for(&mut running, "batch committed", 2);
    running.terminate();
    let outcome = running.finish(LIMIT).expect_code(0);
    let ended = said(&outcome.stderr, "pipeline ended").remove(0);
    let written = ended["output_rows"].as_u64().unwrap();
    assert!((4..=5).contains(&written), "{ended}");
    assert_eq!(ended["position"], format!("shop.items/0@{written}"));
    assert_eq!(folder.rows("items"), written.to_string());
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = Folder::new();
    // A lookup that never comes keeps the start from ending.
    let lookup = "tables:\n  - { name: never, type: csv, path: never.csv }";
    folder.pipeline("items", 1, lookup);
    let made = Command::new("mkfifo")
        .arg(folder.path().join("never.csv"))
        .status();
    assert!(made.unwrap().success());
    let mut running = folder.start(&["items.yaml"]);
    wait_for(&mut running, "listening", 1);
    running.terminate();
    wait_for(&mut running, "stopping after this batch", 1);
    running.terminate();
    running.finish(LIMIT).expect_code(130);
}

#[test]
fn metrics_and_health_say_what_was_written() {
    let folder = Folder::new();
    folder.pipeline("items", 5, FREE_PORTS);
    append(&folder.messages("items"), &message(T, 0, 5, "{ broken"));
    let mut running = folder.start(&["items.yaml"]);
    let listening = wait_for(&mut running, "listening", 1).remove(0);
    wait_for(&mut running, "batch committed", 1);
    let ready = wait::until(LIMIT, || {
        (get(&listening, "health", "/readyz").status == 200).then_some(())
    });
    assert!(ready.is_some());
    assert_eq!(get(&listening, "health", "/livez").status, 200);
    let answer = get(&listening, "metrics", "/metrics");
    assert_eq!(answer.status, 200);
    let value = |series: &str| metric(&answer.body, series);
    for (series, expected) in [
        (
            r#"engine_source_records_total{pipeline="items",source="items"}"#,
            6.0,
        ),
        (
            r#"engine_source_rows_total{op="c",pipeline="items",source="items"}"#,
            5.0,
        ),
        (
            r#"engine_source_rows_total{op="d",pipeline="items",source="items"}"#,
            0.0,
        ),
        (
            r#"engine_sink_rows_total{pipeline="items",sink="delta"}"#,
            5.0,
        ),
        (
            r#"engine_quarantine_written_rows_total{pipeline="items"}"#,
            1.0,
        ),
        (
            r#"engine_rejects_records_total{pipeline="items",reason="malformed",source="items"}"#,
            1.0,
        ),
        (r#"engine_pipeline_up_ratio{pipeline="items"}"#, 1.0),
        (
            r#"engine_lag_records{pipeline="items",source="items"}"#,
            0.0,
        ),
    ] {
        assert_eq!(value(series), Some(expected), "{series}\n{}", answer.body);
    }
    let commits = said(&running.stderr(), "batch committed").len();
    let counted = value(r#"engine_sink_commits_total{pipeline="items",sink="delta"}"#);
    assert_eq!(counted, Some(f64::from(u32::try_from(commits).unwrap())));
    let decode = r#"engine_batch_stage_seconds_sum{pipeline="items",stage="decode"}"#;
    assert!(value(decode).unwrap() > 0.0);
    running.terminate();
    running.finish(LIMIT).expect_code(0);
    assert_eq!(folder.rows("items"), "5");
}

#[test]
fn an_empty_topic_is_ready() {
    let folder = Folder::new();
    folder.pipeline("items", 0, FREE_PORTS);
    let mut running = folder.start(&["items.yaml"]);
    let listening = wait_for(&mut running, "listening", 1).remove(0);
    let ready = wait::until(LIMIT, || {
        (get(&listening, "health", "/readyz").status == 200).then_some(())
    });
    assert!(ready.is_some(), "{}", running.stderr());
    running.terminate();
    let outcome = running.finish(LIMIT).expect_code(0);
    assert_eq!(
        said(&outcome.stderr, "nothing to do, there is no message yet").len(),
        1
    );
}

#[test]
fn a_busy_default_port_is_replaced_and_a_busy_chosen_one_is_refused() {
    let folder = Folder::new();
    folder.pipeline("items", 0, "");
    // If another one listens there, the port is as busy.
    let _default = TcpListener::bind("127.0.0.1:8000");
    let mut running = folder.start(&["items.yaml"]);
    let warned = wait_for(&mut running, "default port is busy, took a free one", 1);
    assert_eq!(warned[0]["level"], "WARN");
    assert_eq!(warned[0]["wanted"], "127.0.0.1:8000");
    let listening = wait_for(&mut running, "listening", 1).remove(0);
    assert_eq!(listening["metrics"], warned[0]["taken"]);
    assert_eq!(get(&listening, "metrics", "/metrics").status, 200);
    running.terminate();
    running.finish(LIMIT).expect_code(0);

    let folder = Folder::new();
    folder.pipeline("items", 1, "");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let set = format!("observability.metrics={address}");
    for once in [&[][..], &["--once"]] {
        let args = [&["items.yaml", "--set", &set], once].concat();
        let refused = folder.run(&args).expect_code(3);
        refused.expect_words(&["observability.metrics", &address, "in use"]);
    }
    assert!(!folder.path().join("warehouse").exists());
}

#[test]
fn a_run_that_ends_listens_only_where_it_was_told_to() {
    let folder = Folder::new();
    folder.pipeline("items", 1, "");
    let silent = folder.run(&["items.yaml", "--once"]).expect_code(0);
    assert_eq!(said(&silent.stderr, "listening").len(), 0);
    let set = "observability.health=127.0.0.1:0";
    let told = folder
        .run(&["items.yaml", "--once", "--set", set])
        .expect_code(0);
    let listening = said(&told.stderr, "listening").remove(0);
    assert!(listening["health"].is_string() && listening["metrics"].is_null());
}

#[test]
fn the_last_event_of_a_run_holds_its_totals() {
    let folder = Folder::new();
    folder.pipeline("items", 5, "");
    append(&folder.messages("items"), &message(T, 0, 5, "{ broken"));
    let args = [
        "items.yaml",
        "--once",
        "--set",
        "pipeline.batch.max_records=2",
    ];
    let outcome = folder.run(&args).expect_code(0);
    let events = events(&outcome.stderr);
    for event in &events {
        assert!(
            event["timestamp"].is_string() && event["level"].is_string(),
            "{event}"
        );
        assert!(
            event["message"].is_string() && event["target"].is_string(),
            "{event}"
        );
    }
    let batches = said(&outcome.stderr, "batch committed");
    assert_eq!(batches.len(), 3, "--set is obeyed");
    for field in [
        "fetch_ms",
        "decode_ms",
        "transform_ms",
        "write_ms",
        "commit_ms",
        "lag_records",
    ] {
        assert!(batches[0][field].is_u64(), "{field} in {}", batches[0]);
    }
    assert_eq!(batches[0]["span"], "shop.items/0@..2");
    assert_eq!(batches[1]["span"], "shop.items/0@2..4");
    let last = events.last().unwrap();
    assert_eq!(last["message"], "pipeline ended");
    for (field, expected) in [
        ("records", 6),
        ("inserts", 5),
        ("updates", 0),
        ("deletes", 0),
        ("snapshot_rows", 0),
        ("output_rows", 5),
        ("rejects", 1),
        ("quarantined", 1),
        ("commits", 3),
        ("files", 3),
        ("version", 3),
    ] {
        assert_eq!(last[field], expected, "{field} in {last}");
    }
    assert!(last["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(last["position"], "shop.items/0@6");

    let again = folder.run(&args).expect_code(0);
    let nothing = said(&again.stderr, "nothing to do");
    assert_eq!(nothing[0]["commits"], 0);
    assert_eq!(nothing[0]["position"], "shop.items/0@6");
}

const REFUSES: &str = "rules:\n  - { name: none, expect: \"id < 0\", on_fail: fail }";

#[test]
fn a_folder_runs_all_its_pipelines_and_one_that_fails_does_not_keep_the_others_from_draining() {
    let folder = Folder::new();
    folder.pipeline("good", 3, "");
    folder.pipeline("other", 2, "");
    folder.run(&[".", "--once"]).expect_code(0);
    assert_eq!(
        (folder.rows("good"), folder.rows("other")),
        ("3".into(), "2".into())
    );

    folder.put("good", 3);
    folder.pipeline("bad", 1, REFUSES);
    let outcome = folder.run(&[".", "--once"]).expect_code(4);
    assert!(outcome.stderr.contains("`none`"), "{}", outcome.stderr);
    assert_eq!(
        (folder.rows("good"), folder.rows("bad")),
        ("4".into(), "0".into())
    );
}

#[test]
fn a_pipeline_that_fails_ends_the_others_after_their_batch() {
    let folder = Folder::new();
    folder.pipeline("good", 3, FREE_PORTS);
    folder.pipeline("bad", 0, REFUSES);
    let mut running = folder.start(&["good.yaml", "bad.yaml"]);
    wait_for(&mut running, "batch committed", 1);
    wait_for(&mut running, "pipeline started", 2);
    folder.put("bad", 0);
    let outcome = running.finish(LIMIT).expect_code(4);
    assert!(outcome.stderr.contains(r#""message":"pipeline stopped""#));
    assert_eq!(folder.rows("good"), "3");
    assert_eq!(
        folder.commits("bad"),
        1,
        "the table was made, nothing was committed to it"
    );
}

#[test]
fn files_of_one_process_must_agree_on_where_it_listens() {
    let folder = Folder::new();
    folder.pipeline("one", 0, "observability: { metrics: \"127.0.0.1:18321\" }");
    folder.pipeline("two", 0, "observability: { metrics: \"127.0.0.1:18322\" }");
    let outcome = folder
        .run(&["one.yaml", "two.yaml", "--once"])
        .expect_code(2);
    outcome.expect_words(&["observability.metrics", "two.yaml"]);
    assert!(!folder.path().join("warehouse").exists());
}

#[test]
fn who_is_told_to_stop_while_the_brokers_do_not_answer_ends_in_order() {
    let folder = Folder::new();
    folder.pipeline("items", 0, FREE_PORTS);
    // Nobody listens on this port: it was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let set = format!("source.bootstrap_servers={nobody}");
    let mut running = folder.start(&["items.yaml", "--set", &set]);
    let listening = wait_for(&mut running, "listening", 1).remove(0);
    assert_eq!(get(&listening, "health", "/readyz").status, 503);
    running.terminate();
    let outcome = running.finish(LIMIT).expect_code(0);
    assert_eq!(said(&outcome.stderr, "told to stop before").len(), 1);
    assert!(!folder.path().join("warehouse").exists());
}
