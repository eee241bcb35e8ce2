//! One message, told apart by its content, into at most one row.

use arrow::datatypes::SchemaRef;
use sql::change::{Op, RejectReason};

use super::JsonDecoder;
use super::batch::{Pending, RowFacts};
use super::cache::Entry;
use super::fault::{Fault, Step, shown};
use super::learn::Compiled;
use super::plan::{Plan, Shape, TOP, top};
use super::row::{self, RowReader, RowSeen, RowTarget};
use super::scan::Cursor;
use crate::format::RawMessage;

/// Why a message is no row: its own fault, or an error that stops the pipeline.
pub(super) enum Stop {
    Fault(Box<Fault>),
    Error(Box<sql::Error>),
}

impl From<Box<Fault>> for Stop {
    fn from(fault: Box<Fault>) -> Self {
        Self::Fault(fault)
    }
}

impl From<sql::Error> for Stop {
    fn from(error: sql::Error) -> Self {
        Self::Error(Box::new(error))
    }
}

/// What a message is.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// A row; its columns are filled.
    Row(RowFacts),
    /// No value: a tombstone if there is a key.
    Null,
    /// Never a row.
    Control,
    /// Not taken: these columns are needed first.
    NewSchema(SchemaRef),
    /// `{"schema":…,"payload":…}`, and the place of the payload.
    Wrapped {
        schema: &'a [u8],
        payload: &'a [u8],
        payload_at: usize,
    },
    /// A CloudEvent around the images.
    Cloud { data: &'a [u8], outer: Outer<'a> },
}

/// What a CloudEvent says about the event in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outer<'a> {
    /// The operation, as JSON.
    op: Option<&'a [u8]>,
    /// When the source committed it, microseconds.
    commit_micros: Option<i64>,
}

/// The top level of a message.
#[derive(Debug, Default)]
struct Top<'a> {
    /// The text of each key of [`TOP`], and where it starts.
    raw: [Option<(usize, &'a [u8])>; TOP.len()],
    commit_micros: Option<i64>,
    members: usize,
}

impl<'a> Top<'a> {
    fn raw(&self, slot: usize) -> Option<&'a [u8]> {
        self.raw.get(slot).copied().flatten().map(|(_, raw)| raw)
    }

    fn has(&self, slot: usize) -> bool {
        self.raw(slot).is_some()
    }

    fn object(&self, slot: usize) -> Option<&'a [u8]> {
        self.raw(slot).filter(|raw| raw.starts_with(b"{"))
    }
}

/// How deep wrappers may be nested: a CloudEvent around a schema around an envelope.
const MAX_WRAPPERS: usize = 3;

