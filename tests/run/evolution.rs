//! A table whose source gains, loses and renames a column in mid-topic, as a real connector sent it.

use std::fs;

use sql::ErrorKind;
use tests::repository;

use super::harness::position_of;
use super::job::{Job, Kind};

const TOPIC: &str = "pgschema.public.docs";
/// Offset of the first record with the column `lang`; `n` is gone from the one after it, `title` becomes `headline` in the last.
const CHANGE: i64 = 8;
const STAR: &str = "transform: SELECT *, _offset FROM items";
const LIST: &str = "transform: SELECT id, title, n, _offset FROM items";
const AFTER: &str = "SELECT id, title, n, _offset FROM t WHERE _offset >= 8 ORDER BY _offset";

fn lines() -> Vec<String> {
    let file = repository::path("tests/fixtures/docs.schema.jsonl");
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| format!("{line}\n")).collect()
}

fn job(kind: Kind, policy: &str, sql: &str) -> Job {
    Job::new(
        kind,
        &format!("  schema_change: {policy}"),
        &format!("  topics: [{TOPIC}]"),
        sql,
    )
}

fn full(kind: Kind, policy: &str, sql: &str) -> Job {
    let job = job(kind, policy, sql);
    job.capture(&lines().concat());
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn evolve_gives_a_star_the_new_columns_and_keeps_the_old_ones() {
    for kind in Kind::BOTH {
        let job = full(kind, "evolve", STAR);
        assert_eq!(job.run().await.unwrap().position, position_of(TOPIC, 11));
        assert_eq!(
            job.columns().await,
            ["id", "title", "body", "n", "_offset", "lang", "headline"],
            "{kind:?}"
        );
        let rows = job
            .query("SELECT id, title, n, lang, headline FROM t WHERE _offset IN (1, 8, 9, 10) ORDER BY _offset")
            .await;
        assert_eq!(
            rows,
            [
                "2|second|1|null|null",
                "3|third|1|en|null",
                "3|third!|null|en|null",
                "4|null|null|en|fourth"
            ],
            "{kind:?}"
        );
        assert_eq!(job.query("SELECT count(*) FROM t").await, ["9"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_columns_stays_as_it_is_whatever_the_source_gains() {
    for (kind, policy) in [
        (Kind::Delta, "evolve"),
        (Kind::Iceberg, "evolve"),
        (Kind::Delta, "ignore"),
        (Kind::Iceberg, "ignore"),
    ] {
        let job = full(kind, policy, LIST);
        job.run().await.unwrap();
        assert_eq!(job.columns().await, ["id", "title", "n", "_offset"]);
        let rows = job.query(AFTER).await;
        let expected = ["3|third|1|8", "3|third!|null|9", "4|null|null|10"];
        assert_eq!(rows, expected, "{kind:?} {policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ignore_keeps_a_star_to_the_columns_known_at_start() {
    for kind in Kind::BOTH {
        let job = full(kind, "ignore", STAR);
        job.run().await.unwrap();
        assert_eq!(job.columns().await, ["id", "title", "body", "n", "_offset"]);
        assert_eq!(
            job.query(AFTER).await,
            ["3|third|1|8", "3|third!|null|9", "4|null|null|10"],
            "{kind:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fail_commits_what_came_before_the_change_and_stops_there_each_time() {
    for (kind, sql) in [(Kind::Delta, STAR), (Kind::Iceberg, LIST)] {
        let job = full(kind, "fail", sql);
        for _ in 0..2 {
            let error = job.run().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Policy);
            assert_eq!(error.place(), Some(format!("{TOPIC}/0@{CHANGE}").as_str()));
            assert!(error.message().contains("`lang`"), "{error}");
            let rows = job.query("SELECT max(_offset), count(*) FROM t").await;
            assert_eq!(rows, ["6|6"], "{kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_anywhere_in_the_topic_changes_nothing() {
    let all = "SELECT id, title, body, n, lang, headline, _offset FROM t ORDER BY _offset";
    for kind in Kind::BOTH {
        let once = full(kind, "evolve", STAR);
        once.run().await.unwrap();
        let expected = once.query(all).await;
        for cut in 1..lines().len() {
            let job = job(kind, "evolve", STAR);
            let (head, tail) = (lines()[..cut].concat(), lines()[cut..].concat());
            job.capture(&head);
            job.run().await.unwrap();
            job.capture(&tail);
            let outcome = job.run().await.unwrap();
            assert_eq!(outcome.position, position_of(TOPIC, 11), "{kind:?} {cut}");
            assert_eq!(job.query(all).await, expected, "{kind:?} {cut}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_one_record_evolve_as_one_batch_does() {
    let job = Job::new(
        Kind::Delta,
        "  batch: { max_records: 1 }",
        &format!("  topics: [{TOPIC}]"),
        STAR,
    );
    job.capture(&lines().concat());
    let outcome = job.run().await.unwrap();
    // A batch that holds nothing but the news of another schema makes no commit.
    assert_eq!(
        (outcome.commits, outcome.position),
        (11, position_of(TOPIC, 11))
    );
    assert_eq!(
        job.query("SELECT count(lang), count(headline) FROM t")
            .await,
        ["3|1"]
    );
}
