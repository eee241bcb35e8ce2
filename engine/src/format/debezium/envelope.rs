//! Envelopes: an operation, the images before and after it, and where it happened.

use sql::change::{Op, RejectReason};

use super::JsonDecoder;
use super::batch::RowFacts;
use super::column::Data;
use super::event::{Event, Outer, Stop};
use super::fault::{Fault, Step, shown};
use super::keyed::OLD_KEY;
use super::origin::{EventParts, Known};
use super::plan::{Plan, Shape, top};
use super::row::{RowReader, RowSeen, RowTarget};
use super::scan::Cursor;
use super::top::{Top, unquoted};
use crate::format::RawMessage;

impl JsonDecoder {
    /// An event with its images; `after` is already in the columns.
    pub(super) fn envelope<'a>(
        &mut self,
        plan: &mut Plan,
        message: &RawMessage<'a>,
        found: Top<'a>,
        outer: Outer<'a>,
    ) -> Result<Event<'a>, Stop> {
        if let Some(fault) = found.fault {
            return Err(fault.into());
        }
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
                if found.foreign {
                    return Err(self.foreign(after).into());
                }
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
        let commit_micros = found.commit_micros.or(outer.commit_micros);
        let known = match &mut self.origins {
            None => Known::Nothing,
            Some(origins) => origins.read(
                found.raw(top::SOURCE),
                message,
                &EventParts {
                    op,
                    before,
                    after,
                    commit_micros,
                },
            )?,
        };
        Ok(Event::Row(RowFacts {
            op,
            commit_micros,
            known,
        }))
    }

    /// Without a schema and without declared columns nothing can be decoded: the first message stops the pipeline,
    /// a stray one among messages with schemas is set aside.
    pub(super) fn need_columns(
        &self,
        plan: &Plan,
        message: &RawMessage<'_>,
        image: Option<&[u8]>,
    ) -> Result<(), Stop> {
        if plan.shape != Shape::Open || self.declared.is_some() {
            return Ok(());
        }
        if self.known {
            return Err(Fault::new(
                RejectReason::BadSchema,
                "the message has no schema, but the columns come from the messages' schemas",
            )
            .expected("a message with its schema, or `columns:` declared in the source")
            .into());
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

    /// An image of another table, or of one whose columns were declared wrong.
    fn foreign(&self, image: &[u8]) -> Box<Fault> {
        let names: Vec<&str> = self
            .outputs
            .row
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        Fault::new(
            RejectReason::UnknownShape,
            format!(
                "the image has none of the columns, it has: {}",
                keys_of(image).join(", ")
            ),
        )
        .expected(format!("the columns {}", names.join(", ")))
    }

    /// Reads the image again if it has what looks like a placeholder but no operation that can carry one.
    pub(super) fn settle(
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
        let Data::Struct { children, .. } = &mut column.data else {
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
            .map_err(|fault| fault.in_field("_before", &[]))?;
        for child in children.iter_mut().filter(|child| child.len() == rows) {
            child.append_null();
        }
        column.validity.append_non_null();
        Ok(())
    }
}

/// Whether the message is the second half of a key change.
fn has_old_key(message: &RawMessage<'_>) -> bool {
    message.headers.iter().any(|(name, _)| *name == OLD_KEY)
}

/// The first keys of an object, for a sentence.
pub(super) fn keys_of(object: &[u8]) -> Vec<String> {
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
