//! Where an envelope's event comes from: the parts of its `source` block that tell it from every other event.
//! [`crate::resend`] says which parts, and why.

use sql::change::{Mark, Op};

use super::fault::Step;
use super::layout::Layout;
use super::scan::Cursor;
use super::top::unquoted;
use crate::format::RawMessage;
use crate::resend::{Numbered, Origin, hash64, hash128};

const FIELDS: [&str; 14] = [
    "connector",
    "name",
    "snapshot",
    "db",
    "schema",
    "table",
    "txId",
    "lsn",
    "sequence",
    "server_id",
    "gtid",
    "file",
    "pos",
    "row",
];

const CONNECTOR: usize = 0;
const NAME: usize = 1;
const SNAPSHOT: usize = 2;
const DB: usize = 3;
const SCHEMA: usize = 4;
const TABLE: usize = 5;
const TX_ID: usize = 6;
const LSN: usize = 7;
const SEQUENCE: usize = 8;
const SERVER_ID: usize = 9;
const GTID: usize = 10;
const FILE: usize = 11;
const POS: usize = 12;
const ROW: usize = 13;

/// The header that tells one run of a connector from the next.
const RUN: &str = "__debezium.context.runId";

/// What is known of where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nobody asked, or the message has no `source` with a position.
    Nothing,
    /// A snapshot's row: it has no place in the source's log.
    Snapshot,
    /// The event's origin.
    Origin(Origin),
}

/// An event's parts beside its `source`, as text.
pub(super) struct EventParts<'e> {
    pub(super) op: Op,
    pub(super) before: Option<&'e [u8]>,
    pub(super) after: Option<&'e [u8]>,
    pub(super) commit_micros: Option<i64>,
}

/// Reads `source` blocks for their positions.
#[derive(Debug)]
pub(super) struct OriginReader {
    layout: Layout,
    /// What is hashed; kept for its memory.
    bytes: Vec<u8>,
}

/// The text of each of [`FIELDS`].
type Found<'s> = [Option<&'s [u8]>; FIELDS.len()];

impl OriginReader {
    pub(super) fn new() -> Self {
        Self {
            layout: Layout::new(FIELDS),
            bytes: Vec::new(),
        }
    }

    /// The origin of an event with this `source`.
    pub(super) fn read(
        &mut self,
        source: Option<&[u8]>,
        message: &RawMessage<'_>,
        event: &EventParts<'_>,
    ) -> Step<Known> {
        if event.op == Op::Read {
            return Ok(Known::Snapshot);
        }
        let Some(source) = source.filter(|source| source.starts_with(b"{")) else {
            return Ok(Known::Nothing);
        };
        let mut found: Found<'_> = [None; FIELDS.len()];
        self.layout.walk(&mut Cursor::new(source), |slot, cursor| {
            let value = cursor.value()?;
            if let Some(place) = found.get_mut(slot) {
                *place = Some(value).filter(|value| *value != b"null");
            }
            Ok(())
        })?;
        if event.op == Op::Create && is_snapshot(&found) {
            return Ok(Known::Snapshot);
        }
        let run = run(message);
        Ok(match found[CONNECTOR].map(unquoted) {
            Some(b"postgresql") => self.postgres(&found, message, event, run),
            Some(b"mysql" | b"mariadb") => self.binlog(&found, message, event, run),
            _ => self.any(source, message, event, run),
        })
    }

    fn postgres(
        &mut self,
        found: &Found<'_>,
        message: &RawMessage<'_>,
        event: &EventParts<'_>,
        run: u64,
    ) -> Known {
        let Some(lsn) = found[LSN].and_then(number) else {
            return Known::Nothing;
        };
        self.start(b"postgresql");
        self.part(found[NAME]);
        let log = hash64(&self.bytes);
        self.parts(found, &[TX_ID, LSN]);
        let place = hash64(&self.bytes);
        self.parts(found, &[DB, SCHEMA, TABLE]);
        self.part(Some(event.op.letter().as_bytes()));
        self.part(message.key);
        self.bytes
            .extend(event.commit_micros.unwrap_or(i64::MIN).to_le_bytes());
        // Only COPY and its like change several rows at one position.
        let numbered = if event.op == Op::Create {
            self.part(event.after);
            match message.key {
                Some(_) => Numbered::InOneRun,
                None => Numbered::UnlessOtherRun,
            }
        } else {
            Numbered::Never
        };
        let commit = found[SEQUENCE].and_then(last_commit);
        Known::Origin(Origin {
            identity: hash128(&self.bytes),
            place,
            run,
            numbered,
            mark: commit.map(|commit| (log, Mark::Lsn { commit, lsn })),
            first: commit.is_none().then_some((log, lsn)),
            commit_micros: event.commit_micros,
        })
    }

