//! Files and row groups that can hold no row of a filter.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, Result as DfResult, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_optimizer::pruning::PruningPredicate;
use iceberg::spec::Datum;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;

use super::Files;
use crate::lake::live::scalar;
use crate::lake::versioned::iceberg::columns::{Columns, Constants};
use crate::lake::versioned::iceberg::state::Data;

/// A filter that leaves out by ranges; nothing if it cannot.
pub(super) fn predicate(
    schema: &SchemaRef,
    filters: &[Expr],
) -> DfResult<Option<PruningPredicate>> {
    let Some(filter) = conjunction(filters.to_vec()) else {
        return Ok(None);
    };
    let columns = DFSchema::try_from(Arc::clone(schema))?;
    let filter = create_physical_expr(&filter, &columns, &ExecutionProps::new())?;
    let predicate = PruningPredicate::try_new(filter, Arc::clone(schema))?;
    Ok((!predicate.always_true()).then_some(predicate))
}

/// For each data file whether it may hold a row of the filters.
pub(super) fn files(
    files: &Files,
    schema: &SchemaRef,
    candidates: &[&Data],
    filters: &[Expr],
) -> DfResult<Vec<bool>> {
    let Some(predicate) = predicate(schema, filters)? else {
        return Ok(vec![true; candidates.len()]);
    };
    let constants = candidates
        .iter()
        .map(|data| files.deletes.constants(&data.file));
    predicate.prune(&OfFiles {
        columns: &files.columns,
        candidates,
        constants: constants.collect(),
    })
}

/// Floats are left alone: their ranges leave NaN out.
fn is_ordered(of: &DataType) -> bool {
    !of.is_nested() && !of.is_floating()
}

struct OfFiles<'a> {
    columns: &'a Columns,
    candidates: &'a [&'a Data],
    constants: Vec<Constants>,
}

impl OfFiles<'_> {
    fn bounds<'d>(
        &'d self,
        column: &Column,
        of: impl Fn(&'d Data, i32) -> Option<&'d Datum>,
    ) -> Option<ArrayRef> {
        let (id, own) = self.columns.find(&column.name)?;
        if !is_ordered(own) {
            return None;
        }
        let unknown = ScalarValue::try_from(own).ok()?;
        let values =
            self.candidates
                .iter()
                .zip(&self.constants)
                .map(|(data, constants)| {
                    let fixed = constants.iter().find(|(fixed, _)| *fixed == id);
                    let value = match fixed {
                        Some((_, value)) => ScalarValue::try_from_array(value, 0).ok(),
                        None => of(data, id)
                            .and_then(|bound| scalar(bound.literal(), bound.data_type())),
                    };
                    let value = value.and_then(|value| value.cast_to(own).ok());
                    value.unwrap_or_else(|| unknown.clone())
                });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for OfFiles<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |data, id| {
            data.entry.data_file().lower_bounds().get(&id)
        })
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |data, id| {
            data.entry.data_file().upper_bounds().get(&id)
        })
    }

    fn num_containers(&self) -> usize {
        self.candidates.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (id, _) = self.columns.find(&column.name)?;
        let count = |data: &&Data| data.entry.data_file().null_value_counts().get(&id).copied();
        let counts: UInt64Array = self.candidates.iter().map(count).collect();
        Some(Arc::new(counts))
    }

    fn row_counts(&self, _column: &Column) -> Option<ArrayRef> {
        let counts = self.candidates.iter().map(|data| data.file.rows);
        Some(Arc::new(UInt64Array::from_iter_values(counts)))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// For each of a file's row groups `groups` whether it may hold a row of the filter.
pub(super) fn row_groups(
    predicate: &PruningPredicate,
    columns: &Columns,
    metadata: &ArrowReaderMetadata,
    groups: &[usize],
) -> DfResult<Vec<bool>> {
    predicate.prune(&OfGroups {
        columns,
        metadata,
        groups,
    })
}

struct OfGroups<'a> {
    columns: &'a Columns,
    metadata: &'a ArrowReaderMetadata,
    groups: &'a [usize],
}

impl OfGroups<'_> {
    fn converter(&self, column: &Column) -> Option<(StatisticsConverter<'_>, &DataType)> {
        let (_, own) = self.columns.find(&column.name)?;
        if !is_ordered(own) {
            return None;
        }
        let stored = self.metadata.schema();
        let name = stored
            .field(self.columns.place(stored, &column.name)?)
            .name();
        let parquet = self.metadata.parquet_schema();
        let converter = StatisticsConverter::try_new(name, stored, parquet).ok()?;
        Some((converter, own))
    }

    fn of_groups(&self) -> impl Iterator<Item = &parquet::file::metadata::RowGroupMetaData> {
        let all = self.metadata.metadata().row_groups();
        self.groups.iter().filter_map(|at| all.get(*at))
    }
}

impl PruningStatistics for OfGroups<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let (converter, own) = self.converter(column)?;
        let values = converter.row_group_mins(self.of_groups()).ok()?;
        arrow::compute::cast(&values, own).ok()
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let (converter, own) = self.converter(column)?;
        let values = converter.row_group_maxes(self.of_groups()).ok()?;
        arrow::compute::cast(&values, own).ok()
    }

    fn num_containers(&self) -> usize {
        self.groups.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (converter, _) = self.converter(column)?;
        let converter = converter.with_missing_null_counts_as_zero(false);
        let counts = converter.row_group_null_counts(self.of_groups()).ok()?;
        Some(Arc::new(counts))
    }

    fn row_counts(&self, _column: &Column) -> Option<ArrayRef> {
        let rows = self
            .of_groups()
            .map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
        Some(Arc::new(UInt64Array::from_iter_values(rows)))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
