//! Whose rows a source takes: events say the table that they are of, topics do not.
//!
//! A pattern of topics catches more than one table, and one topic may hold several. Every event is asked **before** it
//! is decoded, so the schema of a foreign table never becomes columns. An event that does not say its table (a flattened
//! row without `__table`) is of the table that its topic's name ends with.
//!
//! A tombstone says nothing but its key. It is of the table of the event before it in its partition if that has its key: so
//! Debezium sends them. One that stands alone is ours if all that was read of its topic is, whatever the topic is called: a
//! router may have renamed it. Else its topic's name decides, as for a row; also for one that is the first record read of its
//! partition, whose delete was read by an earlier run, or is long compacted.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use regex::Regex;
use sql::Error;
use sql::change::Partition;

use super::fault::Step;
use super::origin::key_hash;
use super::scan::Cursor;
use crate::format::RawMessage;
use crate::source::glob;
use crate::spec::model::SourceTables;

/// The deepest wrapper that is looked into: a schema around an event, around a CloudEvent.
const MAX_WRAPPERS: usize = 3;

/// What a record says of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    /// It is of a table that the source takes.
    Ours,
    /// It is of another table.
    Foreign,
    /// It does not say. It may be no row at all.
    Unsaid,
}

/// The tables whose rows a source takes.
#[derive(Debug)]
pub(super) struct TableFilter {
    wanted: Wanted,
    /// What was decided for each table, by [`Place::name`].
    decided: HashMap<String, bool>,
    /// Where the name of a record's table is put together.
    name: String,
    /// Of each partition the key of the last event that says its table, hashed, and whose it is.
    last: HashMap<Partition, (u128, Membership)>,
    /// Topics that hold rows of other tables.
    mixed: HashSet<String>,
}

#[derive(Debug)]
enum Wanted {
    Any,
    /// The table of the source's name; any other stops the pipeline.
    OneOfTheName(String),
    Only(Vec<Regex>),
}

impl TableFilter {
    /// The filter of the source `name`.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for a pattern that is none.
    pub(super) fn try_new(tables: &SourceTables, name: &str) -> sql::Result<Self> {
        let wanted = match tables {
            SourceTables::Any => Wanted::Any,
            SourceTables::OneOfTheName => Wanted::OneOfTheName(name.to_owned()),
            SourceTables::Only(patterns) => Wanted::Only(
                patterns
                    .iter()
                    .map(|pattern| {
                        Regex::new(&format!("^(?:{})$", glob(pattern))).map_err(|error| {
                            Error::config(format!("{pattern:?} is no pattern of tables"))
                                .source(error)
                        })
                    })
                    .collect::<sql::Result<_>>()?,
            ),
        };
        Ok(Self {
            wanted,
            decided: HashMap::new(),
            name: String::new(),
            last: HashMap::new(),
            mixed: HashSet::new(),
        })
    }

    /// Remembers whose a record is, for the tombstones to come.
    pub(super) fn note(&mut self, message: &RawMessage<'_>, said: Membership) {
        if matches!(self.wanted, Wanted::Any) || said == Membership::Unsaid {
            return;
        }
        let partition = message.partition;
        if said == Membership::Foreign && !self.mixed.contains(&partition.topic) {
            self.mixed.insert(partition.topic.clone());
        }
        let known = (key_hash(message.key.unwrap_or_default()), said);
        match self.last.get_mut(partition) {
            Some(last) => *last = known,
            None => {
                self.last.insert(partition.clone(), known);
            }
        }
    }

    /// Whose a tombstone is, as far as what was read before it says.
    pub(super) fn of_tombstone(&self, partition: &Partition, key: &[u8]) -> Option<Membership> {
        let (last, whose) = self.last.get(partition)?;
        if *last == key_hash(key) {
            return Some(*whose);
        }
        (!self.mixed.contains(&partition.topic)).then_some(Membership::Ours)
    }

    /// Whether the source takes a record, as far as its content says.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for a row of another table if nothing was said of tables.
    pub(super) fn ask(&mut self, message: &RawMessage<'_>) -> sql::Result<Membership> {
        if matches!(self.wanted, Wanted::Any) {
            return Ok(Membership::Ours);
        }
        // What cannot be read here is refused when it is decoded.
        match message
            .value
            .and_then(|value| place(value, 0).ok().flatten())
        {
            Some(place) => self.decide(&place, message),
            None => Ok(Membership::Unsaid),
        }
    }

    /// As [`TableFilter::ask`], for a row that does not say its table: by the last part of the topic's name.
    pub(super) fn ask_topic(&mut self, message: &RawMessage<'_>) -> sql::Result<Membership> {
        let topic = message.partition.topic.as_str();
        let mut parts = topic.rsplit('.').map(Cow::Borrowed);
        let place = Place {
            table: parts.next().unwrap_or_default(),
            schema: parts.next(),
            database: None,
        };
        self.decide(&place, message)
    }

