//! Captured topics of real connectors: the table that comes out is the one that the database had.

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

/// Each length of batches, into both formats.
fn runs<const N: usize>(batches: [usize; N]) -> impl Iterator<Item = (Format, usize)> {
    let formats = Format::BOTH.into_iter();
    formats.flat_map(move |format| batches.map(|batch| (format, batch)))
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
        assert_eq!(rows["4"]["title"], serde_json::Value::Null);
    }
}
