//! Messages that cannot be decoded, and the policies for them.

use std::fs;

use serde_json::{Value, json};

use super::super::case::{Case, DELTA_TABLE, FILE, ICEBERG_TABLE};
use super::delta_files::delta_rows;
use super::spoilt::{Bad, TOPIC, all_bad, bytes, event, hex, line, mixed};

const POLICY: &str = "pipeline.on_error.policy=";

fn assert_set_aside(rows: &[Value], bads: &[Bad], pipeline: &str) {
    assert_eq!(rows.len(), bads.len(), "{rows:#?}");
    for (place, (row, bad)) in rows.iter().zip(bads).enumerate() {
        assert_eq!(row["pipeline"], pipeline);
        assert_eq!(row["topic"], TOPIC);
        assert_eq!(row["partition"], 0);
        assert_eq!(row["offset"], json!(2 * place));
        assert_eq!(row["timestamp"], "2026-11-22T10:07:33.301Z");
        assert_eq!(
            row["key"],
            bad.key.as_deref().map_or(Value::Null, hex),
            "{row}"
        );
        assert_eq!(row["value"], hex(&bad.value), "{row}");
        assert_eq!(
            row["headers"],
            json!([{ "key": "origin", "value": hex(b"a test") }, { "key": "nothing" }])
        );
        assert_eq!(row["reason"], bad.reason, "{row}");
        assert_eq!(
            row.get("column").and_then(Value::as_str),
            bad.column,
            "{row}"
        );
        let detail = row["detail"].as_str().unwrap();
        assert!(
            detail.contains(bad.detail),
            "`{}` is not in `{detail}`",
            bad.detail
        );
        assert!(row["ingested_at"].is_string(), "{row}");
    }
}

fn good_ids(case: &Case, table: &str) -> Vec<i64> {
    let rows = case.query(&format!("SELECT customer_id FROM {table} ORDER BY _offset"));
    rows.iter()
        .map(|row| row["customer_id"].as_i64().unwrap())
        .collect()
}

fn expected_ids(bads: &[Bad]) -> Vec<i64> {
    (101..).take(bads.len()).collect()
}

#[test]
fn quarantine_keeps_exactly_the_bad_ones_as_they_came() {
    let bads = all_bad();
    let count = bads.len();
    for (case, table, quarantine, pipeline) in [
        (
            Case::delta(),
            DELTA_TABLE,
            "warehouse/delta/_quarantine/customers_delta",
            "customers_delta",
        ),
        (
            Case::iceberg(),
            ICEBERG_TABLE,
            "warehouse/_quarantine/customers",
            "customers",
        ),
    ] {
        let case = case.messages(&mixed(&bads));
        let said = case.runs(
            0,
            &[
                &format!("\"rejects\":{count}"),
                &format!("\"quarantined\":{count}"),
            ],
        );
        assert!(
            !said.stderr.contains("\"level\":\"WARN\""),
            "{}",
            said.stderr
        );
        assert_eq!(good_ids(&case, table), expected_ids(&bads));
        assert_set_aside(&delta_rows(&case.path(quarantine)), &bads, pipeline);
        let before = case.files();
        case.runs(0, &["nothing to do"]);
        assert_eq!(case.files(), before);
        let listed = case.query(&format!(
            "SELECT \"offset\", reason, \"column\" FROM quarantine.{pipeline} ORDER BY 1"
        ));
        let expected: Vec<Value> = (bads.iter().enumerate())
            .map(|(place, bad)| json!({ "offset": 2 * place, "reason": bad.reason, "column": bad.column }))
            .collect();
        assert_eq!(listed, expected);
    }
}

#[test]
fn fail_names_the_first_record_and_commits_nothing_of_its_batch() {
    let bads = all_bad();
    let lines = mixed(&bads);
    // Records 0 to 2 are good here, the first bad one is offset 3.
    let moved: Vec<String> = lines[1..]
        .iter()
        .map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record["offset"] = json!(record["offset"].as_i64().unwrap() + 1);
            record.to_string()
        })
        .collect();
    let case = Case::delta().messages(&moved);
    let outcome = case.call(&["run", "--once", FILE, "--set", &format!("{POLICY}fail")]);
    super::super::case::assert_says(
        &outcome,
        4,
        &[
            "error: a message cannot be decoded (and 16 more in the same batch): broken JSON",
            "\n  at: postgres.public.customers/0@3\n",
            "\n  next: correct the source or `source.columns`; to set such messages aside",
        ],
    );
    assert_eq!(case.rows(DELTA_TABLE), 0);
    assert!(delta_rows(&case.path("warehouse/delta/_quarantine/customers_delta")).is_empty());
    // One record a batch: what came before the bad one is committed, once.
    let args = [
        "run",
        "--once",
        FILE,
        "--set",
        &format!("{POLICY}fail"),
        "--set",
        "pipeline.batch.max_records=1",
    ];
    for _ in 0..2 {
        let outcome = case.call(&args);
        super::super::case::assert_says(&outcome, 4, &["\n  at: postgres.public.customers/0@3\n"]);
        assert_eq!(good_ids(&case, DELTA_TABLE), [101]);
    }
    // With another policy the same table goes on from there.
    case.runs(0, &[]);
    assert_eq!(good_ids(&case, DELTA_TABLE), expected_ids(&bads));
}

