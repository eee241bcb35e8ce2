//! From a batch of changes to the net change of a table that is kept equal to its source.
//!
//! 1. [`fold`]: what is left of the batch for each key, before any SQL.
//! 2. Values that no event carries are fetched from the target, where the SQL passes their column through: the SQL then
//!    runs over whole rows.
//! 3. SQL and rules. An event that a rule sets aside or drops has not happened: the batch is folded again without it.
//! 4. A row that the SQL left out is a delete of its key; one that it returned twice is an error.
//! 5. Output columns that are made of missing values only keep what the target has; others follow `unavailable`.
//!
//! Deletes never go through the SQL: only their key is known.

mod missing;
mod plan;

pub use plan::UpsertPlan;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch};
use sql::change::{ChangeBatch, Folded, NetChange, Op, Reject, RejectReason, RowMeta, fold};
use sql::{Error, ErrorKind, Result};

use self::missing::Filled;
use crate::quality::rules::RuleCount;
use crate::sink::{Fetched, UpsertSink};
use crate::spec::model::{OnFail, TruncatePolicy, UnavailablePolicy};
use crate::transform::{Transform, Transformed};

const FULL_IDENTITY: &str = "Set REPLICA IDENTITY FULL on the source table, or take a snapshot of it anew. To write null, set \
     `sink.unavailable: null`; to set such events aside, `quarantine`.";
const OF_LATER: &str = "the event is one that the source sent again: the row that had the value may be another one by now";
const SNAPSHOT_ANEW: &str = "Set `sink.unavailable: null` to go on, and let the connector take an incremental snapshot of the table: \
     its rows bring the values anew. A larger `source.resends_window`, or REPLICA IDENTITY FULL on the source table, keeps it \
     from happening again.";

/// What a batch comes to.
#[derive(Debug)]
pub struct Outcome {
    /// What the target is to become.
    pub change: NetChange,
    /// What the rules said of the rows that went on, one entry for each rule.
    pub counts: Vec<RuleCount>,
    /// Records to set aside: those of the decoder, then those of rules and policies, by partition and offset.
    pub rejects: Vec<Reject>,
}

/// What a batch is worked out with.
pub struct Upsert<'a> {
    /// The SQL and its rules.
    pub transform: &'a Transform,
    /// How its output is keyed.
    pub plan: &'a UpsertPlan,
    /// `sink.unavailable`.
    pub unavailable: UnavailablePolicy,
    /// `sink.truncate`.
    pub truncate: TruncatePolicy,
}

/// Rows of the batch that have not happened, and why where they are to be kept.
type LeftOut = BTreeMap<usize, Option<(RejectReason, String)>>;

