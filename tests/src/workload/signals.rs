//! Incremental snapshots: rows of the signal table, and what a connector must be told.

use super::random::Random;
use super::tables::{Dialect, MARIADB_DATABASE, POSTGRES_SCHEMA, tables};

/// The table through which a connector is told to do something.
pub const SIGNALS: &str = "debezium_signal";

/// The tables of which incremental snapshots are asked for. None of them ever holds a day before 1582.
const SNAPSHOTS: [&str; 3] = ["customers", "docs", "order_items"];
/// Rows that a connector reads at a time: few, so that traffic comes between.
const CHUNK: &str = "23";

/// Whether incremental snapshots are asked for of that table.
pub(super) fn is_snapshotted(table: &str) -> bool {
    SNAPSHOTS.contains(&table)
}

fn schema(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => POSTGRES_SCHEMA,
        Dialect::MariaDb => MARIADB_DATABASE,
    }
}

/// What a connector needs beside the defaults so that incremental snapshots work.
pub fn connector_options(dialect: Dialect) -> Vec<(&'static str, String)> {
    vec![
        (
            "signal.data.collection",
            format!("{}.{SIGNALS}", schema(dialect)),
        ),
        ("incremental.snapshot.chunk.size", CHUNK.to_owned()),
    ]
}

/// The tables to capture, as Debezium's `table.include.list` wants them: the workload's and the signal table.
pub fn include_list(dialect: Dialect) -> String {
    let mut names: Vec<String> = tables(dialect)
        .iter()
        .map(super::Table::qualified)
        .collect();
    names.push(format!("{}.{SIGNALS}", schema(dialect)));
    names.join(",")
}

pub(super) fn create(dialect: Dialect) -> String {
    format!(
        "CREATE TABLE {}.{SIGNALS} (id varchar(64) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));",
        schema(dialect)
    )
}

pub(super) fn snapshot(dialect: Dialect, number: u32, random: &mut Random) -> String {
    let (schema, table) = (schema(dialect), *random.one(&SNAPSHOTS));
    format!(
        "INSERT INTO {schema}.{SIGNALS} VALUES ('workload-{number}', 'execute-snapshot', \
         '{{\"type\": \"incremental\", \"data-collections\": [\"{schema}.{table}\"]}}')"
    )
}
