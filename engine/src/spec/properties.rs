//! `sink.table_properties:` of a Delta table.

use std::collections::BTreeMap;

use sql::{Error, Result};

use super::block::{Block, short};
use super::effective::Shown;
use super::field::Field;
use super::nearest::nearest;
use super::tree::Entry;

/// What a property's value looks like.
#[derive(Clone, Copy)]
enum Value {
    Boolean,
    Count,
    /// As Spark and every other reader of the table parse it.
    Interval,
}

/// Properties of Delta that an append honours.
const KNOWN: [(&str, Value); 7] = [
    ("delta.enableChangeDataFeed", Value::Boolean),
    ("delta.appendOnly", Value::Boolean),
    ("delta.checkpointInterval", Value::Count),
    ("delta.enableExpiredLogCleanup", Value::Boolean),
    ("delta.logRetentionDuration", Value::Interval),
    ("delta.deletedFileRetentionDuration", Value::Interval),
    ("delta.dataSkippingNumIndexedCols", Value::Count),
];

/// Properties that are refused for a reason of their own.
const REFUSED: [(&str, &str); 2] = [
    (
        "delta.setTransactionRetentionDuration",
        "remove it: the pipeline's positions are such transactions, and they must not expire",
    ),
    (
        "delta.enableDeletionVectors",
        "remove it: the engine does not write deletion vectors, and independent readers lack them",
    ),
];

/// Reads the block.
pub(super) fn table_properties(block: &mut Block<'_>) -> Result<BTreeMap<String, String>> {
    const KEY: &str = "table_properties";
    if block.get(KEY).is_none() {
        block.show(KEY, Shown::Map(Vec::new()), false);
        return Ok(BTreeMap::new());
    }
    let field = block.required(KEY, "Delta table properties")?;
    let properties = field.options()?;
    for entry in field.entries("Delta table properties")? {
        if let Some(value) = properties.get(&entry.key) {
            check(&field, entry, value)?;
        }
    }
    Ok(properties)
}

fn check(field: &Field<'_>, entry: &Entry, value: &str) -> Result<()> {
    let key = entry.key.as_str();
    let at = format!("{}.{key}", field.path);
    let error = |message: String| -> Error { field.context.error(&entry.origin, &at, message) };
    // Without Delta's prefix it is the user's own.
    if !key.starts_with("delta.") {
        return Ok(());
    }
    if let Some((_, remedy)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
        return Err(error(format!("`{key}` cannot be set"))
            .expected("a property that appends honour")
            .remedy(*remedy));
    }
    let names = || KNOWN.iter().map(|(name, _)| *name);
    let Some((_, kind)) = KNOWN.iter().find(|(name, _)| *name == key) else {
        let error = error(format!(
            "`{}` is no Delta table property that the engine can keep",
            short(key)
        ))
        .expected(names().collect::<Vec<_>>().join(", "));
        return Err(match nearest(key, names()) {
            Some(near) => error.remedy(format!("did you mean `{near}`?")),
            None => error.remedy("remove it; keys without `delta.` are free"),
        });
    };
    let (fits, expected) = match kind {
        Value::Boolean => (["true", "false"].contains(&value), "`true` or `false`"),
        Value::Count => (
            value.parse::<u32>().is_ok_and(|count| count > 0),
            "a whole number, 1 or more",
        ),
        Value::Interval => (is_interval(value), "`interval 30 days`"),
    };
    if fits {
        return Ok(());
    }
    Err(error(format!("`{}` is no value of `{key}`", short(value)))
        .expected(expected)
        .remedy(format!("write {expected}")))
}

/// `interval NUMBER UNIT`, as Spark writes it.
fn is_interval(text: &str) -> bool {
    const UNITS: [&str; 6] = ["second", "minute", "hour", "day", "week", "millisecond"];
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["interval", number, unit] => {
            number.parse::<u32>().is_ok() && UNITS.contains(&unit.trim_end_matches('s'))
        }
        _ => false,
    }
}
