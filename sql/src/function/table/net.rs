//! `net_changes('t', from, to)`: what a range of versions made of each key in the end.

use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION};

/// The query for it over a table `changes` whose rows have `columns`, and are identified by `key`, some of them.
///
/// One row a key: the row as it is now with `insert` or `update_postimage`, or as it last was with `delete`; the version
/// and time are those of its last change. A key that came and went, or is as it was, has none. A version changes a key at
/// most from one row to another, so that what it removes comes before what it adds.
pub fn net_changes_sql(columns: &[String], key: &[String]) -> String {
    let list = |names: &[String]| -> String {
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        names.join(", ")
    };
    let added = [CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP].map(str::to_owned);
    let fields: Vec<String> = columns
        .iter()
        .chain(&added)
        .map(|name| format!("{}, {}", text(name), quoted(name)))
        .collect();
    let fields = fields.join(", ");
    let of = |side: &str, name: &str| format!("{side}[{}]", text(name));
    let shown: Vec<String> = columns
        .iter()
        .map(|name| format!("{} AS {}", of("l", name), quoted(name)))
        .collect();
    let same: Vec<String> = columns
        .iter()
        .map(|name| format!("({} IS NOT DISTINCT FROM {})", of("f", name), of("l", name)))
        .collect();
    let there = |side: &str| {
        format!(
            "{} IN ('insert', 'update_postimage')",
            of(side, CHANGE_TYPE)
        )
    };
    let order = format!(
        "{}, CASE WHEN {} IN ('insert', 'update_postimage') THEN 1 ELSE 0 END",
        quoted(COMMIT_VERSION),
        quoted(CHANGE_TYPE)
    );
    format!(
        "SELECT {shown},
           CASE WHEN NOT {now} THEN 'delete' WHEN {before} THEN 'update_postimage' ELSE 'insert' END AS {kind},
           {version} AS {version_name}, {time} AS {time_name}
         FROM (SELECT first_value(r ORDER BY {order}) AS f, last_value(r ORDER BY {order}) AS l
               FROM (SELECT *, named_struct({fields}) AS r FROM changes) AS c
               GROUP BY {key}) AS n
         WHERE ({now} OR {before}) AND NOT ({now} AND {before} AND {same})",
        shown = shown.join(", "),
        now = there("l"),
        // It was there before, if the first that is known of it is that it went.
        before = format_args!("NOT ({})", there("f")),
        kind = quoted(CHANGE_TYPE),
        version = of("l", COMMIT_VERSION),
        version_name = quoted(COMMIT_VERSION),
        time = of("l", COMMIT_TIMESTAMP),
        time_name = quoted(COMMIT_TIMESTAMP),
        key = list(key),
        same = same.join(" AND "),
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
