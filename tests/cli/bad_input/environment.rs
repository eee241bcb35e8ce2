//! `${VARIABLES}` of the pipeline file.

use super::super::case::Case;

const PATH: &str = "${WAREHOUSE:-./warehouse}/_q";

#[test]
fn a_variable_that_is_not_set_is_named_with_both_ways_out() {
    Case::iceberg().edit(PATH, "${NOPE}/_q").refused(&[
        "error: the environment variable `NOPE` is not set",
        "\n  at: pipeline.yaml:25:34 (pipeline.on_error.table.path)",
        "\n  expected: a value, since the file gives no default",
        "\n  next: run with `NOPE=… engine …`, or give a default in the file: `${NOPE:-…}`",
    ]);
}

#[test]
fn a_missing_brace_is_placed() {
    Case::iceberg().edit(PATH, "${WAREHOUSE/_q").refused(&[
        "error: `${` has no closing brace",
        "\n  at: pipeline.yaml:25:34 (pipeline.on_error.table.path)",
        "\n  expected: `${NAME}` or `${NAME:-default}`",
        "\n  next: close it with `}`, or write `$${` for a literal `${`",
    ]);
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_its_key() {
    Case::iceberg()
        .edit("max_records: 50000", "max_records: \"${RECORDS}\"")
        .env("RECORDS", "ten")
        .refused(&[
            "error: `pipeline.batch.max_records` is ",
            "`ten`",
            "\n  at: pipeline.yaml:19:25 (pipeline.batch.max_records)",
            "\n  expected: a positive whole number",
        ]);
}

#[test]
fn a_name_that_is_none_is_refused() {
    Case::iceberg().edit(PATH, "${1WAREHOUSE}/_q").refused(&[
        "error: ",
        "\n  at: pipeline.yaml:25:34",
        "\n  expected: ",
    ]);
}

#[test]
fn a_value_cannot_smuggle_yaml_in() {
    Case::iceberg()
        .edit("name: iceberg\n", "name: \"${CATALOG}\"\n")
        .env("CATALOG", "iceberg\n    uri: sqlite:///elsewhere.db")
        .refused(&["error: ", "(sink.catalog.name)"]);
}
