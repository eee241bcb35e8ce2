//! `engine maintain`, and the maintenance of a running pipeline, on tables that the shipped Delta pipeline wrote.

use std::fs;

use super::case::{Case, DELTA_TABLE, FILE, SHIPPED_ROWS, assert_says};

const NAME: &str = "  name: customers_delta\n";

/// Commits of a few rows each.
fn small_batches() -> Case {
    Case::delta().edit(NAME, &format!("{NAME}  batch: {{ max_records: 60 }}\n"))
}

/// What the call prints for the data files: before and after.
fn data_files(stdout: &str) -> (u64, u64) {
    let line = stdout
        .lines()
        .find_map(|line| line.trim().strip_prefix("data files "));
    let (before, after) = line
        .unwrap_or_else(|| panic!("{stdout}"))
        .split_once("->")
        .unwrap();
    (
        before.trim().parse().unwrap(),
        after.trim().parse().unwrap(),
    )
}

/// How many commits of the table are compactions.
fn compactions(case: &Case) -> usize {
    let log = case.path("warehouse/delta/customers/_delta_log");
    let commits = fs::read_dir(log).unwrap().flatten();
    let commits = commits.filter(|entry| entry.path().extension().is_some_and(|end| end == "json"));
    let commits = commits.map(|entry| fs::read_to_string(entry.path()).unwrap());
    commits
        .filter(|commit| commit.contains("\"OPTIMIZE\""))
        .count()
}

#[test]
fn small_files_become_one_and_a_second_call_finds_nothing_to_do() {
    let case = small_batches();
    case.runs(0, &[]);
    let dry = case.call(&["maintain", FILE, "--dry-run"]);
    assert_says(&dry, 0, &[]);
    let (files, _) = data_files(&dry.stdout);
    assert!(files > 20, "{}", dry.stdout);
    assert_eq!(compactions(&case), 0);
    let first = case.call(&["maintain", FILE]);
    assert_says(&first, 0, &[]);
    assert_eq!(data_files(&first.stdout), (files, 1));
    assert_eq!(compactions(&case), 1);
    assert_eq!(case.rows(DELTA_TABLE), SHIPPED_ROWS);
    let before = case.files();
    let second = case.call(&["maintain", FILE]);
    assert_eq!(data_files(&second.stdout), (1, 1));
    assert_eq!(case.files(), before);
    // The table's positions are what they were: a run finds nothing new.
    case.runs(0, &[]);
    assert_eq!(case.rows(DELTA_TABLE), SHIPPED_ROWS);
}

#[test]
fn a_running_pipeline_compacts_between_its_batches() {
    let case = small_batches().edit(
        "sink:\n",
        "maintenance: { every: 1ms, min_files: 4 }\n\nsink:\n",
    );
    case.runs(0, &[]);
    assert!(compactions(&case) > 0);
    assert_eq!(case.rows(DELTA_TABLE), SHIPPED_ROWS);
    case.runs(0, &[]);
    assert_eq!(case.rows(DELTA_TABLE), SHIPPED_ROWS);
}
