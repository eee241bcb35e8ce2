//! Values that the source did not send, and that no event of the batch has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::interleave;
use arrow::datatypes::Schema;
use sql::Result;
use sql::change::Folded;

use super::plan::UpsertPlan;
use super::{batch_of, broken};
use crate::lake::cast::Caster;
use crate::sink::Fetched;

/// Folded rows, with what the target has.
#[derive(Debug)]
pub(super) struct Filled {
    /// The rows, for the SQL.
    pub(super) rows: RecordBatch,
    /// By row, the columns that are still missing.
    pub(super) missing: BTreeMap<usize, Gap>,
}

/// What is still missing of a row.
#[derive(Debug, Default)]
pub(super) struct Gap {
    columns: BTreeSet<String>,
    /// The target was asked for the row, and does not have it.
    absent: bool,
    /// The fetched row that has outputs made of them.
    kept: Option<usize>,
}

/// A missing value that nothing can stand for.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) row: usize,
    pub(super) column: String,
    pub(super) why: &'static str,
    /// The target has no row under the key, and the batch has none that is whole.
    pub(super) absent: bool,
}

impl UpsertPlan {
    /// Puts the target's values where `folded` has missing ones, for columns that the SQL passes through.
    pub(super) fn fill(&self, folded: &Folded, fetched: Option<&Fetched>) -> Result<Filled> {
        let schema = folded.rows.schema();
        let mut missing: BTreeMap<usize, Gap> = BTreeMap::new();
        let mut by_column: BTreeMap<usize, BTreeMap<usize, usize>> = BTreeMap::new();
        for value in &folded.missing {
            let found = fetched.and_then(|fetched| *fetched.found.get(value.from?)?);
            if let Some(found) = found
                && self.restores(&schema, value.column)
            {
                by_column
                    .entry(value.column)
                    .or_default()
                    .insert(value.row, found);
                continue;
            }
            let gap = missing.entry(value.row).or_default();
            if let Some(field) = schema.fields().get(value.column) {
                gap.columns.insert(field.name().clone());
            }
            gap.kept = found;
            gap.absent |= value.from.is_some() && found.is_none();
        }
        let mut columns: Vec<ArrayRef> = folded.rows.columns().to_vec();
        for (column, from) in by_column {
            if let (Some(values), Some(fetched)) = (columns.get_mut(column), fetched) {
                let theirs = self.as_source(&schema, column, fetched)?;
                *values = pick(values, &theirs, &from)?;
            }
        }
        Ok(Filled {
            rows: batch_of(schema, columns, folded.rows.num_rows())?,
            missing,
        })
    }

    /// Whether the target has the source's values of a column: the SQL passes it through, and its type can be had back.
    fn restores(&self, schema: &Schema, column: usize) -> bool {
        let field = schema.fields().get(column);
        field.is_some_and(|field| {
            self.plain(field.name())
                .is_some_and(|output| self.back(schema, column, output).is_ok())
        })
    }

    /// The cast from the target's column of `output` to the source's `column`.
    fn back(&self, schema: &Schema, column: usize, output: usize) -> Result<(usize, Caster)> {
        let name = self.output.field(output).name();
        let target = self.target_schema()?;
        let place = target.index_of(name).map_err(broken)?;
        let source = schema.field(column).clone().with_name(name);
        let from = Schema::new(vec![target.field(place).clone().with_nullable(true)]);
        let caster = Caster::try_new(&from, &Schema::new(vec![source.with_nullable(true)]))?;
        Ok((place, caster))
    }

    /// The fetched rows' values of a source column.
    fn as_source(&self, schema: &Schema, column: usize, fetched: &Fetched) -> Result<ArrayRef> {
        let name = schema.field(column).name();
        let output = self.plain(name).unwrap_or_default();
        let (place, caster) = self.back(schema, column, output)?;
        let one = fetched.rows.project(&[place]).map_err(broken)?;
        let cast = caster.cast(&one)?;
        Ok(Arc::clone(cast.column(0)))
    }

    /// The missing values that no rule covers: their column decides whether a row appears, an output mixes them with values
    /// that were sent, or there is no row to keep an output of.
    pub(super) fn trouble(&self, filled: &Filled) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for (row, gap) in &filled.missing {
            let mut trouble = |column: &str, why| {
                troubles.push(Trouble {
                    row: *row,
                    column: column.to_owned(),
                    why,
                    absent: gap.absent,
                });
            };
            if let Some(column) = gap
                .columns
                .iter()
                .find(|name| self.lineage.decide.contains(*name))
            {
                trouble(column, "it decides whether the row is written");
                continue;
            }
            for output in 0..self.output.fields().len() {
                let made_of = self.made_of(output);
                let Some(column) = gap
                    .columns
                    .iter()
                    .find(|name| made_of.contains(name.as_str()))
                else {
                    continue;
                };
                let only = made_of.iter().all(|name| gap.columns.contains(*name));
                if !only {
                    trouble(
                        column,
                        "an output column mixes it with values that were sent",
                    );
                    break;
                }
                if gap.kept.is_none() {
                    trouble(column, "the row that had its value is not there");
                    break;
                }
            }
        }
        troubles
    }

    /// Puts what the target has into output columns that are made of missing values only. `sources` are the folded rows of
    /// `rows`.
    pub(super) fn keep(
        &self,
        rows: RecordBatch,
        sources: &UInt64Array,
        filled: &Filled,
        fetched: Option<&Fetched>,
    ) -> Result<RecordBatch> {
        let Some(fetched) = fetched.filter(|_| !filled.missing.is_empty()) else {
            return Ok(rows);
        };
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        for (output, field) in self.output.fields().iter().enumerate() {
            let made_of = self.made_of(output);
            let mut from: BTreeMap<usize, usize> = BTreeMap::new();
            for (place, source) in sources.values().iter().enumerate() {
                let gap = usize::try_from(*source)
                    .ok()
                    .and_then(|row| filled.missing.get(&row));
                let Some(gap) = gap else { continue };
                let only =
                    !made_of.is_empty() && made_of.iter().all(|name| gap.columns.contains(*name));
                if let Some(kept) = gap.kept.filter(|_| only) {
                    from.insert(place, kept);
                }
            }
            if from.is_empty() {
                continue;
            }
            let place = self
                .target_schema()?
                .index_of(field.name())
                .map_err(broken)?;
            if let Some(values) = columns.get_mut(place) {
                *values = pick(values, fetched.rows.column(place), &from)?;
            }
        }
        batch_of(rows.schema(), columns, rows.num_rows())
    }
}

/// `ours`, but at the rows of `from` what `theirs` has at the row that `from` says.
fn pick(ours: &ArrayRef, theirs: &ArrayRef, from: &BTreeMap<usize, usize>) -> Result<ArrayRef> {
    let places: Vec<(usize, usize)> = (0..ours.len())
        .map(|row| from.get(&row).map_or((0, row), |found| (1, *found)))
        .collect();
    interleave(&[ours.as_ref(), theirs.as_ref()], &places).map_err(broken)
}
