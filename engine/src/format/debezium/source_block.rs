//! Debezium's `source` block: when the change was committed, and the `_source` column if SQL names it.

use arrow::datatypes::DataType;
use sql::change::source_struct_fields;

use super::column::{Column, Data};
use super::fault::Step;
use super::layout::Layout;
use super::number;
use super::read::{Scratch, blame, read};
use super::scan::Cursor;
use super::wire::{Scalar, Wire};

/// Reads source blocks.
#[derive(Debug)]
pub(super) struct SourceReader {
    names: Vec<String>,
    wires: Vec<Wire>,
    layout: Layout,
    ts_us: Option<usize>,
    ts_ms: Option<usize>,
}

impl SourceReader {
    /// Reads all fields of `_source`, or only the times.
    pub(super) fn new(projected: bool) -> Self {
        let all = source_struct_fields();
        let kept = all
            .iter()
            .filter(|field| projected || matches!(field.name().as_str(), "ts_us" | "ts_ms"));
        let (names, wires): (Vec<String>, Vec<Wire>) = kept
            .map(|field| {
                // Text of old connectors can be a boolean (`snapshot`): kept as it is written.
                let scalar = match field.data_type() {
                    DataType::Int64 => Scalar::Int(64),
                    _ => Scalar::Json,
                };
                (field.name().clone(), Wire::Scalar(scalar))
            })
            .unzip();
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        Self {
            layout: Layout::new(names.iter().map(String::as_str)),
            ts_us: place("ts_us"),
            ts_ms: place("ts_ms"),
            wires,
            names,
        }
    }

    /// Takes the block; returns the commit time in microseconds, if it says one. `column` gets one value.
    pub(super) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        column: Option<&mut Column>,
        scratch: &mut Scratch,
    ) -> Step<Option<i64>> {
        if cursor.peek() != Some(b'{') {
            cursor.value()?;
            return Ok(None);
        }
        let (mut micros, mut millis) = (None, None);
        let (mut children, validity) = match column {
            Some(Column {
                data: Data::Struct { children, .. },
                validity,
            }) => (Some(children), Some(validity)),
            _ => (None, None),
        };
        let Self {
            names,
            wires,
            layout,
            ts_us,
            ts_ms,
        } = self;
        let before = validity.as_ref().map_or(0, |validity| validity.len());
        layout.walk(cursor, |slot, cursor| {
            let start = *cursor;
            if Some(slot) == *ts_us || Some(slot) == *ts_ms {
                let mut ahead = start;
                let raw = ahead.number()?;
                *(if Some(slot) == *ts_us {
                    &mut micros
                } else {
                    &mut millis
                }) = raw.and_then(|raw| number::parse(raw).ok());
                if children.is_none() && raw.is_some() {
                    *cursor = ahead;
                    return Ok(());
                }
            }
            let child = children
                .as_mut()
                .and_then(|children| children.get_mut(slot));
            match (wires.get_mut(slot), child, names.get(slot)) {
                (Some(wire), Some(child), Some(name)) => read(wire, child, cursor, scratch)
                    .map_err(|fault| blame(fault, name, start).in_field("_source", &[])),
                _ => cursor.value().map(|_| ()),
            }
        })?;
        if let (Some(children), Some(validity)) = (children, validity) {
            for child in children.iter_mut().filter(|child| child.len() == before) {
                child.append_null();
            }
            validity.append_non_null();
        }
        Ok(micros.or_else(|| millis.and_then(|millis| millis.checked_mul(1_000))))
    }
}
