//! What `readers/replay.py` says of a topic.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use super::{Figures, Place, place};
use crate::capture::{self, Record};
use crate::python::Readers;
use crate::workload::{Dialect, Table};

/// A table, and how its events are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The topic that holds its events.
    pub topic: String,
    /// Names and types as in the pipeline's `columns:`; `None` where each message has its schema.
    pub columns: Option<Vec<(String, String)>>,
    /// The primary key's columns; none if the table has no key.
    pub key: Vec<String>,
    /// Whether the pipeline says `before_image: full`.
    pub before_image_full: bool,
}

/// What a pipeline does with events that the connector sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resends {
    /// Writes them like any other.
    Keep,
    /// Leaves them out.
    Drop,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A row of the change log.
    Row,
    /// A null value.
    Tombstone,
    /// A heartbeat, a transaction mark or the like.
    Control,
    /// It cannot be decoded.
    Reject,
    /// Sent again and left out.
    Resend,
}

/// What becomes of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Partition and offset.
    pub place: Place,
    /// What it is.
    pub fate: Fate,
    /// The Kafka key's payload.
    pub key: Value,
    /// Debezium's letter, if it is an event.
    pub op: Option<String>,
    /// The row of the change log.
    pub row: Option<Value>,
    /// Where the connector sent this event first, if it was sent before.
    pub again: Option<Place>,
    /// Why it cannot be decoded. Re-sent events that are left out may have it too.
    pub why: Option<String>,
    /// The column that is to blame for that.
    pub column: Option<String>,
}

/// A row of the table at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Last {
    /// The row's own columns.
    pub row: Value,
    /// Columns whose value was never sent.
    pub unknown: Vec<String>,
    /// The event that wrote it last.
    pub place: Place,
}

/// A replayed topic.
#[derive(Debug, PartialEq)]
pub struct Replay {
    /// One line for each record.
    pub log: BTreeMap<Place, Line>,
    /// The table at the end: what an exact upsert would hold.
    pub last: Vec<Last>,
}

impl Replay {
    /// Replays `records` of the subject's topic.
    ///
    /// # Panics
    /// If the replayer cannot make sense of them.
    pub fn of(readers: &Readers, subject: &Subject, records: &[Record], resends: Resends) -> Self {
        Self::run(readers, subject, records, resends, None)
    }

    /// Replays wrongly on purpose: one of the mistakes that `readers/replay.py` knows.
    pub fn wrong(readers: &Readers, subject: &Subject, records: &[Record], mistake: &str) -> Self {
        Self::run(readers, subject, records, Resends::Keep, Some(mistake))
    }

    fn run(
        readers: &Readers,
        subject: &Subject,
        records: &[Record],
        resends: Resends,
        mistake: Option<&str>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let messages = folder.path().join("messages.jsonl");
        capture::write(&messages, &subject.topic, records);
        let description = folder.path().join("table.json");
        fs::write(&description, subject.description().to_string())
            .expect("a temporary folder is writable");
        let mut options = vec![
            "--resends",
            match resends {
                Resends::Keep => "keep",
                Resends::Drop => "drop",
            },
        ];
        options.extend(mistake.iter().flat_map(|mistake| ["--wrong", mistake]));
        let mut replay = Self {
            log: BTreeMap::new(),
            last: Vec::new(),
        };
        for mut said in readers.replay(&messages, &description, &options) {
            if said["log"].is_object() {
                let line = line(&mut said["log"]);
                replay.log.insert(line.place, line);
            } else {
                replay.last.push(last(&mut said["final"]));
            }
        }
        assert_eq!(
            replay.log.len(),
            records.len(),
            "the replayer gives each record one fate"
        );
        replay
    }

    /// What a replay with [`Resends::Keep`] says where they are dropped: the same, but for their fate.
    #[must_use]
    pub fn dropping(mut self) -> Self {
        for line in self.log.values_mut().filter(|line| line.again.is_some()) {
            line.fate = Fate::Resend;
            line.row = None;
        }
        self
    }

    /// What becomes of a record.
    pub fn at(&self, place: Place) -> Option<&Line> {
        self.log.get(&place)
    }

    /// Keys of events that cannot be decoded: what their rows are now, nobody can say.
    pub(super) fn degraded(&self) -> BTreeSet<String> {
        let undecodable = self.log.values().filter(|line| line.why.is_some());
        undecodable.map(|line| line.key.to_string()).collect()
    }

    /// What was counted.
    pub fn figures(&self) -> Figures {
        let count = |wanted: fn(&Line) -> bool| self.log.values().filter(|l| wanted(l)).count();
        let unavailable = |line: &Line| {
            let names = line.row.as_ref()?["_unavailable_columns"].as_array()?;
            Some(names.len())
        };
        Figures {
            records: self.log.len(),
            events: count(|line| line.op.is_some() && line.fate != Fate::Control),
            rows: count(|line| line.fate == Fate::Row),
            tombstones: count(|line| line.fate == Fate::Tombstone),
            controls: count(|line| line.fate == Fate::Control),
            rejects: count(|line| line.fate == Fate::Reject),
            resends: count(|line| line.again.is_some()),
            unavailable: self.log.values().filter_map(unavailable).sum(),
            keys: self.last.len(),
        }
    }
}

impl Subject {
    /// A table of the workload: with declared columns on Postgres, with schemas in the messages on MariaDB, and with
    /// `before_image: full` where that is so.
    pub fn of(table: &Table, prefix: &str) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let columns = table.columns.iter();
        let declared = columns.map(|column| (column.name.to_owned(), column.declared.to_owned()));
        Self {
            topic: table.topic(prefix),
            columns: (table.dialect == Dialect::Postgres).then(|| declared.collect()),
            key: owned(&table.key),
            before_image_full: table.full_identity,
        }
    }

    fn description(&self) -> Value {
        let columns = self.columns.as_ref().map(|columns| {
            let column =
                |(name, declared): &(String, String)| json!({"name": name, "declared": declared});
            columns.iter().map(column).collect::<Vec<_>>()
        });
        json!({
            "columns": columns,
            "key": self.key,
            "before_image": if self.before_image_full { "full" } else { "key" },
        })
    }
}

fn line(said: &mut Value) -> Line {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let fate = match said["fate"].as_str() {
        Some("row") => Fate::Row,
        Some("tombstone") => Fate::Tombstone,
        Some("control") => Fate::Control,
        Some("reject") => Fate::Reject,
        Some("resend") => Fate::Resend,
        _ => panic!("the replayer says {said}"),
    };
    Line {
        place: place(said).expect("a line of the log has its place"),
        fate,
        op: text(&said["op"]),
        again: pair(&said["again"]),
        why: text(&said["why"]),
        column: text(&said["column"]),
        row: Some(said["row"].take()).filter(Value::is_object),
        key: said["key"].take(),
    }
}

fn last(said: &mut Value) -> Last {
    let names = said["unknown"].as_array().into_iter().flatten();
    Last {
        unknown: names.filter_map(Value::as_str).map(str::to_owned).collect(),
        place: pair(&said["place"]).expect("a row was written by an event"),
        row: said["row"].take(),
    }
}

fn pair(place: &Value) -> Option<Place> {
    Some((place[0].as_i64()?, place[1].as_i64()?))
}
