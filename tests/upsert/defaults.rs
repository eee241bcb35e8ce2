//! Columns that come with a default: the source's older rows have it, and no event says so.

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

fn pipeline(format: Format, events: &[String]) -> Pipeline {
    let pipeline = Pipeline::into_format(
        format,
        "docs.schema.jsonl",
        TOPIC,
        "  resends: keep\n",
        "",
        "",
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

const WARNED: [&str; 3] = [
    "SET x = 5 WHERE x IS NULL",
    "SET d = 5.00 WHERE d IS NULL",
    "SET t = 'it''s' WHERE t IS NULL",
];

#[test]
fn a_column_that_comes_with_a_default_is_warned_of_once() {
    let readers = need!(Readers::ready());
    for format in [Format::Delta, Format::Iceberg] {
        let pipeline = pipeline(format, &events());
        let first = pipeline.run(1_000).expect_code(0);
        let first = first.expect_words(&WARNED);
        assert!(!first.stderr.contains("SET y ="), "it has no default");
        let rows = pipeline.rows(&readers, "id");
        assert_eq!(
            (&rows["1"]["x"], &rows["2"]["x"]),
            (&Value::Null, &json!(7))
        );
        assert!(!pipeline.run(1_000).expect_code(0).stderr.contains("SET x"));
    }
}

/// The column came while nobody ran: the table gets it when it is opened.
#[test]
fn a_column_that_came_in_between_is_warned_of_at_start() {
    for format in [Format::Delta, Format::Iceberg] {
        let events = events();
        let pipeline = pipeline(format, &events[..1]);
        let first = pipeline.run(1_000).expect_code(0);
        assert!(!first.stderr.contains("IS NULL"));
        write(&pipeline, &events);
        pipeline.run(1_000).expect_code(0).expect_words(&WARNED);
    }
}