impl JsonDecoder {
    /// Decodes one message. Columns may hold parts of it whatever the answer is; only a row's parts are wanted.
    pub(super) fn decode<'a>(&mut self, message: &RawMessage<'a>) -> Result<Event<'a>, Stop> {
        let Some(value) = message.value.filter(|value| !value.is_empty()) else {
            return Ok(Event::Null);
        };
        if let Some(mut entry) = self.plans.take(value) {
            let result = self.payload_after(&mut entry, message, value);
            self.plans.put(entry);
            return result;
        }
        if value.first() == Some(&0) {
            return Err(framed().into());
        }
        utf8(value, 0)?;
        self.document(message, value, Outer::default(), 0)
    }

    /// A message whose schema is known: only what follows it is looked at.
    fn payload_after<'a>(
        &mut self,
        entry: &mut Entry<Plan>,
        message: &RawMessage<'a>,
        value: &'a [u8],
    ) -> Result<Event<'a>, Stop> {
        let start = entry.prefix.len();
        utf8(value.get(start..).unwrap_or_default(), start)?;
        let mut cursor = Cursor::starting_at(value, start);
        let event = self.payload(&mut entry.plan, message, &mut cursor, Outer::default())?;
        cursor.expect(b'}')?;
        cursor.end()?;
        Ok(event)
    }

    /// A whole JSON document without a known prefix.
    fn document<'a>(
        &mut self,
        message: &RawMessage<'a>,
        bytes: &'a [u8],
        outer: Outer<'a>,
        depth: usize,
    ) -> Result<Event<'a>, Stop> {
        let mut plan = self.schemaless.take().ok_or_else(|| {
            sql::Error::internal("a message was decoded while another one is being decoded")
        })?;
        let mut cursor = Cursor::new(bytes);
        let result = self
            .payload(&mut plan, message, &mut cursor, outer)
            .and_then(|event| Ok(cursor.end().map(|()| event)?));
        self.schemaless = Some(plan);
        match result? {
            Event::Wrapped { .. } | Event::Cloud { .. } if depth >= MAX_WRAPPERS => {
                Err(Fault::new(
                    RejectReason::UnknownShape,
                    "the message is wrapped too deep",
                )
                .into())
            }
            Event::Wrapped {
                schema: b"null",
                payload,
                ..
            } => {
                self.pending.rollback();
                self.document(message, payload, outer, depth + 1)
            }
            Event::Wrapped {
                schema,
                payload,
                payload_at,
            } => {
                self.pending.rollback();
                let prefix = bytes.get(..payload_at).filter(|_| depth == 0);
                self.wrapped(message, schema, payload, prefix, outer)
            }
            Event::Cloud { data, outer } => {
                self.pending.rollback();
                self.document(message, data, outer, depth + 1)
            }
            event => Ok(event),
        }
    }

    /// A payload with its schema, which may have to be compiled.
    fn wrapped<'a>(
        &mut self,
        message: &RawMessage<'a>,
        schema: &'a [u8],
        payload: &'a [u8],
        prefix: Option<&[u8]>,
        outer: Outer<'a>,
    ) -> Result<Event<'a>, Stop> {
        let mut entry = match self.plans.take_schema(schema) {
            Some(entry) => entry,
            None => match self.compile(schema, message)? {
                Compiled::Plan(plan) => Box::new(Entry {
                    prefix: Vec::new(),
                    schema: schema.to_vec(),
                    plan: *plan,
                }),
                Compiled::NewSchema(needed) => return Ok(Event::NewSchema(needed)),
            },
        };
        // Only a schema that stands before its payload is part of what messages start with.
        if let Some(prefix) = prefix.filter(|prefix| prefix.len() > schema.len()) {
            entry.prefix = prefix.to_vec();
        }
        let mut cursor = Cursor::new(payload);
        let result = self
            .payload(&mut entry.plan, message, &mut cursor, outer)
            .and_then(|event| Ok(cursor.end().map(|()| event)?));
        self.plans.put(entry);
        result
    }

    /// The payload at `cursor`, by the shape that its schema says or its content shows.
    fn payload<'a>(
        &mut self,
        plan: &mut Plan,
        message: &RawMessage<'a>,
        cursor: &mut Cursor<'a>,
        outer: Outer<'a>,
    ) -> Result<Event<'a>, Stop> {
        if cursor.null()? {
            return Ok(Event::Null);
        }
        if plan.shape == Shape::Control {
            cursor.value()?;
            return Ok(Event::Control);
        }
        if cursor.peek() != Some(b'{') {
            let value = cursor.value()?;
            return Err(Fault::new(
                RejectReason::UnknownShape,
                format!("the message is {}", shown(value)),
            )
            .expected("a JSON object: a Debezium envelope or a row")
            .into());
        }
        if plan.shape == Shape::Flattened {
            return self.flattened(plan, message, cursor);
        }
        let start = *cursor;
        let top = self.top(plan, cursor)?;
        if plan.shape == Shape::Envelope {
            return self.envelope(plan, message, &top, outer);
        }
        match self.recognise(&top, outer) {
            Recognised::Wrapped(event) => Ok(event),
            Recognised::Envelope => self.envelope(plan, message, &top, outer),
            Recognised::Row => {
                self.pending.rollback();
                *cursor = start;
                self.flattened(plan, message, cursor)
            }
        }
    }

    /// Walks the top level; an `after` and a `source` are decoded on the way, as if this were an envelope.
    fn top<'a>(&mut self, plan: &mut Plan, cursor: &mut Cursor<'a>) -> Step<Top<'a>> {
        let Pending {
            columns,
            source: source_column,
            marks,
            ..
        } = &mut self.pending;
        let Plan {
            top: layout,
            after,
            source,
            ..
        } = plan;
        let (scratch, placeholder) = (&mut self.scratch, &self.placeholder);
        let mut found = Top::default();
        let seen = layout.walk(cursor, |slot, cursor| {
            let next = cursor.peek();
            let start = cursor.at();
            match slot {
                top::AFTER if next == Some(b'{') => {
                    let mut target = RowTarget {
                        columns,
                        scratch,
                        placeholder: Some(placeholder),
                        marks,
                    };
                    after.read(cursor, &mut target)?;
                }
                top::SOURCE => {
                    found.commit_micros = source.read(cursor, source_column.as_mut(), scratch)?;
                }
                _ => {
                    cursor.value()?;
                }
            }
            if let Some(place) = found.raw.get_mut(slot) {
                *place = Some((start, cursor.since(start)));
            }
            Ok(())
        })?;
        found.members = seen.members;
        Ok(found)
    }

    /// What a message without a schema is.
    fn recognise<'a>(&self, found: &Top<'a>, outer: Outer<'a>) -> Recognised<'a> {
        let all = |slots: &[usize]| slots.iter().all(|slot| found.has(*slot));
        // A column of the row's own is no sign of anything else.
        let sign = |slots: &[usize]| {
            let own = |slot: &usize| {
                TOP.get(*slot)
                    .is_some_and(|name| self.outputs.index_of(name).is_some())
            };
            all(slots) && !slots.iter().all(own)
        };
        if let (Some(Some((_, schema))), Some(Some((payload_at, payload))), 2) = (
            found.raw.get(top::SCHEMA),
            found.raw.get(top::PAYLOAD),
            found.members,
        ) {
            return Recognised::Wrapped(Event::Wrapped {
                schema,
                payload,
                payload_at: *payload_at,
            });
        }
        if let (true, Some(data)) = (all(&[top::SPECVERSION, top::CE_OP]), found.raw(top::DATA)) {
            let outer = Outer {
                op: found.raw(top::CE_OP),
                commit_micros: found.raw(top::CE_TS_MS).and_then(cloud_micros),
            };
            return Recognised::Wrapped(Event::Cloud { data, outer });
        }
        let op = outer.op.or(found.raw(top::OP));
        let images = found.has(top::BEFORE) || found.has(top::AFTER);
        if op.is_some_and(|op| op.starts_with(b"\"")) && (images || sign(&[top::OP, top::SOURCE])) {
            return Recognised::Envelope;
        }
        let control = sign(&[top::DDL, top::DATABASE])
            || sign(&[top::DDL, top::TABLE_CHANGES])
            || sign(&[top::STATUS, top::EVENT_COUNT, top::COLLECTIONS])
            || sign(&[top::AGGREGATE, top::TYPE])
            || (found.members == 1 && sign(&[top::TS_MS]));
        if control {
            return Recognised::Wrapped(Event::Control);
        }
        Recognised::Row
    }

    /// An event with its images; `after` is already in the columns.
    fn envelope<'a>(
        &mut self,
        plan: &mut Plan,
        message: &RawMessage<'a>,
        found: &Top<'a>,
        outer: Outer<'a>,
    ) -> Result<Event<'a>, Stop> {
        let raw_op = outer.op.or(found.raw(top::OP)).unwrap_or(b"null");
        let letter = unquoted(raw_op);
        if letter == b"m" {
            return Ok(Event::Control);
        }
        let op = Op::from_letter(letter).ok_or_else(|| {
            Fault::new(
                RejectReason::UnknownShape,
                format!("the operation {} is not known", shown(raw_op)),
            )
            .expected("`op` c, r, u, d, t or m")
        })?;
        let (before, after) = (found.object(top::BEFORE), found.object(top::AFTER));
        self.need_columns(plan, message, after.or(before))?;
        match (op, after) {
            (Op::Create | Op::Read | Op::Update, Some(after)) => {
                self.settle(&mut plan.after, after, op, message)?;
            }
            (Op::Create | Op::Read | Op::Update, None) => {
                return Err(Fault::new(
                    RejectReason::UnknownShape,
                    format!("an event with `op` {} has no `after`", op.letter()),
                )
                .expected("the image of the row after the change")
                .into());
            }
            (Op::Delete, _) => {
                self.pending.rollback_row();
                self.delete(plan, message, before, false)?;
            }
            (Op::Truncate, _) => self.pending.rollback_row(),
        }
        if let Some(before) = before {
            self.before_column(&mut plan.before, before)?;
        }
        Ok(Event::Row(RowFacts {
            op,
            commit_micros: found.commit_micros.or(outer.commit_micros),
        }))
    }

    /// Without a schema and without declared columns nothing can be decoded.
    pub(super) fn need_columns(
        &self,
        plan: &Plan,
        message: &RawMessage<'_>,
        image: Option<&[u8]>,
    ) -> Result<(), Stop> {
        if plan.shape != Shape::Open || self.declared.is_some() {
            return Ok(());
        }
        let keys = image.map(keys_of).unwrap_or_default();
        let seen = if keys.is_empty() {
            "the message shows none".to_owned()
        } else {
            format!("the message has {}", keys.join(", "))
        };
        Err(sql::Error::config("messages have no schema, so their columns must be declared")
            .at(format!("{}@{}", message.partition, message.offset))
            .expected(format!("`columns:` as SQL DDL; {seen}"))
            .remedy("Declare `columns:` in the source, or set value.converter.schemas.enable=true in the connector.")
            .into())
    }

    /// Reads the image again if it has what looks like a placeholder but no operation that can carry one.
    fn settle(
        &mut self,
        reader: &mut RowReader,
        image: &[u8],
        op: Op,
        message: &RawMessage<'_>,
    ) -> Step<()> {
        let possible = op == Op::Update || (op == Op::Create && has_old_key(message));
        if possible || self.pending.marks.is_empty() {
            return Ok(());
        }
        self.pending.rollback_row();
        self.image(reader, &mut Cursor::new(image), false)
            .map(|_| ())
    }

    /// Reads an image into the row's columns.
    pub(super) fn image<'a>(
        &mut self,
        reader: &mut RowReader,
        cursor: &mut Cursor<'a>,
        unavailable: bool,
    ) -> Step<RowSeen<'a>> {
        let mut target = RowTarget {
            columns: &mut self.pending.columns,
            scratch: &mut self.scratch,
            placeholder: unavailable.then_some(&self.placeholder),
            marks: &mut self.pending.marks,
        };
        reader.read(cursor, &mut target)
    }

    /// Fills `_before` if it is projected.
    fn before_column(&mut self, reader: &mut RowReader, image: &[u8]) -> Step<()> {
        let Some(column) = &mut self.pending.before else {
            return Ok(());
        };
        let rows = column.len();
        let super::column::Data::Struct { children, .. } = &mut column.data else {
            return Ok(());
        };
        let mut target = RowTarget {
            columns: children,
            scratch: &mut self.scratch,
            placeholder: Some(&self.placeholder),
            // The row's own columns decide what is unavailable; here a null is enough.
            marks: &mut Vec::new(),
        };
        reader
            .read(&mut Cursor::new(image), &mut target)
            .map_err(|fault| fault.in_field("before", &[]))?;
        for child in children.iter_mut().filter(|child| child.len() == rows) {
            child.append_null();
        }
        column.validity.append_non_null();
        Ok(())
    }

    /// A row without envelope, as the unwrap transformation writes it.
    fn flattened<'a>(
        &mut self,
        plan: &mut Plan,
        message: &RawMessage<'a>,
        cursor: &mut Cursor<'a>,
    ) -> Result<Event<'a>, Stop> {
        cursor.peek();
        let start = cursor.at();
        let seen = self.image(&mut plan.flat, cursor, true)?;
        let image = cursor.since(start);
        self.need_columns(plan, message, Some(image))?;
        if !seen.any {
            return Err(Fault::new(
                RejectReason::UnknownShape,
                format!(
                    "no envelope and none of the columns; the message's keys are: {}",
                    keys_of(image).join(", ")
                ),
            )
            .expected("`op` with `before`, `after` and `source`, or a row")
            .into());
        }
        let added = |slot: usize| seen.added.get(slot).copied().flatten();
        let deleted = added(row::DELETED).is_some_and(|value| unquoted(value) == b"true");
        let raw_op = added(row::OP).or_else(|| header(message, "__op"));
        let op = match raw_op.map(unquoted) {
            _ if deleted => Op::Delete,
            // The transformation adds no operation unless told to: the row is what the table holds now.
            None | Some(b"" | b"null") => Op::Update,
            Some(b"m") => return Ok(Event::Control),
            Some(letter) => Op::from_letter(letter).ok_or_else(|| {
                Fault::new(
                    RejectReason::UnknownShape,
                    format!("the operation {} is not known", shown(letter)),
                )
                .expected("`__op` c, r, u, d or t")
            })?,
        };
        match op {
            Op::Delete => {
                self.pending.rollback_row();
                self.delete(plan, message, Some(image), true)?;
            }
            Op::Truncate => self.pending.rollback_row(),
            _ => self.settle(&mut plan.flat, image, op, message)?,
        }
        let time = |slot: usize, name: &str, factor: i64| {
            let raw = added(slot).or_else(|| header(message, name))?;
            let text = std::str::from_utf8(unquoted(raw)).ok()?;
            text.parse::<i64>().ok()?.checked_mul(factor)
        };
        Ok(Event::Row(RowFacts {
            op,
            commit_micros: time(row::SOURCE_TS_US, "__source_ts_us", 1)
                .or_else(|| time(row::SOURCE_TS_MS, "__source_ts_ms", 1_000)),
        }))
    }
}

