//! The judge: what a captured topic amounts to by `readers/replay.py`, against what our table holds and what the
//! source's table holds.
//!
//! Four things are asserted of a table that an append pipeline `SELECT *, _op, _topic, _partition, _offset,
//! _unavailable_columns` wrote:
//! 1. each record is exactly one of row, tombstone, control record, reject, event sent again;
//! 2. each row is the one that the replayer expects, value by value;
//! 3. the quarantine holds what the replayer says cannot be decoded, and nothing else;
//! 4. the replayer's last state, and that of our own rows folded in the order of offsets, is `SELECT *`.
//!
//! Of a table that is kept by key, [`judge_upsert`] asserts that it is `SELECT *`, and the third.

mod complaint;
mod fold;
mod replay;
mod truth;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use complaint::Complaint;
pub use replay::{Fate, Last, Line, Replay, Resends, Subject};

use crate::python::Readers;
use complaint::{Finding, cells};

/// Partition and offset.
pub type Place = (i64, i64);

/// Everything that a judgement needs.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The table and its messages.
    pub subject: &'a Subject,
    /// All records of the topic, as `Broker::read` returns them.
    pub records: &'a [crate::capture::Record],
    /// What the pipeline does with events that were sent again.
    pub resends: Resends,
    /// Rows of our table by an independent reader.
    pub rows: &'a [Value],
    /// Rows of the pipeline's quarantine; none if there is none.
    pub rejects: &'a [Value],
    /// `SELECT *` at the source, in the readers' spelling; `None` where the source has values that no event can say.
    pub truth: Option<&'a [Value]>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Records of the topic.
    pub records: usize,
    /// Records with an operation: all but tombstones, control records and what cannot be read at all.
    pub events: usize,
    /// Rows of our table.
    pub rows: usize,
    /// Null values.
    pub tombstones: usize,
    /// Heartbeats, transaction marks and the like.
    pub controls: usize,
    /// Records that cannot be decoded.
    pub rejects: usize,
    /// Events that the connector sent again, whether they were kept or dropped.
    pub resends: usize,
    /// Cells that were sent as placeholders.
    pub unavailable: usize,
    /// Rows of the source's table at the end.
    pub keys: usize,
}

/// Judges a table.
///
/// # Errors
/// What is wrong with it: the first differences of each kind, and how many there are.
///
/// # Panics
/// If the replayer cannot make sense of the topic.
pub fn judge(readers: &Readers, case: &Case<'_>) -> Result<Figures, Box<Complaint>> {
    let replay = Replay::of(readers, case.subject, case.records, case.resends);
    judge_replayed(&replay, case)
}

/// Judges a table whose topic was replayed already, with the case's `resends`.
///
/// # Errors
/// As [`judge`].
pub fn judge_replayed(replay: &Replay, case: &Case<'_>) -> Result<Figures, Box<Complaint>> {
    let mut complaint = Complaint::new(case.subject, replay);
    let rows = by_place(case.rows, replay, &mut complaint);
    compare_rows(&rows, replay, &mut complaint);
    compare_rejects(case.rejects, replay, &mut complaint);
    if let Some(truth) = case.truth {
        truth::compare(
            "the replayed topic",
            case.subject,
            replay,
            &replay.last,
            truth,
            &mut complaint,
        );
        if !case.subject.key.is_empty() {
            let folded = fold::fold(case.subject, &rows, replay);
            truth::compare(
                "our table, folded",
                case.subject,
                replay,
                &folded,
                truth,
                &mut complaint,
            );
        }
    }
    complaint.or(replay.figures())
}

/// Judges a table that is kept by key: `rows`, as a reader sees it, are `truth`, which is `SELECT *` at the source, and
/// `rejects` hold what the replayer says cannot be decoded, and nothing else. The replay also says which event wrote a
/// row last.
///
/// # Errors
/// What is wrong with it.
pub fn judge_upsert(
    subject: &Subject,
    replay: &Replay,
    rows: &[Value],
    rejects: &[Value],
    truth: &[Value],
) -> Result<(), Box<Complaint>> {
    let mut complaint = Complaint::new(subject, replay);
    compare_rejects(rejects, replay, &mut complaint);
    compare_columns(rows, truth, &mut complaint);
    let places = truth::last_places(replay);
    let rows: Vec<Last> = rows
        .iter()
        .map(|row| Last {
            row: row.clone(),
            unknown: Vec::new(),
            // Of a key that no event has, there is nothing to tell.
            place: places
                .get(&truth::key_of(subject, row))
                .copied()
                .unwrap_or((-1, -1)),
        })
        .collect();
    truth::compare("our table", subject, replay, &rows, truth, &mut complaint);
    complaint.or(())
}

