//! What a pipeline did since it was started, and how that reads.

use std::collections::BTreeMap;
use std::time::Duration;

use sql::change::Op;

use super::report::{BatchReport, OpCounts};

/// The sum of a pipeline's batches since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records read, of any kind.
    pub records: u64,
    /// Rows decoded.
    pub rows: OpCounts,
    /// Rows written to the table.
    pub output_rows: u64,
    /// Records that became no row, by the reason's name.
    pub rejects: BTreeMap<&'static str, u64>,
    /// Rows that did not meet a rule, by the rule's name.
    pub rules: BTreeMap<String, u64>,
    /// Rows written to the quarantine table.
    pub quarantined: u64,
    /// Null values with a key.
    pub tombstones: u64,
    /// Records that never are rows.
    pub control: u64,
    /// Events that the source sent again, dropped.
    pub resends: u64,
    /// Events whose source positions went back, and that were not known.
    pub jumps: u64,
    /// Events that may have been applied before, and were applied again.
    pub again: u64,
    /// Commits.
    pub commits: u64,
    /// Attempts to commit that another writer won.
    pub conflicts: u64,
    /// Data files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The table's version after the last commit.
    pub version: Option<i64>,
    /// Records still to be read, as last seen.
    pub lag_records: Option<u64>,
}

impl Totals {
    /// Adds a batch.
    pub fn add(&mut self, report: &BatchReport) {
        self.records += report.records;
        for op in Op::ALL {
            self.rows.add(op, report.rows.get(op));
        }
        self.output_rows += report.output_rows;
        for (reason, records) in &report.rejects {
            *self.rejects.entry(reason).or_default() += records;
        }
        for (rule, rows) in &report.rules {
            *self.rules.entry(rule.clone()).or_default() += rows;
        }
        self.quarantined += report.quarantined;
        self.tombstones += report.tombstones;
        self.control += report.control;
        self.resends += report.resends;
        self.jumps += report.jumps.len() as u64;
        self.again += report.again;
        self.lag_records = report.lag_records;
        if let Some(receipt) = &report.receipt {
            self.commits += 1;
            self.conflicts += receipt.conflicts;
            self.files += receipt.files;
            self.bytes += receipt.bytes;
            self.version = Some(receipt.version);
        }
    }

    /// Records that became no row.
    pub fn rejected(&self) -> u64 {
        self.rejects.values().sum()
    }

    /// Several lines for a person, each with a line end: what `pipeline` did in `elapsed`, and `table`, where its rows
    /// are. Facts that are nothing are left out, but for rejects, which everybody looks for.
    pub fn summary(&self, pipeline: &str, table: &str, elapsed: Duration) -> String {
        let version = self.version.map_or_else(
            || "nothing committed".to_owned(),
            |v| format!("version {v}"),
        );
        let mut text = format!("{pipeline}: {table}, {version}\n");
        let mut line = |name: &str, value: String| {
            if !value.is_empty() {
                text.push_str(&format!("  {name:<9} {value}\n"));
            }
        };
        line("rows", self.written(elapsed));
        line("read", self.read());
        let skipped = [
            counted(self.tombstones, "tombstone"),
            counted(self.control, "control record"),
            counted(self.resends, "resend"),
        ];
        line("skipped", joined(skipped));
        line("rejects", self.rejects_text());
        let rules = self.rules.iter().map(|(rule, rows)| {
            let rows = counted(*rows, "row").unwrap_or_default();
            Some(format!("{rows} against {rule}"))
        });
        line("rules", joined(rules));
        let commits = [
            counted(self.commits, "commit"),
            counted(self.files, "data file"),
            (self.bytes > 0).then(|| bytes(self.bytes)),
            counted(self.conflicts, "conflict"),
        ];
        line("commits", joined(commits));
        text
    }

    fn written(&self, elapsed: Duration) -> String {
        let rows = counted(self.output_rows, "row").unwrap_or_else(|| "no rows".to_owned());
        let records = counted(self.records, "record").unwrap_or_else(|| "no records".to_owned());
        let rate = grouped(rate(self.output_rows, elapsed));
        format!(
            "{rows} written out of {records} in {:.1} s ({rate} rows/s)",
            elapsed.as_secs_f64()
        )
    }

    fn read(&self) -> String {
        joined(Op::ALL.map(|op| {
            let word = match op {
                Op::Read => "snapshot row",
                Op::Create => "insert",
                Op::Update => "update",
                Op::Delete => "delete",
                Op::Truncate => "truncate",
            };
            counted(self.rows.get(op), word)
        }))
    }

    fn rejects_text(&self) -> String {
        if self.rejects.is_empty() && self.quarantined == 0 {
            return "none".to_owned();
        }
        let reasons = self
            .rejects
            .iter()
            .map(|(reason, records)| Some(format!("{} {reason}", grouped(*records))));
        let quarantined =
            counted(self.quarantined, "row").map(|rows| format!("{rows} written to quarantine"));
        joined(reasons.chain([quarantined]))
    }
}

/// Rows a second, rounded; of no time at all, none.
pub(crate) fn rate(rows: u64, elapsed: Duration) -> u64 {
    let millis = elapsed.as_millis().max(1);
    u64::try_from(u128::from(rows) * 1000 / millis).unwrap_or(u64::MAX)
}

pub(crate) fn joined(parts: impl IntoIterator<Item = Option<String>>) -> String {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(", ")
}

/// `1 row`, `1,234 rows`; nothing for none.
pub(crate) fn counted(count: u64, one: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        many => Some(format!("{} {one}s", grouped(many))),
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut shown = "B";
    for unit in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, shown) = (value / 1024.0, unit);
    }
    format!("{value:.1} {shown}")
}
