//! Everything that is known of one committed batch.

use std::collections::BTreeMap;
use std::time::Duration;

use sql::change::{ChangeBatch, Jump, Op};

use crate::sink::Receipt;

/// Which pipeline a number belongs to: the labels that all its metrics share.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PipelineNames {
    /// The pipeline's name.
    pub pipeline: String,
    /// The source's name in SQL.
    pub source: String,
    /// The sink's kind: `delta`, `iceberg`.
    pub sink: String,
}

/// Rows by operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpCounts {
    create: u64,
    read: u64,
    update: u64,
    delete: u64,
    truncate: u64,
}

impl OpCounts {
    /// Counts a batch's operations.
    pub fn of(ops: &[Op]) -> Self {
        let mut counts = Self::default();
        for op in ops {
            counts.add(*op, 1);
        }
        counts
    }

    /// Adds `rows` of `op`.
    pub fn add(&mut self, op: Op, rows: u64) {
        *self.slot(op) += rows;
    }

    /// Rows of `op`.
    pub fn get(&self, op: Op) -> u64 {
        let mut copy = *self;
        *copy.slot(op)
    }

    /// Rows of any operation.
    pub fn total(&self) -> u64 {
        Op::ALL.iter().map(|op| self.get(*op)).sum()
    }

    fn slot(&mut self, op: Op) -> &mut u64 {
        match op {
            Op::Create => &mut self.create,
            Op::Read => &mut self.read,
            Op::Update => &mut self.update,
            Op::Delete => &mut self.delete,
            Op::Truncate => &mut self.truncate,
        }
    }
}

/// When the source committed the rows of a batch, in microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceTimes {
    /// The oldest row's time.
    pub oldest_micros: i64,
    /// The newest row's time.
    pub newest_micros: i64,
}

impl SourceTimes {
    /// The oldest and the newest of `commit_micros`, where `i64::MIN` stands for an unknown time. `None` if all are.
    pub fn of(commit_micros: &[i64]) -> Option<Self> {
        let known = || commit_micros.iter().copied().filter(|t| *t != i64::MIN);
        Some(Self {
            oldest_micros: known().min()?,
            newest_micros: known().max()?,
        })
    }
}

/// How long a batch spent in each stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Waiting for and reading records.
    pub fetch: Duration,
    /// From bytes to columns.
    pub decode: Duration,
    /// SQL and rules.
    pub transform: Duration,
    /// Making set-aside records durable in the quarantine.
    pub write: Duration,
    /// Data files and the table's commit, which are one call of the sink, with all attempts.
    pub commit: Duration,
}

impl StageTimes {
    /// Stages by name, in the order in which a batch goes through them.
    pub fn named(&self) -> [(&'static str, Duration); 5] {
        [
            ("fetch", self.fetch),
            ("decode", self.decode),
            ("transform", self.transform),
            ("write", self.write),
            ("commit", self.commit),
        ]
    }
}

/// Everything that is known of one committed batch. Made by [`BatchReport::read`] when the batch was read; the loop
/// fills in the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Whose batch it is.
    pub names: PipelineNames,
    /// What it covers: each partition's first offset and the next offset after it, `topic/0@5..9`.
    pub span: String,
    /// Records read, of any kind.
    pub records: u64,
    /// Bytes of keys, values and headers read.
    pub bytes: u64,
    /// Rows decoded.
    pub rows: OpCounts,
    /// Of a lake feed, the version up to which everything is in the batch or before it.
    pub source_version: Option<i64>,
    /// Rows that the transform and the rules left over for the table.
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
    pub jumps: Vec<Jump>,
    /// Events that may have been applied before, and were applied again.
    pub again: u64,
    /// What the commit did; `None` if there was nothing to commit.
    pub receipt: Option<Receipt>,
    /// When the commit was done, microseconds since the epoch.
    pub committed_micros: i64,
    /// Where the time went.
    pub stages: StageTimes,
    /// When the source committed the rows; `None` if it does not say or there are none.
    pub source_times: Option<SourceTimes>,
    /// Records still to be read, as last seen; `None` if not known.
    pub lag_records: Option<u64>,
}

