//! Captured topics of real connectors: the table that comes out is the one that the database had.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::need;
use tests::python::Readers;
use tests::repository;

use super::{Format, Pipeline};

const CUSTOMERS: &str = "  columns: |
    customer_id BIGINT NOT NULL PRIMARY KEY, email TEXT, first_name TEXT, last_name TEXT, phone TEXT, city TEXT,
    state TEXT, country TEXT, tier TEXT, lifetime_value DECIMAL(12,2), created_at TIMESTAMPTZ, updated_at TIMESTAMP(6)
";
const CUSTOMERS_TOPIC: &str = "postgres.public.customers";

/// `SELECT *` of the database at the end of the capture: id, email, tier, lifetime_value.
fn customers() -> Vec<[String; 4]> {
    let path = repository::path("tests/fixtures/customers.expected.csv");
    let text = std::fs::read_to_string(path).expect("the fixture");
    let rows = text.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        [cells[0], cells[1], cells[8], cells[9]].map(str::to_owned)
    });
    rows.collect()
}

/// Each length of batches into both formats; the last one also into an Iceberg table whose files are copied.
fn runs<const N: usize>(batches: [usize; N]) -> impl Iterator<Item = (Format, usize)> {
    let formats = [Format::Delta, Format::Iceberg].into_iter();
    let runs = formats.flat_map(move |format| batches.map(|batch| (format, batch)));
    runs.chain(batches.last().map(|batch| (Format::CopiedIceberg, *batch)))
}

#[test]
fn customers_equal_the_database_in_batches_of_any_length() {
    let readers = need!(Readers::ready());
    let expected = customers();
    assert!(expected.len() > 500);
    for (format, batch) in runs([50_000, 61]) {
        let pipeline = Pipeline::into_format(
            format,
            "customers.jsonl",
            CUSTOMERS_TOPIC,
            CUSTOMERS,
            "",
            "",
        );
        pipeline.run(batch).expect_code(0);
        let rows = pipeline.rows(&readers, "customer_id");
        assert_eq!(rows.len(), expected.len(), "batches of {batch}, {format:?}");
        for [id, email, tier, value] in &expected {
            let row = &rows[id];
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(
                [text("email"), text("tier"), text("lifetime_value")],
                [email.clone(), tier.clone(), value.clone()],
                "customer {id} in batches of {batch}, {format:?}"
            );
        }
        let again = pipeline.run(batch).expect_code(0);
        again.expect_words(&["nothing to do"]);
    }
}

#[test]
fn rows_that_stop_matching_are_deleted_and_renamed_keys_are_followed() {
    let readers = need!(Readers::ready());
    let gold: Vec<String> = customers()
        .into_iter()
        .filter(|row| row[2] == "Gold")
        .map(|row| row[0].clone())
        .collect();
    assert!(gold.len() > 50);
    let sql = "SELECT upper(email) AS mail, customer_id AS id, tier FROM t WHERE tier = 'Gold'";
    for (format, batch) in runs([50_000, 100]) {
        let pipeline = Pipeline::into_format(
            format,
            "customers.jsonl",
            CUSTOMERS_TOPIC,
            CUSTOMERS,
            sql,
            "",
        );
        pipeline.run(batch).expect_code(0);
        let mut found: Vec<String> = pipeline.rows(&readers, "id").into_keys().collect();
        let mut expected = gold.clone();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "batches of {batch}, {format:?}");
    }
}

/// Real events that a killed connector sent again, with keys swapped and text that was not sent: applying them all in
/// order would exchange two rows.
#[test]
fn events_sent_again_do_not_exchange_rows() {
    let readers = need!(Readers::ready());
    let columns = "  columns: \"id BIGINT PRIMARY KEY, body TEXT, n INT\"\n";
    for (format, batch) in runs([1, 4, 10, 1_000]) {
        let pipeline =
            Pipeline::into_format(format, "swap.jsonl", "again.public.docs", columns, "", "");
        pipeline.run(batch).expect_code(0);
        let rows = pipeline.rows(&readers, "id");
        let body = |id: &str| rows[id]["body"].as_str().expect("a text")[..1].to_owned();
        assert_eq!(
            rows.len(),
            4,
            "batches of {batch}, {format:?}: {:?}",
            rows.keys()
        );
        assert_eq!(
            [body("1"), body("2"), body("31")],
            ["B", "A", "C"],
            "batches of {batch}, {format:?}"
        );
        assert_eq!(rows["99"]["n"], 0);
    }
}

