//! What upserts need beside the rows: whole keys, the halves of a key change, and tombstones as rows.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use sql::change::{KeyedMeta, Op, RejectReason};
use sql::{Error, Result};
use std::sync::Arc;

use super::JsonDecoder;
use super::batch::RowFacts;
use super::column::{Column, bug};
use super::connect;
use super::envelope::keys_of;
use super::event::Stop;
use super::fault::Fault;
use super::flattened::header;
use super::key::wrapper;
use super::origin::Known;
use super::outputs::Outputs;
use super::scan::Cursor;
use crate::format::RawMessage;

/// On the delete that begins a key change.
pub(crate) const NEW_KEY: &str = "__debezium.newkey";
/// On the insert that ends it.
pub(super) const OLD_KEY: &str = "__debezium.oldkey";

/// Keys of the pending rows.
#[derive(Debug)]
pub(super) struct PendingKeys {
    /// The key columns, by their place among the projected columns.
    places: Vec<usize>,
    tombstones: Vec<u32>,
    leaving: Vec<u32>,
    arriving: Vec<u32>,
    /// As the pending columns, one row for each of `arriving`.
    old: Vec<Column>,
    again: Vec<(u32, u32)>,
}

impl PendingKeys {
    /// None yet, of the columns `key`.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] if a key column is not projected.
    pub(super) fn try_new(outputs: &Outputs, key: &[String]) -> Result<Self> {
        let place = |name: &String| {
            let index = outputs.index_of(name);
            let place = index.and_then(|index| outputs.columns.iter().position(|c| *c == index));
            place.ok_or_else(|| {
                Error::internal(format!(
                    "the key column `{name}` is not decoded, but needed"
                ))
            })
        };
        Ok(Self {
            // Before the columns are known nothing is decoded.
            places: if outputs.row.is_empty() {
                Vec::new()
            } else {
                key.iter().map(place).collect::<Result<_>>()?
            },
            tombstones: Vec::new(),
            leaving: Vec::new(),
            arriving: Vec::new(),
            old: outputs.empty_columns()?,
            again: Vec::new(),
        })
    }

    /// `row`, which comes after all others, may have been applied before.
    pub(super) fn note_again(&mut self, row: usize, pass: u32) {
        self.again.push((number(row), pass));
    }

    /// Takes out what there is of `unavailable` values (row and row field).
    pub(super) fn finish(
        &mut self,
        outputs: &Outputs,
        unavailable: &[(usize, usize)],
    ) -> Result<KeyedMeta> {
        let old = self
            .old
            .iter_mut()
            .map(Column::finish)
            .collect::<Result<Vec<ArrayRef>>>()?;
        let columns = self.places.iter().filter_map(|place| {
            let name = outputs.row.get(*outputs.columns.get(*place)?)?.name();
            let values = old.get(*place)?;
            Some((
                Field::new(name, values.data_type().clone(), true),
                Arc::clone(values),
            ))
        });
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.unzip();
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(self.arriving.len()));
        let schema = Arc::new(Schema::new(fields));
        let old_keys = RecordBatch::try_new_with_options(schema, columns, &options).map_err(bug)?;
        let unavailable = unavailable.iter().filter_map(|(row, field)| {
            let name = outputs.row.get(*field)?.name();
            let column = outputs.projected.index_of(name).ok()?;
            Some((number(*row), number(column)))
        });
        Ok(KeyedMeta {
            tombstones: std::mem::take(&mut self.tombstones),
            leaving: std::mem::take(&mut self.leaving),
            arriving: std::mem::take(&mut self.arriving),
            old_keys,
            unavailable: unavailable.collect(),
            again: std::mem::take(&mut self.again),
        })
    }
}

impl JsonDecoder {
    /// Takes the names of the key columns from the first message, where the pipeline does not say them. They matter only
    /// where the target is kept by key.
    pub(super) fn learn_key(&mut self, message: &RawMessage<'_>) -> Result<(), Stop> {
        if !self.options.key.is_empty() {
            return Ok(());
        }
        let names = message.key.map(key_names).unwrap_or_default();
        if !self.options.keyed {
            self.key_seen = names;
            return Ok(());
        }
        if names.is_empty() {
            return Err(Error::config("the Kafka key does not say which columns are the key")
                .at(format!("{}@{}", message.partition, message.offset))
                .expected("a key that is an object with the key columns, as Debezium sends it for a table with a primary key")
                .remedy("Name the columns that identify a row: `key: [id]` in the source.")
                .into());
        }
        self.options.key = names;
        Ok(())
    }

