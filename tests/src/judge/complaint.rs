//! What is wrong with a table, in words: which key, which record, which column.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::replay::{Line, Replay, Subject};

/// Differences of one kind that are told in full.
const SHOWN: usize = 5;
/// Letters of a value that are told.
const LETTERS: usize = 120;

/// Everything that is wrong with a table.
#[derive(Debug)]
pub struct Complaint {
    subject: String,
    /// How many differences of each kind, and the first of them.
    kinds: BTreeMap<&'static str, (usize, Vec<Finding>)>,
}

/// One difference.
#[derive(Debug)]
pub(super) struct Finding {
    kind: &'static str,
    record: Option<String>,
    lines: Vec<String>,
}

impl Finding {
    pub(super) fn new(kind: &'static str, line: Option<&Line>) -> Self {
        Self {
            kind,
            record: line.map(describe),
            lines: Vec::new(),
        }
    }

    pub(super) fn line(mut self, text: impl ToString) -> Self {
        self.lines.push(text.to_string());
        self
    }

    pub(super) fn lines(mut self, more: Vec<String>) -> Self {
        self.lines.extend(more);
        self
    }
}

/// A record as a person would look it up.
fn describe(line: &Line) -> String {
    let (partition, offset) = line.place;
    let what = match &line.op {
        Some(op) => format!("`{op}`"),
        None => format!("{:?}", line.fate).to_lowercase(),
    };
    let mut text = format!("{partition}@{offset}: {what} of key {}", line.key);
    if let Some((partition, offset)) = line.again {
        text += &format!(", first sent as {partition}@{offset}");
    }
    if let Some(why) = &line.why {
        let column = line.column.as_deref().unwrap_or("the message");
        text += &format!(", {column}: {}", short(why));
    }
    text
}

/// The cells in which two rows differ.
pub(super) fn cells(found: &Value, expected: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let (found, expected) = (
        found.as_object().unwrap_or(&empty),
        expected.as_object().unwrap_or(&empty),
    );
    let mut lines = Vec::new();
    for (name, wanted) in expected {
        match found.get(name) {
            Some(cell) if cell == wanted => {}
            Some(cell) => lines.push(differs(name, cell, wanted)),
            None => lines.push(format!("column `{name}` is not there")),
        }
    }
    let extra = found.keys().filter(|name| !expected.contains_key(*name));
    lines.extend(extra.map(|name| format!("column `{name}` is there, but nobody sent it")));
    lines
}

pub(super) fn differs(name: &str, found: &Value, expected: &Value) -> String {
    let (found, expected) = (found.to_string(), expected.to_string());
    // Long values mostly start alike: what is told is where they part.
    let same = found
        .chars()
        .zip(expected.chars())
        .take_while(|(one, other)| one == other)
        .count();
    let skipped = if same > LETTERS / 2 {
        same - LETTERS / 4
    } else {
        0
    };
    let part = |text: &str| {
        let dots = if skipped > 0 { "…" } else { "" };
        format!(
            "{dots}{}",
            short(&text.chars().skip(skipped).collect::<String>())
        )
    };
    format!("{name}: {} instead of {}", part(&found), part(&expected))
}

pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}… ({} letters)", &text[..end], text.chars().count()),
        None => text.to_owned(),
    }
}

impl Complaint {
    pub(super) fn new(subject: &Subject, replay: &Replay) -> Self {
        Self {
            subject: format!("{} ({} records)", subject.topic, replay.log.len()),
            kinds: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, finding: Finding) {
        let (count, first) = self.kinds.entry(finding.kind).or_default();
        *count += 1;
        if first.len() < SHOWN {
            first.push(finding);
        }
    }

    /// How many differences there are of the kinds whose name contains `words`.
    pub fn count(&self, words: &str) -> usize {
        let kinds = self.kinds.iter().filter(|(kind, _)| kind.contains(words));
        kinds.map(|(_, (count, _))| count).sum()
    }

    /// How many differences there are.
    pub fn total(&self) -> usize {
        self.kinds.values().map(|(count, _)| count).sum()
    }

    pub(super) fn or<T>(self, well: T) -> Result<T, Box<Self>> {
        if self.kinds.is_empty() {
            return Ok(well);
        }
        Err(Box::new(self))
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.subject)?;
        for (kind, (count, first)) in &self.kinds {
            write!(f, "\n{count} {kind}:")?;
            for finding in first {
                if let Some(record) = &finding.record {
                    write!(f, "\n  {record}")?;
                }
                for line in &finding.lines {
                    write!(f, "\n    {line}")?;
                }
            }
            if *count > first.len() {
                write!(f, "\n  … and {} more", count - first.len())?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Complaint {}
