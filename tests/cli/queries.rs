//! `engine sql` over what pipelines wrote and read.

use tests::engine::Outcome;

use super::case::{Case, FILE, assert_says};

/// `engine sql pipeline.yaml ARGS…`.
pub(super) fn sql(case: &Case, args: &[&str]) -> Outcome {
    case.call(&[&["sql", FILE], args].concat())
}

pub(super) fn prints(case: &Case, args: &[&str], expected: &str) {
    let outcome = sql(case, args);
    assert_says(&outcome, 0, &[]);
    assert_eq!(outcome.stdout, expected);
    assert_eq!(outcome.stderr, "");
}

/// A drawn table, as it is written in a test: below the quote.
pub(super) fn drawn(table: &str) -> &str {
    table.strip_prefix('\n').unwrap()
}

pub(super) fn refuses(case: &Case, query: &str, says: &[&str]) {
    let outcome = sql(case, &["-c", query]);
    assert_says(&outcome, 2, says);
    assert_eq!(outcome.stdout, "");
}

#[test]
fn tables_that_pipelines_wrote_are_read_in_every_format() {
    let query = "SELECT customer_id, email, lifetime_value, updated_at FROM NAME WHERE _offset < 2 ORDER BY 1";
    for (case, name) in [
        (Case::iceberg(), "iceberg.analytics.customers"),
        (Case::iceberg(), "analytics.customers"),
        (Case::delta(), "delta.customers_delta"),
        (Case::delta(), "customers_delta"),
    ] {
        case.runs(0, &[]);
        let query = query.replace("NAME", name);
        prints(
            &case,
            &["-c", &query],
            drawn(
                "
 customer_id | email                      | lifetime_value | updated_at
-------------+----------------------------+----------------+----------------------------
           1 | karen.müller.1@example.com |        3834.52 | 2026-11-22T10:07:32.270388
           2 | sam.smith.2@example.com    |         732.48 | 2026-11-22T10:07:32.271081
(2 rows)
",
            ),
        );
        prints(
            &case,
            &["--format", "csv", "-c", &query],
            "\
customer_id,email,lifetime_value,updated_at
1,karen.müller.1@example.com,3834.52,2026-11-22T10:07:32.270388
2,sam.smith.2@example.com,732.48,2026-11-22T10:07:32.271081
",
        );
        prints(
            &case,
            &["--format", "json", "-c", &query],
            "[{\"customer_id\":1,\"email\":\"karen.müller.1@example.com\",\"lifetime_value\":3834.52,\"updated_at\":\"2026-11-22T10:07:32.270388\"},\
             {\"customer_id\":2,\"email\":\"sam.smith.2@example.com\",\"lifetime_value\":732.48,\"updated_at\":\"2026-11-22T10:07:32.271081\"}]\n",
        );
    }
}

#[test]
fn names_are_checked_with_the_nearest() {
    let case = Case::iceberg();
    case.runs(0, &[]);
    let names = "one of iceberg.analytics.customers, quarantine.customers, customers.customers";
    refuses(
        &case,
        "SELECT 1 FROM analytics.custmers",
        &[
            "error: no table is named `analytics.custmers`",
            "\n  at: line 1, column 25",
            names,
            "\n  next: did you mean `iceberg.analytics.customers`?",
        ],
    );
    refuses(
        &case,
        "SELECT 1 FROM orders",
        &[
            "error: no table is named `orders`",
            "\n  next: list the tables with engine sql -c 'SHOW TABLES'",
        ],
    );
    refuses(
        &case,
        "SELECT 1 FROM customers",
        &[
            "error: `customers` may mean several tables",
            "\n  expected: one of iceberg.analytics.customers, customers.customers",
            "\n  next: write the full name",
        ],
    );
    refuses(
        &case,
        "SELECT emial FROM analytics.customers",
        &[
            "error: unknown column `emial`",
            "\n  at: line 1, column 8",
            "\n  next: did you mean `email`?",
        ],
    );
    let nowhere = case.call(&["sql", "-c", "SELECT 1 FROM customers"]);
    assert_says(
        &nowhere,
        2,
        &[
            "error: no table is named `customers`",
            "no pipeline file is known here",
            "\n  next: name pipeline files",
        ],
    );
}

