//! Truncates, rules, lookups, and what is refused before anything is written.

use std::fs;

use tests::need;
use tests::python::Readers;

use super::{Format, Pipeline};

const ORDERS: &str =
    "  columns: \"id BIGINT PRIMARY KEY, customer_id BIGINT, status TEXT, amount DECIMAL(10,2)\"\n";
const TOPIC: &str = "cdc.postgres.public.orders";

fn orders(format: Format, sql: &str, sink: &str) -> Pipeline {
    Pipeline::into_format(format, "orders.jsonl", TOPIC, ORDERS, sql, sink)
}

#[test]
fn a_truncate_empties_the_target_or_does_not() {
    let readers = need!(Readers::ready());
    for (format, batch) in [
        (Format::Delta, 1),
        (Format::Delta, 1_000),
        (Format::Iceberg, 1),
        (Format::Iceberg, 1_000),
        (Format::CopiedIceberg, 1),
    ] {
        let apply = orders(format, "", "");
        apply.run(batch).expect_code(0);
        let left = apply.rows(&readers, "id").len();
        assert_eq!(left, 1, "batches of {batch}, {format:?}");

        let ignore = orders(format, "", "  truncate: ignore\n");
        ignore.run(batch).expect_code(0);
        assert!(ignore.rows(&readers, "id").len() > 1);

        let fail = orders(format, "", "  truncate: fail\n");
        fail.run(batch)
            .expect_code(4)
            .expect_words(&["truncated", "orders/0@", "sink.truncate"]);
    }
}

/// A row that a rule sets aside has not happened: its key stays as it was.
#[test]
fn a_rule_leaves_the_key_as_it_was() {
    let readers = need!(Readers::ready());
    for (format, on_fail, batch) in [
        (Format::Delta, "quarantine", 1),
        (Format::Delta, "quarantine", 1_000),
        (Format::Delta, "drop", 1_000),
        (Format::Iceberg, "quarantine", 1),
        (Format::Iceberg, "drop", 1_000),
        (Format::CopiedIceberg, "quarantine", 1),
    ] {
        let rule = format!(
            "  truncate: ignore\nrules:\n  - {{ name: unpaid, expect: \"status <> 'paid'\", on_fail: {on_fail} }}\n"
        );
        let pipeline = orders(format, "", &rule);
        pipeline.run(batch).expect_code(0);
        let rows = pipeline.rows(&readers, "id");
        assert!(!rows.is_empty());
        assert!(
            rows.values().all(|row| row["status"] != "paid"),
            "{on_fail}, batches of {batch}, {format:?}"
        );
    }
}

#[test]
fn a_lookup_that_doubles_a_row_is_an_error() {
    let sql = "SELECT id, name FROM t JOIN names ON names.status = t.status";
    let tables = "  truncate: ignore\ntables:\n  - { name: names, type: csv, path: names.csv }\n";
    for format in Format::ALL {
        let pipeline = orders(format, sql, tables);
        let csv = "status,name\nnew,a\nnew,b\npaid,a\npaid,b\n";
        fs::write(pipeline.folder.path().join("names.csv"), csv).expect("a temporary folder");
        pipeline.run(1_000).expect_code(4).expect_words(&[
            "several rows",
            "id=",
            "lookup",
            "next:",
        ]);
    }
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
        let pipeline = orders(Format::Delta, sql, "");
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