    fn decide(&mut self, place: &Place<'_>, message: &RawMessage<'_>) -> sql::Result<Membership> {
        place.name(&mut self.name);
        let ours = match self.decided.get(&self.name) {
            Some(ours) => *ours,
            None => {
                let ours = self.is_ours(place, message)?;
                self.decided.insert(self.name.clone(), ours);
                if !ours {
                    tracing::info!(
                        table = self.name,
                        topic = message.partition.topic,
                        "rows of this table are left out: `source.tables` does not name it"
                    );
                }
                ours
            }
        };
        Ok(if ours {
            Membership::Ours
        } else {
            Membership::Foreign
        })
    }

    fn is_ours(&self, place: &Place<'_>, message: &RawMessage<'_>) -> sql::Result<bool> {
        match &self.wanted {
            Wanted::Any => Ok(true),
            Wanted::Only(patterns) => Ok(place
                .spellings()
                .iter()
                .any(|name| patterns.iter().any(|pattern| pattern.is_match(name)))),
            Wanted::OneOfTheName(name) if place.table.eq_ignore_ascii_case(name) => Ok(true),
            Wanted::OneOfTheName(name) => Err(Error::config(format!(
                "the topics hold rows of the table `{}`, but the source is called `{name}` and does not say whose rows it reads",
                self.name
            ))
            .at(format!("{}@{}", message.partition, message.offset))
            .expected("a pattern of topics that holds one table, of the source's name; or `source.tables`")
            .remedy(format!(
                "Say whose rows are meant, and rows of other tables are left out: `tables: [{}]`; `tables: [\"*\"]` takes all.",
                place.table
            ))),
        }
    }
}

/// Where a row comes from.
#[derive(Debug, Default, PartialEq)]
struct Place<'a> {
    table: Cow<'a, str>,
    /// Postgres, Oracle, SQL Server.
    schema: Option<Cow<'a, str>>,
    database: Option<Cow<'a, str>>,
}

impl Place<'_> {
    /// `schema.table`, or `database.table` where there is no schema.
    fn name(&self, into: &mut String) {
        into.clear();
        if let Some(outer) = self.schema.as_ref().or(self.database.as_ref()) {
            into.push_str(outer);
            into.push('.');
        }
        into.push_str(&self.table);
    }

    /// What `tables` may call it.
    fn spellings(&self) -> Vec<String> {
        let table = &self.table;
        let mut names = vec![table.to_string()];
        names.extend(
            self.schema
                .as_ref()
                .map(|schema| format!("{schema}.{table}")),
        );
        match (&self.database, &self.schema) {
            (Some(database), Some(schema)) => names.push(format!("{database}.{schema}.{table}")),
            (Some(database), None) => names.push(format!("{database}.{table}")),
            (None, _) => {}
        }
        names
    }
}

/// The table that a message says it is of.
fn place(value: &[u8], depth: usize) -> Step<Option<Place<'_>>> {
    let (mut op, mut source, mut payload) = (false, None, None);
    let mut said = Place::default();
    let whole = members(value, |key, raw| match key {
        "op" => op = true,
        "source" => source = Some(raw),
        "payload" => payload = Some(raw),
        "iodebeziumtable" | "__table" | "__source_table" => {
            said.table = text(raw).unwrap_or_default();
        }
        "iodebeziumschema" | "__schema" | "__source_schema" => said.schema = text(raw),
        "iodebeziumdb" | "__db" | "__source_db" => said.database = text(raw),
        _ => {}
    })?;
    if !whole {
        return Ok(None);
    }
    if let (Some(payload), None, true) = (payload, source, depth < MAX_WRAPPERS) {
        return place(payload, depth + 1);
    }
    // Schema changes have a source, too, but no operation.
    if let (Some(source), true) = (source, op) {
        members(source, |key, raw| match key {
            "table" => said.table = text(raw).unwrap_or_default(),
            "schema" => said.schema = text(raw),
            "db" => said.database = text(raw),
            _ => {}
        })?;
    }
    // Logical decoding messages have an empty table.
    Ok(Some(said).filter(|place| !place.table.is_empty()))
}

/// A JSON string that is not empty.
fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    let text = Cursor::new(raw).string().ok()??.text().ok()?;
    Some(text).filter(|text| !text.is_empty())
}

/// Calls `take` with each member of an object. False if it is no object.
fn members<'a>(object: &'a [u8], mut take: impl FnMut(&str, &'a [u8])) -> Step<bool> {
    let mut cursor = Cursor::new(object);
    if !cursor.eat(b'{') {
        return Ok(false);
    }
    if cursor.eat(b'}') {
        return Ok(true);
    }
    while let Some(key) = cursor.string()? {
        cursor.expect(b':')?;
        let value = cursor.value()?;
        if let Ok(key) = std::str::from_utf8(key.raw) {
            take(key, value);
        }
        if !cursor.more(b'}')? {
            break;
        }
    }
    Ok(true)
}
