//! The pipeline file itself.

use super::super::case::{Case, FILE, assert_says};

#[test]
fn an_unclosed_bracket_is_placed() {
    Case::iceberg().edit("trigger: {", "trigger: [").refused(&[
        "error: this is not YAML: while parsing a flow sequence",
        "\n  at: pipeline.yaml:19:3",
        "\n  next: check the indentation, the colons and the quotes",
    ]);
}

#[test]
fn a_tab_for_indentation_is_placed() {
    Case::iceberg()
        .edit("  name: customers\n  # One", "\tname: customers\n  # One")
        .refused(&[
            "error: this is not YAML",
            "\n  at: pipeline.yaml:1",
            "\n  next: ",
        ]);
}

#[test]
fn an_empty_file_is_told_what_it_lacks() {
    Case::iceberg().file(FILE, "").refused(&[
        "error: ",
        "\n  at: pipeline.yaml",
        "\n  expected: ",
        "\n  next: ",
    ]);
}

#[test]
fn an_unknown_key_names_the_nearest() {
    Case::iceberg()
        .edit("topics: [postgres", "topic: [postgres")
        .refused(&[
            "error: unknown key `topic` in `source`",
            "\n  at: pipeline.yaml:33:3 (source.topic)",
            "\n  expected: one of `type`, `name`, `bootstrap_servers`",
            "\n  next: did you mean `topics`?",
        ]);
}

#[test]
fn a_text_for_a_number_is_placed() {
    Case::iceberg()
        .edit("max_records: 50000", "max_records: many")
        .refused(&[
            "error: `pipeline.batch.max_records` is the text `many`",
            "\n  at: pipeline.yaml:19:25 (pipeline.batch.max_records)",
            "\n  expected: a positive whole number",
            "\n  next: write 1 or more",
        ]);
}

#[test]
fn a_key_said_twice_names_both_lines() {
    Case::iceberg()
        .edit("mode: append", "mode: append\n  mode: append")
        .refused(&[
            "error: `mode` is said twice in one block",
            "\n  at: pipeline.yaml:94:3 (sink.mode)",
            "the first is on line 93",
            "\n  next: remove one of them",
        ]);
}

#[test]
fn what_is_not_built_yet_is_refused() {
    Case::iceberg()
        .edit("rules:", "quality:\n  - { type: row_count }\nrules:")
        .refused(&[
            "error: `quality` is not built yet",
            "\n  at: pipeline.yaml:79:1 (quality)",
            "\n  next: remove the block",
        ]);
}

#[test]
fn a_choice_that_is_none_lists_them() {
    Case::iceberg()
        .edit("type: iceberg\n", "type: hudi\n")
        .refused(&[
            "error: `hudi` is no value of `type`",
            "\n  at: pipeline.yaml:83:9 (sink.type)",
            "\n  expected: one of `iceberg`, `delta`",
        ]);
}

#[test]
fn partitions_are_judged_before_a_table_is_made() {
    for (field, says) in [
        (
            "dya(_ingestion_timestamp)",
            [
                "error: `dya` is not a partition transform",
                "\n  expected: one of `year`, `month`, `day`",
                "\n  next: did you mean `day`?",
            ],
        ),
        (
            "nope",
            [
                "error: `partition_by` names the column `nope`, which the SQL does not return",
                "(sink.partition_by[0])",
                "\n  next: Add it to the SELECT list, or partition by another column.",
            ],
        ),
        (
            "day(tier)",
            [
                "error: column `tier` of type string cannot be partitioned by day",
                "\n  expected: a date or a timestamp for `year`",
                "\n  next: partition by another column",
            ],
        ),
    ] {
        let case = Case::iceberg().edit("day(_ingestion_timestamp)", field);
        for command in [&["validate", FILE][..], &["run", "--once", FILE]] {
            let outcome = case.call(command);
            assert_says(&outcome, 2, &says);
            assert_says(
                &outcome,
                2,
                &["\n  at: pipeline.yaml:94:18 (sink.partition_by[0])"],
            );
        }
        assert!(
            !case.path("warehouse/analytics").exists(),
            "a table was made"
        );
    }
}

#[test]
fn a_file_that_is_not_there_and_a_folder_without_pipelines_are_named() {
    let case = Case::iceberg().folder("empty");
    for command in ["run", "validate", "explain"] {
        assert_says(
            &case.call(&[command, "nope.yaml"]),
            2,
            &[
                "error: the pipeline file cannot be read",
                "\n  at: nope.yaml",
                "\n  next: check the path",
            ],
        );
    }
    assert_says(
        &case.call(&["run", "empty"]),
        2,
        &[
            "error: the folder holds no pipeline file",
            "\n  at: empty",
            "\n  expected: files that end in .yaml or .yml",
        ],
    );
}

#[test]
fn two_pipelines_of_one_name_are_refused() {
    let case = Case::iceberg();
    std::fs::copy(case.path(FILE), case.path("twin.yaml")).unwrap();
    assert_says(
        &case.call(&["run", "--once", FILE, "twin.yaml"]),
        2,
        &[
            "error: two pipelines are named `customers`",
            "pipeline.yaml and ",
            "\n  next: change `pipeline.name` in one of them",
        ],
    );
}

#[test]
fn a_wrong_set_is_told_as_the_command_lines() {
    let case = Case::iceberg();
    assert_says(
        &case.call(&["run", "--once", FILE, "--set", "pipeline.nme=3"]),
        2,
        &[
            "error: unknown key `nme` in `pipeline`",
            "\n  at: --set pipeline.nme",
            "\n  next: did you mean `name`?",
        ],
    );
    assert_says(
        &case.call(&["run", "--once", FILE, "--set", "nme"]),
        2,
        &["`nme` is not KEY=VALUE, e.g. pipeline.batch.max_records=1000"],
    );
}
