//! The top level of a message: what is there tells what the message is.

use super::JsonDecoder;
use super::batch::Pending;
use super::event::{Event, Outer};
use super::fault::{Fault, Step};
use super::plan::{Plan, TOP, top};
use super::row::RowTarget;
use super::scan::Cursor;

/// The top level of a message.
#[derive(Debug, Default)]
pub(super) struct Top<'a> {
    /// The text of each key of [`TOP`], and where it starts.
    raw: [Option<(usize, &'a [u8])>; TOP.len()],
    pub(super) commit_micros: Option<i64>,
    /// What is wrong with `after` or `source`, if this is an envelope.
    pub(super) fault: Option<Box<Fault>>,
    /// Whether `after` has fields, but none of the row's.
    pub(super) foreign: bool,
    members: usize,
}

impl<'a> Top<'a> {
    pub(super) fn raw(&self, slot: usize) -> Option<&'a [u8]> {
        self.raw.get(slot).copied().flatten().map(|(_, raw)| raw)
    }

    pub(super) fn has(&self, slot: usize) -> bool {
        self.raw(slot).is_some()
    }

    pub(super) fn object(&self, slot: usize) -> Option<&'a [u8]> {
        self.raw(slot).filter(|raw| raw.starts_with(b"{"))
    }
}

/// What the content of a message shows.
pub(super) enum Recognised<'a> {
    Envelope,
    Row,
    Wrapped(Event<'a>),
}

impl JsonDecoder {
    /// Walks the top level; an `after` and a `source` are decoded on the way, as if this were an envelope.
    pub(super) fn top<'a>(&mut self, plan: &mut Plan, cursor: &mut Cursor<'a>) -> Step<Top<'a>> {
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
                    let place = *cursor;
                    match after.read(cursor, &mut target) {
                        Ok(seen) => found.foreign = !seen.any && seen.members > 0,
                        // It may be a column of the row's own.
                        Err(fault) => {
                            found.fault = Some(fault);
                            *cursor = place;
                            cursor.value()?;
                        }
                    }
                }
                top::SOURCE => {
                    let place = *cursor;
                    match source.read(cursor, source_column.as_mut(), scratch) {
                        Ok(micros) => found.commit_micros = micros,
                        Err(fault) => {
                            found.fault = Some(fault);
                            *cursor = place;
                            cursor.value()?;
                        }
                    }
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
    pub(super) fn recognise<'a>(&self, found: &Top<'a>, outer: Outer<'a>) -> Recognised<'a> {
        let all = |slots: &[usize]| slots.iter().all(|slot| found.has(*slot));
        // A column of the row's own is no sign of anything else.
        let sign = |slots: &[usize]| {
            let own = |slot: &usize| {
                TOP.get(*slot)
                    .is_some_and(|name| self.outputs.index_of(name).is_some())
            };
            all(slots) && !slots.iter().all(own)
        };
        if let (Some(Some((schema_at, schema))), Some(Some((payload_at, payload))), 2) = (
            found.raw.get(top::SCHEMA),
            found.raw.get(top::PAYLOAD),
            found.members,
        ) && (schema.starts_with(b"{") || *schema == b"null")
        {
            return Recognised::Wrapped(Event::Wrapped {
                schema,
                payload,
                payload_at: Some(*payload_at).filter(|payload_at| schema_at < payload_at),
            });
        }
        if let (true, Some(data)) = (all(&[top::SPECVERSION, top::CE_OP]), found.raw(top::DATA)) {
            let outer = Outer {
                op: found.raw(top::CE_OP),
                commit_micros: found.raw(top::CE_TS_MS).and_then(cloud_micros),
            };
            return Recognised::Wrapped(Event::Cloud { data, outer });
        }
        let images = found.has(top::BEFORE) || found.has(top::AFTER);
        let envelope = if outer.op.is_some() {
            images
        } else {
            let op = found.raw(top::OP).filter(|op| op.starts_with(b"\""));
            let whole = |slot: usize| found.object(slot).is_some();
            let image = |slot: usize| whole(slot) || found.raw(slot) == Some(b"null");
            let parts = (image(top::AFTER) && sign(&[top::OP, top::AFTER]))
                || (image(top::BEFORE) && sign(&[top::OP, top::BEFORE]))
                || (whole(top::SOURCE) && sign(&[top::OP, top::SOURCE]));
            // A row that has columns of all these names still has no such values in them.
            let letter = op.is_some_and(|op| {
                matches!(unquoted(op), [b'c' | b'r' | b'u' | b'd' | b't' | b'm'])
            });
            let values = letter
                && whole(top::SOURCE)
                && (whole(top::AFTER) || whole(top::BEFORE) || sign(&[top::TS_MS]));
            op.is_some() && (parts || values)
        };
        if envelope {
            return Recognised::Envelope;
        }
        let control = sign(&[top::DDL, top::DATABASE])
            || sign(&[top::DDL, top::TABLE_CHANGES])
            || sign(&[top::STATUS, top::EVENT_COUNT, top::COLLECTIONS])
            || sign(&[top::AGGREGATE, top::TYPE, top::ADDITIONAL])
            || (found.members == 1 && sign(&[top::TS_MS]));
        if control {
            return Recognised::Wrapped(Event::Control);
        }
        Recognised::Row
    }
}

/// A JSON string without its quotes; anything else as it is.
pub(super) fn unquoted(raw: &[u8]) -> &[u8] {
    raw.strip_prefix(b"\"")
        .and_then(|raw| raw.strip_suffix(b"\""))
        .unwrap_or(raw)
}

/// A CloudEvent's `iodebeziumtsms`, which may be a string, as microseconds.
fn cloud_micros(raw: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(unquoted(raw)).ok()?;
    text.parse::<i64>().ok()?.checked_mul(1_000)
}