#[test]
fn writing_is_refused_by_name() {
    let case = Case::iceberg();
    case.runs(0, &[]);
    let before = case.files();
    for (query, word) in [
        ("DELETE FROM analytics.customers", "DELETE"),
        ("INSERT INTO analytics.customers VALUES (1)", "INSERT"),
        ("UPDATE analytics.customers SET tier = 'x'", "UPDATE"),
        ("DROP TABLE analytics.customers", "DROP"),
        ("CREATE TABLE t AS SELECT 1", "CREATE"),
        ("COPY (SELECT 1) TO 'stolen.csv'", "COPY"),
        ("SET datafusion.execution.batch_size = 1", "SET"),
        ("SELECT 1 AS a INTO t", "SELECT INTO"),
        ("EXPLAIN DELETE FROM analytics.customers", "DELETE"),
        (
            "EXPLAIN ANALYZE INSERT INTO analytics.customers VALUES (1)",
            "INSERT",
        ),
    ] {
        refuses(
            &case,
            query,
            &[
                &format!("error: engine sql reads only, and does not run {word}\n"),
                "\n  expected: SELECT, WITH, EXPLAIN, DESCRIBE, SHOW TABLES or CREATE EXTERNAL TABLE",
                "\n  next: tables are written by pipelines",
            ],
        );
    }
    assert_eq!(case.files(), before);
    assert!(!case.path("stolen.csv").exists());
}

#[test]
fn statements_run_in_order_and_stop_at_the_first_error() {
    let case = Case::iceberg();
    prints(
        &case,
        &["--format", "json", "-c", "SELECT 1 AS a; SELECT 'x' AS b;"],
        "[{\"a\":1}]\n[{\"b\":\"x\"}]\n",
    );
    prints(
        &case,
        &["--format", "json", "-c", "SELECT 1 AS a WHERE false"],
        "[]\n",
    );
    prints(
        &case,
        &["--format", "csv", "-c", "SELECT 1 AS a WHERE false"],
        "a\n",
    );
    prints(
        &case,
        &["-c", "SELECT 1 AS a WHERE false"],
        " a\n---\n(0 rows)\n",
    );
    let outcome = sql(
        &case,
        &[
            "--format",
            "json",
            "-c",
            "SELECT 1 AS a; SELECT b; SELECT 3 AS c",
        ],
    );
    assert_says(
        &outcome,
        2,
        &["error: ", "`b`", "\n  at: line 1, column 23"],
    );
    assert_eq!(outcome.stdout, "[{\"a\":1}]\n");
}

#[test]
fn a_script_is_run_and_its_errors_have_its_lines() {
    let case = Case::iceberg().file("good.sql", "-- two\nSELECT 1 AS a;\nSELECT 2 AS b;\n");
    prints(
        &case,
        &["--format", "csv", "-f", "good.sql"],
        "a\n1\nb\n2\n",
    );
    let case = case.file(
        "bad.sql",
        "SELECT 1 AS a;\nSELECT\n  emial\nFROM analytics.customers\n",
    );
    case.runs(0, &[]);
    let outcome = sql(&case, &["--format", "csv", "-f", "bad.sql"]);
    assert_says(
        &outcome,
        2,
        &[
            "error: unknown column `emial`",
            "\n  at: bad.sql:3",
            "column 3",
        ],
    );
    assert_eq!(outcome.stdout, "a\n1\n");
    let outcome = sql(&case, &["-f", "nowhere.sql"]);
    assert_says(
        &outcome,
        2,
        &[
            "error: the script cannot be read",
            "\n  at: nowhere.sql",
            "\n  next: check the path",
        ],
    );
}