/// What the content of a message shows.
enum Recognised<'a> {
    Envelope,
    Row,
    Wrapped(Event<'a>),
}

/// A JSON string without its quotes; anything else as it is.
fn unquoted(raw: &[u8]) -> &[u8] {
    raw.strip_prefix(b"\"")
        .and_then(|raw| raw.strip_suffix(b"\""))
        .unwrap_or(raw)
}

/// A header's value.
fn header<'a>(message: &RawMessage<'a>, name: &str) -> Option<&'a [u8]> {
    let (_, value) = message.headers.iter().find(|(known, _)| *known == name)?;
    *value
}

/// Whether the message is the second half of a key change.
fn has_old_key(message: &RawMessage<'_>) -> bool {
    message
        .headers
        .iter()
        .any(|(name, _)| *name == "__debezium.oldkey")
}

/// A CloudEvent's `iodebeziumtsms`, which may be a string, as microseconds.
fn cloud_micros(raw: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(unquoted(raw)).ok()?;
    text.parse::<i64>().ok()?.checked_mul(1_000)
}

/// The first keys of an object, for a sentence.
fn keys_of(object: &[u8]) -> Vec<String> {
    const SHOWN: usize = 12;
    let mut keys = Vec::new();
    let mut cursor = Cursor::new(object);
    if cursor.expect(b'{').is_err() {
        return keys;
    }
    while let Ok(Some(key)) = cursor.string() {
        if keys.len() == SHOWN {
            keys.push("…".to_owned());
            break;
        }
        if let Ok(name) = key.text() {
            keys.push(format!("`{}`", shown(name.as_bytes())));
        }
        let next = cursor
            .expect(b':')
            .and_then(|()| cursor.value())
            .and_then(|_| cursor.more(b'}'));
        if !matches!(next, Ok(true)) {
            break;
        }
    }
    keys
}

fn framed() -> Box<Fault> {
    Fault::new(
        RejectReason::Malformed,
        "the first byte is 0: this is registry-framed (Avro, Protobuf or JSON Schema with a schema id), not plain JSON",
    )
    .expected("JSON; set the connector's value.converter to org.apache.kafka.connect.json.JsonConverter")
}

/// Checks UTF-8; `base` is where `bytes` start in the message.
pub(super) fn utf8(bytes: &[u8], base: usize) -> Step<()> {
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        return Ok(());
    }
    let at = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    Err(Fault::new(
        RejectReason::Malformed,
        format!("the bytes at {} are no UTF-8", base + at),
    ))
}
