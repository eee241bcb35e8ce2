//! A state of the table against `SELECT *` at the source.

use std::collections::BTreeMap;

use serde_json::Value;

use super::complaint::{Complaint, Finding, differs};
use super::replay::{Last, Line, Replay, Subject};

/// Compares rows that `what` ends with to those of the source, by key, or as a bag where there is no key.
pub(super) fn compare(
    what: &'static str,
    subject: &Subject,
    replay: &Replay,
    rows: &[Last],
    truth: &[Value],
    complaint: &mut Complaint,
) {
    let [missing, extra, other] = sentences(what);
    let degraded = replay.degraded();
    let mut wanted: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for row in truth {
        wanted.entry(key_of(subject, row)).or_default().push(row);
    }
    for last in rows {
        let key = key_of(subject, &last.row);
        if degraded.contains(&key) {
            continue;
        }
        let line = replay.at(last.place);
        let Some(row) = wanted.get_mut(&key).and_then(Vec::pop) else {
            complaint.add(Finding::new(extra, line).line(&last.row));
            continue;
        };
        let lines = differences(last, row);
        if !lines.is_empty() {
            complaint.add(Finding::new(other, line).lines(lines));
        }
    }
    for (key, rows) in wanted {
        for row in rows {
            if !degraded.contains(&key) {
                let before = last_of(replay, &key).and_then(|at| replay.at(at));
                complaint.add(Finding::new(missing, before).line(row));
            }
        }
    }
}

fn sentences(what: &str) -> [&'static str; 3] {
    match what {
        "our table" => [
            "rows of the source that our table does not have",
            "rows of our table that the source does not have",
            "rows of our table that are others in the source",
        ],
        "our table, folded" => [
            "rows of the source that our table, folded, does not have",
            "rows of our table, folded, that the source does not have",
            "rows of our table, folded, that are others in the source",
        ],
        _ => [
            "rows of the source that the replayed topic does not have",
            "rows of the replayed topic that the source does not have",
            "rows of the replayed topic that are others in the source",
        ],
    }
}

/// The last record of each key.
pub(super) fn last_places(replay: &Replay) -> BTreeMap<String, super::Place> {
    let lines = replay.log.values();
    lines.map(|line| (key_text(line), line.place)).collect()
}

/// The last record of a key.
fn last_of(replay: &Replay, key: &str) -> Option<super::Place> {
    let lines = replay.log.values().rev();
    let mut of_key = lines.filter(|line| key_text(line) == key);
    of_key.next().map(|line| line.place)
}

fn key_text(line: &Line) -> String {
    line.key.to_string()
}

/// What identifies a row: the key's columns, as the Kafka key has them, or everything.
pub(super) fn key_of(subject: &Subject, row: &Value) -> String {
    if subject.key.is_empty() {
        let sorted: BTreeMap<_, _> = row.as_object().into_iter().flatten().collect();
        return format!("{sorted:?}");
    }
    let columns = subject.key.iter();
    let key: serde_json::Map<_, _> = columns
        .map(|name| (name.clone(), row[name].clone()))
        .collect();
    Value::Object(key).to_string()
}

fn differences(last: &Last, truth: &Value) -> Vec<String> {
    let mut lines: Vec<String> = last
        .unknown
        .iter()
        .map(|name| {
            format!(
                "{name}: never sent, instead of {}",
                super::complaint::short(&truth[name].to_string())
            )
        })
        .collect();
    let columns = truth.as_object().into_iter().flatten();
    for (name, wanted) in columns.filter(|(name, _)| !last.unknown.contains(name)) {
        match last.row.get(name) {
            Some(cell) if same(cell, wanted) => {}
            Some(cell) => lines.push(differs(name, cell, wanted)),
            None => lines.push(format!("column `{name}` was never sent")),
        }
    }
    lines
}

/// Databases print whole floats without a point.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() != b.is_f64() => {
            a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => one == other,
    }
}