#[test]
fn wrong_sql_is_placed_and_told_as_a_query() {
    let case = Case::iceberg();
    for (query, says, place) in [
        ("SELECT FROM", "error: SQL syntax: ", "line 1, column 12"),
        ("SELECT (1", "error: SQL syntax: ", "line 1, column 10"),
        (
            "SELECT 'a",
            "error: SQL syntax: unterminated string literal",
            "line 1, column 8",
        ),
        (
            "SELECT 1 AS a,\n  2 AS a",
            "error: the SQL returns two columns named `a`",
            "line ",
        ),
        (
            "SELECT nope(1)",
            "error: unknown function `nope`",
            "line 1, column 8",
        ),
    ] {
        refuses(
            &case,
            query,
            &[says, &format!("\n  at: {place}"), "\n  next: "],
        );
    }
    refuses(
        &case,
        "SELECT 1 / 0 AS a",
        &["error: ", "ivide by zero", "\n  next: correct the query"],
    );
}

#[test]
fn a_table_that_is_not_there_yet_says_to_run_the_pipeline() {
    for (case, query, name) in [
        (
            Case::iceberg(),
            "SELECT 1 FROM analytics.customers",
            "iceberg.analytics.customers",
        ),
        (
            Case::delta(),
            "SELECT 1 FROM delta.customers_delta",
            "delta.customers_delta",
        ),
    ] {
        refuses(
            &case,
            query,
            &[
                &format!("error: `{name}` is not there yet"),
                "\n  at: ",
                "/warehouse/",
                "\n  next: run the pipeline first, as in `engine run --once ",
                "pipeline.yaml`",
            ],
        );
        assert!(case.files().is_empty(), "a question made something");
        case.runs(0, &[]);
    }
    let case = Case::delta();
    case.runs(0, &[]);
    refuses(
        &case,
        "SELECT 1 FROM quarantine.customers_delta",
        &[
            "error: `quarantine.customers_delta` is not there: no message was set aside yet",
            "/_quarantine/customers_delta",
            "\n  next: nothing is wrong",
        ],
    );
}

#[test]
fn tables_are_listed_and_described() {
    let case = Case::iceberg();
    let file = case
        .path(FILE)
        .canonicalize()
        .unwrap()
        .display()
        .to_string();
    let outcome = sql(&case, &["--format", "csv", "-c", "SHOW TABLES"]);
    assert_eq!(
        outcome.stdout,
        format!(
            "table,kind,pipeline,file\n\
             iceberg.analytics.customers,iceberg,customers,{file}\n\
             quarantine.customers,quarantine,customers,{file}\n\
             customers.customers,source,customers,{file}\n"
        )
    );
    case.runs(0, &[]);
    let outcome = sql(
        &case,
        &["--format", "csv", "-c", "DESCRIBE analytics.customers"],
    );
    assert!(
        outcome
            .stdout
            .starts_with("column_name,data_type,is_nullable\ncustomer_id,Int64,YES\n"),
        "{}",
        outcome.stdout
    );
    let outcome = sql(
        &case,
        &[
            "-c",
            "EXPLAIN SELECT customer_id FROM analytics.customers WHERE tier = 'Gold'",
        ],
    );
    assert_says(&outcome, 0, &[]);
    for word in [
        "logical_plan",
        "physical_plan",
        "projection=[customer_id",
        "IcebergScanExec",
    ] {
        assert!(outcome.stdout.contains(word), "{}", outcome.stdout);
    }
}

#[test]
fn a_folder_is_searched_and_a_wrong_file_in_it_is_left_out_with_a_word() {
    let case = Case::iceberg().file("broken.yaml", "pipeline: [");
    case.runs(0, &[]);
    let outcome = case.call(&[
        "sql",
        ".",
        "--format",
        "csv",
        "-c",
        "SELECT count(*) AS n FROM analytics.customers",
    ]);
    assert_says(&outcome, 0, &["pipeline file left out", "broken.yaml"]);
    assert_eq!(outcome.stdout, "n\n1600\n");
    assert!(
        !outcome.stderr.contains('\u{1b}'),
        "a terminal's codes in a file: {:?}",
        outcome.stderr
    );
    let outcome = case.call(&["sql", "nowhere", "-c", "SELECT 1"]);
    assert_says(
        &outcome,
        2,
        &[
            "error: there is no such file or folder",
            "\n  at: nowhere",
            "\n  next: check the path",
        ],
    );
}
