//! Truncates, rules, lookups, and what is refused before anything is written.

use std::fs;

use tests::need;
use tests::python::Readers;

use super::Pipeline;

const ORDERS: &str =
    "  columns: \"id BIGINT PRIMARY KEY, customer_id BIGINT, status TEXT, amount DECIMAL(10,2)\"\n";
const TOPIC: &str = "cdc.postgres.public.orders";

fn orders(sql: &str, sink: &str) -> Pipeline {
    Pipeline::new("orders.jsonl", TOPIC, ORDERS, sql, sink)
}

#[test]
fn a_truncate_empties_the_target_or_does_not() {
    let readers = need!(Readers::ready());
    for batch in [1, 1_000] {
        let apply = orders("", "");
        apply.run(batch).expect_code(0);
        assert_eq!(apply.rows(&readers, "id").len(), 1, "batches of {batch}");

        let ignore = orders("", "  truncate: ignore\n");
        ignore.run(batch).expect_code(0);
        assert!(ignore.rows(&readers, "id").len() > 1);

        let fail = orders("", "  truncate: fail\n");
        fail.run(batch)
            .expect_code(4)
            .expect_words(&["truncated", "orders/0@", "sink.truncate"]);
    }
}

/// A row that a rule sets aside has not happened: its key stays as it was.
#[test]
fn a_rule_leaves_the_key_as_it_was() {
    let readers = need!(Readers::ready());
    for (on_fail, batch) in [("quarantine", 1), ("quarantine", 1_000), ("drop", 1_000)] {
        let rule = format!(
            "  truncate: ignore\nrules:\n  - {{ name: unpaid, expect: \"status <> 'paid'\", on_fail: {on_fail} }}\n"
        );
        let pipeline = orders("", &rule);
        pipeline.run(batch).expect_code(0);
        let rows = pipeline.rows(&readers, "id");
        assert!(!rows.is_empty());
        assert!(
            rows.values().all(|row| row["status"] != "paid"),
            "{on_fail}, batches of {batch}"
        );
    }
}

#[test]
fn a_lookup_that_doubles_a_row_is_an_error() {
    let sql = "SELECT id, name FROM t JOIN names ON names.status = t.status";
    let tables = "  truncate: ignore\ntables:\n  - { name: names, type: csv, path: names.csv }\n";
    let pipeline = orders(sql, tables);
    let csv = "status,name\nnew,a\nnew,b\npaid,a\npaid,b\n";
    fs::write(pipeline.folder.path().join("names.csv"), csv).expect("a temporary folder");
    pipeline
        .run(1_000)
        .expect_code(4)
        .expect_words(&["several rows", "id=", "lookup", "next:"]);
}

#[test]
fn a_query_that_loses_the_key_is_refused_with_advice() {
    for (sql, words) in [
        ("SELECT status FROM t", ["key column `id`", "SELECT list"]),
        (
            "SELECT id + 0 AS id FROM t",
            ["key column `id`", "as it is"],
        ),
        (
            "SELECT id, count(*) AS n FROM t GROUP BY id",
            ["error:", "next:"],
        ),
    ] {
        let pipeline = orders(sql, "");
        for command in ["validate", "run"] {
            let outcome = pipeline.engine(&[command, "p.yaml"]).run(super::RUN);
            outcome.expect_code(2).expect_words(&words);
        }
        assert!(!pipeline.table().exists(), "nothing is written");
    }
}

#[test]
fn a_source_without_a_key_is_refused() {
    let columns = "  columns: \"id BIGINT, status TEXT\"\n";
    let pipeline = Pipeline::new("orders.jsonl", TOPIC, columns, "", "");
    let outcome = pipeline.engine(&["validate", "p.yaml"]).run(super::RUN);
    outcome
        .expect_code(2)
        .expect_words(&["key of the source is not known", "PRIMARY KEY"]);
}
