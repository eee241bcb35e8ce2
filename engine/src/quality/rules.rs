//! Row rules: SQL conditions over what the transform returns.
//!
//! A rule sees the transform's output columns, and those source columns that no output column hides. A condition that
//! is null is not met. Rows of deletes and truncates carry no image and are not judged. Every rule judges every row,
//! whatever other rules said about it.
//!
//! | `on_fail` | what a row does that does not meet the condition |
//! |---|---|
//! | `warn` | counted, kept |
//! | `drop` | counted, left out |
//! | `quarantine` | its whole source event is set aside: every output row of the event is left out |
//! | `fail` | the batch is refused with [`ErrorKind::Policy`] |

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{filter, filter_record_batch, take};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SessionState;
use datafusion::physical_plan::PhysicalExpr;
use sql::change::RowMeta;
use sql::plan::Script;
use sql::{Error, ErrorKind, Result};

use super::condition::{condition, df_schema, visible};
use crate::spec::model::{OnFail, RuleSpec};
use crate::transform::{Transformed, run_error};

/// The rules of a pipeline, planned once for one shape of output and source.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    schema: SchemaRef,
    source_columns: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    name: String,
    on_fail: OnFail,
    text: String,
    script: Script,
    condition: Arc<dyn PhysicalExpr>,
}

/// How many rows did not meet a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCount {
    /// The rule's name.
    pub rule: String,
    /// What happened to the rows.
    pub on_fail: OnFail,
    /// Output rows that did not meet it.
    pub failed: u64,
}

/// A source row that a rule sets aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Index of the row in the source batch.
    pub row: usize,
    /// The first rule that set it aside.
    pub rule: String,
}

/// What the rules made of a batch.
#[derive(Debug)]
pub struct Judged {
    /// The rows that go on.
    pub kept: Transformed,
    /// One entry for each rule, in the order of the file.
    pub counts: Vec<RuleCount>,
    /// Source rows to write to the quarantine table, ascending, each once.
    pub quarantined: Vec<Quarantined>,
}

impl Rules {
    /// Plans `specs` over the transform's `output` columns and the `source` columns that those do not hide.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] at the rule, for a syntax error, an unknown column, a condition that is not boolean, a
    /// subquery, an aggregate or a function of the clock.
    pub fn plan(
        state: &SessionState,
        specs: &[RuleSpec],
        output: &Schema,
        source: &Schema,
    ) -> Result<Self> {
        let visible = visible(output, source);
        let all = df_schema(visible.clone())?;
        let mut parsed = Vec::with_capacity(specs.len());
        for spec in specs {
            let expect = &spec.expect;
            let script = Script::located(expect.value.clone(), &expect.at, expect.first_line);
            let expr = condition(state, &script, &all)?;
            parsed.push((spec, script, expr));
        }
        let names_it = |name: &str| {
            parsed
                .iter()
                .any(|(_, _, expr)| expr.column_refs().iter().any(|column| column.name == name))
        };
        let source_columns: Vec<String> = visible
            .iter()
            .skip(output.fields().len())
            .map(|field| field.name().clone())
            .filter(|name| names_it(name))
            .collect();
        let seen = visible.into_iter().enumerate().filter(|(i, field)| {
            *i < output.fields().len() || source_columns.contains(field.name())
        });
        let schema = df_schema(seen.map(|(_, field)| field).collect())?;
        let rules = parsed.into_iter().map(|(spec, script, expr)| {
            Ok(Rule {
                name: spec.name.clone(),
                on_fail: spec.on_fail,
                text: spec.expect.value.trim().to_owned(),
                condition: script.result(state.create_physical_expr(expr, &schema))?,
                script,
            })
        });
        Ok(Self {
            rules: rules.collect::<Result<_>>()?,
            schema: Arc::clone(schema.inner()),
            source_columns,
        })
    }

    /// Source columns that the rules read and the transform's output does not have.
    pub fn source_columns(&self) -> &[String] {
        &self.source_columns
    }

    /// Judges the rows that the transform made of `source`; `meta` stands beside the rows of `source`.
    ///
    /// # Errors
    /// [`ErrorKind::Policy`] for the first row that a rule with `fail` refuses, naming rule, topic, partition and
    /// offset, and for a condition that cannot be computed.
    pub fn judge(
        &self,
        transformed: Transformed,
        source: &RecordBatch,
        meta: &RowMeta,
    ) -> Result<Judged> {
        if self.rules.is_empty() {
            return Ok(Judged {
                kept: transformed,
                counts: Vec::new(),
                quarantined: Vec::new(),
            });
        }
        let judged = judged_rows(&transformed.source_rows, meta)?;
        let mut verdict = Verdict::new(transformed.source_rows.len());
        let mut counts = Vec::with_capacity(self.rules.len());
        let parts = self.parts(&transformed, source)?;
        for rule in &self.rules {
            let failed = rule.failed(&parts, &judged)?;
            counts.push(RuleCount {
                rule: rule.name.clone(),
                on_fail: rule.on_fail,
                failed: failed.len() as u64,
            });
            verdict.apply(rule, &failed, &transformed.source_rows, meta)?;
        }
        let quarantined = verdict.quarantined();
        Ok(Judged {
            kept: verdict.keep(transformed)?,
            counts,
            quarantined,
        })
    }

