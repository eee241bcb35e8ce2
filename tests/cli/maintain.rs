//! `engine maintain`: what it says and what it does to the shipped pipelines' tables.

use super::case::{Case, FILE, ICEBERG_TABLE, SHIPPED_ROWS, assert_says};

/// Batches of so few records that there is something to compact.
fn small_batches() -> Case {
    Case::iceberg().edit("sink:\n", "maintenance:\n  min_files: 2\n\nsink:\n")
}

const RUN: [&str; 5] = [
    "run",
    "--once",
    FILE,
    "--set",
    "pipeline.batch.max_records=200",
];

#[test]
fn it_compacts_and_expires_and_says_so() {
    let case = small_batches();
    assert_says(&case.call(&RUN), 0, &[]);
    let rows = case.rows(ICEBERG_TABLE);
    let before = case.files();
    let dry = case.call(&["maintain", FILE, "--dry-run"]);
    assert_says(&dry, 0, &[]);
    assert!(
        dry.stdout
            .contains("dry run              nothing was changed"),
        "{}",
        dry.stdout
    );
    assert_eq!(case.files(), before);

    let first = case.call(&["maintain", FILE]);
    assert_says(&first, 0, &[]);
    let said = &first.stdout;
    assert!(
        said.starts_with("customers: Iceberg table iceberg.analytics.customers\n"),
        "{said}"
    );
    for line in [
        "data files",
        "rewritten files",
        "rewritten rows",
        "expired versions     0",
        "commits              1",
        "seconds",
    ] {
        assert!(said.contains(line), "no `{line}` in:\n{said}");
    }
    assert_eq!(case.rows(ICEBERG_TABLE), rows);

    let again = case.call(&["maintain", FILE]);
    assert!(
        again.stdout.contains("commits              0"),
        "{}",
        again.stdout
    );
    let expired = case.call(&["maintain", FILE, "--retention", "0s", "--shorten-retention"]);
    assert_says(&expired, 0, &[]);
    assert!(
        !expired.stdout.contains("expired versions     0"),
        "{}",
        expired.stdout
    );
    assert_eq!(case.rows(ICEBERG_TABLE), rows);
    // What expired cannot be asked for any more, and that is said.
    for args in [
        &["changes", "customers", FILE, "--from", "1", "--to", "2"][..],
        &[
            "sql",
            FILE,
            "-c",
            "SELECT * FROM table_changes('customers', 1, 2)",
        ],
        &["sql", FILE, "-c", "SELECT * FROM at('customers', 1)"],
    ] {
        let words = [
            "version 1 has expired: the table no longer has its snapshot",
            "at: iceberg.analytics.customers",
            "keep snapshots longer than readers stand still",
        ];
        assert_says(&case.call(args), 4, &words);
    }
    assert!(rows <= SHIPPED_ROWS && rows > 0);
    // It goes on where it stood.
    assert_says(&case.call(&RUN), 0, &[]);
    assert_eq!(case.rows(ICEBERG_TABLE), rows);
}

#[test]
fn a_shorter_retention_has_to_be_meant() {
    let case = Case::iceberg();
    let outcome = case.call(&["maintain", FILE, "--retention", "1h"]);
    assert_says(
        &outcome,
        2,
        &[
            "is shorter than the retention of the pipeline customers",
            "--shorten-retention",
        ],
    );
    assert!(case.files().is_empty());
}

#[test]
fn a_table_that_is_not_there_is_told_and_not_made() {
    let outcome = Case::delta().call(&["maintain", FILE]);
    assert_says(&outcome, 0, &[]);
    assert!(
        outcome.stdout.contains("there is no table yet"),
        "{}",
        outcome.stdout
    );
    let case = Case::iceberg();
    assert_says(
        &case.call(&["maintain", FILE]),
        2,
        &["there is no catalog file"],
    );
    assert!(case.files().is_empty());
}
