//! The end of a run: every table against the reference and against the database that it comes from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use tests::capture::{self, Record};
use tests::judge::{self, Case, Complaint, Figures, Resends, Subject};
use tests::python::{Reader, Readers};
use tests::workload::Table;

use super::connectors::prefix;
use super::job::{Captured, DIALECTS, Job, short};
use super::stage::Stage;

/// What was found, all tables together.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// By database.
    pub(super) databases: BTreeMap<&'static str, Sent>,
    /// Rows in our tables, by what they do with re-sent events.
    pub(super) rows: BTreeMap<&'static str, usize>,
    /// Events without a row.
    pub(super) lost: usize,
    /// Records that are in a table more than once.
    pub(super) doubled: usize,
    /// Records in quarantines.
    pub(super) rejects: usize,
    /// Tables that were judged.
    pub(super) tables: usize,
    /// Commits of all tables.
    pub(super) commits: u64,
    /// Files under the warehouse and their bytes.
    pub(super) files: (u64, u64),
    complaints: Vec<Complaint>,
}

/// What the connector of a database sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Events by Debezium's letter, re-sent ones included.
    pub(super) events: BTreeMap<String, usize>,
    /// Null values.
    pub(super) tombstones: usize,
    /// Events that were sent again.
    pub(super) resends: usize,
    /// Rows of its tables at the end.
    pub(super) rows: usize,
}

/// Tables that are judged side by side.
const SIDE_BY_SIDE: usize = 2;

/// Judges every table.
pub(super) fn judge(stage: &Stage, readers: &Readers) -> Verdict {
    let captures = stage.captures();
    let next = AtomicUsize::new(0);
    let some_of_them = || {
        let mut verdict = Verdict::default();
        while let Some(captured) = stage.captured.get(next.fetch_add(1, Ordering::Relaxed)) {
            verdict.topic(stage, readers, captured, &captures);
        }
        verdict
    };
    let mut verdict = thread::scope(|scope| {
        let threads: Vec<_> = (0..SIDE_BY_SIDE)
            .map(|_| scope.spawn(some_of_them))
            .collect();
        threads.into_iter().fold(Verdict::default(), |all, thread| {
            all.and(thread.join().expect("the judge's own words are above"))
        })
    });
    verdict.files = size(stage.warehouse());
    verdict
}

impl Verdict {
    fn and(mut self, other: Self) -> Self {
        for (database, sent) in other.databases {
            self.databases.entry(database).or_default().add(sent);
        }
        for (mode, rows) in other.rows {
            *self.rows.entry(mode).or_default() += rows;
        }
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.rejects += other.rejects;
        self.tables += other.tables;
        self.commits += other.commits;
        self.complaints.extend(other.complaints);
        self
    }

    /// Both tables of a topic.
    fn topic(&mut self, stage: &Stage, readers: &Readers, captured: &Captured, captures: &Path) {
        let table = &captured.table;
        let records = stage.broker.read(&captured.topic);
        let file = captures.join(format!("{}.jsonl", captured.topic));
        capture::write(&file, &captured.topic, &records);
        let truth = table.rows(stage.sql(table.dialect).as_ref());
        let sent = self.databases.entry(short(table.dialect)).or_default();
        sent.rows += truth.len();
        let jobs = stage.jobs.iter();
        let jobs = jobs.filter(|job| job.captured.topic == captured.topic);
        for (nth, job) in jobs.enumerate() {
            let reader = job.target().readers()[nth % 2];
            self.table(readers, job, reader, &records, &truth);
        }
    }

    fn table(
        &mut self,
        readers: &Readers,
        job: &Job,
        reader: Reader,
        records: &[Record],
        truth: &[Value],
    ) {
        // No event can say all that is in that table.
        let is_odd = job.captured.table.name == Table::oddities().name;
        let target = job.target();
        assert!(target.exists(), "{} has no table", job.name);
        let rows = readers.read(reader, &target).rows;
        let rejects = rejects(readers, job);
        let judged = judge::judge(
            readers,
            &Case {
                subject: &Subject::of(&job.captured.table, prefix(job.captured.table.dialect)),
                records,
                resends: job.resends,
                rows: &rows,
                rejects: &rejects,
                truth: (!is_odd).then_some(truth),
            },
        );
        self.tables += 1;
        self.commits += target.commits();
        self.rejects += rejects.len();
        *self.rows.entry(job.word()).or_default() += rows.len();
        match judged {
            Ok(figures) => self.count(job, figures, &rows),
            Err(complaint) => {
                println!("{}: {complaint}", job.name);
                self.lost += complaint.count("events without a row");
                self.doubled += complaint.count("more than once");
                self.complaints.push(*complaint);
            }
        }
    }

    /// What was sent is the same for both tables of a topic: it is counted once.
    fn count(&mut self, job: &Job, figures: Figures, rows: &[Value]) {
        if job.resends != Resends::Keep {
            return;
        }
        let database = short(job.captured.table.dialect);
        let sent = self.databases.entry(database).or_default();
        sent.tombstones += figures.tombstones;
        sent.resends += figures.resends;
        for op in rows.iter().filter_map(|row| row["_op"].as_str()) {
            *sent.events.entry(op.to_owned()).or_default() += 1;
        }
    }

    /// That nothing is wrong, and that the run was one that could have shown it.
    ///
    /// # Panics
    /// If not.
    pub(super) fn assert_right(&self, connectors_were_killed: bool) {
        let complaints: Vec<String> = self.complaints.iter().map(ToString::to_string).collect();
        assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
        for dialect in DIALECTS {
            let sent = &self.databases[short(dialect)];
            for op in ["r", "c", "u", "d"] {
                assert!(
                    sent.events.contains_key(op),
                    "no `{op}` of {}",
                    short(dialect)
                );
            }
            assert!(
                sent.resends > 0 || !connectors_were_killed,
                "the connector of {} sent nothing again: its kills prove nothing",
                short(dialect)
            );
        }
    }
}

impl Sent {
    fn add(&mut self, other: Self) {
        for (op, events) in other.events {
            *self.events.entry(op).or_default() += events;
        }
        self.tombstones += other.tombstones;
        self.resends += other.resends;
        self.rows += other.rows;
    }
}

fn rejects(readers: &Readers, job: &Job) -> Vec<Value> {
    let quarantine = job.quarantine();
    if !quarantine.exists() {
        return Vec::new();
    }
    readers.read(Reader::Deltalake, &quarantine).rows
}

/// How many files a folder holds, and how many bytes.
fn size(folder: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if about.is_dir() {
            let (more, larger) = size(&entry.path());
            (files, bytes) = (files + more, bytes + larger);
        } else {
            (files, bytes) = (files + 1, bytes + about.len());
        }
    }
    (files, bytes)
}
