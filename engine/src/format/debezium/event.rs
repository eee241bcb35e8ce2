//! One message, told apart by its content, into at most one row.

use arrow::datatypes::SchemaRef;
use sql::change::RejectReason;

use super::JsonDecoder;
use super::batch::RowFacts;
use super::cache::Entry;
use super::fault::{Fault, Step, shown};
use super::learn::Compiled;
use super::plan::{Plan, Shape};
use super::scan::Cursor;
use super::top::Recognised;
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
    /// A tombstone that is a row: its key columns are filled.
    Tombstone(RowFacts),
    /// A row or a tombstone that the source sent again.
    Resend,
    /// Never a row.
    Control,
    /// Not taken: these columns are needed first.
    NewSchema(SchemaRef),
    /// `{"schema":…,"payload":…}`.
    Wrapped {
        schema: &'a [u8],
        payload: &'a [u8],
        /// Where the payload starts, if the schema stands before it: messages start with the same bytes up to there.
        payload_at: Option<usize>,
    },
    /// A CloudEvent around the images.
    Cloud { data: &'a [u8], outer: Outer<'a> },
}

/// What a CloudEvent says about the event in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outer<'a> {
    /// The operation, as JSON.
    pub(super) op: Option<&'a [u8]>,
    /// When the source committed it, microseconds.
    pub(super) commit_micros: Option<i64>,
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
                let prefix = payload_at
                    .filter(|_| depth == 0)
                    .and_then(|at| bytes.get(..at));
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
        if let Some(prefix) = prefix {
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
        if plan.expects_row {
            match self.image(&mut plan.flat, cursor, true) {
                Ok(seen) if !seen.sign => {
                    return self.flat_row(plan, message, cursor.since(start.at()), seen);
                }
                // Something else, or a bad row: the long way tells.
                _ => {
                    self.pending.rollback();
                    plan.expects_row = false;
                    *cursor = start;
                }
            }
        }
        let top = self.top(plan, cursor)?;
        if plan.shape == Shape::Envelope {
            return self.envelope(plan, message, top, outer);
        }
        match self.recognise(&top, outer) {
            Recognised::Wrapped(event) => Ok(event),
            Recognised::Envelope => self.envelope(plan, message, top, outer),
            Recognised::Row => {
                self.pending.rollback();
                *cursor = start;
                plan.expects_row = plan.plain;
                self.flattened(plan, message, cursor)
            }
        }
    }
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
