//! One random transaction: its statements, and what they do to the keys.

use super::counts::{Counts, Kind};
use super::model::{Effect, Key, Model};
use super::random::Random;
use super::signals;
use super::tables::{Column, Dialect, Table};
use super::values::{self, Range};

/// The rows that a transaction may touch, so that those which run side by side never wait for each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    pub(super) index: i64,
    pub(super) of: i64,
}

impl Lane {
    /// All rows.
    pub(super) const ALL: Self = Self { index: 0, of: 1 };

    fn has(self, key: &Key) -> bool {
        key.first()
            .is_some_and(|first| first.rem_euclid(self.of) == self.index)
    }
}

/// A transaction as it is thought out. Nothing of it has reached the server.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) random: &'a mut Random,
    pub(super) next_id: &'a mut i64,
    pub(super) range: Range,
    pub(super) lane: Lane,
    /// The keys after the statements so far.
    pub(super) model: Model,
    pub(super) statements: Vec<String>,
    pub(super) effects: Vec<(&'static str, Effect)>,
    pub(super) counts: Counts,
}

impl Draft<'_> {
    pub(super) fn push(&mut self, statement: String) {
        self.statements.push(statement);
    }

    pub(super) fn count(&mut self, kind: Kind) {
        self.counts.add(kind, 1);
    }

    fn effect(&mut self, table: &Table, effect: Effect) {
        self.model.apply(table.name, &effect);
        self.effects.push((table.name, effect));
    }

    fn added(&mut self, table: &Table, key: &Key) {
        self.effect(table, Effect::Add(key.clone(), 1));
    }

    fn removed(&mut self, table: &Table, key: &Key) {
        self.effect(table, Effect::Remove(key.clone(), None));
    }

    /// All rows of one key have another key now.
    fn moved(&mut self, table: &Table, from: &Key, to: &Key) {
        let rows = self.model.rows(table.name, from);
        self.effect(table, Effect::Remove(from.clone(), None));
        self.effect(table, Effect::Add(to.clone(), rows));
    }

    /// A number that no row of the lane has as the first column of its key: mostly the next one, now and then one that
    /// a float cannot tell from its neighbours, or a negative one.
    fn new_id(&mut self) -> i64 {
        loop {
            *self.next_id += 1;
            let id = match self.random.below(20) {
                0 => i64::MAX - *self.next_id,
                1 => -*self.next_id,
                _ => *self.next_id,
            };
            if id.rem_euclid(self.lane.of) == self.lane.index {
                return id;
            }
        }
    }

    fn new_key(&mut self, table: &Table) -> Key {
        if table.key.len() < 2 {
            return vec![self.new_id()];
        }
        // A further line of an order that is there, or the first of a new one.
        if let Some(near) = self.pick(table).filter(|_| self.random.chance(50)) {
            let line = near[1] + i64::try_from(self.random.below(9)).expect("a digit") + 1;
            let key = vec![near[0], line];
            if self.model.rows(table.name, &key) == 0 {
                return key;
            }
        }
        vec![self.new_id(), 1]
    }

    fn pick(&mut self, table: &Table) -> Option<Key> {
        self.pick_some(table, 1).pop()
    }

    /// Up to so many distinct keys of the lane.
    fn pick_some(&mut self, table: &Table, most: usize) -> Vec<Key> {
        let lane = self.lane;
        let mut keys: Vec<&Key> = self
            .model
            .keys(table.name)
            .map(|(key, _)| key)
            .filter(|key| lane.has(key))
            .collect();
        let mut picked = Vec::new();
        while picked.len() < most && !keys.is_empty() {
            picked.push(keys.swap_remove(self.random.below(keys.len())).clone());
        }
        picked
    }

    fn value(&mut self, table: &Table, column: &Column) -> String {
        let range = Range {
            ancient: self.range.ancient && !signals::is_snapshotted(table.name),
            ..self.range
        };
        values::literal(column, range, self.random)
    }

    /// The literals of a whole row.
    fn row(&mut self, table: &Table, key: &Key) -> String {
        let identity = table.identity();
        let mut cells = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let part = identity.iter().position(|name| *name == column.name);
            cells.push(match part {
                Some(at) => key[at].to_string(),
                None => self.value(table, column),
            });
        }
        format!("({})", cells.join(", "))
    }

    /// `column = value` for so many columns beside the key, at least one.
    fn assignments(&mut self, table: &Table, most: usize) -> String {
        let mut columns = table.values();
        let mut parts = Vec::new();
        while parts.len() < most && !columns.is_empty() {
            let column = columns.swap_remove(self.random.below(columns.len()));
            parts.push(format!("{} = {}", column.name, self.value(table, column)));
        }
        parts.join(", ")
    }

    /// Statements that begin a savepoint, and those that undo what came after.
    pub(super) fn undo(&mut self, inner: impl FnOnce(&mut Self)) {
        let (model, effects) = (self.model.clone(), self.effects.len());
        let counts = self.counts.clone();
        let name = format!("s{}", self.statements.len());
        self.push(format!("SAVEPOINT {name}"));
        inner(self);
        self.push(format!("ROLLBACK TO SAVEPOINT {name}"));
        self.model = model;
        self.effects.truncate(effects);
        self.counts = counts;
        self.count(Kind::Savepoint);
    }

    /// One random change of a table. Nothing, if it needs a row and there is none.
    pub(super) fn change(&mut self, table: &Table) {
        let crowded = self.model.len(table.name) > CROWD;
        if self.model.len(table.name) < FEW {
            self.insert_several(table);
        } else if crowded && self.random.chance(40) {
            self.delete(table, 12);
        } else if table.key.is_empty() {
            self.change_keyless(table);
        } else {
            self.change_keyed(table);
        }
    }

    fn change_keyed(&mut self, table: &Table) {
        match self.random.below(30) {
            0..=3 => self.insert(table),
            4..=5 => self.insert_several(table),
            6..=9 => self.update_some(table),
            10 => self.update_all(table),
            11 => self.update_nothing(table),
            12..=13 => self.update_several(table),
            14..=15 => self.update_beside_large(table),
            16..=17 => self.delete(table, 1),
            18 => self.delete(table, 6),
            19..=20 => self.change_key(table),
            21 => self.change_keys(table),
            22..=23 => self.swap_keys(table),
            24 => self.chain_keys(table),
            25 => self.delete_and_insert(table),
            26 => self.ephemeral(table),
            _ => self.upsert(table),
        }
    }

    fn change_keyless(&mut self, table: &Table) {
        match self.random.below(10) {
            0..=2 => self.insert_several(table),
            3..=4 => self.insert_equal(table),
            5..=6 => self.update_several(table),
            7 => self.delete_one_of_equal(table),
            8 => self.delete(table, 2),
            _ => self.change_key(table),
        }
    }

    pub(super) fn insert(&mut self, table: &Table) {
        let key = self.new_key(table);
        self.insert_key(table, &key);
        self.count(Kind::Insert);
    }

    fn insert_key(&mut self, table: &Table, key: &Key) {
        let row = self.row(table, key);
        self.push(format!("INSERT INTO {} VALUES {row}", table.qualified()));
        self.added(table, key);
    }

    fn insert_several(&mut self, table: &Table) {
        let rows = 2 + self.random.below(8);
        self.insert_rows(table, rows);
        self.count(Kind::InsertSeveral);
    }

    pub(super) fn insert_rows(&mut self, table: &Table, rows: usize) {
        let mut list = Vec::new();
        for _ in 0..rows {
            let key = self.new_key(table);
            list.push(self.row(table, &key));
            self.added(table, &key);
        }
        let rows = list.join(",\n");
        self.push(format!("INSERT INTO {} VALUES {rows}", table.qualified()));
    }

    /// Two rows that nothing tells apart.
    fn insert_equal(&mut self, table: &Table) {
        let key = self.new_key(table);
        let row = self.row(table, &key);
        self.push(format!(
            "INSERT INTO {} VALUES {row}, {row}",
            table.qualified()
        ));
        self.added(table, &key);
        self.added(table, &key);
        self.count(Kind::Duplicate);
    }

    fn update(&mut self, table: &Table, keys: &[Key], assignments: &str) {
        let condition = condition(table, keys);
        self.push(format!(
            "UPDATE {} SET {assignments} WHERE {condition}",
            table.qualified()
        ));
    }

    fn update_some(&mut self, table: &Table) {
        let Some(key) = self.pick(table) else { return };
        let most = 1 + self.random.below(3);
        let assignments = self.assignments(table, most);
        self.update(table, &[key], &assignments);
        self.count(Kind::UpdateSome);
    }

    fn update_all(&mut self, table: &Table) {
        let Some(key) = self.pick(table) else { return };
        let assignments = self.assignments(table, usize::MAX);
        self.update(table, &[key], &assignments);
        self.count(Kind::UpdateAll);
    }

    /// Postgres writes it to its log all the same, MariaDB does not.
    fn update_nothing(&mut self, table: &Table) {
        let Some(key) = self.pick(table) else { return };
        let names: Vec<String> = table
            .values()
            .iter()
            .map(|column| format!("{0} = {0}", column.name))
            .collect();
        let at = self.random.below(names.len());
        self.update(table, &[key], &names[at]);
        self.count(Kind::UpdateNothing);
    }

    fn update_several(&mut self, table: &Table) {
        let keys = self.pick_some(table, 7);
        if keys.is_empty() {
            return;
        }
        let assignments = self.assignments(table, 2);
        self.update(table, &keys, &assignments);
        self.count(Kind::UpdateSeveral);
    }

    /// Large values stay as they are: Postgres does not send them.
    fn update_beside_large(&mut self, table: &Table) {
        let small = table.without_large();
        let Some(small) = small else {
            return self.update_some(table);
        };
        let Some(key) = self.pick(table) else { return };
        let assignments = self.assignments(&small, 2);
        self.update(table, &[key], &assignments);
        self.count(Kind::BesideLarge);
    }

    pub(super) fn delete(&mut self, table: &Table, most: usize) {
        let keys = self.pick_some(table, most);
        if keys.is_empty() {
            return;
        }
        self.delete_keys(table, &keys);
        self.count(if most == 1 {
            Kind::Delete
        } else {
            Kind::DeleteSeveral
        });
    }

    fn delete_keys(&mut self, table: &Table, keys: &[Key]) {
        let condition = condition(table, keys);
        self.push(format!(
            "DELETE FROM {} WHERE {condition}",
            table.qualified()
        ));
        for key in keys {
            self.removed(table, key);
        }
    }

    /// Of rows that are equal in everything it does not matter which one goes.
    fn delete_one_of_equal(&mut self, table: &Table) {
        let Some(key) = self.pick(table) else { return };
        let (name, condition) = (
            table.qualified(),
            condition(table, std::slice::from_ref(&key)),
        );
        self.push(format!(
            "DELETE FROM {name} WHERE ctid = (SELECT ctid FROM {name} q WHERE {condition} \
             ORDER BY q::text COLLATE \"C\", ctid LIMIT 1)"
        ));
        self.effect(table, Effect::Remove(key, Some(1)));
        self.count(Kind::Delete);
    }

    fn set_key(&mut self, table: &Table, from: &Key, to: &Key, also: &str) {
        let assignments = format!("{}{also}", assign_key(table, to));
        self.update(table, std::slice::from_ref(from), &assignments);
        self.moved(table, from, to);
    }

    fn change_key(&mut self, table: &Table) {
        let Some(from) = self.pick(table) else { return };
        let to = self.new_key(table);
        let small = table.without_large();
        let also = match &small {
            Some(small) if self.random.chance(40) => {
                format!(", {}", self.assignments(small, 1))
            }
            _ => String::new(),
        };
        self.set_key(table, &from, &to, &also);
        self.count(if small.is_some() {
            Kind::KeyChangeBesideLarge
        } else {
            Kind::KeyChange
        });
    }

    /// One statement that changes several keys.
    fn change_keys(&mut self, table: &Table) {
        const BY: i64 = 1 << 40;
        let mut keys = self.pick_some(table, 5);
        let shift =
            BY * self.lane.of * (1 + i64::try_from(self.random.below(1000)).expect("small"));
        let shifted = |key: &Key| {
            let mut to = key.clone();
            to[0] = key[0].checked_add(shift)?;
            Some(to)
        };
        keys.retain(|key| shifted(key).is_some_and(|to| self.model.rows(table.name, &to) == 0));
        if keys.is_empty() {
            return;
        }
        let first = table.identity()[0];
        self.update(table, &keys, &format!("{first} = {first} + {shift}"));
        for key in &keys {
            if let Some(to) = shifted(key) {
                self.moved(table, key, &to);
            }
        }
        self.count(Kind::KeyChangeSeveral);
    }

    fn swap_keys(&mut self, table: &Table) {
        let keys = self.pick_some(table, 2);
        let [one, other] = keys.as_slice() else {
            return;
        };
        let between = vec![self.new_id(), 1][..one.len()].to_vec();
        self.set_key(table, one, &between, "");
        self.set_key(table, other, one, "");
        self.set_key(table, &between, other, "");
        self.count(Kind::KeySwap);
    }

    /// One row goes on to a new key in steps, another takes its place.
    fn chain_keys(&mut self, table: &Table) {
        let keys = self.pick_some(table, 2);
        let [one, other] = keys.as_slice() else {
            return;
        };
        let (first, second) = (
            self.new_key(table),
            vec![self.new_id(), 1][..one.len()].to_vec(),
        );
        self.set_key(table, one, &first, "");
        self.set_key(table, &first, &second, "");
        self.set_key(table, other, one, "");
        self.count(Kind::KeyChain);
    }

    fn delete_and_insert(&mut self, table: &Table) {
        let Some(key) = self.pick(table) else { return };
        self.delete_keys(table, std::slice::from_ref(&key));
        self.insert_key(table, &key);
        self.count(Kind::DeleteAndInsert);
    }

    fn ephemeral(&mut self, table: &Table) {
        let key = self.new_key(table);
        self.insert_key(table, &key);
        let assignments = self.assignments(table, 2);
        self.update(table, std::slice::from_ref(&key), &assignments);
        self.delete_keys(table, std::slice::from_ref(&key));
        self.count(Kind::Ephemeral);
    }

    fn upsert(&mut self, table: &Table) {
        let old = self.pick(table).filter(|_| self.random.chance(60));
        let key = match &old {
            Some(key) => key.clone(),
            None => self.new_key(table),
        };
        let row = self.row(table, &key);
        let names: Vec<&str> = table.values().iter().map(|column| column.name).collect();
        let clause = match self.range.dialect {
            Dialect::Postgres => {
                let sets = names.iter().map(|name| format!("{name} = EXCLUDED.{name}"));
                let sets: Vec<String> = sets.collect();
                format!(
                    "ON CONFLICT ({}) DO UPDATE SET {}",
                    table.key.join(", "),
                    sets.join(", ")
                )
            }
            Dialect::MariaDb => {
                let sets = names.iter().map(|name| format!("{name} = VALUES({name})"));
                let sets: Vec<String> = sets.collect();
                format!("ON DUPLICATE KEY UPDATE {}", sets.join(", "))
            }
        };
        self.push(format!(
            "INSERT INTO {} VALUES {row} {clause}",
            table.qualified()
        ));
        if old.is_some() {
            self.count(Kind::UpsertOld);
        } else {
            self.added(table, &key);
            self.count(Kind::UpsertNew);
        }
    }

    /// A row with one value that no lake type holds.
    pub(super) fn insert_oddity(&mut self, table: &Table) {
        let id = self.new_id();
        let columns = table.values();
        let column = columns[self.random.below(columns.len())];
        let value = self.value(table, column);
        self.push(format!(
            "INSERT INTO {} (id, {}) VALUES ({id}, {value})",
            table.qualified(),
            column.name
        ));
        self.count(Kind::Oddity);
    }

    /// Empties the table in one statement.
    pub(super) fn truncate(&mut self, table: &Table) {
        self.push(format!("TRUNCATE {}", table.qualified()));
        self.effect(table, Effect::Clear);
        self.count(Kind::Truncate);
    }

    /// Rows made by the server in one statement, from number `first` on.
    pub(super) fn bulk(&mut self, table: &Table, first: i64, rows: u32) {
        let last = first + i64::from(rows) - 1;
        let name = table.qualified();
        self.push(match self.range.dialect {
            Dialect::Postgres => format!(
                "INSERT INTO {name} SELECT g, g % 97, md5(g::text) || E' \\u00FC', (g % 1000000) * 1.01 - 5000 \
                 FROM generate_series({first}, {last}) g"
            ),
            Dialect::MariaDb => format!(
                "INSERT INTO {name} SELECT seq, seq % 97, concat(md5(seq), _utf8mb4 x'20C3BC'), \
                 (seq % 1000000) * 1.01 - 5000 FROM seq_{first}_to_{last}"
            ),
        });
        for id in first..=last {
            self.effect(table, Effect::Add(vec![id], 1));
        }
        self.counts.add(Kind::Bulk, rows.into());
    }

    /// Updates or deletes part of the rows that one statement made.
    pub(super) fn change_bulk(&mut self, table: &Table) {
        let Some(first) = self.pick(table) else {
            return;
        };
        let (first, rows) = (
            first[0],
            i64::try_from(self.random.below(300)).expect("small"),
        );
        let range = format!("BETWEEN {first} AND {}", first.saturating_add(rows));
        let name = table.qualified();
        if self.random.chance(70) {
            self.push(format!(
                "UPDATE {name} SET amount = amount + 0.01, part = part + 1 WHERE id {range}"
            ));
            self.count(Kind::BulkUpdate);
            return;
        }
        self.push(format!("DELETE FROM {name} WHERE id {range}"));
        let gone: Vec<Key> = (first..=first.saturating_add(rows))
            .map(|id| vec![id])
            .collect();
        for key in gone {
            if self.model.rows(table.name, &key) > 0 {
                self.removed(table, &key);
            }
        }
        self.count(Kind::BulkDelete);
    }
}

/// With fewer keys a table gets more first.
const FEW: usize = 12;
/// With more, rows go as fast as they come.
const CROWD: usize = 250;

fn condition(table: &Table, keys: &[Key]) -> String {
    let identity = table.identity();
    let written = |key: &Key| {
        let parts: Vec<String> = key.iter().map(ToString::to_string).collect();
        parts.join(", ")
    };
    match keys {
        [key] => {
            let parts = identity.iter().zip(key);
            let parts: Vec<String> = parts
                .map(|(name, part)| format!("{name} = {part}"))
                .collect();
            parts.join(" AND ")
        }
        _ => {
            let keys: Vec<String> = keys
                .iter()
                .map(|key| format!("({})", written(key)))
                .collect();
            format!("({}) IN ({})", identity.join(", "), keys.join(", "))
        }
    }
}

fn assign_key(table: &Table, key: &Key) -> String {
    let identity = table.identity();
    let parts = identity.iter().zip(key);
    let parts: Vec<String> = parts
        .map(|(name, part)| format!("{name} = {part}"))
        .collect();
    parts.join(", ")
}