    /// Looks at the key of a row that was decoded, and is not yet committed.
    pub(super) fn note_key(
        &mut self,
        message: &RawMessage<'_>,
        facts: RowFacts,
    ) -> Result<(), Stop> {
        let Some(mut keys) = self.pending.keys.take() else {
            return Ok(());
        };
        let noted = self.note(&mut keys, message, facts);
        self.pending.keys = Some(keys);
        noted
    }

    fn note(
        &mut self,
        keys: &mut PendingKeys,
        message: &RawMessage<'_>,
        facts: RowFacts,
    ) -> Result<(), Stop> {
        if facts.op == Op::Truncate {
            return Ok(());
        }
        let row = self.pending.rows();
        let lacks = |place: &&usize| {
            let column = self.pending.columns.get(**place);
            column.is_none_or(|column| column.len() <= row || !column.validity.is_valid(row))
        };
        if let Some(place) = keys.places.iter().find(lacks) {
            let field = self.outputs.columns.get(*place);
            let name = field.and_then(|index| self.outputs.row.get(*index));
            let name = name.map(|field| field.name().clone()).unwrap_or_default();
            return Err(Fault::new(
                RejectReason::MissingKey,
                format!("the key column `{name}` is missing or null"),
            )
            .expected("a value in every key column: the target is kept by key")
            .into());
        }
        if facts.op == Op::Delete {
            if has_header(message, NEW_KEY) {
                keys.leaving.push(number(row));
            }
        } else if let Some(old) = header(message, OLD_KEY) {
            self.old_key(keys, message, old)?;
            keys.arriving.push(number(row));
        }
        Ok(())
    }

    /// Reads the key of a header, as the message's own key is read. One that cannot be read is a key of nulls: the row
    /// itself is whole, but for values that only the old row has.
    fn old_key(
        &mut self,
        keys: &mut PendingKeys,
        message: &RawMessage<'_>,
        old: &[u8],
    ) -> Result<(), Stop> {
        let rows = keys.arriving.len();
        let mut plan = self
            .schemaless
            .take()
            .ok_or_else(|| Error::internal("a key was read while a message is being decoded"))?;
        // The reader writes to the pending columns, wherever they are.
        std::mem::swap(&mut self.pending.columns, &mut keys.old);
        let as_key = RawMessage {
            key: Some(old),
            ..*message
        };
        let read = self.key(&mut plan.key, &as_key);
        std::mem::swap(&mut self.pending.columns, &mut keys.old);
        self.schemaless = Some(plan);
        let whole = match read {
            Ok(values) => self.identifies(&values),
            Err(Stop::Fault(_)) => false,
            Err(stop) => return Err(stop),
        };
        for column in &mut keys.old {
            if !whole {
                column.truncate(rows);
            }
            if column.len() == rows {
                column.append_null();
            }
        }
        Ok(())
    }

    /// Makes a tombstone a row with its key.
    pub(super) fn tombstone(&mut self, message: &RawMessage<'_>) -> Result<RowFacts, Stop> {
        let mut plan = self.schemaless.take().ok_or_else(|| {
            Error::internal("a tombstone was read while a message is being decoded")
        })?;
        let read = self.delete(&mut plan, message, None, false);
        self.schemaless = Some(plan);
        read?;
        let facts = RowFacts {
            op: Op::Delete,
            commit_micros: None,
            known: Known::Nothing,
        };
        self.note_key(message, facts)?;
        let row = self.pending.rows();
        if let Some(keys) = &mut self.pending.keys {
            keys.tombstones.push(number(row));
        }
        Ok(facts)
    }
}

/// The columns of a key, with or without schema.
fn key_names(key: &[u8]) -> Vec<String> {
    let names = |object: &[u8]| -> Vec<String> {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(object)
            .map(|object| object.into_iter().map(|(name, _)| name).collect())
            .unwrap_or_default()
    };
    match wrapper(Cursor::new(key)) {
        Ok(Some((b"null", payload, _))) => names(payload),
        Ok(Some((schema, _, _))) => match connect::parse(schema).and_then(|schema| schema.key()) {
            Ok(Ok(fields)) => fields.into_iter().map(|field| field.name).collect(),
            _ => Vec::new(),
        },
        Ok(None) if !keys_of(key).is_empty() => names(key),
        _ => Vec::new(),
    }
}

fn has_header(message: &RawMessage<'_>, name: &str) -> bool {
    message.headers.iter().any(|(known, _)| *known == name)
}

/// A batch has fewer rows than that.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
