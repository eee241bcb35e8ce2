//! Columns that come with a default: the source's older rows have it, and no event says so.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use tests::need;
use tests::python::Readers;

use super::{Format, Pipeline};

const TOPIC: &str = "pg.public.t";

fn field(field: &str, kind: &str, optional: bool) -> Value {
    json!({"field": field, "type": kind, "optional": optional})
}

fn with_default(mut field: Value, default: &Value) -> Value {
    field["default"] = default.clone();
    field
}

/// Inserts of rows with these columns, one a line, as a capture has them.
fn event(offset: i64, fields: &[Value], row: &Value) -> String {
    let image =
        |name: &str| json!({"field": name, "type": "struct", "optional": true, "fields": fields});
    let schema = json!({"type": "struct", "name": "pg.public.t.Envelope", "fields": [
        image("before"), image("after"), field("op", "string", false)]});
    let payload = json!({"before": null, "after": row, "op": "c"});
    json!({
        "topic": TOPIC, "partition": 0, "offset": offset, "tstype": "create", "ts": 1, "broker": 1, "headers": [],
        "key": json!({"id": row["id"]}).to_string(),
        "payload": json!({"schema": schema, "payload": payload}).to_string(),
    })
    .to_string()
}

/// A row, and one of a schema with four columns more.
pub fn events() -> [String; 2] {
    let id = field("id", "int64", false);
    let money = json!({"field": "d", "type": "bytes", "optional": true, "version": 1,
        "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2", "connect.decimal.precision": "10"}});
    let came = [
        id.clone(),
        with_default(field("x", "int32", false), &json!(5)),
        with_default(money, &json!("AfQ=")),
        with_default(field("t", "string", true), &json!("it's")),
        field("y", "int32", true),
    ];
    [
        event(0, &[id], &json!({"id": 1})),
        event(
            1,
            &came,
            &json!({"id": 2, "x": 7, "d": null, "t": "new", "y": 1}),
        ),
    ]
}

fn pipeline(format: Format, events: &[String], sink: &str) -> Pipeline {
    let pipeline = Pipeline::into_format(
        format,
        "docs.schema.jsonl",
        TOPIC,
        "  resends: keep\n",
        "",
        sink,
    );
    let file = pipeline.folder.path().join("p.yaml");
    let yaml = fs::read_to_string(&file).expect("a file");
    let place = tests::repository::path("tests/fixtures/docs.schema.jsonl");
    let messages = pipeline.folder.path().join("messages.jsonl");
    let yaml = yaml.replace(
        &place.display().to_string(),
        &messages.display().to_string(),
    );
    fs::write(&file, yaml).expect("a temporary folder");
    write(&pipeline, events);
    pipeline
}

fn write(pipeline: &Pipeline, events: &[String]) {
    let messages = pipeline.folder.path().join("messages.jsonl");
    fs::write(messages, events.join("\n") + "\n").expect("a temporary folder");
}

const CURES: [&str; 3] = [
    "SET x = 5 WHERE x IS NULL",
    "SET d = 5.00 WHERE d IS NULL",
    "SET t = 'it''s' WHERE t IS NULL",
];

/// The old row has the defaults, and the new one what was sent: its null, too.
fn are_filled(rows: &BTreeMap<String, Value>) {
    let (old, new) = (&rows["1"], &rows["2"]);
    assert_eq!(
        (&old["x"], &old["t"], &old["y"]),
        (&json!(5), &json!("it's"), &Value::Null)
    );
    assert_eq!(old["d"].to_string().trim_matches('"'), "5.00");
    assert_eq!(
        (&new["x"], &new["d"], &new["t"], &new["y"]),
        (&json!(7), &Value::Null, &json!("new"), &json!(1))
    );
}

/// Within a run, and where the column came while nobody ran.
#[test]
fn rows_that_are_there_get_the_default_of_a_column_that_comes() {
    let readers = need!(Readers::ready());
    for format in Format::ALL {
        for between_runs in [false, true] {
            let events = events();
            let pipeline = pipeline(format, &events, "");
            if between_runs {
                write(&pipeline, &events[..1]);
                pipeline.run(1_000).expect_code(0);
                write(&pipeline, &events);
            }
            let run = pipeline.run(1_000).expect_code(0);
            let run = run.expect_words(&["rows that are there get it", "d, t, x"]);
            assert!(!run.stderr.contains("IS NULL"), "{}", run.stderr);
            are_filled(&pipeline.rows(&readers, "id"));
            let again = pipeline.run(1_000).expect_code(0);
            assert!(!again.stderr.contains("default"), "{}", again.stderr);
            are_filled(&pipeline.rows(&readers, "id"));
        }
    }
}

#[test]
fn a_default_is_only_told_if_the_pipeline_says_so() {
    let readers = need!(Readers::ready());
    for format in [Format::Delta, Format::Iceberg] {
        let pipeline = pipeline(format, &events(), "  backfill: never\n");
        let first = pipeline.run(1_000).expect_code(0);
        let first = first.expect_words(&CURES);
        assert!(!first.stderr.contains("SET y ="), "it has no default");
        let rows = pipeline.rows(&readers, "id");
        assert_eq!(
            (&rows["1"]["x"], &rows["2"]["x"]),
            (&Value::Null, &json!(7))
        );
        assert!(!pipeline.run(1_000).expect_code(0).stderr.contains("SET x"));
    }
}

/// Connectors send 0, an empty text or the epoch for `DEFAULT now()` and the like.
#[test]
fn what_may_be_a_function_is_a_default_only_if_the_pipeline_says_so() {
    let readers = need!(Readers::ready());
    let id = field("id", "int64", false);
    let came = [
        id.clone(),
        with_default(field("zero", "int32", false), &json!(0)),
        with_default(field("blank", "string", false), &json!("")),
        with_default(field("one", "int32", false), &json!(1)),
    ];
    let events = [
        event(0, &[id], &json!({"id": 1})),
        event(
            1,
            &came,
            &json!({"id": 2, "zero": 3, "blank": "b", "one": 4}),
        ),
    ];
    for format in [Format::Delta, Format::Iceberg] {
        let careful = pipeline(format, &events, "");
        let run = careful.run(1_000).expect_code(0);
        run.expect_words(&[
            "SET zero = 0 WHERE zero IS NULL",
            "SET blank = ''",
            "sink.backfill: always",
        ]);
        let rows = careful.rows(&readers, "id");
        assert_eq!(
            (&rows["1"]["zero"], &rows["1"]["blank"], &rows["1"]["one"]),
            (&Value::Null, &Value::Null, &json!(1))
        );
        let always = pipeline(format, &events, "  backfill: always\n");
        always.run(1_000).expect_code(0);
        let rows = always.rows(&readers, "id");
        assert_eq!(
            (&rows["1"]["zero"], &rows["1"]["blank"], &rows["1"]["one"]),
            (&json!(0), &json!(""), &json!(1))
        );
    }
}

/// Killed after the note, before and after the commit of the filled files: the next run goes on.
#[test]
fn a_kill_in_between_loses_no_default() {
    let readers = need!(Readers::ready());
    for format in [Format::Delta, Format::Iceberg] {
        for point in ["before_backfill", "after_backfill"] {
            let pipeline = pipeline(format, &events(), "");
            let killed = pipeline
                .engine(&["run", "--once", "p.yaml"])
                .env("ENGINE_FAILPOINT", point)
                .run(super::RUN);
            assert!(
                killed.end().contains("signal: 9"),
                "{point}: {}",
                killed.stderr
            );
            pipeline.run(1_000).expect_code(0);
            are_filled(&pipeline.rows(&readers, "id"));
        }
    }
}
