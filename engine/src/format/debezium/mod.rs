//! Debezium events in JSON, into columns.
//!
//! The decoder walks the bytes of a message once and writes values straight into typed columns: no tree, no rows.
//! It is strict: a message that is not JSON to the last byte, or that holds a value that its column cannot hold
//! exactly, is a reject and leaves no trace.
//!
//! **Shapes** are recognised by content: envelopes with schema, with a null schema or without one, CloudEvents,
//! rows flattened by the unwrap transformation, tombstones, and the records that are never rows (heartbeats,
//! transaction markers, schema changes, notifications, `op` m).
//!
//! **Columns** are either declared ([`DecoderOptions::columns`]) or learned: while none are known, [`Decoder::schema`]
//! is `None` and the first row's push answers [`Pushed::NewSchema`] without taking the record. A feed that has to
//! know its schema before its first batch pushes records until that answer, adopts it, and pushes that record again.
//! A record that needs more or wider columns answers so again. Messages are always decoded with their own schema,
//! whatever the columns are. After [`JsonDecoder::try_new`] and [`Decoder::adopt`] every column is projected.
//!
//! **Rules that are not obvious**
//!
//! | value | becomes |
//! |---|---|
//! | nanoseconds that are no whole microseconds | a reject; the floor if the column was declared `TIMESTAMP(9)` |
//! | dates and timestamps outside of the years 1 to 9999, infinities | a reject |
//! | a time of 24:00:00 or more in a time column | a reject; MySQL's `TIME` is a span, so Int64 |
//! | a decimal of more than 38 digits, or with a scale of its own per row | exact text, unless declared |
//! | a string for a declared `DECIMAL` | base64 if it is some, else decimal text; what is both, for a scale of 0, a reject, unless `decimal_handling` says which |
//! | a string for a binary column | base64, url-safe or not; a reject if it may be hexadecimal |
//! | a double for a `REAL` column | a reject unless 32 bits hold it |
//! | an image with none of the columns | a reject: it is another table's |
//! | a flattened row without `__op` | `u` |
//! | `__deleted`, `__op`, … of a flattened row | what the row is; also columns, if declared |
//! | an event that the source sent again | dropped, if the decoder was told to ([`crate::resend`]) |
//! | the row of a delete | the Kafka key's columns, else the declared key columns of `before`; all of `before` only if `before_image_full` |

mod admit;
mod batch;
mod cache;
mod column;
mod connect;
mod decimal;
mod declared;
mod default;
mod envelope;
mod event;
mod evolve;
mod fault;
mod flattened;
mod iso;
mod key;
mod keyed;
mod layout;
mod learn;
mod metadata;
mod number;
mod origin;
mod outputs;
mod pattern;
mod plan;
mod read;
mod row;
mod scan;
mod source_block;
mod string;
mod structured;
mod tables;
mod temporal;
mod text;
mod top;
mod unavailable;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::datatypes::{Fields, SchemaRef};
use sql::change::{Remembered, is_metadata};
use sql::{Error, Result};

use self::batch::Pending;
use self::cache::Cache;
use self::connect::Row;
use self::event::{Event, Stop};
use self::key::KeyPlan;
pub(crate) use self::keyed::NEW_KEY;
use self::origin::OriginReader;
use self::outputs::{Outputs, row_of};
use self::plan::{Plan, Shape};
use self::read::Scratch;
use self::row::RowReader;
use self::tables::{Membership, TableFilter};
use self::unavailable::Placeholder;
use crate::format::{Decoded, Decoder, Pushed, RawMessage};
use crate::resend::{AfterJump, Memory};
use crate::spec::model::{DecimalHandling, DeclaredColumn, SourceTables};

/// What Debezium writes in the place of a value that the source did not send, unless configured.
pub const UNAVAILABLE_PLACEHOLDER: &str = "__debezium_unavailable_value";

