//! What the connectors are told, and how their topics are called.

use serde_json::Value;
use tests::connect;
use tests::proxy::Cutter;
use tests::workload::{Dialect, Table, connector_options, include_list, tables};

/// What both databases have beside the workload's tables: its last row is the last change of all.
const MARKER: &str = "marker";

/// The tables that a connector captures.
pub(super) fn included(dialect: Dialect) -> String {
    let mut names = vec![include_list(dialect), marker(dialect)];
    if dialect == Dialect::Postgres {
        names.push(Table::oddities().qualified());
    }
    names.join(",")
}

/// Options of a connector that reaches its database through `cut`: one sends schemas, the other does not.
pub(super) fn options(dialect: Dialect, cut: &Cutter) -> Vec<(String, String)> {
    let converters = match dialect {
        Dialect::Postgres => connect::WITHOUT_SCHEMAS,
        Dialect::MariaDb => connect::WITH_SCHEMAS,
    };
    let reached = [
        ("database.hostname", "127.0.0.1".to_owned()),
        ("database.port", cut.port().to_string()),
    ];
    let more: &[(&str, &str)] = match dialect {
        Dialect::Postgres => &[],
        Dialect::MariaDb => &[
            // By itself this connector takes the year 1 for 2001.
            ("enable.time.adjuster", "false"),
            // When it reconnects by itself in the middle of a transaction, it goes on after that transaction, and never
            // sends the rest. Without that its task fails and starts again where it was noted to be.
            ("connect.keep.alive", "false"),
        ],
    };
    let more = more
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    let converters = converters.map(|(name, value)| (name, value.to_owned()));
    let all = reached
        .into_iter()
        .chain(more)
        .chain(converters)
        .chain(connector_options(dialect));
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// As a worker takes them.
pub(super) fn borrowed(options: &[(String, String)]) -> Vec<(&str, &str)> {
    let pairs = options.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// What the names of a database's topics begin with.
pub(super) fn prefix(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "truth_postgres",
        Dialect::MariaDb => "truth_mariadb",
    }
}

fn schema(dialect: Dialect) -> String {
    let tables = tables(dialect);
    let first = tables.first().expect("a workload has tables");
    first.schema().to_owned()
}

/// The marker's table.
pub(super) fn marker(dialect: Dialect) -> String {
    format!("{}.{MARKER}", schema(dialect))
}

/// The marker's topic.
pub(super) fn marker_topic(dialect: Dialect) -> String {
    format!("{}.{}", prefix(dialect), marker(dialect))
}

/// The mark that an event brings, with or without a schema around it.
pub(super) fn record_of_mark(event: &Value) -> Option<u64> {
    let inner = event.get("payload").unwrap_or(event);
    inner["after"]["id"].as_u64()
}
