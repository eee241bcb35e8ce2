//! The traffic itself: transactions thought out at random, run one after another or side by side.

use std::collections::VecDeque;
use std::sync::Arc;

use super::counts::{Counts, Kind};
use super::model::{Effect, Model};
use super::random::Random;
use super::signals;
use super::tables::{Dialect, MARIADB_DATABASE, Table, tables};
use super::transaction::{Draft, Lane};
use super::values::Range;
use crate::sql::{LOST, Session, Sql};

/// Transactions that run side by side, at most.
const SESSIONS: usize = 4;
/// Statements that [`Workload::trace`] remembers.
const TRACE: usize = 200;

/// What a workload does beside the ordinary.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Several transactions at a time, which commit in another order than they begin in.
    pub interleave: bool,
    /// Incremental snapshots by the signal table; captures need [`connector_options`](super::connector_options).
    pub incremental: bool,
    /// Days before 1582 in tables that no incremental snapshot reads: Debezium's snapshots shift them by the difference
    /// of the calendars. For traffic that begins after the first snapshot only.
    pub ancient: bool,
    /// `TRUNCATE`, which MariaDB's connector does not send.
    pub truncate: bool,
    /// Rows in the table of values that no lake type holds (Postgres).
    pub oddities: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interleave: true,
            incremental: true,
            ancient: true,
            truncate: false,
            oddities: false,
        }
    }
}

/// One database's traffic. The same seed gives the same statements in the same order.
pub struct Workload {
    dialect: Dialect,
    seed: u64,
    options: Options,
    sql: Arc<dyn Sql>,
    sessions: Vec<Option<Box<dyn Session>>>,
    tables: Vec<Table>,
    random: Random,
    next_id: i64,
    signals: u32,
    model: Model,
    counts: Counts,
    refusals: Vec<String>,
    trace: VecDeque<String>,
}

/// A transaction on its way.
struct Running {
    session: usize,
    statements: VecDeque<String>,
    effects: Vec<(&'static str, Effect)>,
    counts: Counts,
    keep: bool,
}

impl Workload {
    /// Traffic for the database behind `sql`, with the default options. Prints the seed.
    pub fn new(dialect: Dialect, seed: u64, sql: Arc<dyn Sql>) -> Self {
        Self::with(dialect, seed, sql, Options::default())
    }

    /// Traffic with other options.
    pub fn with(dialect: Dialect, seed: u64, sql: Arc<dyn Sql>, options: Options) -> Self {
        println!("workload on {dialect:?}: seed {seed}, {options:?}");
        Self {
            dialect,
            seed,
            options,
            sql,
            sessions: (0..SESSIONS).map(|_| None).collect(),
            tables: tables(dialect),
            random: Random::new(seed),
            next_id: 0,
            signals: 0,
            model: Model::default(),
            counts: Counts::default(),
            refusals: Vec::new(),
            trace: VecDeque::new(),
        }
    }

    /// Makes the tables and the signal table, all empty.
    ///
    /// # Panics
    /// If the server refuses, as when they are there.
    pub fn create(&self) {
        let mut statements = Vec::new();
        if self.dialect == Dialect::MariaDb {
            statements.push(format!("CREATE DATABASE IF NOT EXISTS {MARIADB_DATABASE};"));
        }
        statements.extend(self.tables.iter().map(Table::create));
        if self.dialect == Dialect::Postgres {
            statements.push(Table::oddities().create());
        }
        statements.push(signals::create(self.dialect));
        self.sql.execute(&statements.join("\n"));
    }

    /// Puts `rows` rows into each table, for a connector's first snapshot to find.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn snapshot_rows(&mut self, rows: u32) {
        let tables = self.tables.clone();
        let mut draft = self.draft(Lane::ALL);
        draft.range.ancient = false;
        for table in &tables {
            if table.name == BULK {
                let first = *draft.next_id + 1;
                *draft.next_id += i64::from(rows);
                draft.bulk(table, first, rows);
                continue;
            }
            let mut left = usize::try_from(rows).expect("a small number");
            while left > 0 {
                let some = left.min(50);
                draft.insert_rows(table, some);
                left -= some;
            }
        }
        // Not traffic: what is counted is what comes after.
        let (statements, effects) = (draft.statements, draft.effects);
        self.sql.execute(&format!("{};", statements.join(";\n")));
        self.commit(&effects, &Counts::default());
    }