/// How messages are decoded.
#[derive(Debug, Clone)]
pub struct DecoderOptions {
    /// The source's name.
    pub name: String,
    /// Rows of which tables are decoded; the others are counted as control records.
    pub tables: SourceTables,
    /// The row's columns; `None` learns them from the messages' schemas.
    pub columns: Option<Vec<DeclaredColumn>>,
    /// What strings of declared decimals are.
    pub decimals: DecimalHandling,
    /// Key columns; empty: whatever columns the Kafka keys have.
    pub key: Vec<String>,
    /// Whether `before` of a delete is a true image of the row.
    pub before_image_full: bool,
    /// The text of `unavailable.value.placeholder`, `hex:…` included.
    pub unavailable_placeholder: String,
    /// Keep the columns as first known: ignore new ones, reject values that do not fit.
    pub ignore_schema_change: bool,
    /// Keep each row's raw record beside it.
    pub keep_raw: bool,
    /// The target is kept by key: every row must have one, tombstones are rows, and key changes are noted. The key columns
    /// must be projected. If `key` is empty it is that of the first message.
    pub keyed: bool,
}

impl Default for DecoderOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            tables: SourceTables::Any,
            columns: None,
            decimals: DecimalHandling::Auto,
            key: Vec::new(),
            before_image_full: false,
            unavailable_placeholder: UNAVAILABLE_PLACEHOLDER.to_owned(),
            ignore_schema_change: false,
            keep_raw: false,
            keyed: false,
        }
    }
}

/// The decoder of Debezium's JSON.
#[derive(Debug)]
pub struct JsonDecoder {
    options: DecoderOptions,
    /// The declared columns as a row without schema has them.
    declared: Option<Row>,
    /// Whether the columns are known.
    known: bool,
    outputs: Outputs,
    pending: Pending,
    scratch: Scratch,
    placeholder: Placeholder,
    /// The plan of messages without schema; absent only while one is being decoded.
    schemaless: Option<Box<Plan>>,
    plans: Cache<Plan>,
    keys: Cache<KeyPlan>,
    /// The key columns of the first message, where none were said and none are needed.
    key_seen: Vec<String>,
    /// Whether the key columns were said, or are those of the messages.
    key_is_said: bool,
    /// The key columns of each topic, sorted.
    key_names: HashMap<String, Vec<String>>,
    tables: TableFilter,
    /// Columns whose default was warned of.
    warned: HashSet<String>,
    /// The defaults that schemas told, as SQL writes them.
    defaults: BTreeMap<String, String>,
    /// Present where events sent again are dropped.
    origins: Option<OriginReader>,
    memory: Option<Memory>,
}

impl JsonDecoder {
    /// A decoder without rows.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if `tables` holds no pattern, if declared columns repeat a name, have a reserved one or a type that nothing is
    /// decoded to, if a key column is not declared, or if the placeholder is empty.
    pub fn try_new(options: DecoderOptions) -> Result<Self> {
        let placeholder = Placeholder::new(&options.unavailable_placeholder).ok_or_else(|| {
            Error::config(
                "the placeholder of unavailable values is empty, or no hexadecimal after `hex:`",
            )
            .expected("the text of the connector's unavailable.value.placeholder")
        })?;
        let declared = options
            .columns
            .as_deref()
            .map(|columns| declared_row(columns, options.decimals))
            .transpose()?;
        let row: Fields = options
            .columns
            .iter()
            .flatten()
            .map(|column| column.field.as_ref().clone().with_nullable(true))
            .collect();
        if let Some(declared) = &declared {
            declared_keys(declared, &options.key)?;
        }
        let outputs = Outputs::all(row)?;
        Ok(Self {
            known: declared.is_some(),
            schemaless: None,
            pending: Pending::try_new(&outputs, &options)?,
            placeholder,
            scratch: Scratch::default(),
            plans: Cache::default(),
            keys: Cache::default(),
            key_seen: Vec::new(),
            key_is_said: !options.key.is_empty(),
            key_names: HashMap::new(),
            tables: TableFilter::try_new(&options.tables, &options.name)?,
            warned: HashSet::new(),
            defaults: BTreeMap::new(),
            origins: None,
            memory: None,
            declared,
            outputs,
            options,
        }
        .planned())
    }