impl Upsert<'_> {
    /// Works out the net change of `batch`; `sink` is asked for rows that values are missing of.
    ///
    /// # Errors
    /// [`ErrorKind::Policy`] for a truncate or a missing value that the pipeline does not allow, for a row that a lookup
    /// doubled, and for what rules refuse; what fetching meets.
    pub async fn net(&self, batch: &ChangeBatch, sink: &mut dyn UpsertSink) -> Result<Outcome> {
        let mut left_out = self.truncates(batch)?;
        let mut refused_by = BTreeMap::new();
        // Each round leaves out at least one event more.
        loop {
            let folded = fold(batch, self.plan.key(), &|row| left_out.contains_key(&row))?;
            let meta = meta_of(batch.meta(), &folded.events)?;
            let fetched = self.fetch(&folded, sink).await?;
            let filled = self.plan.fill(&folded, fetched.as_ref())?;
            let more = self.unresolved(batch, &folded, &filled)?;
            if !more.is_empty() {
                left_out.extend(more);
                continue;
            }
            let transformed = self.transform.run(&filled.rows).await?;
            let before: BTreeSet<u64> = transformed.source_rows.values().iter().copied().collect();
            self.once_each(&transformed, batch, &folded)?;
            let judged = self
                .transform
                .rules()
                .judge(transformed, &filled.rows, &meta)?;
            let kept: BTreeSet<u64> = judged.kept.source_rows.values().iter().copied().collect();
            let mut refused = LeftOut::new();
            for row in before.difference(&kept) {
                refused.insert(event_of(&folded, *row)?, None);
            }
            for quarantined in &judged.quarantined {
                let event = event_of(&folded, quarantined.row as u64)?;
                let detail = format!("the row does not meet the rule `{}`", quarantined.rule);
                refused.insert(event, Some((RejectReason::Rule, detail)));
            }
            if !refused.is_empty() {
                remember(&mut refused_by, &judged.counts);
                left_out.extend(refused);
                continue;
            }
            let change = self.change(&folded, &filled, &judged.kept, fetched.as_ref(), sink)?;
            return Ok(Outcome {
                change,
                counts: with_refused(judged.counts, &refused_by),
                rejects: rejects(batch, &left_out)?,
            });
        }
    }

    /// Truncates that the pipeline does not follow.
    fn truncates(&self, batch: &ChangeBatch) -> Result<LeftOut> {
        let meta = batch.meta();
        let mut left_out = LeftOut::new();
        for (row, _) in meta
            .ops
            .iter()
            .enumerate()
            .filter(|(_, op)| **op == Op::Truncate)
        {
            match self.truncate {
                TruncatePolicy::Apply => {}
                TruncatePolicy::Ignore => drop(left_out.insert(row, None)),
                TruncatePolicy::Fail => {
                    return Err(Error::new(ErrorKind::Policy, "the source table was truncated")
                        .at(place(meta, row))
                        .expected("no truncate, as `sink.truncate: fail` says")
                        .remedy(
                            "To empty the target with it, set `sink.truncate: apply`; to keep its rows, `ignore`.",
                        ));
                }
            }
        }
        Ok(left_out)
    }

    async fn fetch(&self, folded: &Folded, sink: &mut dyn UpsertSink) -> Result<Option<Fetched>> {
        if folded.wanted.num_rows() == 0 {
            return Ok(None);
        }
        let keys = self.plan.target_keys(&folded.wanted)?;
        Ok(Some(sink.fetch(&keys).await?))
    }

    /// Missing values that are nowhere and that no output column can keep: events that are set aside for it.
    fn unresolved(&self, batch: &ChangeBatch, folded: &Folded, filled: &Filled) -> Result<LeftOut> {
        let mut left_out = LeftOut::new();
        let keyed = batch.meta().keyed.as_ref();
        for trouble in self.plan.trouble(filled) {
            let event = event_of(folded, trouble.row as u64)?;
            let again = keyed.is_some_and(|keyed| keyed.again(event).is_some());
            if again && trouble.absent {
                // The row is gone by now. A later event that is sent again, too, takes it away or has all of its values.
                left_out.insert(event, None);
                continue;
            }
            let why = if again { OF_LATER } else { trouble.why };
            let detail = format!(
                "column `{}` was not sent because it had not changed, and {why}",
                trouble.column
            );
            match self.unavailable {
                UnavailablePolicy::Null => {}
                UnavailablePolicy::Quarantine => {
                    left_out.insert(event, Some((RejectReason::Unavailable, detail)));
                }
                UnavailablePolicy::Error => {
                    return Err(Error::new(ErrorKind::Policy, detail)
                        .at(place(batch.meta(), event))
                        .expected("a value in the batch, or in the row that the target has")
                        .remedy(if again { SNAPSHOT_ANEW } else { FULL_IDENTITY }));
                }
            }
        }
        Ok(left_out)
    }

    /// A row may come out once: with two, the key's row is not known.
    fn once_each(&self, rows: &Transformed, batch: &ChangeBatch, folded: &Folded) -> Result<()> {
        let sources = rows.source_rows.values();
        let twice = sources.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(*one),
            _ => None,
        });
        let Some(row) = twice else {
            return Ok(());
        };
        let event = event_of(folded, row)?;
        Err(Error::new(
            ErrorKind::Policy,
            format!("the SQL makes several rows of the one with key {}", self.plan.show_key(&folded.rows, row)),
        )
        .at(place(batch.meta(), event))
        .expected("at most one row for each key: the target is kept by key")
        .remedy("A lookup has several rows for it, or two branches of a UNION ALL return it: make the join's condition unique."))
    }

    fn change(
        &self,
        folded: &Folded,
        filled: &Filled,
        kept: &Transformed,
        fetched: Option<&Fetched>,
        sink: &dyn UpsertSink,
    ) -> Result<NetChange> {
        let schema = sink.schema();
        let mut rows = Vec::with_capacity(kept.rows.len());
        let mut start = 0;
        for batch in &kept.rows {
            let sources = kept.source_rows.slice(start, batch.num_rows());
            start += batch.num_rows();
            let cast = self.plan.cast(batch)?;
            rows.push(self.plan.keep(cast, &sources, filled, fetched)?);
        }
        let rows = concat_batches(&schema, &rows).map_err(broken)?;
        let gone = left_out_by_sql(&kept.source_rows, folded.rows.num_rows());
        let vanished = filter_record_batch(&self.plan.source_keys(&folded.rows)?, &gone);
        let vanished = self.plan.target_keys(&vanished.map_err(broken)?)?;
        let deletes = self.plan.target_keys(&folded.deletes)?;
        let deletes = concat_batches(&deletes.schema(), [&deletes, &vanished]).map_err(broken)?;
        // After a truncate there is nothing left to delete.
        let deletes = if folded.truncate {
            deletes.slice(0, 0)
        } else {
            deletes
        };
        NetChange::try_new(folded.truncate, rows, deletes)
    }
}

