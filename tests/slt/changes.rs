//! `engine changes` as a user meets it.

use std::time::Duration;

use serde_json::Value;
use tests::engine::{Engine, Outcome};
use tests::wait;

use super::items::Items;

fn changes(args: &[&str]) -> Outcome {
    let items = Items::shared();
    let engine = Engine::new([&["changes"], args].concat());
    engine
        .current_dir(items.folder())
        .run(Duration::from_secs(120))
}

/// `engine changes TABLE . ARGS… --format csv`.
fn rows(table: &str, args: &[&str]) -> String {
    let outcome = changes(&[&[table, "."], args, &["--format", "csv"]].concat());
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    outcome.stdout
}

fn refused(args: &[&str], says: &[&str]) {
    let outcome = changes(args);
    assert_eq!(
        outcome.code(),
        Some(2),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    for text in says {
        assert!(
            outcome.stderr.contains(text),
            "it does not say `{text}`:\n{}",
            outcome.stderr
        );
    }
}

/// Without the time, which is another each run.
fn timeless(csv: &str) -> String {
    let lines = csv.lines().map(|line| line.rsplit_once(',').unwrap().0);
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn rows_of_a_range_of_versions() {
    let of_version_2 = |table: &str| {
        let found = rows(table, &["--from", "2", "--to", "2", "--columns", "id,name"]);
        let mut lines: Vec<String> = timeless(&found).lines().map(str::to_owned).collect();
        assert_eq!(lines.remove(0), "id,name,_change_type,_commit_version");
        lines.sort();
        lines
    };
    // The Iceberg table has no identifier fields: the upsert noted its key.
    for table in ["delta.items_delta", "lake.shop.items"] {
        assert_eq!(
            of_version_2(table),
            [
                "1,bolt M8,update_postimage,2",
                "1,bolt,update_preimage,2",
                "2,nut,delete,2",
                "4,cog,insert,2"
            ]
        );
    }
}

#[test]
fn one_rows_life() {
    let found = rows("items_delta", &["--key", "id=1", "--columns", "name"]);
    assert_eq!(
        timeless(&found),
        "name,_change_type,_commit_version\n\
         bolt,insert,1\n\
         bolt,update_preimage,2\n\
         bolt M8,update_postimage,2\n\
         bolt M8,update_preimage,3\n\
         bolt,update_postimage,3"
    );
    let found = rows(
        "items_delta",
        &["--type", "delete,insert", "--from", "2", "--columns", "id"],
    );
    let mut lines: Vec<&str> = found.lines().skip(1).map(|line| &line[..10]).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["2,delete,2", "4,delete,3", "4,insert,2"]);
}

#[test]
fn a_report_counts_by_version() {
    // Inserts, updates, deletes, images, keys of the versions 1 to 3 and in all.
    let figures = [
        [3, 0, 0, 3, 3],
        [1, 1, 1, 4, 3],
        [0, 2, 1, 5, 3],
        [4, 3, 2, 12, 4],
    ];
    for (table, first) in [("items_delta", 0), ("lake.shop.items", 1)] {
        let outcome = changes(&[table, ".", "--report", "json"]);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(report["from"], first, "{report}");
        assert_eq!(report["to"], 3);
        assert_eq!(report["key"], serde_json::json!(["id"]));
        let counts = |line: &Value| {
            ["inserts", "updates", "deletes", "images", "keys"].map(|name| line[name].as_i64())
        };
        let versions = report["versions"].as_array().unwrap();
        let of = |number: i64| {
            let mut lines = versions.iter();
            let line = lines.find(|line| line["version"] == number).unwrap();
            counts(line).map(Option::unwrap)
        };
        let total = counts(&report["total"]).map(Option::unwrap);
        assert_eq!([of(1), of(2), of(3), total], figures, "{table}");
        assert!(
            report["total"]["added_files"].as_i64().unwrap() >= 3,
            "{report}"
        );
        assert!(
            versions.iter().all(|line| line["committed_at"].is_string()),
            "{report}"
        );
    }
    let outcome = changes(&[
        "items_delta",
        ".",
        "--from",
        "2",
        "--key",
        "id=1",
        "--report",
        "table",
    ]);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let total = outcome
        .stdout
        .lines()
        .find(|line| line.contains("total"))
        .unwrap();
    let cells: Vec<&str> = total.split('|').map(str::trim).skip(2).take(6).collect();
    assert_eq!(
        cells,
        ["total", "0", "2", "0", "4", "1"],
        "{}",
        outcome.stdout
    );
}

#[test]
fn following_shows_what_is_there_and_goes_on_until_the_reader_leaves() {
    let items = Items::shared();
    let args = [
        "changes",
        "items_delta",
        ".",
        "--from",
        "3",
        "--follow",
        "--format",
        "csv",
    ];
    let running = Engine::new(args).current_dir(items.folder()).start();
    let shown = wait::until(Duration::from_secs(60), || {
        let shown = running.stdout();
        (shown.lines().count() >= 6).then_some(shown)
    });
    let shown = shown.unwrap_or_else(|| panic!("no rows came:\n{}", running.said()));
    let (header, rows) = shown.split_once('\n').unwrap();
    assert_eq!(
        header,
        "id,name,city,_change_type,_commit_version,_commit_timestamp"
    );
    assert!(rows.lines().all(|row| row.contains(",3,")), "{rows}");
    let (running_still, _) = running.kill9();
    assert!(running_still, "it ended by itself");
}

#[test]
fn what_is_wrong_is_said() {
    refused(
        &["item_delta", "."],
        &[
            "error: no table is named `item_delta`",
            "did you mean `delta.items_delta`?",
        ],
    );
    refused(
        &["items_delta", ".", "--from", "soon"],
        &["error: `soon` is no version and no time", "at: --from"],
    );
    refused(&["items_delta", ".", "--from", "-1"], &["negative"]);
    refused(
        &["items_delta", ".", "--from", "9"],
        &["has no version 9 yet", "a version from 0 to 3"],
    );
    refused(
        &["items_delta", ".", "--key", "idd=1"],
        &["error: the table has no column `idd`", "did you mean `id`?"],
    );
    refused(
        &["items_delta", ".", "--key", "id=one"],
        &["error: `one` is no value of the column `id`", "Int64"],
    );
    refused(
        &["items_delta", ".", "--columns", "nam"],
        &[
            "error: the table has no column `nam`",
            "did you mean `name`?",
        ],
    );
    refused(
        &["items_delta", ".", "--key", "id"],
        &["`id` is not COLUMN=VALUE"],
    );
    refused(
        &["items_delta", ".", "--follow", "--to", "3"],
        &["cannot be used with"],
    );
    refused(
        &["items_delta.items", "."],
        &["is a topic, and has no versions"],
    );
}
