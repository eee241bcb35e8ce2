//! What the table must hold: the topic's changes and Spark's, in the order in which they were made.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::judge::{Fate, Line};
use tests::python::Table;

/// The columns of the tables.
pub const COLUMNS: [&str; 6] = [
    "customer_id",
    "email",
    "city",
    "tier",
    "lifetime_value",
    "updated_at",
];

/// Rows by key, as the readers spell them.
pub type Rows = BTreeMap<i64, Value>;

/// The rows of a table that has each key once.
pub fn by_key(rows: &[Value]) -> Rows {
    let mut found = Rows::new();
    for row in rows {
        let key = key(row);
        let before = found.insert(key, row.clone());
        assert_eq!(before, None, "key {key} is there twice");
    }
    found
}

/// The key of a row.
pub fn key(row: &Value) -> i64 {
    row["customer_id"].as_i64().expect("a key")
}

/// What happens to rows when the engine takes records of the topic: its changes win, key by key.
pub fn take<'a>(rows: &mut Rows, lines: impl IntoIterator<Item = &'a Line>) {
    for line in lines {
        if line.fate != Fate::Row {
            continue;
        }
        let row = line.row.as_ref().expect("a row");
        if line.op.as_deref() == Some("d") {
            rows.remove(&key(row));
        } else {
            let own = COLUMNS.map(|name| (name.to_owned(), row[name].clone()));
            rows.insert(key(row), Value::Object(own.into_iter().collect()));
        }
    }
}

/// Which keys a statement is about: those from `from` on that leave `rest` when divided by `by`.
#[derive(Debug, Clone, Copy)]
pub struct Which {
    pub by: i64,
    pub rest: i64,
    pub from: i64,
}

impl Which {
    /// Of all keys.
    pub fn of_all(by: i64, rest: i64) -> Self {
        Self { by, rest, from: 0 }
    }

    fn has(self, key: i64) -> bool {
        key >= self.from && key % self.by == self.rest
    }

    fn sql(self) -> String {
        let Self { by, rest, from } = self;
        format!("customer_id >= {from} AND customer_id % {by} = {rest}")
    }
}

/// What Spark does to a table.
#[derive(Debug, Clone)]
pub enum Step {
    /// Another tier, and a cent more.
    Update(Which, &'static str),
    /// Rows go.
    Delete(Which),
    /// Rows come, of keys that the table does not have.
    Insert(Vec<i64>),
    /// All at once: of keys that the table has, even ones go and odd ones get a city; others come.
    Merge(Vec<i64>),
    /// What changes no row.
    Upkeep(String),
}

/// How Spark spells a row that it inserts.
fn inserted(key: &str) -> String {
    format!(
        "{key}, concat('spark-', {key}, '@example.com'), CAST(NULL AS STRING), 'Spark', \
         CAST(1.50 AS DECIMAL(12,2)), TIMESTAMP_NTZ'2026-01-02 03:04:05.678901'"
    )
}

/// The same row as the readers spell it.
fn inserted_row(key: i64) -> Value {
    json!({
        "customer_id": key, "email": format!("spark-{key}@example.com"), "city": null, "tier": "Spark",
        "lifetime_value": "1.50", "updated_at": "2026-01-02T03:04:05.678901",
    })
}

fn values(keys: &[i64]) -> String {
    let rows: Vec<String> = keys.iter().map(|key| format!("({key})")).collect();
    format!("VALUES {} AS s(id)", rows.join(", "))
}

impl Step {
    /// The statement, with `{t}` for the table.
    pub fn sql(&self) -> String {
        let names = COLUMNS.join(", ");
        match self {
            Self::Update(which, tier) => format!(
                "UPDATE {{t}} SET tier = '{tier}', lifetime_value = lifetime_value + 0.01 WHERE {}",
                which.sql()
            ),
            Self::Delete(which) => format!("DELETE FROM {{t}} WHERE {}", which.sql()),
            Self::Insert(keys) => format!(
                "INSERT INTO {{t}} ({names}) SELECT {} FROM {}",
                inserted("id"),
                values(keys)
            ),
            Self::Merge(keys) => format!(
                "MERGE INTO {{t}} AS t USING (SELECT CAST(id AS BIGINT) AS id FROM {}) AS s ON t.customer_id = s.id \
                 WHEN MATCHED AND s.id % 2 = 0 THEN DELETE \
                 WHEN MATCHED THEN UPDATE SET city = 'Merged' \
                 WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({})",
                values(keys),
                inserted("s.id")
            ),
            Self::Upkeep(statement) => statement.clone(),
        }
    }