/// Adds up what rules refused: in the last round, nothing of it is left to be counted.
fn remember(refused_by: &mut BTreeMap<String, u64>, counts: &[RuleCount]) {
    for count in counts.iter().filter(|count| count.on_fail != OnFail::Warn) {
        *refused_by.entry(count.rule.clone()).or_default() += count.failed;
    }
}

fn with_refused(mut counts: Vec<RuleCount>, refused_by: &BTreeMap<String, u64>) -> Vec<RuleCount> {
    for count in &mut counts {
        count.failed += refused_by.get(&count.rule).copied().unwrap_or_default();
    }
    counts
}

/// For each of `rows` whether none of `kept` comes from it.
fn left_out_by_sql(kept: &UInt64Array, rows: usize) -> BooleanArray {
    let mut gone = vec![true; rows];
    for row in kept.values() {
        let row = usize::try_from(*row).ok();
        if let Some(gone) = row.and_then(|row| gone.get_mut(row)) {
            *gone = false;
        }
    }
    BooleanArray::from(gone)
}

/// The batch's row of a folded row.
fn event_of(folded: &Folded, row: u64) -> Result<usize> {
    let row = usize::try_from(row).ok();
    row.and_then(|row| folded.events.get(row).copied())
        .ok_or_else(|| Error::internal("an output row comes from no row of the batch"))
}

/// What stands beside the rows `events`: all that rules need.
fn meta_of(meta: &RowMeta, events: &[usize]) -> Result<RowMeta> {
    fn pick<T: Copy>(values: &[T], events: &[usize]) -> Option<Vec<T>> {
        events.iter().map(|row| values.get(*row).copied()).collect()
    }
    let picked = || {
        Some(RowMeta {
            ops: pick(&meta.ops, events)?,
            partition: pick(&meta.partition, events)?,
            offsets: pick(&meta.offsets, events)?,
            partitions: meta.partitions.clone(),
            commit_micros: pick(&meta.commit_micros, events)?,
            ..RowMeta::default()
        })
    };
    picked().ok_or_else(|| Error::internal("a batch has more rows than metadata"))
}

fn rejects(batch: &ChangeBatch, left_out: &LeftOut) -> Result<Vec<Reject>> {
    let mut rejects = batch.rejects().to_vec();
    for (row, why) in left_out {
        let Some((reason, detail)) = why else {
            continue;
        };
        let raw = batch.meta().raw.as_ref().and_then(|raw| raw.get(*row));
        let record = raw.ok_or_else(|| {
            Error::internal("a row is set aside, but its raw record was not kept")
        })?;
        rejects.push(Reject {
            record: record.clone(),
            reason: *reason,
            column: None,
            detail: detail.clone(),
        });
    }
    rejects.sort_by(|a, b| {
        (&a.record.partition, a.record.offset).cmp(&(&b.record.partition, b.record.offset))
    });
    Ok(rejects)
}

/// `topic/partition@offset` of a row.
fn place(meta: &RowMeta, row: usize) -> String {
    let partition = meta.partition.get(row);
    let partition = partition.and_then(|index| meta.partitions.get(*index as usize));
    match (partition, meta.offsets.get(row)) {
        (Some(partition), Some(offset)) => format!("{partition}@{offset}"),
        _ => format!("row {row} of the batch"),
    }
}

/// A batch of `columns`, which may be none.
fn batch_of(
    schema: arrow::datatypes::SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(broken)
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal("the rows of an upsert do not fit together").source(error)
}
