//! Deletes: the row's identity is the Kafka key, and `before` only where the key says nothing.
//!
//! A key may be an object with or without schema, a JSON value, or plain text; its converter is independent of
//! the value's.

use arrow::datatypes::DataType;
use sql::change::RejectReason;
use sql::{Error, ErrorKind};

use super::JsonDecoder;
use super::cache::Entry;
use super::connect;
use super::event::{Stop, utf8};
use super::fault::{Fault, Step};
use super::layout::{Layout, Seen};
use super::plan::{Plan, fitted};
use super::read::read;
use super::row::RowReader;
use super::scan::Cursor;
use super::wire::{Scalar, Wire};
use crate::format::RawMessage;

/// How keys of one schema are read.
#[derive(Debug)]
pub(super) enum KeyPlan {
    Struct(Box<RowReader>),
    Value(Box<Wire>),
}

impl JsonDecoder {
    /// Fills the row of a delete: the key's columns, or the whole `image` if the pipeline says that it is one.
    pub(super) fn delete(
        &mut self,
        plan: &mut Plan,
        message: &RawMessage<'_>,
        image: Option<&[u8]>,
        flattened: bool,
    ) -> Result<(), Stop> {
        let reader = if flattened {
            &mut plan.flat
        } else {
            &mut plan.image
        };
        if let Some(image) = image
            && self.options.before_image_full
        {
            self.image(reader, &mut Cursor::new(image), true)?;
            return Ok(());
        }
        let broken = match self.key(&mut plan.key, message) {
            Ok(values) if self.identifies(&values) => return Ok(()),
            Ok(_) => None,
            Err(Stop::Fault(fault)) => Some(fault),
            Err(stop) => return Err(stop),
        };
        self.pending.rollback_row();
        if let Some(image) = image
            && self.key_of_image(reader, image)?
        {
            return Ok(());
        }
        self.pending.rollback_row();
        if self.plain_text(&mut plan.key, message)? {
            return Ok(());
        }
        self.pending.rollback_row();
        Err(self.missing_key(message, broken).into())
    }

    /// Whether these row fields identify a row.
    pub(super) fn identifies(&self, values: &Seen) -> bool {
        let key = &self.options.key;
        if key.is_empty() {
            return !values.is_empty();
        }
        key.iter().all(|name| {
            let index = self.outputs.index_of(name);
            index.is_some_and(|index| values.has(index))
        })
    }

    /// Reads the Kafka key; returns the row fields that it had.
    pub(super) fn key(
        &mut self,
        bare: &mut RowReader,
        message: &RawMessage<'_>,
    ) -> Result<Seen, Stop> {
        let Some(bytes) = message.key else {
            return Ok(Seen::default());
        };
        utf8(bytes, 0)?;
        if let Some(mut entry) = self.keys.take(bytes) {
            let mut cursor = Cursor::starting_at(bytes, entry.prefix.len());
            let result = self
                .key_payload(&mut entry.plan, &mut cursor)
                .and_then(|seen| {
                    cursor.expect(b'}')?;
                    cursor.end()?;
                    Ok(seen)
                });
            self.keys.put(entry);
            return Ok(result?);
        }
        let mut cursor = Cursor::new(bytes);
        if cursor.peek() == Some(b'{') {
            return match wrapper(cursor)? {
                Some((b"null", payload, _)) => Ok(self.bare_key(bare, Cursor::new(payload))?),
                Some((schema, payload, prefix)) => {
                    let mut entry = match self.keys.take_schema(schema) {
                        Some(entry) => entry,
                        None => Box::new(Entry {
                            prefix: Vec::new(),
                            schema: schema.to_vec(),
                            plan: self.compile_key(schema, message)?,
                        }),
                    };
                    if !prefix.is_empty() {
                        entry.prefix = prefix.to_vec();
                    }
                    let result = self.key_payload(&mut entry.plan, &mut Cursor::new(payload));
                    self.keys.put(entry);
                    Ok(result?)
                }
                None => Ok(self.bare_key(bare, cursor)?),
            };
        }
        Ok(self.bare_key(bare, cursor)?)
    }

