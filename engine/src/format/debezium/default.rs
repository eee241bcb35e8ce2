//! The defaults of columns, which schemas tell: rows that were there before a column came have it, and no event says so.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

use super::column::Column;
use super::connect::Row;
use super::read::{Scratch, read};
use super::scan::Cursor;
use super::wire::{Wire, WireField};

/// Adds to `known` the defaults of a row's fields, by name. The first that a column had stays: it is that of its old rows.
pub(super) fn learn(known: &mut BTreeMap<String, String>, row: &Row) {
    for (name, value) in &row.values {
        let field = row.fields.iter().find(|field| field.name == *name);
        if let Some(field) = field.filter(|_| !known.contains_key(name)) {
            known.insert(name.clone(), literal(field, value));
        }
    }
}

/// The default as SQL writes it.
fn literal(field: &WireField, value: &Value) -> String {
    let json = value.to_string();
    let data_type = field.wire.arrow_type();
    let text = decoded(field, &data_type, &json).unwrap_or(json);
    if data_type.is_numeric() || data_type == DataType::Boolean {
        return text;
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// As a row's value is decoded; `None` for what has parts, and for what a column cannot hold.
fn decoded(field: &WireField, data_type: &DataType, json: &str) -> Option<String> {
    let mut wire = field.wire.clone();
    if !matches!(wire, Wire::Scalar(_)) {
        return None;
    }
    let mut column = Column::try_new(data_type).ok()?;
    let mut cursor = Cursor::new(json.as_bytes());
    read(&mut wire, &mut column, &mut cursor, &mut Scratch::default()).ok()?;
    let values = column.finish().ok()?;
    let formatter = ArrayFormatter::try_new(values.as_ref(), &FormatOptions::default()).ok()?;
    Some(formatter.value(0).to_string())
}