/// More was sent again than is remembered: nobody can say which row had the text then, so nobody guesses.
#[test]
fn a_window_that_is_too_short_does_not_exchange_rows() {
    let readers = need!(Readers::ready());
    let columns = "  columns: \"id BIGINT PRIMARY KEY, body TEXT, n INT\"\n  resends_window: 4\n";
    for (format, batch) in runs([1, 10, 1_000]) {
        let pipeline = |sink| {
            Pipeline::into_format(format, "swap.jsonl", "again.public.docs", columns, "", sink)
        };
        pipeline("").run(batch).expect_code(4).expect_words(&[
            "`body`",
            "sent again",
            "next:",
            "incremental snapshot",
        ]);
        let null = pipeline("  unavailable: \"null\"\n");
        null.run(batch)
            .expect_code(0)
            .expect_words(&["positions went back"]);
        let rows = null.rows(&readers, "id");
        assert_eq!(rows.len(), 4, "batches of {batch}, {format:?}");
        for (id, letter) in [("1", "B"), ("2", "A"), ("31", "C")] {
            let body = rows[id]["body"].as_str().unwrap_or(letter);
            assert_eq!(
                &body[..1],
                letter,
                "row {id}, batches of {batch}, {format:?}"
            );
            assert_eq!(rows[id]["n"], 1);
        }
    }
}

/// Columns come, go and change their name in mid-topic; the key is that of the messages.
#[test]
fn columns_that_come_and_go_in_mid_topic() {
    let readers = need!(Readers::ready());
    for (format, batch) in runs([1, 3, 1_000]) {
        let pipeline = Pipeline::into_format(
            format,
            "docs.schema.jsonl",
            "pgschema.public.docs",
            "",
            "",
            "",
        );
        pipeline.run(batch).expect_code(0);
        let rows = pipeline.rows(&readers, "id");
        let keys: Vec<&str> = rows.keys().map(String::as_str).collect();
        assert_eq!(keys, ["20", "3", "4"], "batches of {batch}, {format:?}");
        assert_eq!(rows["20"]["body"].as_str().map(str::len), Some(12_800));
        assert_eq!(rows["3"]["title"], "third!");
        assert_eq!(rows["4"]["headline"], "fourth");
        assert_eq!(rows["4"]["title"], Value::Null);
    }
}

/// Snapshot, updates, deletes and a truncate that is not followed, so that all of them are seen.
#[test]
fn orders_equal_what_their_statements_made() {
    let readers = need!(Readers::ready());
    let columns = "  columns: \"id BIGINT PRIMARY KEY, customer_id BIGINT, status TEXT, amount DECIMAL(10,2), placed_at TIMESTAMPTZ\"\n";
    // Twenty orders of customer id % 10 for 1.50 times the id; the first five were paid, one went, two came.
    let cents = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
    let mut expected: BTreeMap<i64, (i64, &str, String)> = (1..=20)
        .map(|id| {
            (
                id,
                (
                    id % 10,
                    if id < 6 { "paid" } else { "new" },
                    cents(150 * id),
                ),
            )
        })
        .collect();
    expected.remove(&6);
    expected.insert(21, (3, "new", cents(999)));
    expected.insert(22, (1, "after-truncate", cents(100)));
    for (format, batch) in runs([1_000, 7]) {
        let topic = "cdc.postgres.public.orders";
        let sink = "  truncate: ignore\n";
        let pipeline = Pipeline::into_format(format, "orders.jsonl", topic, columns, "", sink);
        pipeline.run(batch).expect_code(0);
        let rows = pipeline.rows(&readers, "id");
        let found: BTreeMap<i64, (i64, &str, String)> = rows
            .values()
            .map(|row| {
                let text = |name: &str| row[name].as_str().expect("a text");
                let number = |name: &str| row[name].as_i64().expect("a number");
                let values = (
                    number("customer_id"),
                    text("status"),
                    text("amount").to_owned(),
                );
                (number("id"), values)
            })
            .collect();
        assert_eq!(found, expected, "batches of {batch}, {format:?}");
        assert_eq!(rows["1"]["placed_at"], "2026-11-22T10:06:34.231666Z");
    }
}

/// A column of each type of Postgres: the row that was snapshot and updated, and one of nulls.
#[test]
fn every_type_equals_the_database() {
    let readers = need!(Readers::ready());
    let path = repository::path("tests/fixtures/all_types.expected.json");
    let text = std::fs::read_to_string(path).expect("the fixture");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let topic = "pgschema.public.all_types";
    for (format, batch) in runs([1_000, 1]) {
        // Delta has no time of day.
        let sql = match format {
            Format::Delta => "SELECT * REPLACE (CAST(tm AS TEXT) AS tm) FROM t",
            Format::Iceberg | Format::CopiedIceberg => "",
        };
        let pipeline = Pipeline::into_format(format, "all_types.schema.jsonl", topic, "", sql, "");
        pipeline.run(batch).expect_code(0);
        let rows = pipeline.rows(&readers, "id");
        assert_eq!(rows.len(), 2, "batches of {batch}, {format:?}");
        let columns = expected.as_object().expect("an object");
        for (id, row) in [("1", &rows["1"]), ("2", &rows["2"])] {
            let names: Vec<&String> = row.as_object().expect("a row").keys().collect();
            assert_eq!(names.len(), columns.len() + 1, "{names:?}");
            for (name, value) in columns {
                let value = if id == "1" { value } else { &Value::Null };
                assert_eq!(row[name], *value, "{name} of row {id}, {format:?}");
            }
        }
    }
}
