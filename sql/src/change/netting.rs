//! Finds what is left of the events of a batch: for each key its last row or its delete, and where the values come from
//! that the source did not send.
//!
//! Events are replayed in order, one by one, because nothing less is right: keys are swapped and chained within one
//! transaction, a deleted key comes back, a changed key takes an unsent value along from the row of its old key, and a
//! truncate stands between. No values are looked at here: a key is bytes, a column is a number.

use std::collections::HashMap;

use super::Op;

/// One event, as netting sees it.
#[derive(Debug, Clone, Copy)]
pub struct NetEvent<'a> {
    /// The operation. A tombstone is a [`Op::Delete`].
    pub op: Op,
    /// The key, encoded so that equal keys are equal bytes; empty for [`Op::Truncate`], which has none.
    pub key: &'a [u8],
    /// For the second half of a key change, the key that the row had before (`__debezium.oldkey`).
    pub old_key: Option<&'a [u8]>,
    /// For the first half of a key change, a delete whose row lives on under another key (`__debezium.newkey`).
    pub moves: bool,
    /// Columns whose value the source did not send, because it had not changed.
    pub unavailable: &'a [u32],
    /// The event may have been applied before, and the table is ahead of it: what it has under an old key may be another
    /// row by now. Events of one number follow one another in their source.
    pub again: Option<u32>,
}

/// Where a value that an event did not carry is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin<'a> {
    /// In the event of this index, which carries it.
    Event(usize),
    /// In the row that the table has under this key, before the batch.
    Table(&'a [u8]),
    /// Nowhere: the row that had it is gone, or was never seen.
    Unknown,
}

/// A value that the row's last event did not carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill<'a> {
    /// The column.
    pub column: u32,
    /// Where its value is.
    pub from: Origin<'a>,
}

/// A row that there must be after the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetRow<'a> {
    /// The index of the last event of its key.
    pub event: usize,
    /// The values which that event did not carry, in order of columns as it names them.
    pub fills: Vec<Fill<'a>>,
}

/// What is left of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Netted<'a> {
    /// The table is emptied first.
    pub truncate: bool,
    /// Rows that there must be afterwards, in order of their events: one for each living key.
    pub rows: Vec<NetRow<'a>>,
    /// Events after which their key is gone, in order: one for each dead key. None of a key in `rows`.
    pub deletes: Vec<usize>,
}

/// What is known of a key's row at some event.
#[derive(Debug, Clone)]
enum State<'a> {
    /// Nothing was said of it yet: it is what the table has, if it has it.
    Untouched,
    Row(NetRow<'a>),
    /// Gone since this event.
    Gone(usize),
}

/// Nets `events`, which are in the order of their log. Where they come from several logs (partitions), events of one key
/// must come from one.
pub fn net<'a>(events: impl IntoIterator<Item = NetEvent<'a>>) -> Netted<'a> {
    let mut replay = Replay::default();
    for (index, event) in events.into_iter().enumerate() {
        replay.take(index, event);
    }
    replay.finish()
}

#[derive(Debug, Default)]
struct Replay<'a> {
    truncate: bool,
    keys: HashMap<&'a [u8], State<'a>>,
    /// By old key, rows that are between the halves of a key change.
    moving: HashMap<&'a [u8], State<'a>>,
    /// By event, which of them are applied again.
    again: HashMap<usize, u32>,
}

impl<'a> Replay<'a> {
    fn take(&mut self, index: usize, event: NetEvent<'a>) {
        if let Some(pass) = event.again {
            self.again.insert(index, pass);
        }
        match event.op {
            Op::Truncate => {
                self.truncate = true;
                self.keys.clear();
                self.moving.clear();
            }
            Op::Delete => {
                let before = self.keys.insert(event.key, State::Gone(index));
                let before = before.unwrap_or_else(|| self.unseen());
                // The tombstone that follows the delete finds nothing, and must not take that for the row.
                if event.moves && !matches!(before, State::Gone(_)) {
                    self.moving.insert(event.key, before);
                }
            }
            Op::Create | Op::Read | Op::Update if self.has_no_row(&event) => {}
            Op::Create | Op::Read | Op::Update => {
                let row = self.row(index, event);
                self.keys.insert(event.key, State::Row(row));
            }
        }
    }

    /// Whether `event` is sent again and updates a part of a row that is gone by now: a later event that is sent again,
    /// too, takes the row away or has all of its values.
    fn has_no_row(&self, event: &NetEvent<'a>) -> bool {
        if event.again.is_none() || event.old_key.is_some() || event.unavailable.is_empty() {
            return false;
        }
        match self.keys.get(event.key) {
            Some(state) => matches!(state, State::Gone(_)),
            None => self.truncate,
        }
    }

    fn row(&mut self, index: usize, event: NetEvent<'a>) -> NetRow<'a> {
        // A move that was seen is over now, whether or not values are missing.
        let moved = event.old_key.map(|key| (key, self.moving.remove(key)));
        if event.unavailable.is_empty() {
            return NetRow {
                event: index,
                fills: Vec::new(),
            };
        }
        let unseen = self.unseen();
        let (key, before) = match &moved {
            Some((key, Some(before))) => (*key, before),
            // The delete of the old key is in another batch or partition. What the table has under the old key by
            // now may be another row.
            Some((key, None)) => (*key, &State::Gone(index)),
            None => (event.key, self.keys.get(event.key).unwrap_or(&unseen)),
        };
        let moves_again = event.again.filter(|_| event.old_key.is_some());
        let fill = |column: &u32| {
            let from = origin(key, before, *column);
            let is_of_then = moves_again.is_none_or(|pass| match from {
                // Sent again, too: the row of then has it.
                Origin::Event(event) => self.again.get(&event) == Some(&pass),
                Origin::Table(_) | Origin::Unknown => false,
            });
            Fill {
                column: *column,
                from: if is_of_then { from } else { Origin::Unknown },
            }
        };
        NetRow {
            event: index,
            fills: event.unavailable.iter().map(fill).collect(),
        }
    }

    /// The state of a key that no event named since the last truncate.
    fn unseen(&self) -> State<'a> {
        if self.truncate {
            State::Gone(0)
        } else {
            State::Untouched
        }
    }

    fn finish(self) -> Netted<'a> {
        let (mut rows, mut deletes) = (Vec::new(), Vec::new());
        for state in self.keys.into_values() {
            match state {
                State::Row(row) => rows.push(row),
                // An emptied table has nothing left to delete.
                State::Gone(event) if !self.truncate => deletes.push(event),
                State::Gone(_) | State::Untouched => {}
            }
        }
        rows.sort_unstable_by_key(|row| row.event);
        deletes.sort_unstable();
        Netted {
            truncate: self.truncate,
            rows,
            deletes,
        }
    }
}

/// Where the value of `column` is, of the row that `key` had in state `before`.
fn origin<'a>(key: &'a [u8], before: &State<'a>, column: u32) -> Origin<'a> {
    match before {
        State::Untouched => Origin::Table(key),
        State::Gone(_) => Origin::Unknown,
        State::Row(row) => match row.fills.iter().find(|fill| fill.column == column) {
            Some(fill) => fill.from,
            None => Origin::Event(row.event),
        },
    }
}
