//! The workload itself, without captures: what it says it did is what the databases hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tests::sql::Sql;
use tests::workload::{Counts, Dialect, Kind, Model, Options, Table, Workload, tables};
use tests::{mariadb, need, postgres};

const SEED: u64 = 20_261_122;
const STEPS: u32 = 350;
const BULK: u32 = 50_000;

#[test]
fn traffic_on_postgres_is_what_the_model_says_and_the_same_for_the_same_seed() {
    let (one, other) = (
        need!(postgres::Server::start()),
        need!(postgres::Server::start()),
    );
    twice(Dialect::Postgres, Arc::new(one), Arc::new(other));
}

#[test]
fn traffic_on_mariadb_is_what_the_model_says_and_the_same_for_the_same_seed() {
    let (one, other) = (
        need!(mariadb::Server::start()),
        need!(mariadb::Server::start()),
    );
    twice(Dialect::MariaDb, Arc::new(one), Arc::new(other));
}

fn twice(dialect: Dialect, one: Arc<dyn Sql>, other: Arc<dyn Sql>) {
    let (counts, rows) = run(dialect, one);
    assert_every_kind(dialect, &counts);
    let (again, rows_again) = run(dialect, other);
    assert_eq!(counts, again);
    for (table, rows, rows_again) in rows
        .into_iter()
        .zip(rows_again)
        .map(|((table, rows), (_, again))| (table, rows, again))
    {
        // Not all 50,000 of them in a failure's text.
        let differ = rows.iter().zip(&rows_again).find(|(a, b)| a != b);
        assert_eq!(differ, None, "{table}");
        assert_eq!(rows.len(), rows_again.len(), "{table}");
    }
}

type Rows = Vec<(&'static str, Vec<Value>)>;

fn run(dialect: Dialect, sql: Arc<dyn Sql>) -> (Counts, Rows) {
    let options = Options {
        truncate: dialect == Dialect::Postgres,
        oddities: true,
        ..Options::default()
    };
    let mut traffic = Workload::with(dialect, SEED, Arc::clone(&sql), options);
    traffic.create();
    traffic.snapshot_rows(40);
    for step in 0..STEPS {
        if step == STEPS / 2 {
            traffic.bulk(BULK);
        }
        traffic.step();
    }
    assert_eq!(traffic.refusals(), Vec::<String>::new());
    let tables = tables(dialect);
    let held = Model::read(&tables, &*sql);
    for table in &tables {
        let (held, known) = (keys(&held, table), keys(traffic.model(), table));
        let differ: Vec<_> = held.symmetric_difference(&known).take(5).collect();
        assert!(differ.is_empty(), "{}: {differ:?}", table.name);
    }
    let rows = tables.iter().map(|table| {
        let rows = table.rows(&*sql);
        check(table, &rows, traffic.model());
        (table.name, rows)
    });
    let rows = rows.collect();
    (traffic.counts().clone(), rows)
}

fn keys(model: &Model, table: &Table) -> BTreeSet<(Vec<i64>, u32)> {
    let keys = model.keys(table.name);
    keys.map(|(key, rows)| (key.clone(), rows)).collect()
}

/// As many rows as there must be, each with every column, in the order of the key.
fn check(table: &Table, rows: &[Value], model: &Model) {
    let known: usize = model
        .keys(table.name)
        .map(|(_, rows)| usize::try_from(rows).expect("a small number"))
        .sum();
    assert_eq!(rows.len(), known, "{}", table.name);
    assert!(!rows.is_empty(), "{} is empty", table.name);
    for row in rows {
        let names: BTreeSet<&str> = row
            .as_object()
            .expect("a row is an object")
            .keys()
            .map(String::as_str)
            .collect();
        let columns: BTreeSet<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(names, columns, "{}", table.name);
    }
    if !table.key.is_empty() {
        let key = |row: &Value| -> Vec<i64> {
            let parts = table.key.iter();
            parts
                .map(|name| row[name].as_i64().expect("an exact number"))
                .collect()
        };
        assert!(
            rows.is_sorted_by(|a, b| key(a) < key(b)),
            "{}: order",
            table.name
        );
    }
}

fn assert_every_kind(dialect: Dialect, counts: &Counts) {
    println!("{dialect:?}: {counts}");
    let never = |kind: &Kind| match kind {
        Kind::Refused => true,
        Kind::Truncate | Kind::Oddity | Kind::Duplicate => dialect == Dialect::MariaDb,
        _ => false,
    };
    for kind in Kind::ALL {
        assert_eq!(counts.of(kind) == 0, never(&kind), "{kind}");
    }
}