    /// Whether tombstones are rows. Before the columns are known there is nothing that they could delete.
    fn wants_tombstones(&self) -> bool {
        self.options.keyed && self.known
    }

    /// Makes the plan of messages without schema for the columns as they are now.
    fn planned(mut self) -> Self {
        self.plan_schemaless();
        self
    }

    fn plan_schemaless(&mut self) {
        let none = Row::default();
        let row = self.declared.as_ref().unwrap_or(&none);
        let declared = self.options.columns.as_deref();
        let mut plan = Plan::new(Shape::Open, row, row, &self.outputs, declared);
        if self.declared.is_none() {
            // Keys and headers may come without schema although values have one.
            let fields = declared::learned(&self.outputs.row, self.options.decimals);
            plan.key = RowReader::new(&fields, &self.outputs.places(), false);
        }
        self.schemaless = Some(Box::new(plan));
    }

    /// Decodes a message unless it is a row of a table that the source does not take.
    fn decode_ours<'a>(&mut self, message: &RawMessage<'a>) -> Result<Event<'a>, Stop> {
        let said = self.tables.ask(message)?;
        if self.options.keyed {
            self.tables.note(message, said);
        }
        if said == Membership::Foreign {
            return Ok(Event::Control);
        }
        let event = self.decode(message)?;
        let needs_a_table = match event {
            Event::Row(_) | Event::NewSchema(_) => true,
            // A foreign table's tombstone must not delete a row of ours.
            Event::Null => message.key.is_some() && self.wants_tombstones(),
            _ => false,
        };
        if said != Membership::Unsaid || !needs_a_table {
            return Ok(event);
        }
        let known = match (&event, message.key) {
            (Event::Null, Some(key)) => self.tables.of_tombstone(message.partition, key),
            _ => None,
        };
        let membership = match known {
            Some(known) => known,
            None => self.tables.ask_topic(message)?,
        };
        Ok(match membership {
            Membership::Foreign => Event::Control,
            _ => event,
        })
    }

    /// Decodes to these columns from now on.
    fn replace_outputs(&mut self, outputs: Outputs) -> Result<()> {
        if !self.is_empty() {
            return Err(Error::internal(
                "the decoder's columns were changed while rows are pending",
            ));
        }
        let mut pending = Pending::try_new(&outputs, &self.options)?;
        pending.rejects = std::mem::take(&mut self.pending.rejects);
        pending.counts = std::mem::take(&mut self.pending.counts);
        self.pending = pending;
        self.outputs = outputs;
        self.plans.clear();
        self.keys.clear();
        self.plan_schemaless();
        Ok(())
    }
}

fn declared_row(columns: &[DeclaredColumn], decimals: DecimalHandling) -> Result<Row> {
    let mut row = Row::default();
    for column in columns {
        let name = column.field.name();
        if is_metadata(name) {
            return Err(Error::config(format!(
                "the column `{name}` has the name of a metadata column"
            ))
            .expected("another name"));
        }
        if row.fields.iter().any(|known| known.name == *name) {
            return Err(Error::config(format!(
                "the column `{name}` is declared twice"
            )));
        }
        row.fields.push(declared::field(column, decimals)?);
    }
    if row.fields.is_empty() {
        return Err(Error::config("no column is declared").expected("`columns:` with SQL DDL"));
    }
    Ok(row)
}

fn declared_keys(row: &Row, key: &[String]) -> Result<()> {
    let names: Vec<&str> = row.fields.iter().map(|field| field.name.as_str()).collect();
    match key.iter().find(|name| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(
            Error::config(format!("the key column `{name}` is not declared"))
                .expected(format!("one of {}", names.join(", "))),
        ),
    }
}