    fn binlog(
        &mut self,
        found: &Found<'_>,
        message: &RawMessage<'_>,
        event: &EventParts<'_>,
        run: u64,
    ) -> Known {
        let (Some(file), Some(position)) = (found[FILE], found[POS].and_then(number)) else {
            return Known::Nothing;
        };
        self.start(found[CONNECTOR].unwrap_or_default());
        self.parts(found, &[NAME, SERVER_ID]);
        self.part(found[GTID].or(Some(file)));
        self.part(found[POS]);
        let place = hash64(&self.bytes);
        self.parts(found, &[ROW, DB, TABLE]);
        self.part(Some(event.op.letter().as_bytes()));
        self.part(message.key);
        // Seconds: the binlog's own resolution.
        let second = event
            .commit_micros
            .map(|micros| micros.div_euclid(1_000_000));
        self.bytes.extend(second.unwrap_or(i64::MIN).to_le_bytes());
        self.part(event.before);
        self.part(event.after);
        let identity = hash128(&self.bytes);
        let mark = numbered_file(unquoted(file)).map(|(base, file)| {
            self.start(b"binlog");
            self.part(found[NAME]);
            self.part(Some(base));
            let row = found[ROW].and_then(number).unwrap_or(0);
            let mark = Mark::Binlog {
                file,
                position,
                row,
            };
            (hash64(&self.bytes), mark)
        });
        // Each row of a binlog event has its number. A connector that lost its connection reads the last event again in
        // the same run, right after the first time: equal events are the same one.
        let numbered = match found[ROW] {
            Some(_) => Numbered::Never,
            None => Numbered::InOneRun,
        };
        Known::Origin(Origin {
            identity,
            place,
            run,
            numbered,
            mark,
            first: None,
            commit_micros: event.commit_micros,
        })
    }

    /// An event of a connector whose positions are not known here.
    fn any(
        &mut self,
        source: &[u8],
        message: &RawMessage<'_>,
        event: &EventParts<'_>,
        run: u64,
    ) -> Known {
        self.start(b"any");
        self.part(Some(source));
        let place = hash64(&self.bytes);
        self.part(Some(event.op.letter().as_bytes()));
        self.part(message.key);
        self.part(event.before);
        self.part(event.after);
        Known::Origin(Origin {
            identity: hash128(&self.bytes),
            place,
            run,
            numbered: Numbered::UnlessOtherRun,
            mark: None,
            first: None,
            commit_micros: event.commit_micros,
        })
    }

    fn start(&mut self, kind: &[u8]) {
        self.bytes.clear();
        self.part(Some(kind));
    }

    fn parts(&mut self, found: &Found<'_>, fields: &[usize]) {
        for field in fields {
            self.part(found.get(*field).copied().flatten());
        }
    }

    /// Adds a part so that no two lists of parts are the same bytes.
    fn part(&mut self, part: Option<&[u8]>) {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend_from_slice(part.unwrap_or_default());
    }
}

/// Whether an insert is a snapshot's row, as connectors before 1.0 sent them.
///
/// `snapshot` alone does not say so: PostgreSQL's connector, killed while an incremental snapshot was being read, marks what it
/// streams afterwards `"true"` until that snapshot goes on. But what comes out of the log has a place in it.
fn is_snapshot(found: &Found<'_>) -> bool {
    if found[SNAPSHOT].is_none_or(|snapshot| unquoted(snapshot) == b"false") {
        return false;
    }
    match found[CONNECTOR].map(unquoted) {
        Some(b"postgresql") => found[SEQUENCE].and_then(last_commit).is_none(),
        Some(b"mysql" | b"mariadb") => found[SERVER_ID].and_then(number).unwrap_or(0) == 0,
        _ => true,
    }
}

/// The hash of a Kafka key, for tombstones.
pub(super) fn key_hash(key: &[u8]) -> u128 {
    hash128(key)
}

fn run(message: &RawMessage<'_>) -> u64 {
    let mut headers = message.headers.iter();
    let value = headers.find_map(|(name, value)| value.filter(|_| *name == RUN));
    value.map_or(0, |value| hash64(value).max(1))
}

fn number(raw: &[u8]) -> Option<u64> {
    std::str::from_utf8(unquoted(raw)).ok()?.parse().ok()
}

/// The first element of `"[\"63857872\",\"63857872\"]"`: a list in a string. `None` if it is null: the connector has not seen
/// a commit yet, and says nothing of the order.
fn last_commit(sequence: &[u8]) -> Option<u64> {
    let text = unquoted(sequence).strip_prefix(b"[")?;
    let first = text.split(|byte| *byte == b',').next()?;
    let digits: Vec<u8> = first
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\\' | b'"' | b' '))
        .collect();
    number(&digits)
}

/// `mysql-bin.000012` as its base and number.
fn numbered_file(file: &[u8]) -> Option<(&[u8], u64)> {
    let dot = file.iter().rposition(|byte| *byte == b'.')?;
    let (base, digits) = file.split_at(dot);
    Some((base, number(digits.get(1..)?)?))
}