    /// The output batches with the source columns that the rules read beside them.
    fn parts(&self, transformed: &Transformed, source: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let mut start = 0;
        let parts = transformed.rows.iter().map(|rows| {
            let indices = transformed.source_rows.slice(start, rows.num_rows());
            start += rows.num_rows();
            let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
            for name in &self.source_columns {
                let column = source.column_by_name(name).ok_or_else(|| {
                    Error::internal(format!("column `{name}` of a rule was not decoded"))
                })?;
                columns.push(take(column, &indices, None).map_err(broken)?);
            }
            RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(broken)
        });
        parts.collect()
    }
}

impl Rule {
    /// Output rows, over all parts, that do not meet the condition.
    fn failed(&self, parts: &[RecordBatch], judged: &[bool]) -> Result<Vec<usize>> {
        let mut failed = Vec::new();
        let mut start = 0;
        for part in parts {
            let met = self
                .condition
                .evaluate(part)
                .and_then(|value| value.into_array(part.num_rows()))
                .map_err(|e| run_error(e, &self.script))?;
            let met = met
                .as_any()
                .downcast_ref::<BooleanArray>()
                .ok_or_else(|| Error::internal("a rule's condition is not boolean"))?;
            for i in 0..met.len() {
                let row = start + i;
                let is_met = met.is_valid(i) && met.value(i);
                if !is_met && judged.get(row).copied().unwrap_or(false) {
                    failed.push(row);
                }
            }
            start += part.num_rows();
        }
        Ok(failed)
    }

    fn refusal(&self, source_row: usize, meta: &RowMeta, failed: usize) -> Error {
        let partition = meta
            .partition
            .get(source_row)
            .and_then(|index| meta.partitions.get(*index as usize));
        let at = match (partition, meta.offsets.get(source_row)) {
            (Some(partition), Some(offset)) => format!("{partition}@{offset}"),
            _ => format!("row {source_row} of the batch"),
        };
        let rows = if failed == 1 { "row" } else { "rows" };
        Error::new(
            ErrorKind::Policy,
            format!(
                "{failed} {rows} of the batch do not meet the rule `{}`",
                self.name
            ),
        )
        .at(at)
        .expected(&*self.text)
        .remedy("correct the row where it comes from, or set the rule's `on_fail` to quarantine")
    }
}

/// What the rules decided so far.
struct Verdict {
    keep: Vec<bool>,
    quarantined: BTreeMap<usize, String>,
}

impl Verdict {
    fn new(rows: usize) -> Self {
        Self {
            keep: vec![true; rows],
            quarantined: BTreeMap::new(),
        }
    }

    fn apply(
        &mut self,
        rule: &Rule,
        failed: &[usize],
        source_rows: &UInt64Array,
        meta: &RowMeta,
    ) -> Result<()> {
        match rule.on_fail {
            OnFail::Warn => {}
            OnFail::Fail => {
                if let Some(first) = failed.first() {
                    let row = index(source_rows, *first)?;
                    return Err(rule.refusal(row, meta, failed.len()));
                }
            }
            OnFail::Drop => {
                for row in failed {
                    if let Some(keep) = self.keep.get_mut(*row) {
                        *keep = false;
                    }
                }
            }
            OnFail::Quarantine => {
                for row in failed {
                    let row = index(source_rows, *row)?;
                    self.quarantined
                        .entry(row)
                        .or_insert_with(|| rule.name.clone());
                }
            }
        }
        Ok(())
    }

    fn quarantined(&self) -> Vec<Quarantined> {
        let rows = self.quarantined.iter();
        rows.map(|(row, rule)| Quarantined {
            row: *row,
            rule: rule.clone(),
        })
        .collect()
    }

    fn keep(mut self, transformed: Transformed) -> Result<Transformed> {
        for (output_row, keep) in self.keep.iter_mut().enumerate() {
            let row = index(&transformed.source_rows, output_row)?;
            *keep &= !self.quarantined.contains_key(&row);
        }
        if self.keep.iter().all(|keep| *keep) {
            return Ok(transformed);
        }
        let mask = BooleanArray::from(self.keep);
        let mut start = 0;
        let rows = transformed.rows.iter().map(|rows| {
            let part = mask.slice(start, rows.num_rows());
            start += rows.num_rows();
            filter_record_batch(rows, &part).map_err(broken)
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let source_rows = filter(&transformed.source_rows, &mask).map_err(broken)?;
        let source_rows = source_rows
            .as_any()
            .downcast_ref::<UInt64Array>()
            .cloned()
            .ok_or_else(|| Error::internal("a filter changed the type of its column"))?;
        Ok(Transformed { rows, source_rows })
    }
}

/// For each output row whether it carries an image that rules may judge.
fn judged_rows(source_rows: &UInt64Array, meta: &RowMeta) -> Result<Vec<bool>> {
    let rows = (0..source_rows.len()).map(|i| {
        let row = index(source_rows, i)?;
        meta.ops
            .get(row)
            .map(|op| op.has_image())
            .ok_or_else(|| Error::internal("an output row comes from no row of the batch"))
    });
    rows.collect()
}

fn index(source_rows: &UInt64Array, row: usize) -> Result<usize> {
    usize::try_from(source_rows.value(row))
        .map_err(|e| Error::internal("a row's index does not fit this machine").source(e))
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal("the rows of a rule do not fit together").source(error)
}
