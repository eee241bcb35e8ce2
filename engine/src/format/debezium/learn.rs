//! Schemas of messages: compiled to plans, and compared with the columns known so far.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Fields, SchemaRef};
use sql::change::is_metadata;
use sql::{Error, ErrorKind};

use super::JsonDecoder;
use super::connect::{self, Kind, Row};
use super::default;
use super::event::Stop;
use super::evolve::{self, Conflict};
use super::outputs::schema_of;
use super::plan::{Plan, Shape};
use crate::format::RawMessage;

/// What a schema came to.
pub(super) enum Compiled {
    /// Messages of it can be decoded to the columns as they are.
    Plan(Box<Plan>),
    /// These columns are needed first.
    NewSchema(SchemaRef),
}

impl JsonDecoder {
    /// Compiles the text of a message's schema.
    pub(super) fn compile(
        &mut self,
        schema: &[u8],
        message: &RawMessage<'_>,
    ) -> Result<Compiled, Stop> {
        let (shape, after, before) = match connect::parse(schema)?.kind()? {
            Kind::Control => (Shape::Control, Row::default(), Row::default()),
            Kind::Flattened(row) => (Shape::Flattened, row.clone(), row),
            Kind::Envelope { after, before } => (Shape::Envelope, after, before),
        };
        if shape != Shape::Control {
            let own = match shape {
                Shape::Flattened => Cow::Owned(after.clone().without_added()),
                _ => Cow::Borrowed(&after),
            };
            self.warn_of_defaults(&own, message);
            default::learn(&mut self.defaults, &own);
            if let Some(needed) = self.needed(&own, message)? {
                return Ok(Compiled::NewSchema(needed));
            }
        }
        let declared = self.options.columns.as_deref();
        let plan = Plan::new(shape, &after, &before, &self.outputs, declared);
        if shape != Shape::Control
            && self.declared.is_none()
            && let Some(schemaless) = &mut self.schemaless
        {
            // What this schema says of a key column is more than its type.
            schemaless.key = Plan::new(shape, &after, &before, &self.outputs, declared).key;
        }
        Ok(Compiled::Plan(Box::new(plan)))
    }

    /// The schema that rows with these fields need, if it is not the one there is.
    fn needed(&self, row: &Row, message: &RawMessage<'_>) -> Result<Option<SchemaRef>, Stop> {
        if self.declared.is_some() || (self.known && self.options.ignore_schema_change) {
            return Ok(None);
        }
        let sent: Vec<FieldRef> = row
            .fields
            .iter()
            .map(|field| Arc::new(Field::new(&field.name, field.wire.arrow_type(), true)))
            .collect();
        if let Some(field) = sent.iter().find(|field| is_metadata(field.name())) {
            return Err(reserved(field.name(), message).into());
        }
        let union = evolve::union(&self.outputs.row, &sent)
            .map_err(|conflict| incompatible(&conflict, message))?;
        let absent = |name: &&String| !union.iter().any(|field| field.name() == *name);
        if let Some(name) = self.options.key.iter().find(absent) {
            return Err(
                Error::config(format!("the key column `{name}` is not in the messages"))
                    .at(format!("{}@{}", message.partition, message.offset))
                    .expected(format!("one of {}", names(&union)))
                    .into(),
            );
        }
        if self.known && union == self.outputs.row {
            return Ok(None);
        }
        self.warn_of_rename(&union, &sent, message);
        Ok(Some(schema_of(&union)))
    }

    /// A column that goes while one of the same type comes may have been renamed, which nothing in the topic says.
    fn warn_of_rename(&self, union: &Fields, sent: &[FieldRef], message: &RawMessage<'_>) {
        let gone = self.outputs.row.iter().filter(|known| {
            let name = known.name();
            !sent.iter().any(|field| field.name() == name)
        });
        for old in gone {
            let fresh = union.iter().skip(self.outputs.row.len());
            for new in fresh.filter(|new| new.data_type() == old.data_type()) {
                tracing::warn!(
                    topic = message.partition.topic,
                    partition = message.partition.number,
                    offset = message.offset,
                    gone = old.name(),
                    new = new.name(),
                    "a column went and one of its type came, rows written so far keep their values under the old name"
                );
            }
        }
    }

    /// A nullable column with a default: converters send the default in the place of null.
    fn warn_of_defaults(&mut self, row: &Row, message: &RawMessage<'_>) {
        for name in &row.defaults {
            if self.warned.insert(name.clone()) {
                tracing::warn!(
                    topic = message.partition.topic,
                    column = name,
                    cure = "value.converter.replace.null.with.default=false, and replace.null.with.default=false of the unwrap transformation",
                    "a nullable column has a default, which the connector may send in the place of null"
                );
            }
        }
    }
}

fn names(fields: &Fields) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    names.join(", ")
}

fn reserved(name: &str, message: &RawMessage<'_>) -> Error {
    Error::new(
        ErrorKind::Policy,
        format!("the column `{name}` has the name of a metadata column"),
    )
    .at(format!("{}@{}", message.partition, message.offset))
    .expected("row columns with other names")
    .remedy(
        "Rename it on the way (transforms with ReplaceField), or declare `columns:` without it.",
    )
}

fn incompatible(conflict: &Conflict, message: &RawMessage<'_>) -> Error {
    let Conflict { column, have, sent } = conflict;
    Error::new(
        ErrorKind::Policy,
        format!("the column `{column}` changed from {have} to {sent}, which does not widen it"),
    )
    .at(format!("{}@{} column `{column}`", message.partition, message.offset))
    .expected(format!("{have}, or a type that {have} can be widened to"))
    .remedy(
        "Declare `columns:` with a type that holds both, set `schema_change: ignore`, or start a new table.",
    )
}
