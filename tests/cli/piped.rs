//! Statements that are piped in: as in a script, the first error ends the run.

use super::case::{Case, FILE, assert_says};
use super::queries::drawn;

/// `engine sql pipeline.yaml ARGS…` reads `input` and prints exactly `stdout` and `stderr`.
fn transcript(case: &Case, args: &[&str], input: &str, stdout: &str, stderr: &str) {
    let outcome = case.piped(&[&["sql", FILE], args].concat(), input);
    assert_says(&outcome, 0, &[]);
    assert_eq!(outcome.stdout, stdout, "of\n{input}");
    assert_eq!(outcome.stderr, stderr, "of\n{input}");
}

#[test]
fn statements_and_commands_are_run_in_order() {
    let case = Case::iceberg().file(
        "more.sql",
        "SELECT 'more' AS of_a_file;\n\\q\nSELECT 'no';\n",
    );
    transcript(
        &case,
        &[],
        "\
-- what a person would type
SELECT 1 AS a,
       'it''s; one' AS text,
       NULL AS nothing,
       TIMESTAMP '2026-11-22 10:07:32.5' AS at
;
SELECT 2 AS b; \\format csv
SELECT 3 AS c, NULL AS d UNION ALL SELECT 4, 'x' ORDER BY 1;
\\format json
SELECT 5 AS e, NULL AS f; \\format table
\\x on
SELECT 6 AS longer_name, 'a
b' AS g;
\\x off
\\i more.sql
SELECT 'the last one needs no end' AS h",
        drawn(
            "
 a | text      | nothing | at
---+-----------+---------+-------------------------
 1 | it's; one | NULL    | 2026-11-22T10:07:32.500
(1 row)
 b
---
 2
(1 row)
c,d
3,
4,x
[{\"e\":5,\"f\":null}]
-[ record 1 ]-
longer_name | 6
g           | a
            | b
(1 row)
 of_a_file
-----------
 more
(1 row)
 h
---------------------------
 the last one needs no end
(1 row)
",
        ),
        "expanded display is on\nexpanded display is off\n",
    );
}

#[test]
fn nothing_at_all_is_no_error() {
    let case = Case::iceberg();
    for input in ["", "\n\n", "-- nothing\n", "/* nothing */;;"] {
        transcript(&case, &[], input, "", "");
    }
}

#[test]
fn the_first_error_ends_the_run_and_says_where() {
    let case = Case::iceberg();
    for (input, stdout, code, says) in [
        (
            "SELECT 1 AS a;\nSELECT 2 AS b; SELECT\n  c;\nSELECT 3;",
            "a\n1\nb\n2\n",
            2,
            ["error: ", "`c`", "\n  at: line 3, column 3"],
        ),
        (
            "SELECT 1 AS a;\n\\nonsense\nSELECT 2;",
            "a\n1\n",
            2,
            [
                "error: there is no command \\nonsense",
                "\n  at: line 2",
                "\n  next: see \\?",
            ],
        ),
        (
            "\\i nowhere.sql\nSELECT 2;",
            "",
            2,
            [
                "error: the script cannot be read",
                "\n  at: nowhere.sql",
                "\n  next: check the path",
            ],
        ),
        (
            "SELECT 'open",
            "",
            2,
            [
                "error: SQL syntax: unterminated string literal",
                "\n  at: line 1, column 8",
                "",
            ],
        ),
    ] {
        let outcome = case.piped(&["sql", FILE, "--format", "csv"], input);
        assert_says(&outcome, code, &says);
        assert_eq!(outcome.stdout, stdout, "of\n{input}");
    }
    let outcome = case.piped(
        &["sql", FILE, "-f", "input"],
        "SELECT 1;\n\n\\timing maybe\n",
    );
    assert_says(
        &outcome,
        2,
        &["error: \\timing does not take `maybe`", "\n  at: input:3"],
    );
}

#[test]
fn a_file_that_runs_itself_ends() {
    let case = Case::iceberg().file("again.sql", "\\i again.sql\n");
    let outcome = case.call(&["sql", FILE, "-f", "again.sql"]);
    assert_says(
        &outcome,
        2,
        &[
            "error: files run files too deep",
            "\n  next: look for one that runs itself",
        ],
    );
}

#[test]
fn a_command_may_be_given_on_the_command_line() {
    let case = Case::iceberg();
    let outcome = case.call(&["sql", FILE, "--format", "csv", "-c", "SELECT 1 AS a; \\d"]);
    assert_says(&outcome, 0, &[]);
    assert!(
        outcome.stdout.starts_with(
            "a\n1\ntable,kind,pipeline,file\niceberg.analytics.customers,iceberg,customers,"
        ),
        "{}",
        outcome.stdout
    );
}
