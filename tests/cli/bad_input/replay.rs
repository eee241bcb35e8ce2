//! Files of captured messages.

use std::fs;

use super::super::case::{Case, DELTA_TABLE};

const NEXT_LINE: &str = "\n  next: correct this line of the file of captured messages";

#[test]
fn a_file_that_is_not_there_is_named() {
    let case = Case::delta();
    fs::remove_file(case.path("data/customers.jsonl")).unwrap();
    case.runs(
        2,
        &[
            "error: there is no file of captured messages here",
            "/data/customers.jsonl\n",
            "\n  expected: a file of JSON lines as `kcat -J` prints them",
            "\n  next: Correct `source.bootstrap_servers`",
        ],
    );
    assert!(case.files().is_empty());
}

#[test]
fn a_folder_in_its_place_is_named() {
    let case = Case::delta();
    fs::remove_file(case.path("data/customers.jsonl")).unwrap();
    case.folder("data/customers.jsonl").runs(
        2,
        &[
            "error: captured messages are a file, not a folder",
            "\n  next: Name the file",
        ],
    );
}

#[test]
fn a_line_that_is_cut_short_in_the_middle_is_placed() {
    let case = Case::delta();
    let mut lines = case.lines();
    lines.insert(2, "{\"topic\":".to_owned());
    let case = case.messages(&lines);
    case.runs(
        2,
        &[
            "error: the line ends in the middle of a JSON value",
            "/data/customers.jsonl:3:",
            "\n  expected: one JSON object a line",
            NEXT_LINE,
        ],
    );
    assert!(case.files().is_empty());
}

#[test]
fn a_line_that_is_no_record_is_placed() {
    for (line, says) in [
        ("{\"topic\":\"t\"}", "missing field `partition`"),
        ("[1, 2]", "/data/customers.jsonl:1:"),
        ("not JSON at all", "the line is not JSON"),
        (
            "{\"topic\":\"postgres.public.customers\",\"partition\":0,\"offset\":\"x\",\"key\":null,\"payload\":null}",
            "/data/customers.jsonl:1:",
        ),
    ] {
        Case::delta()
            .messages(&[line])
            .runs(2, &["error: ", says, "/data/customers.jsonl:1:", NEXT_LINE]);
    }
}

#[test]
fn the_last_line_may_be_unfinished() {
    let case = Case::delta();
    let lines = case.lines();
    let half = &lines[3][..lines[3].len() / 2];
    let text = format!("{}\n{}\n{}\n{half}", lines[0], lines[1], lines[2]);
    let case = case.file("data/customers.jsonl", &text);
    case.runs(0, &[]);
    assert_eq!(case.rows(DELTA_TABLE), 3);
    let case = case.messages(&lines[..4]);
    case.runs(0, &[]);
    assert_eq!(case.rows(DELTA_TABLE), 4);
}

#[test]
fn offsets_that_go_back_or_repeat_are_placed() {
    let lines = Case::delta().lines();
    let swapped = [&lines[0], &lines[2], &lines[1]];
    Case::delta().messages(&swapped).runs(
        2,
        &[
            "error: offset 1 of postgres.public.customers/0 comes after offset 2",
            "/data/customers.jsonl:3\n",
            "\n  expected: offsets that grow in each partition",
            "\n  next: Sort the file by offset",
        ],
    );
    Case::delta().messages(&[&lines[0], &lines[0]]).runs(
        2,
        &["error: offset 0 of postgres.public.customers/0 comes after offset 0"],
    );
}

#[test]
fn a_file_that_shrank_is_data_loss_and_the_table_stays() {
    let lines = Case::delta().lines();
    let case = Case::delta().messages(&lines[..10]);
    case.runs(0, &[]);
    let before = case.files();
    let case = case.messages(&lines[..4]);
    case.runs(
        4,
        &[
            "error: the table's position of postgres.public.customers/0 is 10, but the log ends at 4",
            "\n  at: postgres.public.customers/0",
            "\n  next: The topic was deleted and made again, or its log was cut.",
        ],
    );
    let case = case.messages::<String>(&[]);
    case.runs(
        4,
        &[
            "is 10, but there is no such partition now",
            "\n  at: postgres.public.customers/0",
        ],
    );
    assert_eq!(case.files(), before);
    assert_eq!(case.rows(DELTA_TABLE), 10);
    let case = case.messages(&lines[..12]);
    case.runs(0, &[]);
    assert_eq!(case.rows(DELTA_TABLE), 12);
}

#[test]
fn a_file_without_messages_of_the_topic_is_no_error() {
    let case = Case::delta().messages::<String>(&[]);
    case.runs(0, &[]);
    let case = Case::delta().edit("[postgres.public.customers]", "[postgres.public.nothing]");
    let outcome = case.run();
    super::super::case::assert_calm(&outcome);
    assert!(matches!(outcome.code(), Some(0 | 2)), "{}", outcome.stderr);
}