/// Judges the replayer itself: whether the state that it ends with is `SELECT *`.
///
/// # Errors
/// Where it is not.
///
/// # Panics
/// If the replayer cannot make sense of the topic.
pub fn judge_replay(
    subject: &Subject,
    replay: &Replay,
    truth: &[Value],
) -> Result<Figures, Box<Complaint>> {
    let mut complaint = Complaint::new(subject, replay);
    truth::compare(
        "the replayed topic",
        subject,
        replay,
        &replay.last,
        truth,
        &mut complaint,
    );
    complaint.or(replay.figures())
}

/// Asserts what [`judge`] judges.
///
/// # Panics
/// With the complaint.
pub fn assert_true(readers: &Readers, case: &Case<'_>) -> Figures {
    match judge(readers, case) {
        Ok(figures) => figures,
        Err(complaint) => panic!("{complaint}"),
    }
}

/// Where a row of a table comes from.
fn place(row: &Value) -> Option<Place> {
    let number = |name: &str| row[format!("_{name}")].as_i64().or(row[name].as_i64());
    Some((number("partition")?, number("offset")?))
}

fn by_place<'r>(
    rows: &'r [Value],
    replay: &Replay,
    complaint: &mut Complaint,
) -> BTreeMap<Place, &'r Value> {
    let mut found = BTreeMap::new();
    for row in rows {
        let Some(at) = place(row) else {
            complaint
                .add(Finding::new("rows that do not say where they come from", None).line(row));
            continue;
        };
        if found.insert(at, row).is_some() {
            complaint.add(Finding::new(
                "records that are in the table more than once",
                replay.at(at),
            ));
        }
    }
    found
}

fn compare_rows(rows: &BTreeMap<Place, &Value>, replay: &Replay, complaint: &mut Complaint) {
    for line in replay.log.values() {
        match (&line.row, rows.get(&line.place)) {
            (Some(expected), Some(found)) => {
                if expected != *found {
                    let finding = Finding::new("rows that differ from what was sent", Some(line));
                    complaint.add(finding.lines(cells(found, expected)));
                }
            }
            (Some(_), None) => {
                complaint.add(Finding::new(
                    "events without a row in the table",
                    Some(line),
                ));
            }
            (None, Some(_)) => {
                let what = match line.fate {
                    Fate::Resend => "events sent again that were not dropped",
                    _ => "rows of records that make no row",
                };
                complaint.add(Finding::new(what, Some(line)));
            }
            (None, None) => {}
        }
    }
    for at in rows.keys().filter(|at| !replay.log.contains_key(at)) {
        let finding = Finding::new("rows of records that the topic does not have", None);
        complaint.add(finding.line(format!("{}@{}", at.0, at.1)));
    }
}

/// Columns that the source does not have. Those that it has are compared row by row.
fn compare_columns(rows: &[Value], truth: &[Value], complaint: &mut Complaint) {
    let names = |row: Option<&Value>| -> BTreeSet<String> {
        let columns = row.and_then(Value::as_object).into_iter().flatten();
        columns.map(|(name, _)| name.clone()).collect()
    };
    // Of an empty table nothing is known.
    if truth.is_empty() {
        return;
    }
    for name in names(rows.first()).difference(&names(truth.first())) {
        let finding = Finding::new("columns that the source does not have", None);
        complaint.add(finding.line(name));
    }
}

fn compare_rejects(rejects: &[Value], replay: &Replay, complaint: &mut Complaint) {
    let mut held = BTreeSet::new();
    for reject in rejects {
        let line = place(reject).and_then(|at| replay.at(at));
        let said = format!("{}: {}", reject["reason"], reject["detail"]);
        let Some(line) = line else {
            let finding = Finding::new("quarantined records that the topic does not have", None);
            complaint.add(finding.line(said));
            continue;
        };
        if !held.insert(line.place) {
            complaint.add(Finding::new(
                "records that are quarantined twice",
                Some(line),
            ));
        }
        if line.why.is_none() {
            let finding = Finding::new("quarantined records that can be decoded", Some(line));
            complaint.add(finding.line(said));
        } else if reject["column"].as_str() != line.column.as_deref() {
            let finding = Finding::new("rejects that blame another column", Some(line));
            complaint.add(finding.line(format!(
                "the quarantine blames {}, expected {:?}",
                reject["column"], line.column
            )));
        }
    }
    for line in replay.log.values() {
        // Whether a re-sent event is recognised before it is decoded or after is the engine's own affair.
        if line.fate == Fate::Reject && !held.contains(&line.place) {
            complaint.add(Finding::new(
                "records that cannot be decoded and are not in the quarantine",
                Some(line),
            ));
        }
    }
}
