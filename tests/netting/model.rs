//! A source that does anything, its events, and a table that is kept equal by net changes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sql::change::{NetEvent, Op, Origin, net};

const SMALL: usize = 0;
const BIG: usize = 1;
const UNSENT: [u32; 1] = [1];

/// Two columns; the second is not sent when it did not change.
type Row = [u32; 2];
type Table = BTreeMap<[u8; 1], Row>;

/// What a client does to the source.
#[derive(Debug, Clone)]
enum Step {
    Insert(u8, Row),
    UpdateSmall(u8, u32),
    UpdateBoth(u8, Row),
    Delete(u8),
    Move(u8, u8),
    Swap(u8, u8),
    Truncate,
}

/// An event and the values that it carries.
#[derive(Debug, Clone)]
struct Sent {
    op: Op,
    key: [u8; 1],
    old_key: Option<[u8; 1]>,
    moves: bool,
    unsent: bool,
    row: Row,
    /// No batch ends after this event: the other half of a key change follows.
    holds: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..6_u8;
    let row = prop::array::uniform2(any::<u32>());
    let step = prop_oneof![
        4 => (key.clone(), row).prop_map(|(k, r)| Step::Insert(k, r)),
        4 => (key.clone(), any::<u32>()).prop_map(|(k, v)| Step::UpdateSmall(k, v)),
        2 => (key.clone(), row).prop_map(|(k, r)| Step::UpdateBoth(k, r)),
        2 => key.clone().prop_map(Step::Delete),
        3 => (key.clone(), key.clone()).prop_map(|(a, b)| Step::Move(a, b)),
        2 => (key.clone(), key).prop_map(|(a, b)| Step::Swap(a, b)),
        1 => Just(Step::Truncate),
    ];
    prop::collection::vec(step, 0..60)
}

/// The source's table and what it sent.
#[derive(Default)]
struct Source {
    table: Table,
    sent: Vec<Sent>,
}

impl Source {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Insert(key, row) => {
                if self.table.insert([key], row).is_none() {
                    self.send(Op::Create, key, row, false);
                } else {
                    self.send(Op::Update, key, row, false);
                }
            }
            Step::UpdateSmall(key, value) => {
                if let Some(row) = self.table.get_mut(&[key]) {
                    row[SMALL] = value;
                    let row = *row;
                    self.send(Op::Update, key, row, true);
                }
            }
            Step::UpdateBoth(key, row) => {
                if let Some(found) = self.table.get_mut(&[key]) {
                    *found = row;
                    self.send(Op::Update, key, row, false);
                }
            }
            Step::Delete(key) => {
                if self.table.remove(&[key]).is_some() {
                    self.send(Op::Delete, key, [0; 2], false);
                    self.send(Op::Delete, key, [0; 2], false);
                }
            }
            Step::Move(from, to) => self.rekey(from, to),
            Step::Swap(one, other) => {
                let free = 99;
                self.rekey(one, free);
                self.rekey(other, one);
                self.rekey(free, other);
            }
            Step::Truncate => {
                self.table.clear();
                self.send(Op::Truncate, 0, [0; 2], false);
            }
        }
    }

    fn rekey(&mut self, from: u8, to: u8) {
        if self.table.contains_key(&[to]) {
            return;
        }
        let Some(row) = self.table.remove(&[from]) else {
            return;
        };
        self.table.insert([to], row);
        for _ in 0..2 {
            self.send(Op::Delete, from, [0; 2], false);
            let half = self.sent.last_mut().unwrap();
            (half.moves, half.holds) = (true, true);
        }
        self.send(Op::Create, to, row, true);
        self.sent.last_mut().unwrap().old_key = Some([from]);
    }

    fn send(&mut self, op: Op, key: u8, mut row: Row, unsent: bool) {
        if unsent {
            row[BIG] = u32::MAX;
        }
        self.sent.push(Sent {
            op,
            key: [key],
            old_key: None,
            moves: false,
            unsent,
            row,
            holds: false,
        });
    }
}

/// Applies a batch; panics where a value is nowhere, which cannot be when batches are cut between changes.
fn apply(table: &mut Table, batch: &[Sent]) {
    let events = batch.iter().map(|sent| NetEvent {
        op: sent.op,
        key: &sent.key,
        old_key: sent.old_key.as_ref().map(|key| &key[..]),
        moves: sent.moves,
        unavailable: if sent.unsent { &UNSENT } else { &[] },
        again: None,
    });
    let netted = net(events);
    let mut rows = Table::new();
    for row in &netted.rows {
        let last = &batch[row.event];
        let mut values = last.row;
        for fill in &row.fills {
            values[fill.column as usize] = match fill.from {
                Origin::Event(event) => batch[event].row[fill.column as usize],
                Origin::Table(key) => table[key][fill.column as usize],
                Origin::Unknown => panic!("{:?} has a value that is nowhere", last.key),
            };
        }
        assert!(rows.insert(last.key, values).is_none(), "a key twice");
    }
    for event in &netted.deletes {
        assert!(
            !rows.contains_key(&batch[*event].key),
            "written and deleted"
        );
        table.remove(&batch[*event].key);
    }
    if netted.truncate {
        table.clear();
    }
    table.extend(rows);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_table_equals_the_source_wherever_batches_are_cut(
        steps in steps(),
        lengths in prop::collection::vec(1..9_usize, 1..60),
    ) {
        let mut source = Source::default();
        for step in &steps {
            source.take(step);
        }
        let (mut table, mut rest) = (Table::new(), &source.sent[..]);
        let mut lengths = lengths.iter().cycle();
        while !rest.is_empty() {
            let wanted = lengths.next().copied().unwrap_or(1).min(rest.len());
            let mut end = wanted;
            while rest[end - 1].holds {
                end += 1;
            }
            let (batch, later) = rest.split_at(end);
            apply(&mut table, batch);
            rest = later;
        }
        prop_assert_eq!(table, source.table);
    }
}