impl BatchReport {
    /// What is known of a batch when it was read.
    pub fn read(names: &PipelineNames, batch: &ChangeBatch) -> Self {
        let mut rejects = BTreeMap::new();
        for reject in batch.rejects() {
            *rejects.entry(reject.reason.name()).or_default() += 1;
        }
        let counts = batch.counts();
        // A tombstone says a delete once more: it is counted as what it is.
        let tombstones = batch.meta().keyed.as_ref().map(|keyed| &keyed.tombstones);
        let is_tombstone = |row: usize| {
            let row = u32::try_from(row).unwrap_or(u32::MAX);
            tombstones.is_some_and(|rows| rows.binary_search(&row).is_ok())
        };
        let ops = batch.meta().ops.iter().enumerate();
        let ops: Vec<Op> = ops
            .filter(|(row, _)| !is_tombstone(*row))
            .map(|(_, op)| *op)
            .collect();
        Self {
            names: names.clone(),
            span: span_text(batch),
            records: counts.records,
            bytes: counts.bytes,
            rows: OpCounts::of(&ops),
            source_version: batch.version(),
            rejects,
            tombstones: counts.tombstones,
            control: counts.control,
            resends: counts.resends,
            jumps: jumps(batch),
            again: again(batch),
            source_times: SourceTimes::of(&batch.meta().commit_micros),
            ..Self::default()
        }
    }

    /// Age of the batch's oldest row at the commit: what a reader of the table had to wait at worst. Zero where the
    /// source's clock is ahead.
    pub fn freshness(&self) -> Option<Duration> {
        self.source_times.map(|t| self.since(t.oldest_micros))
    }

    /// Age of the batch's newest row at the commit: how far the table is behind the source.
    pub fn lag(&self) -> Option<Duration> {
        self.source_times.map(|t| self.since(t.newest_micros))
    }

    /// Records that became no row.
    pub fn rejected(&self) -> u64 {
        self.rejects.values().sum()
    }

    fn since(&self, micros: i64) -> Duration {
        let age = self.committed_micros.saturating_sub(micros);
        Duration::from_micros(u64::try_from(age).unwrap_or(0))
    }

    /// One `info` event of the target [`crate::telemetry::logs::BATCH`].
    pub fn to_log_event(&self) {
        let receipt = self.receipt.as_ref();
        tracing::info!(
            target: crate::telemetry::logs::BATCH,
            pipeline = self.names.pipeline,
            source = self.names.source,
            sink = self.names.sink,
            span = self.span,
            records = self.records,
            bytes = self.bytes,
            snapshot_rows = self.rows.get(Op::Read),
            inserts = self.rows.get(Op::Create),
            updates = self.rows.get(Op::Update),
            deletes = self.rows.get(Op::Delete),
            truncates = self.rows.get(Op::Truncate),
            source_version = self.source_version,
            tombstones = self.tombstones,
            control = self.control,
            resends = self.resends,
            reapplied = self.again,
            output_rows = self.output_rows,
            rejects = self.rejected(),
            reject_reasons = listed(&self.rejects),
            failed_rules = listed(&self.rules),
            quarantined = self.quarantined,
            version = receipt.map(|r| r.version),
            files = receipt.map(|r| r.files),
            sink_bytes = receipt.map(|r| r.bytes),
            conflicts = receipt.map(|r| r.conflicts),
            already_landed = receipt.map(|r| r.already_landed),
            fetch_ms = millis(self.stages.fetch),
            decode_ms = millis(self.stages.decode),
            transform_ms = millis(self.stages.transform),
            write_ms = millis(self.stages.write),
            commit_ms = millis(self.stages.commit),
            freshness_ms = self.freshness().map(millis),
            lag_ms = self.lag().map(millis),
            lag_records = self.lag_records,
            "{}", if receipt.is_some() { "batch committed" } else { "batch had nothing to commit" }
        );
    }
}

fn again(batch: &ChangeBatch) -> u64 {
    let remembered = batch.remembered().into_iter().flatten();
    remembered.map(|(_, recollection)| recollection.again).sum()
}

fn jumps(batch: &ChangeBatch) -> Vec<Jump> {
    let remembered = batch.remembered().into_iter().flatten();
    remembered
        .flat_map(|(_, recollection)| recollection.jumps.iter().cloned())
        .collect()
}

fn span_text(batch: &ChangeBatch) -> String {
    let span = batch.span();
    let parts: Vec<String> = span
        .to()
        .iter()
        .map(|(partition, to)| match span.after().get(partition) {
            Some(after) => format!("{partition}@{after}..{to}"),
            None => format!("{partition}@..{to}"),
        })
        .collect();
    parts.join(", ")
}

/// `malformed=2 out_of_range=1`; nothing for nothing.
fn listed<K: AsRef<str>>(counts: &BTreeMap<K, u64>) -> Option<String> {
    let parts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{}={count}", name.as_ref()))
        .collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