    /// One random transaction, or several that run side by side, or something rare. What the server refuses is rolled
    /// back and goes to [`refusals`](Self::refusals).
    ///
    /// # Panics
    /// If the server is gone and does not come back.
    pub fn step(&mut self) {
        let options = self.options;
        match self.random.below(100) {
            0..=17 if options.interleave => self.interleaved(),
            18..=19 if options.incremental => self.incremental_snapshot(),
            20 if options.truncate => self.truncate(),
            21..=22 if options.oddities => self.oddity(),
            23..=26 => self.change_bulk(),
            _ => self.transaction(),
        }
    }

    /// One transaction of so many rows, made by one statement.
    pub fn bulk(&mut self, rows: u32) {
        let table = self.table(BULK);
        let first = self.next_id + 1;
        self.next_id += i64::from(rows);
        let mut draft = self.draft(Lane::ALL);
        draft.bulk(&table, first, rows);
        let running = Running::of(draft, 0, true);
        self.run(vec![running]);
    }

    /// Asks for an incremental snapshot of one of the tables that have a key. Needs
    /// [`connector_options`](super::connector_options).
    pub fn incremental_snapshot(&mut self) {
        self.signals += 1;
        let statement = signals::snapshot(self.dialect, self.signals, &mut self.random);
        let mut draft = self.draft(Lane::ALL);
        draft.push(statement);
        draft.count(Kind::IncrementalSnapshot);
        let running = Running::of(draft, 0, true);
        self.run(vec![running]);
    }

    /// What was done, by kind.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The keys that the database must hold now.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What the server said of the transactions that it refused.
    pub fn refusals(&self) -> &[String] {
        &self.refusals
    }