    /// Does the same to the model.
    pub fn apply(&self, rows: &mut Rows) {
        match self {
            Self::Update(which, tier) => {
                for (_, row) in rows.iter_mut().filter(|(key, _)| which.has(**key)) {
                    row["tier"] = json!(tier);
                    row["lifetime_value"] = a_cent_more(&row["lifetime_value"]);
                }
            }
            Self::Delete(which) => rows.retain(|key, _| !which.has(*key)),
            Self::Insert(keys) => {
                for key in keys {
                    let before = rows.insert(*key, inserted_row(*key));
                    assert_eq!(before, None, "Spark inserts a key that is there");
                }
            }
            Self::Merge(keys) => {
                for key in keys {
                    match rows.get_mut(key) {
                        None => drop(rows.insert(*key, inserted_row(*key))),
                        Some(_) if key % 2 == 0 => drop(rows.remove(key)),
                        Some(row) => row["city"] = json!("Merged"),
                    }
                }
            }
            Self::Upkeep(_) => {}
        }
    }
}

/// A decimal of two places.
fn a_cent_more(value: &Value) -> Value {
    let Some(text) = value.as_str() else {
        return Value::Null;
    };
    let digits: String = text.chars().filter(|c| *c != '.').collect();
    let cents: i64 = digits.parse::<i64>().expect("digits") + 1;
    let (sign, cents) = (if cents < 0 { "-" } else { "" }, cents.abs());
    json!(format!("{sign}{}.{:02}", cents / 100, cents % 100))
}

/// Asserts that a table holds these rows; says what differs.
pub fn assert_rows(what: &str, table: &Table, expected: &Rows) {
    assert_same(what, &by_key(&table.rows), expected);
}

/// Asserts that rows are these; says what differs.
pub fn assert_same(what: &str, found: &Rows, expected: &Rows) {
    let wrong: Vec<String> = found
        .keys()
        .chain(expected.keys())
        .filter(|key| found.get(key) != expected.get(key))
        .map(|key| {
            let shown = |rows: &Rows| rows.get(key).map_or("none".to_owned(), Value::to_string);
            format!("{key}: {}, expected {}", shown(found), shown(expected))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{what}: {} rows differ, such as\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
}

/// The rows after each version of a change feed from the table's first version on, whose changes must follow from each other.
pub fn replay_feed(what: &str, changes: &[Value]) -> BTreeMap<u64, Rows> {
    let mut by_version: BTreeMap<u64, Vec<(String, Value)>> = BTreeMap::new();
    for change in changes {
        let mut row = change.clone();
        let columns = row.as_object_mut().expect("a row");
        columns.remove("_commit_timestamp");
        let kind = columns.remove("_change_type").expect("its kind");
        let version = columns.remove("_commit_version").expect("its version");
        let kind = kind.as_str().expect("a kind").to_owned();
        by_version
            .entry(version.as_u64().expect("a version"))
            .or_default()
            .push((kind, row));
    }
    let mut rows = Rows::new();
    let mut states = BTreeMap::new();
    for (version, changes) in by_version {
        let of = |kinds: [&'static str; 2]| {
            let these = changes.iter();
            these.filter(move |(kind, _)| kinds.contains(&kind.as_str()))
        };
        for (kind, row) in of(["delete", "update_preimage"]) {
            let gone = rows.remove(&key(row));
            assert_eq!(gone.as_ref(), Some(row), "{what}: {kind} in {version}");
        }
        for (kind, row) in of(["insert", "update_postimage"]) {
            let before = rows.insert(key(row), row.clone());
            assert_eq!(before, None, "{what}: {kind} in {version} of {row}");
        }
        states.insert(version, rows.clone());
    }
    states
}
