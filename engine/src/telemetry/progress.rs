//! One line on the terminal that is written again and again, and a summary at the end.
//!
//! The line is plain text: a carriage return, the text, and blanks over what the line before left behind. It never
//! becomes wider than the terminal, for a line that wraps cannot be written over; what matters least goes first.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::time::Duration;

use super::report::BatchReport;
use super::totals::{Totals, counted, grouped, rate};

/// The rate that is shown is that of this much time.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// The progress line of the pipelines of one process. Clocks are the caller's: every `now` is the time since the
/// process started to work.
#[derive(Debug)]
pub struct Progress<W> {
    out: W,
    width: usize,
    pipelines: BTreeMap<String, Totals>,
    recent: VecDeque<(Duration, u64)>,
    drawn: usize,
}

impl<W: Write> Progress<W> {
    /// A line on `out`, a terminal of `width` columns.
    pub fn new(out: W, width: usize) -> Self {
        Self {
            out,
            width,
            pipelines: BTreeMap::new(),
            recent: VecDeque::new(),
            drawn: 0,
        }
    }

    /// The terminal was made wider or narrower.
    pub fn resize(&mut self, width: usize) {
        self.width = width;
    }

    /// Adds a batch and writes the line anew.
    ///
    /// # Errors
    /// Those of the terminal.
    pub fn batch(&mut self, report: &BatchReport, now: Duration) -> io::Result<()> {
        self.pipelines
            .entry(report.names.pipeline.clone())
            .or_default()
            .add(report);
        self.recent.push_back((now, report.output_rows));
        let oldest = now.saturating_sub(RATE_WINDOW);
        while self.recent.front().is_some_and(|(at, _)| *at < oldest) {
            self.recent.pop_front();
        }
        let line = self.line(now);
        self.draw(&line)
    }

    /// Writes a line of its own above the progress line, which comes back with the next batch.
    ///
    /// # Errors
    /// Those of the terminal.
    pub fn message(&mut self, text: &str) -> io::Result<()> {
        self.draw("")?;
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Takes the line away and writes what `pipeline` did; `table` says where its rows are.
    ///
    /// # Errors
    /// Those of the terminal.
    pub fn finish(&mut self, pipeline: &str, table: &str, now: Duration) -> io::Result<()> {
        let totals = self.pipelines.remove(pipeline).unwrap_or_default();
        self.draw("")?;
        self.out
            .write_all(totals.summary(pipeline, table, now).as_bytes())?;
        self.out.flush()
    }

    fn draw(&mut self, line: &str) -> io::Result<()> {
        let columns = line.chars().count();
        if columns == 0 && self.drawn == 0 {
            return Ok(());
        }
        let blanks = self.drawn.saturating_sub(columns);
        write!(self.out, "\r{line}{:blanks$}", "")?;
        if columns == 0 {
            write!(self.out, "\r")?;
        }
        self.drawn = columns;
        self.out.flush()
    }

    /// The text for now, at most one column less wide than the terminal: in the last one, some terminals wrap.
    fn line(&self, now: Duration) -> String {
        let mut parts = self.parts(now);
        let room = self.width.saturating_sub(1);
        loop {
            let line = parts
                .iter()
                .map(|(_, text)| text.as_str())
                .collect::<Vec<_>>()
                .join("  ");
            if line.chars().count() <= room {
                return line;
            }
            let least = parts.iter().map(|(weight, _)| *weight).min();
            if parts.len() <= 1 {
                return line.chars().take(room).collect();
            }
            parts.retain(|(weight, _)| Some(*weight) != least);
        }
    }

    /// What there is to say in reading order, each with its weight. No two weights are equal.
    fn parts(&self, now: Duration) -> Vec<(u8, String)> {
        let sum = |of: fn(&Totals) -> u64| self.pipelines.values().map(of).sum::<u64>();
        let lags: Option<Vec<u64>> = self.pipelines.values().map(|t| t.lag_records).collect();
        let lag = lags.map(|lags| match lags.iter().sum() {
            0 => "caught up".to_owned(),
            records => format!("{} behind", counted(records, "record").unwrap_or_default()),
        });
        let (name, version) = match self.pipelines.iter().next() {
            Some((name, totals)) if self.pipelines.len() == 1 => (name.clone(), totals.version),
            _ => (format!("{} pipelines", self.pipelines.len()), None),
        };
        let rows = counted(sum(|t| t.output_rows), "row").unwrap_or_else(|| "0 rows".to_owned());
        [
            Some((6, name)),
            Some((3, format!("{} rows/s", grouped(self.rate(now))))),
            Some((4, rows)),
            version.map(|version| (1, format!("version {version}"))),
            lag.map(|lag| (2, lag)),
            counted(sum(Totals::rejected), "reject").map(|rejects| (5, rejects)),
            counted(sum(|t| t.resends), "resend").map(|resends| (0, resends)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn rate(&self, now: Duration) -> u64 {
        let rows = self.recent.iter().map(|(_, rows)| rows).sum();
        rate(rows, now.min(RATE_WINDOW))
    }
}
