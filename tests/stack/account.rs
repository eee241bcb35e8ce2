//! Accounts for every offset of a topic: written once, a tombstone, or set aside.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tests::capture::Record;

/// Partition and offset.
pub(super) type Place = (i64, i64);

/// Where a row of a table comes from.
pub(super) fn place(row: &Value) -> Place {
    let number = |name: &str| {
        let found = row[format!("_{name}")].as_i64().or(row[name].as_i64());
        found.unwrap_or_else(|| panic!("no {name} in {row}"))
    };
    (number("partition"), number("offset"))
}

/// Takes `_ingestion_timestamp`, the time of the run, out of each row after seeing that it is there.
pub(super) fn without_ingestion_time(mut rows: Vec<Value>) -> Vec<Value> {
    for row in &mut rows {
        let place = place(row);
        let taken = row
            .as_object_mut()
            .and_then(|row| row.remove("_ingestion_timestamp"));
        let instant = taken.as_ref().and_then(Value::as_str).unwrap_or_default();
        assert!(
            instant.ends_with('Z'),
            "{place:?} has no time of ingestion: {taken:?}"
        );
    }
    rows
}

/// Asserts that `found` are exactly the rows `expected`, each once; says which are missing, doubled, or differ.
pub(super) fn assert_same_rows(what: &str, found: &[Value], expected: &[Value]) {
    let once = |rows: &[Value]| -> BTreeMap<Place, Value> {
        let mut by_place = BTreeMap::new();
        let mut doubled = BTreeSet::new();
        for row in rows {
            if by_place.insert(place(row), row.clone()).is_some() {
                doubled.insert(place(row));
            }
        }
        assert!(
            doubled.is_empty(),
            "{what}: rows that are there twice: {doubled:?}"
        );
        by_place
    };
    let (found, expected) = (once(found), once(expected));
    let missing: Vec<_> = expected
        .keys()
        .filter(|place| !found.contains_key(place))
        .collect();
    assert!(
        missing.is_empty(),
        "{what}: {} rows are missing: {missing:?}",
        missing.len()
    );
    let extra: Vec<_> = found
        .keys()
        .filter(|place| !expected.contains_key(place))
        .collect();
    assert!(extra.is_empty(), "{what}: rows that nobody sent: {extra:?}");
    for (place, row) in &expected {
        assert_eq!(&found[place], row, "{what}: the row of {place:?}");
    }
}

/// Asserts that each record is exactly one of: a row, a tombstone, a reject.
pub(super) fn assert_each_once(records: &[Record], rows: &[Value], rejects: &[Value]) {
    let mut seen: BTreeMap<Place, Vec<&str>> = BTreeMap::new();
    for record in records {
        let fates = seen
            .entry((record.partition.into(), record.offset))
            .or_default();
        if record.payload.is_none() {
            fates.push("tombstone");
        }
    }
    let fates = rows
        .iter()
        .map(|row| (row, "row"))
        .chain(rejects.iter().map(|row| (row, "reject")));
    for (row, fate) in fates {
        seen.entry(place(row)).or_default().push(fate);
    }
    let wrong: Vec<_> = seen.iter().filter(|(_, fates)| fates.len() != 1).collect();
    assert!(
        wrong.is_empty(),
        "records that are not exactly one of row, tombstone, reject: {wrong:?}"
    );
    assert_eq!(seen.len(), records.len(), "places that no record has");
}