impl Decoder for JsonDecoder {
    fn schema(&self) -> Option<SchemaRef> {
        self.known.then(|| SchemaRef::clone(&self.outputs.schema))
    }

    fn adopt(&mut self, schema: SchemaRef) -> Result<()> {
        let row = row_of(&schema);
        if self.declared.is_some() && row != self.outputs.row {
            return Err(Error::internal(
                "other columns than the declared ones were adopted",
            ));
        }
        self.replace_outputs(Outputs::all(row)?)?;
        self.known = true;
        Ok(())
    }

    fn defaults(&self) -> BTreeMap<String, String> {
        self.defaults.clone()
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        let outputs = Outputs::project(self.outputs.row.clone(), columns)?;
        self.replace_outputs(outputs)
    }

    fn needs(&mut self, message: &RawMessage<'_>) -> Result<Option<SchemaRef>> {
        let decoded = self.decode_ours(message);
        self.pending.rollback();
        match decoded {
            Ok(Event::NewSchema(schema)) => Ok(Some(schema)),
            // Pushing says the same.
            Ok(_) | Err(Stop::Fault(_)) => Ok(None),
            Err(Stop::Error(error)) => Err(*error),
        }
    }

    fn push(&mut self, message: &RawMessage<'_>) -> Result<Pushed> {
        let mut result = self.decode_ours(message);
        if let Ok(Event::Row(facts)) = result {
            result = self.admit(message, facts);
        }
        if matches!(result, Ok(Event::Null)) && message.key.is_some() {
            result = self.admit_tombstone(message);
        }
        let pushed = match result {
            Ok(Event::Row(facts)) => {
                self.pending.commit(message, facts);
                Pushed::Row
            }
            Ok(Event::Tombstone(facts)) => {
                self.pending.commit(message, facts);
                self.pending.counts.tombstones += 1;
                Pushed::Row
            }
            Ok(Event::Resend) => {
                self.pending.rollback();
                self.pending.counts.resends += 1;
                Pushed::Resend
            }
            Ok(Event::NewSchema(schema)) => {
                self.pending.rollback();
                if let Err(Stop::Error(error)) = self.learn_key(message) {
                    return Err(*error);
                }
                return Ok(Pushed::NewSchema(schema));
            }
            Ok(Event::Null) if message.key.is_some() => {
                self.pending.rollback();
                self.pending.counts.tombstones += 1;
                Pushed::Tombstone
            }
            Ok(Event::Null | Event::Control | Event::Wrapped { .. } | Event::Cloud { .. }) => {
                self.pending.rollback();
                self.pending.counts.control += 1;
                Pushed::Control
            }
            Err(Stop::Fault(fault)) => {
                self.pending.rollback();
                self.pending.rejects.push(fault.into_reject(message));
                if let Some(memory) = &mut self.memory {
                    memory.judge(message.partition, message.offset, None, None);
                }
                Pushed::Reject
            }
            Err(Stop::Error(error)) => {
                self.pending.rollback();
                return Err(*error);
            }
        };
        self.pending.counts.records += 1;
        self.pending.counts.bytes += message.size() as u64;
        Ok(pushed)
    }

    fn drop_resends(&mut self, known: Remembered, window: usize) -> Result<()> {
        self.origins = Some(OriginReader::new());
        let after_jump = if self.options.keyed {
            AfterJump::ApplyAgain
        } else {
            AfterJump::DropKnown
        };
        self.memory = Some(Memory::new(window, known, after_jump));
        Ok(())
    }

    fn take_remembered(&mut self) -> Option<Remembered> {
        self.memory.as_mut().map(Memory::take)
    }

    fn key(&self) -> &[String] {
        if self.options.key.is_empty() {
            return &self.key_seen;
        }
        &self.options.key
    }

    fn len(&self) -> usize {
        self.pending.rows()
    }

    fn finish(&mut self, ingested_at_micros: i64) -> Result<Decoded> {
        self.pending.finish(&self.outputs, ingested_at_micros)
    }
}
