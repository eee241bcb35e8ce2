//! The key that an upsert keeps a table by, noted in the table's properties: who reads its changes can put the two images of a row
//! together by it. Neither format has a place of its own for it: Delta knows no keys, and Iceberg's identifier fields may not be
//! nullable, which columns of a source whose types are learned from its messages are.

use std::collections::HashMap;

use serde_json::Value;

/// The property's name. Its value is a JSON array of column names, in the key's order.
pub const KEY_PROPERTY: &str = "engine.key";

/// The property's value.
pub(crate) fn note(key: &[String]) -> String {
    Value::from(key).to_string()
}

/// The key that `properties` note; empty if they note none, or one that is no longer among `columns`.
pub(crate) fn noted<'a>(
    properties: &HashMap<String, String>,
    columns: impl Iterator<Item = &'a str> + Clone,
) -> Vec<String> {
    let value = properties.get(KEY_PROPERTY);
    let key: Vec<String> = value
        .and_then(|value| serde_json::from_str(value).ok())
        .unwrap_or_default();
    let there = |name: &String| columns.clone().any(|column| column == name);
    if key.iter().all(there) {
        key
    } else {
        Vec::new()
    }
}