    /// A key without schema: an object, or one value for the one key column.
    fn bare_key(&mut self, reader: &mut RowReader, mut cursor: Cursor<'_>) -> Step<Seen> {
        let seen = if cursor.peek() == Some(b'{') {
            self.image(reader, &mut cursor, false)?.values
        } else {
            let field = self.only_key()?;
            match reader.wire_of(field) {
                Some(wire) => self.key_value(wire, field, &mut cursor)?,
                None => return Err(no_key()),
            }
        };
        cursor.end()?;
        Ok(seen)
    }

    fn key_payload(&mut self, plan: &mut KeyPlan, cursor: &mut Cursor<'_>) -> Step<Seen> {
        match plan {
            KeyPlan::Struct(reader) => Ok(self.image(reader, cursor, false)?.values),
            KeyPlan::Value(wire) => {
                let field = self.only_key()?;
                self.key_value(wire, field, cursor)
            }
        }
    }

    /// The row field of a key that is one value.
    fn only_key(&self) -> Step<usize> {
        match self.options.key.as_slice() {
            [name] => self.outputs.index_of(name).ok_or_else(no_key),
            _ => Err(no_key()),
        }
    }

    /// Reads one value to the column of row field `field`.
    fn key_value(&mut self, wire: &mut Wire, field: usize, cursor: &mut Cursor<'_>) -> Step<Seen> {
        let mut seen = Seen::default();
        if cursor.peek() != Some(b'n') {
            seen.insert(field);
        }
        let place = self
            .outputs
            .columns
            .iter()
            .position(|column| *column == field);
        match place.and_then(|place| self.pending.columns.get_mut(place)) {
            Some(column) => read(wire, column, cursor, &mut self.scratch)?,
            None => {
                cursor.value()?;
            }
        }
        Ok(seen)
    }

    /// Takes the declared key columns out of an image whose key could not be read. Its other fields may be made up.
    fn key_of_image(&mut self, reader: &mut RowReader, image: &[u8]) -> Step<bool> {
        if self.options.key.is_empty() {
            return Ok(false);
        }
        let seen = self.image(reader, &mut Cursor::new(image), false)?;
        if !self.identifies(&seen.values) {
            return Ok(false);
        }
        let rows = self.pending.rows();
        for (index, column) in self.outputs.columns.iter().zip(&mut self.pending.columns) {
            let name = self.outputs.row.get(*index).map(|field| field.name());
            if !name.is_some_and(|name| self.options.key.contains(name)) {
                column.truncate(rows);
            }
        }
        Ok(true)
    }

    /// A key that is plain text (`StringConverter`), for a key of one text column.
    fn plain_text(
        &mut self,
        reader: &mut RowReader,
        message: &RawMessage<'_>,
    ) -> Result<bool, Stop> {
        let (Some(bytes), Ok(field)) = (message.key, self.only_key()) else {
            return Ok(false);
        };
        let text = match std::str::from_utf8(bytes) {
            // A printed struct or a broken document is no value.
            Ok(text) if !text.is_empty() && !text.starts_with(['{', '[']) => text,
            _ => return Ok(false),
        };
        let is_text = self
            .outputs
            .row
            .get(field)
            .is_some_and(|field| matches!(field.data_type(), DataType::Utf8));
        let wire_is_text = matches!(
            reader.wire_of(field),
            Some(Wire::Scalar(Scalar::Text | Scalar::Json))
        );
        if !is_text || !wire_is_text || text.starts_with("Struct{") || text == "null" {
            return Ok(false);
        }
        let quoted = serde_json::Value::from(text).to_string();
        let mut wire = Wire::Scalar(Scalar::Text);
        self.key_value(&mut wire, field, &mut Cursor::new(quoted.as_bytes()))?;
        Ok(true)
    }

