//! Captured topics whose outcome is known: from `psql`, or read by eye.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::judge::{Fate, Figures, Replay, Resends, Subject};
use tests::need;
use tests::python::Readers;
use tests::repository;

use super::{CUSTOMERS, DOCS, ORDERS, columns, fixture, last};

/// The rows that `psql` printed, in the readers' spelling.
fn expected_customers() -> BTreeMap<String, Value> {
    let file = repository::path("tests/fixtures/customers.expected.csv");
    let text = std::fs::read_to_string(file).expect("a fixture");
    assert!(!text.contains('"'), "no field is quoted");
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let timestamp = |text: &str| {
        let (seconds, micros) = text.split_once('.').unwrap_or((text, ""));
        format!("{}.{micros:0<6}", seconds.replace(' ', "T"))
    };
    let row = |line: &str| {
        let cells = names.iter().zip(line.split(','));
        let cell = |(name, text): (&&str, &str)| {
            let value = match (*name, text) {
                (_, "") => Value::Null,
                ("customer_id", _) => json!(text.parse::<i64>().expect("a number")),
                ("created_at", _) => {
                    json!(timestamp(text.strip_suffix("+00").expect("UTC")) + "Z")
                }
                ("updated_at", _) => json!(timestamp(text)),
                _ => json!(text),
            };
            ((*name).to_owned(), value)
        };
        (
            line.split(',').next().unwrap_or_default().to_owned(),
            cells.map(cell).collect::<Value>(),
        )
    };
    lines.map(row).collect()
}

#[test]
fn customers_end_as_psql_printed_them() {
    let readers = need!(Readers::ready());
    let (subject, records) = fixture("customers.jsonl", &["customer_id"]);
    let subject = Subject {
        columns: columns(CUSTOMERS),
        ..subject
    };
    let replay = Replay::of(&readers, &subject, &records, Resends::Keep);
    let found: BTreeMap<String, Value> = last(&replay)
        .into_iter()
        .map(|(_, row)| (row["customer_id"].to_string(), row))
        .collect();
    // An empty text and a null look the same in the file.
    let found: BTreeMap<_, _> = found
        .into_iter()
        .map(|(key, mut row)| {
            for cell in row.as_object_mut().expect("a row").values_mut() {
                if cell == "" {
                    *cell = Value::Null;
                }
            }
            (key, row)
        })
        .collect();
    assert_eq!(found, expected_customers());
    assert_eq!(
        replay.figures(),
        Figures {
            records: 1727,
            events: 1600,
            rows: 1600,
            tombstones: 127,
            keys: 714,
            ..Figures::default()
        }
    );
}

#[test]
fn a_document_moves_with_what_was_not_sent_again() {
    let readers = need!(Readers::ready());
    for (file, declared) in [("docs.jsonl", columns(DOCS)), ("docs.schema.jsonl", None)] {
        let (subject, records) = fixture(file, &["id"]);
        let subject = Subject {
            columns: declared,
            ..subject
        };
        let replay = Replay::of(&readers, &subject, &records, Resends::Drop);
        let sent = |at: usize| records[at].event();
        let payload = |event: Value| match event["payload"].is_object() {
            true => event["payload"].clone(),
            false => event,
        };
        let body = payload(sent(1))["after"]["body"].clone();
        assert_eq!(body.as_str().map(str::len), Some(12_800));
        let row = |id: i64, title: Value, body: Value, n: Value, lang: Value, headline: Value| json!({"id": id, "title": title, "body": body, "n": n, "lang": lang, "headline": headline});
        let none = Value::Null;
        // 2 became 20 with a body that was not sent; 1 was deleted.
        assert_eq!(
            last(&replay),
            [
                (
                    5,
                    row(
                        20,
                        json!("second"),
                        body,
                        json!(1),
                        none.clone(),
                        none.clone()
                    )
                ),
                (
                    9,
                    row(
                        3,
                        json!("third!"),
                        json!("short"),
                        none.clone(),
                        json!("en"),
                        none.clone()
                    )
                ),
                (
                    10,
                    row(
                        4,
                        none.clone(),
                        json!("x"),
                        none,
                        json!("en"),
                        json!("fourth")
                    )
                ),
            ],
            "{file}"
        );
        let moved = replay
            .at((0, 5))
            .and_then(|line| line.row.as_ref())
            .expect("a row");
        assert_eq!(moved["body"], Value::Null);
        assert_eq!(moved["_unavailable_columns"], json!(["body"]));
        let deleted = replay
            .at((0, 3))
            .and_then(|line| line.row.clone())
            .expect("a row");
        assert_eq!(
            deleted,
            json!({"id": 2, "title": null, "body": null, "n": null, "lang": null, "headline": null, "_op": "d",
                   "_topic": subject.topic, "_partition": 0, "_offset": 3, "_unavailable_columns": null}),
            "what `before` makes up is not told"
        );
        assert_eq!(
            replay.at((0, 4)).map(|line| line.fate),
            Some(Fate::Tombstone)
        );
    }
}