    /// The last statements, each with the number of its session: what to look at when something is wrong.
    pub fn trace(&self) -> impl Iterator<Item = &str> {
        self.trace.iter().map(String::as_str)
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    fn table(&self, name: &str) -> Table {
        let found = self.tables.iter().find(|table| table.name == name);
        found.expect("one of the tables").clone()
    }

    fn draft(&mut self, lane: Lane) -> Draft<'_> {
        Draft {
            range: Range {
                dialect: self.dialect,
                ancient: self.options.ancient,
            },
            model: self.model.clone(),
            random: &mut self.random,
            next_id: &mut self.next_id,
            lane,
            statements: Vec::new(),
            effects: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn transaction(&mut self) {
        let running = self.think(0, Lane::ALL);
        self.run(vec![running]);
    }

    fn interleaved(&mut self) {
        let lanes = 2 + self.random.below(SESSIONS - 1);
        let of = i64::try_from(lanes).expect("a small number");
        let mut running = Vec::new();
        for (session, index) in (0..of).enumerate() {
            let mut one = self.think(session, Lane { index, of });
            one.counts.add(Kind::Interleaved, 1);
            running.push(one);
        }
        self.run(running);
    }

    /// A random transaction over the rows of the lane.
    fn think(&mut self, session: usize, lane: Lane) -> Running {
        let mut tables = self.tables.clone();
        tables.retain(|table| table.name != BULK);
        let mut draft = self.draft(lane);
        let changes = if draft.random.chance(5) {
            15
        } else {
            1 + draft.random.below(4)
        };
        for _ in 0..changes {
            let table = &tables[draft.random.below(tables.len())];
            if draft.random.chance(8) {
                draft.undo(|draft| {
                    draft.change(table);
                    draft.change(table);
                });
            } else {
                draft.change(table);
            }
        }
        let keep = !draft.random.chance(8);
        Running::of(draft, session, keep)
    }

    fn truncate(&mut self) {
        let names: &[&str] = match self.dialect {
            Dialect::Postgres => &["customers", "order_items", "docs", "notes"],
            Dialect::MariaDb => &["customers", "order_items", "docs"],
        };
        // A truncate does not take rows out of the window of an incremental snapshot: Debezium sends them after it.
        let both = |name: &&&str| self.options.incremental && signals::is_snapshotted(name);
        let names: Vec<&str> = names.iter().filter(|name| !both(name)).copied().collect();
        if names.is_empty() {
            return;
        }
        let name = *self.random.one(&names);
        let table = self.table(name);
        let mut draft = self.draft(Lane::ALL);
        draft.truncate(&table);
        let running = Running::of(draft, 0, true);
        self.run(vec![running]);
    }

    fn oddity(&mut self) {
        if self.dialect == Dialect::MariaDb {
            return self.transaction();
        }
        let mut draft = self.draft(Lane::ALL);
        draft.insert_oddity(&Table::oddities());
        let running = Running::of(draft, 0, true);
        self.run(vec![running]);
    }

    fn change_bulk(&mut self) {
        let table = self.table(BULK);
        let mut draft = self.draft(Lane::ALL);
        draft.change_bulk(&table);
        let running = Running::of(draft, 0, true);
        self.run(vec![running]);
    }

    /// Runs transactions side by side, a statement of a random one at a time.
    fn run(&mut self, running: Vec<Running>) {
        let mut open = Vec::new();
        // All begin before any goes on: which one commits first is chance.
        for mut one in running {
            one.statements.push_front("BEGIN".to_owned());
            if self.forward(&mut one) {
                open.push(one);
            }
        }
        while !open.is_empty() {
            let at = self.random.below(open.len());
            if !self.forward(&mut open[at]) {
                open.swap_remove(at);
            }
        }
    }

    /// The next statement of a transaction, or its end. False: it has ended.
    fn forward(&mut self, running: &mut Running) -> bool {
        if let Some(statement) = running.statements.pop_front() {
            let Err(said) = self.send(running.session, &statement) else {
                return true;
            };
            self.refuse(running.session, &statement, said);
            return false;
        }
        if !running.keep {
            if let Err(said) = self.send(running.session, "ROLLBACK") {
                self.refuse(running.session, "ROLLBACK", said);
            }
            self.counts.add(Kind::Rollback, 1);
            return false;
        }
        match self.send(running.session, "COMMIT") {
            Ok(()) => {
                self.commit(&running.effects, &running.counts);
                self.counts.add(Kind::Commit, 1);
            }
            Err(said) => {
                self.refuse(running.session, "COMMIT", said);
                // It may have been committed all the same.
                self.model = Model::read(&self.tables, &*self.sql);
            }
        }
        false
    }

    fn send(&mut self, session: usize, statement: &str) -> Result<(), String> {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{session}: {statement};"));
        if self.sessions[session].is_none() {
            let mut fresh = self.sql.session();
            if self.dialect == Dialect::MariaDb {
                // No locks on gaps: transactions on other rows do not wait.
                fresh.send("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")?;
            }
            self.sessions[session] = Some(fresh);
        }
        match &mut self.sessions[session] {
            Some(open) => open.send(statement),
            None => Err(LOST.to_owned()),
        }
    }

    fn refuse(&mut self, session: usize, statement: &str, said: String) {
        if said.starts_with(LOST) || self.send(session, "ROLLBACK").is_err() {
            self.sessions[session] = None;
        }
        self.counts.add(Kind::Refused, 1);
        self.refusals.push(format!("{said}\n{statement}"));
    }

    fn commit(&mut self, effects: &[(&'static str, Effect)], counts: &Counts) {
        for (table, effect) in effects {
            self.model.apply(table, effect);
        }
        self.counts.add_all(counts);
    }
}

impl Running {
    fn of(draft: Draft<'_>, session: usize, keep: bool) -> Self {
        Self {
            session,
            statements: draft.statements.into(),
            effects: draft.effects,
            counts: draft.counts,
            keep,
        }
    }
}

const BULK: &str = "bulk";
