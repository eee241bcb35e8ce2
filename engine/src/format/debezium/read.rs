//! One JSON value into one column.

use sql::change::RejectReason;

use super::column::{Bytes, Column, Data};
use super::fault::{Fault, Step};
use super::layout::Layout;
use super::scan::Cursor;
use super::wire::{Scalar, StructWire, Wire};
use super::{decimal, number, structured, temporal, text};

/// Buffers that values pass through and layouts of objects that are one value; kept to spare allocations.
#[derive(Debug)]
pub(super) struct Scratch {
    /// A string without its escapes.
    pub(super) text: Vec<u8>,
    /// Decoded base64.
    pub(super) bytes: Vec<u8>,
    /// A decimal with its scale.
    pub(super) decimal: Layout,
    /// Calendar parts.
    pub(super) calendar: Layout,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            bytes: Vec::new(),
            decimal: Layout::new(decimal::NAMES),
            calendar: Layout::new(structured::NAMES),
        }
    }
}

/// Reads the value at `cursor`, written as `wire` says, to the end of `column`.
///
/// # Errors
/// A fault; the column may then hold parts of the value, which [`Column::truncate`] removes.
pub(super) fn read(
    wire: &mut Wire,
    column: &mut Column,
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<()> {
    if cursor.null()? {
        column.append_null();
        return Ok(());
    }
    match (&mut *wire, &mut column.data) {
        (Wire::Scalar(scalar), data) => read_scalar(*scalar, data, cursor, scratch)?,
        (Wire::List(item), Data::List { offsets, child, .. }) => {
            read_items(item, child, cursor, scratch)?;
            offsets.push(offset(child.len())?);
        }
        (
            Wire::Map(key, value),
            Data::Map {
                offsets,
                keys,
                values,
                ..
            },
        ) => {
            read_pairs((key, value), (keys, values), cursor, scratch)?;
            offsets.push(offset(keys.len())?);
        }
        (Wire::Struct(fields), Data::Struct { children, .. }) => {
            read_members(fields, children, cursor, scratch)?;
        }
        // A declared TEXT or JSON column keeps what has parts as it is written.
        (_, Data::Text(bytes)) => text::raw(bytes, cursor.value()?)?,
        (_, data) => {
            return Err(Fault::mismatch(
                "has parts, the column has none or others",
                format!("a value for {}", name(data)),
            ));
        }
    }
    column.validity.append_non_null();
    Ok(())
}

fn read_scalar(
    scalar: Scalar,
    data: &mut Data,
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<()> {
    match data {
        Data::Bool(values) => values.push(number::boolean(scalar, cursor)?),
        Data::Int8(values) => {
            values.push(number::narrow(number::integer(scalar, cursor, scratch)?)?)
        }
        Data::Int16(values) => {
            values.push(number::narrow(number::integer(scalar, cursor, scratch)?)?);
        }
        Data::Int32(values) => {
            values.push(number::narrow(number::integer(scalar, cursor, scratch)?)?);
        }
        Data::Int64(values) => values.push(number::integer(scalar, cursor, scratch)?),
        Data::Float32(values) => values.push(number::float32(scalar, cursor)?),
        Data::Float64(values) => values.push(number::float64(scalar, cursor)?),
        Data::Decimal {
            values,
            precision,
            scale,
        } => {
            let number = decimal::read(scalar, Some(*scale), cursor, scratch)?;
            values.push(number.to_fixed(*precision, *scale)?);
        }
        Data::Text(bytes) => text::string(scalar, bytes, cursor, scratch)?,
        Data::Binary(bytes) => text::binary(scalar, bytes, cursor, scratch)?,
        Data::Date(values) => values.push(temporal::date(scalar, cursor, scratch)?),
        Data::TimeMicros(values) => values.push(temporal::time_micros(scalar, cursor, scratch)?),
        Data::TimeMillis(values) => values.push(temporal::time_millis(scalar, cursor, scratch)?),
        Data::Timestamp { values, zone } => {
            let micros = if zone.is_some() {
                temporal::instant(scalar, cursor, scratch)?
            } else {
                temporal::local(scalar, cursor, scratch)?
            };
            values.push(micros);
        }
        Data::List { .. } | Data::Map { .. } | Data::Struct { .. } => {
            return Err(Fault::mismatch(
                "has no parts",
                format!("a value for {}", name(data)),
            ));
        }
    }
    Ok(())
}

fn read_items(
    item: &mut Wire,
    child: &mut Column,
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<()> {
    if !cursor.eat(b'[') {
        return Err(Fault::mismatch("is no array", "a JSON array"));
    }
    if cursor.eat(b']') {
        return Ok(());
    }
    loop {
        read(item, child, cursor, scratch)?;
        if !cursor.more(b']')? {
            return Ok(());
        }
    }
}

/// A map is an object if its keys are strings, else an array of pairs.
fn read_pairs(
    (key, value): (&mut Wire, &mut Wire),
    (keys, values): (&mut Column, &mut Column),
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<()> {
    let object = cursor.eat(b'{');
    if !object && !cursor.eat(b'[') {
        return Err(Fault::mismatch(
            "is no map",
            "a JSON object, or an array of pairs",
        ));
    }
    let close = if object { b'}' } else { b']' };
    if cursor.eat(close) {
        return Ok(());
    }
    loop {
        if !object {
            cursor.expect(b'[')?;
        }
        if cursor.peek() == Some(b'n') {
            return Err(Fault::mismatch("has a null key", "keys that are not null"));
        }
        read(key, keys, cursor, scratch)?;
        cursor.expect(if object { b':' } else { b',' })?;
        read(value, values, cursor, scratch)?;
        if !object {
            cursor.expect(b']')?;
        }
        if !cursor.more(close)? {
            return Ok(());
        }
    }
}

fn read_members(
    wire: &mut StructWire,
    children: &mut [Column],
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
) -> Step<()> {
    if cursor.peek() != Some(b'{') {
        return Err(Fault::mismatch("is no struct", "a JSON object"));
    }
    let before = children.first().map_or(0, Column::len);
    let StructWire {
        fields,
        layout,
        children: targets,
    } = wire;
    layout.walk(cursor, |slot, cursor| {
        let target = targets.get(slot).copied().flatten();
        match (
            fields.get_mut(slot),
            target.and_then(|t| children.get_mut(t)),
        ) {
            (Some(field), Some(child)) => {
                let start = *cursor;
                read(&mut field.wire, child, cursor, scratch)
                    .map_err(|fault| blame(fault, &field.name, start))
            }
            _ => cursor.value().map(|_| ()),
        }
    })?;
    for child in children {
        if child.len() == before {
            child.append_null();
        }
    }
    Ok(())
}

/// Names the field whose value at `start` is to blame. What is no JSON at all is that before anything else.
#[cold]
pub(super) fn blame(fault: Box<Fault>, name: &str, mut start: Cursor<'_>) -> Box<Fault> {
    match start.value() {
        Ok(value) => fault.in_field(name, value),
        Err(broken) => broken,
    }
}

/// A length as an offset.
pub(super) fn offset(len: usize) -> Step<i32> {
    i32::try_from(len).map_err(|_| {
        Fault::new(
            RejectReason::OutOfRange,
            "the batch's values of this column take more than 2 GiB; lower pipeline.batch.max_bytes",
        )
    })
}

/// Ends a value that was appended to `bytes.values`.
pub(super) fn close(bytes: &mut Bytes) -> Step<()> {
    let end = offset(bytes.values.len())?;
    bytes.ends.push(end);
    Ok(())
}

/// What a column holds, for sentences.
fn name(data: &Data) -> &'static str {
    match data {
        Data::Bool(_) => "a boolean column",
        Data::Int8(_) | Data::Int16(_) | Data::Int32(_) | Data::Int64(_) => "an integer column",
        Data::Float32(_) | Data::Float64(_) => "a float column",
        Data::Decimal { .. } => "a decimal column",
        Data::Text(_) => "a text column",
        Data::Binary(_) => "a binary column",
        Data::Date(_) => "a date column",
        Data::TimeMillis(_) | Data::TimeMicros(_) => "a time column",
        Data::Timestamp { .. } => "a timestamp column",
        Data::List { .. } => "an array column",
        Data::Map { .. } => "a map column",
        Data::Struct { .. } => "a struct column",
    }
}