#[test]
fn a_truncate_empties_the_table() {
    let readers = need!(Readers::ready());
    let (subject, records) = fixture("orders.jsonl", &["id"]);
    let subject = Subject {
        columns: columns(ORDERS),
        ..subject
    };
    let replay = Replay::of(&readers, &subject, &records, Resends::Drop);
    let after = json!({"id": 22, "customer_id": 1, "status": "after-truncate", "amount": "1.00",
                       "placed_at": "2026-11-22T10:06:34.288347Z"});
    assert_eq!(last(&replay), [(29, after)]);
    let truncate = replay
        .at((0, 28))
        .and_then(|line| line.row.as_ref())
        .expect("a row");
    assert_eq!(truncate["id"], Value::Null);
    assert_eq!(truncate["_op"], "t");
}

const ALL_TYPES: &str = "id BIGINT, si SMALLINT, i INT, bi BIGINT, r REAL, d DOUBLE PRECISION, n DECIMAL(12,2), \
    nv DECIMAL(38,14), b BOOLEAN, t TEXT, vc VARCHAR(10), ch CHAR(5), by BYTEA, dt DATE, tm TIME(6), tmtz TIMETZ, \
    ts TIMESTAMP(6), ts3 TIMESTAMP(3), tstz TIMESTAMPTZ, iv BIGINT, u UUID, j JSON, jb JSONB, ia INT[], ta TEXT[], \
    m TEXT, mo DECIMAL(19,2), bt BIT(5), ip INET";

#[test]
fn every_type_is_read_as_declared_and_as_its_schema_says() {
    let readers = need!(Readers::ready());
    let expected = json!({
        "id": 1, "si": -32768, "i": 2147483647, "bi": 9223372036854775807_i64, "r": 1.5, "d": 0.1,
        "n": "1234567890.12", "nv": "3.14159265358979", "b": true, "t": "héllo \"q\" \\n", "vc": "vc", "ch": "ab   ",
        "by": "3q2+7w==", "dt": "2024-02-29", "tm": "23:59:59.999999", "tmtz": "10:00:00Z",
        "ts": "2024-02-29T12:34:56.789012", "ts3": "2024-02-29T12:34:56.789000",
        "tstz": "2024-02-29T12:34:56.789012Z", "iv": 37091106000000_i64,
        "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "j": "{\"a\":1}", "jb": "{\"b\": [1, 2]}", "ia": [1, 2, null],
        "ta": ["x", "y"], "m": "happy", "mo": "12.34", "bt": "BQ==", "ip": "10.0.0.1",
    });
    for (file, declared) in [
        ("all_types.jsonl", columns(ALL_TYPES)),
        ("all_types.schema.jsonl", None),
    ] {
        let (subject, records) = fixture(file, &["id"]);
        let subject = Subject {
            columns: declared,
            ..subject
        };
        let replay = Replay::of(&readers, &subject, &records, Resends::Keep);
        let rows: Vec<&Value> = replay
            .log
            .values()
            .filter_map(|line| line.row.as_ref())
            .collect();
        assert_eq!(rows.len(), 3, "{file}");
        for (name, value) in expected.as_object().expect("a row") {
            assert_eq!(&rows[0][name], value, "{file}: {name}");
            if name != "id" {
                assert_eq!(rows[1][name], Value::Null, "{file}: {name}");
            }
        }
        let exact = if subject.columns.is_some() {
            "99999999999999999999.50000000000000"
        } else {
            "99999999999999999999.5"
        };
        assert_eq!(rows[2]["nv"], exact, "{file}");
        assert_eq!(rows[2]["t"], "changed", "{file}");
    }
}

#[test]
fn messages_of_mariadb_bring_their_types() {
    let readers = need!(Readers::ready());
    let (subject, records) = fixture("mysql.orders.schema.jsonl", &["id"]);
    let replay = Replay::of(&readers, &subject, &records, Resends::Keep);
    let row = |id: i64, amount: &str, status: &str| {
        json!({"id": id, "customer_id": id, "amount": amount, "status": status,
               "placed_at": "2026-11-22T09:46:04.547690", "updated_at": "2026-11-22T09:46:04.000000Z"})
    };
    assert_eq!(
        last(&replay),
        [(0, row(1, "10.50", "new")), (1, row(2, "99.99", "paid"))]
    );
}

#[test]
fn marks_of_transactions_are_no_rows() {
    let readers = need!(Readers::ready());
    let (subject, records) = fixture("transaction.jsonl", &[]);
    let subject = Subject {
        columns: columns("id TEXT"),
        ..subject
    };
    let figures = Replay::of(&readers, &subject, &records, Resends::Keep).figures();
    assert_eq!((figures.controls, figures.records), (26, 26));
}