    fn missing_key(&self, message: &RawMessage<'_>, broken: Option<Box<Fault>>) -> Box<Fault> {
        let what = match (message.key, broken) {
            (None, _) => "a delete without a Kafka key does not say which row".to_owned(),
            (Some(_), Some(fault)) => {
                format!(
                    "the Kafka key of a delete cannot be read: {}",
                    fault.sentence()
                )
            }
            (Some(_), None) => {
                "the Kafka key of a delete has no value for the key columns".to_owned()
            }
        };
        let expected = if self.options.key.is_empty() {
            "a key with the row's key columns; declare `key:` if they are in `before`, or `before_image: full`"
                .to_owned()
        } else {
            format!(
                "the columns {} in the key or in `before`, or `before_image: full`",
                self.options.key.join(", ")
            )
        };
        Fault::new(RejectReason::MissingKey, what).expected(expected)
    }

    /// Looks at the schema of a row's key: other key columns than before are another identity.
    ///
    /// # Errors
    /// [`ErrorKind::Policy`] if the key columns changed.
    pub(super) fn watch_key(&mut self, message: &RawMessage<'_>) -> Result<(), Stop> {
        let Some(bytes) = message.key.filter(|key| key.starts_with(b"{\"schema\":{")) else {
            return Ok(());
        };
        if let Some(entry) = self.keys.take(bytes) {
            self.keys.put(entry);
            return Ok(());
        }
        // A key that cannot be read matters only to deletes, which say so.
        if let Ok(Some((schema, _, prefix))) = wrapper(Cursor::new(bytes))
            && utf8(bytes, 0).is_ok()
        {
            match self.compile_key(schema, message) {
                Ok(plan) => self.keys.put(Box::new(Entry {
                    prefix: prefix.to_vec(),
                    schema: schema.to_vec(),
                    plan,
                })),
                Err(Stop::Fault(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    fn compile_key(&mut self, schema: &[u8], message: &RawMessage<'_>) -> Result<KeyPlan, Stop> {
        let parsed = connect::parse(schema)?.key()?;
        let declared = self.options.columns.as_deref();
        let fields = match parsed {
            Err(wire) => return Ok(KeyPlan::Value(Box::new(wire))),
            Ok(fields) => fields,
        };
        if !self.key_is_said {
            let mut names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
            names.sort();
            let topic = &message.partition.topic;
            match self.key_names.get(topic) {
                Some(known) if *known != names => {
                    return Err(key_changed(known, &names, message).into());
                }
                Some(_) => {}
                None => {
                    self.key_names.insert(topic.clone(), names);
                }
            }
        }
        let fields: Vec<_> = fields
            .iter()
            .filter_map(|field| fitted(field, &self.outputs, declared))
            .collect();
        let reader = RowReader::new(&fields, &self.outputs.places(), false);
        Ok(KeyPlan::Struct(Box::new(reader)))
    }
}

fn key_changed(known: &[String], now: &[String], message: &RawMessage<'_>) -> Error {
    Error::new(
        ErrorKind::Policy,
        format!(
            "the key columns changed from {} to {}: rows have another identity now",
            known.join(", "),
            now.join(", ")
        ),
    )
    .at(format!("{}@{}", message.partition, message.offset))
    .expected("the same key columns in every message of a topic")
    .remedy("Declare `key:` if the columns identify rows before and after the change, or load the table anew.")
}

fn no_key() -> Box<Fault> {
    Fault::mismatch("the key is one value", "an object with the key columns")
}

/// The parts of `{"schema":…,"payload":…}`, and everything before the payload; `None` for another object.
#[expect(clippy::type_complexity, reason = "three slices of one text")]
pub(super) fn wrapper(mut cursor: Cursor<'_>) -> Step<Option<(&[u8], &[u8], &[u8])>> {
    let (mut schema, mut payload, mut prefix) = (None, None, None);
    let seen = Layout::new(["schema", "payload"]).walk(&mut cursor, |slot, cursor| {
        cursor.peek();
        if slot == 0 {
            schema = Some(cursor.value()?);
        } else {
            prefix = schema.map(|_| cursor.since(0));
            payload = Some(cursor.value()?);
        }
        Ok(())
    })?;
    cursor.end()?;
    Ok(match (schema, payload, seen.members) {
        // Two columns may have these names.
        (Some(schema), Some(payload), 2) if schema.starts_with(b"{") || schema == b"null" => {
            Some((schema, payload, prefix.unwrap_or_default()))
        }
        _ => None,
    })
}
