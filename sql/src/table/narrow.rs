//! What filters say about the versions and images of a range of changes, before a file is opened.
//!
//! A filter over `_commit_version` and `_commit_timestamp` alone is asked for each version of the log; one over
//! `_change_type` alone for each of its four words. So any expression narrows, not only comparisons.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::changes::{Range, external};
use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, utc_micros};
use crate::versioned::{Version, VersionedTable};

/// Delta's four words.
const CHANGE_TYPES: [&str; 4] = ["insert", "update_preimage", "update_postimage", "delete"];

/// What a filter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// The version or its time.
    Version,
    /// The image.
    ChangeType,
}

/// What `filter` is about, if it can be answered without reading rows.
pub(super) fn subject(filter: &Expr) -> Option<Subject> {
    if filter.is_volatile() {
        return None;
    }
    let columns = filter.column_refs();
    let all = |names: &[&str]| columns.iter().all(|c| names.contains(&c.name.as_str()));
    if columns.is_empty() {
        None
    } else if all(&[COMMIT_VERSION, COMMIT_TIMESTAMP]) {
        Some(Subject::Version)
    } else if all(&[CHANGE_TYPE]) {
        Some(Subject::ChangeType)
    } else {
        None
    }
}

/// The versions of `range` that may meet the filters: from the first that does to the last that does.
pub(super) async fn versions(
    state: &dyn Session,
    table: &dyn VersionedTable,
    range: Range,
    filters: &[Expr],
) -> DfResult<Range> {
    let filters: Vec<&Expr> = filters
        .iter()
        .filter(|filter| subject(filter) == Some(Subject::Version))
        .collect();
    if filters.is_empty() || range.is_empty() {
        return Ok(range);
    }
    let Some(to) = range.to else {
        // What will be committed is not known: only a lower bound helps.
        let parts = filters.iter().flat_map(|filter| split_conjunction(filter));
        let from = parts.filter_map(lower_bound).fold(range.from, i64::max);
        return Ok(Range { from, to: None });
    };
    let known = table.versions(range.from, to).await.map_err(external)?;
    let keeps = keeps(state, version_columns(&known)?, &filters)?;
    let mut kept = known
        .iter()
        .zip(keeps)
        .filter(|(version, keep)| *keep && version.changes_rows)
        .map(|(version, _)| version.number);
    let Some(first) = kept.next() else {
        return Ok(Range {
            from: range.from,
            to: Some(range.from.saturating_sub(1)),
        });
    };
    Ok(Range {
        from: first,
        to: Some(kept.next_back().unwrap_or(first)),
    })
}

/// The words that may meet the filters; `None` is all of them.
pub(super) fn change_types(state: &dyn Session, filters: &[Expr]) -> DfResult<Option<Vec<String>>> {
    let filters: Vec<&Expr> = filters
        .iter()
        .filter(|filter| subject(filter) == Some(Subject::ChangeType))
        .collect();
    if filters.is_empty() {
        return Ok(None);
    }
    let schema = Schema::new(vec![Field::new(CHANGE_TYPE, DataType::Utf8, true)]);
    let words: ArrayRef = Arc::new(StringArray::from_iter_values(CHANGE_TYPES));
    let words = RecordBatch::try_new(Arc::new(schema), vec![words])?;
    let keeps = keeps(state, words, &filters)?;
    let kept: Vec<String> = CHANGE_TYPES
        .iter()
        .zip(&keeps)
        .filter(|(_, keep)| **keep)
        .map(|(word, _)| (*word).to_owned())
        .collect();
    Ok((kept.len() < CHANGE_TYPES.len()).then_some(kept))
}

fn version_columns(versions: &[Version]) -> DfResult<RecordBatch> {
    let numbers = Int64Array::from_iter_values(versions.iter().map(|v| v.number));
    let instants =
        TimestampMicrosecondArray::from_iter_values(versions.iter().map(|v| v.committed_micros));
    let schema = Schema::new(vec![
        Field::new(COMMIT_VERSION, DataType::Int64, false),
        Field::new(COMMIT_TIMESTAMP, utc_micros(), false),
    ]);
    Ok(RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(numbers),
            Arc::new(instants.with_data_type(utc_micros())),
        ],
    )?)
}

/// Whether each row meets all filters.
fn keeps(state: &dyn Session, rows: RecordBatch, filters: &[&Expr]) -> DfResult<Vec<bool>> {
    let schema = DFSchema::try_from(rows.schema())?;
    let mut keeps = vec![true; rows.num_rows()];
    for filter in filters {
        // Filters arrive with or without the relation's name.
        let bare = without_relations(filter)?;
        let expression = state.create_physical_expr(bare, &schema)?;
        let answers = expression.evaluate(&rows)?.into_array(rows.num_rows())?;
        let Some(answers) = answers.as_boolean_opt() else {
            continue;
        };
        for (row, keep) in keeps.iter_mut().enumerate() {
            *keep &= answers.is_valid(row) && answers.value(row);
        }
    }
    Ok(keeps)
}

fn without_relations(filter: &Expr) -> DfResult<Expr> {
    use datafusion::common::Column;
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let bare = filter.clone().transform(|expr| {
        Ok(match expr {
            Expr::Column(column) if column.relation.is_some() => {
                Transformed::yes(Expr::Column(Column::from_name(column.name)))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(bare.data)
}

/// The `n` of `_commit_version >= n`, in any spelling.
fn lower_bound(filter: &Expr) -> Option<i64> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    let (column, op, literal) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
        _ => return None,
    };
    let ScalarValue::Int64(Some(bound)) = literal else {
        return None;
    };
    if column.name != COMMIT_VERSION {
        return None;
    }
    match op {
        Operator::GtEq | Operator::Eq => Some(*bound),
        Operator::Gt => bound.checked_add(1),
        _ => None,
    }
}
