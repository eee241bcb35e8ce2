//! Messages that cannot be decoded, and the policies for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use datafusion::arrow::json::ArrayWriter;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use serde_json::{Value, json};

use super::super::case::{Case, DELTA_TABLE, FILE, ICEBERG_TABLE};

const TOPIC: &str = "postgres.public.customers";
const POLICY: &str = "pipeline.on_error.policy=";

/// What one bad message is set aside as.
struct Bad {
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    reason: &'static str,
    column: Option<&'static str>,
    detail: &'static str,
}

/// The event of a row with `change` applied to its image.
fn event(id: i64, change: &Value) -> Value {
    let mut after = json!({
        "customer_id": id, "email": format!("{id}@example.com"), "first_name": "A", "last_name": "B",
        "phone": null, "city": null, "state": null, "country": null, "tier": "Gold",
        "lifetime_value": "AR4g", "created_at": "2026-11-22T10:07:32.270388Z",
        "updated_at": 1_795_342_052_270_388_i64,
    });
    for (name, value) in change.as_object().into_iter().flatten() {
        after[name] = value.clone();
    }
    json!({
        "before": null, "after": after, "op": "c", "ts_ms": 2,
        "source": {
            "version": "3.4.0.Final", "connector": "postgresql", "name": "postgres", "ts_ms": 1,
            "snapshot": "false", "db": "postgres", "schema": "public", "table": "customers",
            "txId": 1, "lsn": 1,
        },
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// A message whose value is `value`, with a right key.
fn bad(
    value: Vec<u8>,
    reason: &'static str,
    column: Option<&'static str>,
    detail: &'static str,
) -> Bad {
    Bad {
        key: Some(bytes(&json!({ "customer_id": 1 }))),
        value,
        reason,
        column,
        detail,
    }
}

fn of_column(
    change: &Value,
    reason: &'static str,
    column: &'static str,
    detail: &'static str,
) -> Bad {
    bad(bytes(&event(1, change)), reason, Some(column), detail)
}

fn replaced(from: &str, to: &[u8]) -> Vec<u8> {
    let text = event(1, &json!({})).to_string();
    let at = text.find(from).unwrap();
    let (head, tail) = (&text[..at], &text[at + from.len()..]);
    [head.as_bytes(), to, tail.as_bytes()].concat()
}

/// Every kind of bad message.
fn all_bad() -> Vec<Bad> {
    let good = event(1, &json!({}));
    let mut unknown_op = good.clone();
    unknown_op["op"] = json!("x");
    let mut no_image = good.clone();
    no_image["after"] = Value::Null;
    let mut delete = good.clone();
    delete["op"] = json!("d");
    delete["after"] = Value::Null;
    let mut keyless = bad(
        bytes(&delete),
        "missing_key",
        None,
        "the Kafka key of a delete has no value for the key columns",
    );
    keyless.key = Some(bytes(&json!({ "id": 1 })));
    let cut = good.to_string();
    let mut truncated = cut.as_bytes()[..60].to_vec();
    truncated.push(0xc3);
    vec![
        bad(
            b"{\"before\":nul".to_vec(),
            "malformed",
            None,
            "broken JSON at byte 10",
        ),
        bad(
            cut.as_bytes()[..100].to_vec(),
            "malformed",
            None,
            "broken JSON",
        ),
        bad(truncated, "malformed", None, "the bytes at 60 are no UTF-8"),
        bad(
            replaced("Gold", b"G\xff\xfe"),
            "malformed",
            None,
            "are no UTF-8",
        ),
        bad(
            b"\0\0\0\0\x07rest".to_vec(),
            "malformed",
            None,
            "this is registry-framed",
        ),
        bad(
            replaced("\"email\":", b"\"email\":\"q\",\"email\":"),
            "malformed",
            None,
            "the key `email` comes twice in one object",
        ),
        of_column(
            &json!({ "customer_id": "abc" }),
            "type_mismatch",
            "customer_id",
            "\"abc\" is no integer",
        ),
        of_column(
            &json!({ "tier": 5 }),
            "type_mismatch",
            "tier",
            "5 is no string",
        ),
        of_column(
            &json!({ "tier": { "a": 1 } }),
            "type_mismatch",
            "tier",
            "is no string",
        ),
        of_column(
            &json!({ "created_at": "yesterday" }),
            "type_mismatch",
            "created_at",
            "\"yesterday\" is no ISO 8601 text",
        ),
        of_column(
            &json!({ "customer_id": 9_223_372_036_854_775_808_u64 }),
            "out_of_range",
            "customer_id",
            "expected an integer of 64 bits",
        ),
        of_column(
            &json!({ "lifetime_value": "AAAJGE5yoAA=" }),
            "out_of_range",
            "lifetime_value",
            "expected at most 12 digits, 2 of them after the point",
        ),
        bad(
            bytes(&unknown_op),
            "unknown_shape",
            None,
            "the operation \"x\" is not known",
        ),
        bad(
            bytes(&no_image),
            "unknown_shape",
            None,
            "an event with `op` c has no `after`",
        ),
        bad(
            b"[]".to_vec(),
            "unknown_shape",
            None,
            "expected a JSON object",
        ),
        bad(b"42".to_vec(), "unknown_shape", None, "the message is 42"),
        bad(
            b"{}".to_vec(),
            "unknown_shape",
            None,
            "no envelope and none of the columns: the message is {}",
        ),
        keyless,
    ]
}

/// Bad messages at even offsets, good ones of the customers 101, 102 … at odd offsets.
fn mixed(bads: &[Bad]) -> Vec<String> {
    let mut lines = Vec::new();
    for (place, bad) in bads.iter().enumerate() {
        lines.push(line(2 * place, bad.key.as_deref(), &bad.value));
        let id = 101 + i64::try_from(place).unwrap();
        let key = bytes(&json!({ "customer_id": id }));
        lines.push(line(
            2 * place + 1,
            Some(&key),
            &bytes(&event(id, &json!({}))),
        ));
    }
    lines
}

fn line(offset: usize, key: Option<&[u8]>, value: &[u8]) -> String {
    let mut record = json!({
        "topic": TOPIC, "partition": 0, "offset": offset, "ts": 1_795_342_053_301_i64,
        "headers": ["origin", "a test", "nothing", null],
    });
    let mut put = |name: &str, bytes: Option<&[u8]>| match bytes.map(std::str::from_utf8) {
        Some(Err(_)) => record[format!("{name}_base64")] = json!(base64(bytes.unwrap())),
        Some(Ok(text)) => record[name] = json!(text),
        None => record[name] = Value::Null,
    };
    put("key", key);
    put("payload", Some(value));
    record.to_string()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let all = group
            .iter()
            .fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
        let all = all << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

fn hex(bytes: &[u8]) -> Value {
    json!(
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    )
}

/// The rows of a Delta table by its log and files alone; bytes as hexadecimal digits.
fn delta_rows(table: &Path) -> Vec<Value> {
    let mut logs: Vec<_> = (fs::read_dir(table.join("_delta_log"))
        .into_iter()
        .flatten()
        .flatten())
    .map(|entry| entry.path())
    .filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    })
    .collect();
    logs.sort();
    let mut files = BTreeMap::new();
    for log in logs {
        for action in fs::read_to_string(log).unwrap().lines() {
            let action: Value = serde_json::from_str(action).unwrap();
            if let Some(path) = action["add"]["path"].as_str() {
                files.insert(path.to_owned(), ());
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                files.remove(path);
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut rows = Vec::new();
    for file in files.keys() {
        let path = table.join(file).display().to_string();
        let batches = runtime.block_on(async {
            let frame = SessionContext::new()
                .read_parquet(path, ParquetReadOptions::default())
                .await
                .unwrap();
            frame.collect().await.unwrap()
        });
        for batch in &batches {
            let mut writer = ArrayWriter::new(Vec::new());
            writer.write(batch).unwrap();
            writer.finish().unwrap();
            let found: Vec<Value> = serde_json::from_slice(&writer.into_inner()).unwrap();
            rows.extend(found);
        }
    }
    rows.sort_by_key(|row| row["offset"].as_i64());
    rows
}

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
