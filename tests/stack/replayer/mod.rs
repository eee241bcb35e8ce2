//! The reference replayer and the judge: right on captures whose outcome is known otherwise, and not to be deceived.

mod engine;
mod fixtures;
mod live;
mod resent;
mod teeth;

use serde_json::Value;
use tests::capture::{self, Record};
use tests::judge::{Replay, Subject};
use tests::repository;

/// A captured topic of `tests/fixtures`, without declared columns.
pub(super) fn fixture(file: &str, key: &[&str]) -> (Subject, Vec<Record>) {
    let path = repository::path("tests/fixtures").join(file);
    let text = std::fs::read_to_string(&path).expect("a fixture");
    let first: Value = serde_json::from_str(text.lines().next().expect("a record")).expect("JSON");
    let subject = Subject {
        topic: first["topic"].as_str().expect("a topic").to_owned(),
        columns: None,
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        before_image_full: false,
    };
    (subject, capture::read(&path))
}

/// Columns as `name TYPE, name TYPE`.
pub(super) fn columns(ddl: &str) -> Option<Vec<(String, String)>> {
    let column = |text: &str| {
        let (name, kind) = text.trim().split_once(' ').expect("a name and a type");
        (name.to_owned(), kind.to_owned())
    };
    // A comma in parentheses has no space after it.
    Some(ddl.split(", ").map(column).collect())
}

/// Columns of the captured customers.
pub(super) const CUSTOMERS: &str = "customer_id BIGINT NOT NULL, email TEXT, first_name TEXT, last_name TEXT, \
    phone TEXT, city TEXT, state TEXT, country TEXT, tier TEXT, lifetime_value DECIMAL(12,2), created_at TIMESTAMPTZ, \
    updated_at TIMESTAMP(6)";
/// Columns of the captured documents.
pub(super) const DOCS: &str = "id BIGINT, title TEXT, body TEXT, n INT, lang TEXT, headline TEXT";
/// Columns of the captured orders.
pub(super) const ORDERS: &str =
    "id BIGINT, customer_id BIGINT, status TEXT, amount DECIMAL(10,2), placed_at TIMESTAMPTZ";

/// Rows of the last state, by offset of the event that wrote them.
pub(super) fn last(replay: &Replay) -> Vec<(i64, Value)> {
    let mut rows: Vec<_> = replay
        .last
        .iter()
        .map(|last| {
            assert_eq!(last.unknown, [""; 0], "{last:?}");
            (last.place.1, last.row.clone())
        })
        .collect();
    rows.sort_by_key(|(offset, _)| *offset);
    rows
}
