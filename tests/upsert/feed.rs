//! The change feed of a table that is kept by key: each commit's changes are the difference between the source's rows at the
//! offsets where the commit begins and ends, worked out by the reference replayer.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tests::capture::{self, Record};
use tests::judge::{Replay, Resends, Subject};
use tests::python::{Location, Readers, Table};
use tests::spark::{Spark, View};
use tests::{full, need, repository};

use super::Pipeline;

/// A captured topic of one partition.
struct Case {
    messages: &'static str,
    topic: &'static str,
    key: &'static str,
    columns: &'static [(&'static str, &'static str)],
    /// Records in a batch.
    batches: &'static [usize],
}

const CUSTOMERS: Case = Case {
    messages: "customers.jsonl",
    topic: "postgres.public.customers",
    key: "customer_id",
    columns: &[
        ("customer_id", "BIGINT"),
        ("email", "TEXT"),
        ("first_name", "TEXT"),
        ("last_name", "TEXT"),
        ("phone", "TEXT"),
        ("city", "TEXT"),
        ("state", "TEXT"),
        ("country", "TEXT"),
        ("tier", "TEXT"),
        ("lifetime_value", "DECIMAL(12,2)"),
        ("created_at", "TIMESTAMPTZ"),
        ("updated_at", "TIMESTAMP(6)"),
    ],
    batches: &[190],
};

/// Unsent values, a changed key, columns that come and go.
const DOCS: Case = Case {
    messages: "docs.jsonl",
    topic: "cdc.postgres.public.docs",
    key: "id",
    columns: &[
        ("id", "BIGINT"),
        ("title", "TEXT"),
        ("body", "TEXT"),
        ("n", "INT"),
        ("lang", "TEXT"),
    ],
    batches: &[1, 4],
};

/// A change: its kind, and the row.
type Change = (String, Value);
/// The rows by key.
type Rows = BTreeMap<String, Value>;

impl Case {
    fn pipeline(&self, batch: usize) -> Pipeline {
        let columns = self.columns.iter();
        let columns: Vec<_> = columns.map(|(name, sql)| format!("{name} {sql}")).collect();
        let source = format!(
            "  columns: \"{}\"\n  key: [{}]\n",
            columns.join(", "),
            self.key
        );
        let pipeline = Pipeline::new(self.messages, self.topic, &source, "", "");
        pipeline.run(batch).expect_code(0);
        pipeline
    }

    fn subject(&self) -> Subject {
        let columns = self.columns.iter();
        let owned = columns.map(|(name, sql)| ((*name).to_owned(), (*sql).to_owned()));
        Subject {
            topic: self.topic.to_owned(),
            columns: Some(owned.collect()),
            key: vec![self.key.to_owned()],
            before_image_full: false,
        }
    }

    /// The source's rows when `records` had happened.
    fn rows(&self, readers: &Readers, records: &[Record]) -> Rows {
        let replay = Replay::of(readers, &self.subject(), records, Resends::Drop);
        let rows = replay.last.into_iter().map(|last| {
            assert_eq!(last.unknown, [""; 0], "every value was sent once");
            (last.row[self.key].to_string(), last.row)
        });
        rows.collect()
    }

    /// For each version that begins and ends at offsets of the topic, what its feed must tell.
    fn expected(&self, readers: &Readers, path: &Path) -> BTreeMap<u64, Vec<Change>> {
        let file = repository::path(&format!("tests/fixtures/{}", self.messages));
        let records = capture::read(&file);
        let place = format!("{}/0", self.topic);
        let mut expected = BTreeMap::new();
        let (mut before, mut next) = (Rows::new(), Value::Null);
        for commit in &readers.history(path)[1..] {
            let origin = commit["userMetadata"].as_str().expect("user metadata");
            let origin: Value = serde_json::from_str(origin).expect("JSON");
            let moved = &origin["offsets"][&place];
            assert_eq!(moved[0], next, "{commit}");
            next = moved[1].clone();
            let end = next.as_i64().expect("an offset");
            let count = records.partition_point(|record| record.offset < end);
            let after = self.rows(readers, &records[..count]);
            let version = commit["version"].as_u64().expect("a version");
            expected.insert(version, difference(&before, &after));
            before = after;
        }
        let end = records.last().map(|record| record.offset + 1);
        assert_eq!(next.as_i64(), end, "the history leads to the topic's end");
        expected
    }
}

/// What leads from one state to another, sorted.
fn difference(before: &Rows, after: &Rows) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut tell = |kind: &str, row: &Value| changes.push((kind.to_owned(), row.clone()));
    for (key, row) in before {
        match after.get(key) {
            None => tell("delete", row),
            Some(now) if now != row => {
                tell("update_preimage", row);
                tell("update_postimage", now);
            }
            Some(_) => {}
        }
    }
    let new = after.iter().filter(|(key, _)| !before.contains_key(*key));
    for (_, row) in new {
        tell("insert", row);
    }
    sorted(changes)
}

fn sorted(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by_key(|(kind, row)| (kind.clone(), row.to_string()));
    changes
}

/// The feed as a reader saw it, by version.
fn told(feed: Table) -> BTreeMap<u64, Vec<Change>> {
    let mut by_version: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
    for mut row in feed.rows {
        let columns = row.as_object_mut().expect("a row");
        columns.remove("_commit_timestamp");
        let kind = columns.remove("_change_type").expect("its kind");
        let version = columns.remove("_commit_version").expect("its version");
        let version = version.as_u64().expect("a version");
        let kind = kind.as_str().expect("a kind").to_owned();
        by_version.entry(version).or_default().push((kind, row));
    }
    by_version
        .into_iter()
        .map(|(version, changes)| (version, sorted(changes)))
        .collect()
}

/// Runs the case in batches of each length, and asserts that the feeds are right that `read` reads.
fn feeds_are_right(case: &Case, readers: &Readers, mut read: impl FnMut(&Location) -> Table) {
    for batch in case.batches {
        let pipeline = case.pipeline(*batch);
        let table = pipeline.table();
        let Location::Delta(path) = &table else {
            panic!("{table:?}")
        };
        let mut expected = case.expected(readers, path);
        assert!(expected.len() > 2, "several commits: {}", expected.len());
        expected.retain(|_, changes| !changes.is_empty());
        let found = told(read(&table));
        let versions = |feed: &BTreeMap<u64, Vec<Change>>| feed.keys().copied().collect::<Vec<_>>();
        assert_eq!(versions(&found), versions(&expected));
        for (version, changes) in &expected {
            assert_eq!(
                &found[version], changes,
                "{}, batches of {batch}, version {version}",
                case.messages
            );
        }
    }
}

#[test]
fn the_wheel_reads_the_changes_of_the_source() {
    let readers = need!(Readers::ready());
    for case in [&CUSTOMERS, &DOCS] {
        feeds_are_right(case, &readers, |table| match table {
            Location::Delta(path) => readers.changes(path, 0),
            Location::Iceberg { .. } => panic!("{table:?}"),
        });
    }
}

#[test]
fn spark_reads_the_changes_of_the_source() {
    full!();
    let readers = need!(Readers::ready());
    let mut spark = need!(Spark::ready()).talk();
    for case in [&CUSTOMERS, &DOCS] {
        feeds_are_right(case, &readers, |table| spark.read(&View::changes(table, 0)));
    }
}
