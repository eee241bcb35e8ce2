//! The end of a run: every table against the reference and against the database that it comes from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use tests::capture;
use tests::judge::{self, Case, Complaint, Figures, Replay, Resends, Subject};
use tests::python::{Reader, Readers};
use tests::workload::Dialect;

use super::connectors::prefix;
use super::job::{Captured, DIALECTS, Format, Job, Way, is_odd, short};
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
    /// Tables that were appended to and judged.
    pub(super) tables: usize,
    /// Tables that are kept by key.
    pub(super) upserts: Upserts,
    /// Commits of all tables.
    pub(super) commits: u64,
    /// Files under the warehouse and their bytes.
    pub(super) files: (u64, u64),
    complaints: Vec<Complaint>,
    /// Topics that lack events of their database.
    pub(super) unsent: usize,
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

/// What tables that are kept by key hold, compared with `SELECT *`.
#[derive(Debug, Default)]
pub(super) struct Upserts {
    /// How many there are of each format.
    pub(super) tables: BTreeMap<&'static str, usize>,
    /// Their rows, each compared as two readers see it.
    pub(super) rows: usize,
    /// What differs from the database, for either reader.
    pub(super) differences: usize,
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
        for (format, tables) in other.upserts.tables {
            *self.upserts.tables.entry(format).or_default() += tables;
        }
        self.upserts.rows += other.upserts.rows;
        self.upserts.differences += other.upserts.differences;
        self.commits += other.commits;
        self.complaints.extend(other.complaints);
        self.unsent += other.unsent;
        self
    }

    /// All tables of a topic.
    fn topic(&mut self, stage: &Stage, readers: &Readers, captured: &Captured, captures: &Path) {
        let table = &captured.table;
        let records = stage.broker.read(&captured.topic);
        let file = captures.join(format!("{}.jsonl", captured.topic));
        capture::write(&file, &captured.topic, &records);
        let truth = table.rows(stage.sql(table.dialect).as_ref());
        let sent = self.databases.entry(short(table.dialect)).or_default();
        sent.rows += truth.len();
        let subject = Subject::of(table, prefix(table.dialect));
        let jobs = |way: Way| {
            let jobs = stage.jobs.iter();
            jobs.filter(move |job| job.captured.topic == captured.topic && job.way == way)
        };
        let mut replay = Replay::of(readers, &subject, &records, Resends::Keep);
        let comparable = !is_odd(captured) && self.amounts_to(captured, &subject, &replay, &truth);
        for (nth, resends) in [Resends::Keep, Resends::Drop].into_iter().enumerate() {
            if resends == Resends::Drop {
                replay = replay.dropping();
            }
            let case = Case {
                subject: &subject,
                records: &records,
                resends,
                rows: &[],
                rejects: &[],
                // No event can say all that is in that table.
                truth: comparable.then_some(&truth),
            };
            for job in jobs(Way::Append(resends)) {
                self.append(readers, job, job.target().readers()[nth], &replay, case);
            }
        }
        // Events that were never sent are in no table: then it is what the sent ones amount to.
        let sent: Vec<Value>;
        let kept = if comparable {
            &truth
        } else {
            sent = replay.last.iter().map(|last| last.row.clone()).collect();
            &sent
        };
        for job in jobs(Way::Upsert) {
            self.upsert(readers, job, &subject, &replay, kept);
        }
    }

    /// Whether a topic, replayed by the reference, is what its database holds.
    ///
    /// MariaDB's connector was seen to leave out the rest of a large transaction in which its connection was cut. What was never
    /// sent, no reader of the topic can have: then the tables are compared with the topic alone, and the run says so. Of more
    /// than one table, or of PostgreSQL, it is a complaint.
    fn amounts_to(
        &mut self,
        captured: &Captured,
        subject: &Subject,
        replay: &Replay,
        truth: &[Value],
    ) -> bool {
        let Err(complaint) = judge::judge_replay(subject, replay, truth) else {
            return true;
        };
        if captured.table.dialect != Dialect::MariaDb {
            return true;
        }
        self.unsent += 1;
        println!(
            "{}: its connector did not send all that the database holds, so its tables are compared with the topic only: {complaint}",
            captured.topic
        );
        false
    }

    fn append(
        &mut self,
        readers: &Readers,
        job: &Job,
        reader: Reader,
        replay: &Replay,
        case: Case<'_>,
    ) {
        let rejects = self.table(readers, job);
        let rows = readers.read(reader, &job.target()).rows;
        let case = Case {
            rows: &rows,
            rejects: &rejects,
            ..case
        };
        self.tables += 1;
        *self.rows.entry(job.word()).or_default() += rows.len();
        match judge::judge_replayed(replay, &case) {
            Ok(figures) => self.count(job, figures, &rows),
            Err(complaint) => {
                println!("{}: {complaint}", job.name);
                self.lost += complaint.count("events without a row");
                self.doubled += complaint.count("more than once");
                self.complaints.push(*complaint);
            }
        }
    }

    /// A table that is kept by key is that of the database, whoever reads it.
    fn upsert(
        &mut self,
        readers: &Readers,
        job: &Job,
        subject: &Subject,
        replay: &Replay,
        truth: &[Value],
    ) {
        let rejects = self.table(readers, job);
        let format = match job.format {
            Format::Iceberg => "Iceberg",
            Format::Delta => "Delta",
        };
        *self.upserts.tables.entry(format).or_default() += 1;
        self.upserts.rows += truth.len();
        for reader in job.target().readers() {
            let rows = readers.read(reader, &job.target()).rows;
            if let Err(complaint) = judge::judge_upsert(subject, replay, &rows, &rejects, truth) {
                println!("{}, as {reader:?} reads it: {complaint}", job.name);
                self.upserts.differences += complaint.total();
                self.complaints.push(*complaint);
            }
        }
    }

    /// What is counted of any table; the records that its pipeline set aside.
    fn table(&mut self, readers: &Readers, job: &Job) -> Vec<Value> {
        let target = job.target();
        assert!(target.exists(), "{} has no table", job.name);
        self.commits += target.commits();
        let rejects = rejects(readers, job);
        self.rejects += rejects.len();
        rejects
    }

    /// What was sent is the same for both tables of a topic: it is counted once.
    fn count(&mut self, job: &Job, figures: Figures, rows: &[Value]) {
        if job.way != Way::Append(Resends::Keep) {
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
        assert!(
            self.unsent <= 1,
            "{} topics lack events of their database",
            self.unsent
        );
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