#[test]
fn skip_counts_and_keeps_the_good_ones() {
    let bads = all_bad();
    let case = Case::delta().messages(&mixed(&bads));
    let outcome = case.call(&["run", "--once", FILE, "--set", &format!("{POLICY}skip")]);
    let counted = format!("\"rejects\":{}", bads.len());
    super::super::case::assert_says(
        &outcome,
        0,
        &[
            &counted,
            "\"quarantined\":0",
            "reject_reasons",
            "missing_key=1",
        ],
    );
    assert_eq!(good_ids(&case, DELTA_TABLE), expected_ids(&bads));
    assert!(!case.path("warehouse/delta/_quarantine").exists());
    case.runs(0, &["nothing to do"]);
    assert_eq!(good_ids(&case, DELTA_TABLE), expected_ids(&bads));
}

#[test]
fn too_many_stop_the_pipeline_after_the_commit() {
    let bads = all_bad();
    let count = bads.len();
    let case = Case::delta().messages(&mixed(&bads));
    let rate = "pipeline.on_error.max_rate=0.01";
    let outcome = case.call(&["run", "--once", FILE, "--set", rate]);
    super::super::case::assert_says(
        &outcome,
        4,
        &[
            &format!(
                "error: {count} of the last {} messages could not be decoded",
                2 * count
            ),
            "\n  at: pipeline customers_delta",
            "\n  expected: at most a share of 0.01 of 1000 messages (`pipeline.on_error.max_rate`)",
            "\n  next: look at them in ",
            "the batch is committed",
        ],
    );
    assert_eq!(good_ids(&case, DELTA_TABLE), expected_ids(&bads));
    let quarantine = case.path("warehouse/delta/_quarantine/customers_delta");
    assert_set_aside(&delta_rows(&quarantine), &bads, "customers_delta");
    let outcome = case.call(&["run", "--once", FILE, "--set", rate]);
    super::super::case::assert_says(&outcome, 0, &["nothing to do"]);
    assert_eq!(good_ids(&case, DELTA_TABLE), expected_ids(&bads));
    assert_eq!(delta_rows(&quarantine).len(), count);
}

#[test]
fn a_quarantine_that_cannot_be_written_stops_before_the_commit() {
    let bads = all_bad();
    let case = Case::delta()
        .messages(&mixed(&bads))
        .file("warehouse/delta/_quarantine/customers_delta", "in the way");
    case.runs(
        2,
        &[
            "error: the table's path is a file",
            "/_quarantine/customers_delta\n",
            "\n  next: ",
        ],
    );
    assert_eq!(case.rows(DELTA_TABLE), 0);
    fs::remove_file(case.path("warehouse/delta/_quarantine/customers_delta")).unwrap();
    case.runs(0, &[]);
    assert_eq!(good_ids(&case, DELTA_TABLE), expected_ids(&bads));
}

#[test]
fn a_row_that_breaks_a_rule_goes_where_the_rule_says() {
    let lines: Vec<String> = (0..6)
        .map(|place| {
            let id = 101 + i64::try_from(place).unwrap();
            let email = if place % 2 == 0 {
                Value::Null
            } else {
                json!("a@example.com")
            };
            let key = bytes(&json!({ "customer_id": id }));
            line(
                place,
                Some(&key),
                &bytes(&event(id, &json!({ "email": email }))),
            )
        })
        .collect();
    let with = |on_fail: &str| {
        Case::iceberg()
            .messages(&lines)
            .edit("on_fail: warn", &format!("on_fail: {on_fail}"))
    };
    let case = with("quarantine");
    case.runs(0, &["has_email=3"]);
    assert_eq!(good_ids(&case, ICEBERG_TABLE), [102, 104, 106]);
    let kept = delta_rows(&case.path("warehouse/_quarantine/customers"));
    let offsets: Vec<_> = kept
        .iter()
        .map(|row| row["offset"].as_i64().unwrap())
        .collect();
    assert_eq!(offsets, [0, 2, 4]);
    assert!(kept.iter().all(|row| row["reason"] == "rule"
        && row["detail"] == "the row does not meet the rule `has_email`"));
    let case = with("drop");
    case.runs(0, &["has_email=3"]);
    assert_eq!(good_ids(&case, ICEBERG_TABLE), [102, 104, 106]);
    let case = with("fail");
    case.runs(
        4,
        &[
            "error: ",
            "has_email",
            "postgres.public.customers/0@0",
            "\n  next: ",
        ],
    );
    assert_eq!(case.rows(ICEBERG_TABLE), 0);
}

#[test]
fn empty_and_null_values_and_keys_are_no_errors() {
    let good = bytes(&event(101, &json!({})));
    let lines = [
        line(0, None, &good),
        line(1, Some(b"no JSON"), &bytes(&event(102, &json!({})))),
        json!({ "topic": TOPIC, "partition": 0, "offset": 2, "ts": 1, "key": "{\"customer_id\":1}", "payload": null })
            .to_string(),
        json!({ "topic": TOPIC, "partition": 0, "offset": 3, "ts": 1, "key": null, "payload": null }).to_string(),
    ];
    let case = Case::delta().messages(&lines);
    case.runs(0, &["\"rejects\":0"]);
    assert_eq!(good_ids(&case, DELTA_TABLE), [101, 102]);
}
