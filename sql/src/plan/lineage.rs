//! Which source columns each output column is made of, and which decide whether a row appears at all.
//!
//! Read from the plan before optimisation, which folds, inlines and renames.

use std::collections::{BTreeSet, HashMap};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection, Subquery, Union, Unnest};

use super::carry::{reads_slot, slot_of};
use super::script::Script;
use crate::error::{Error, Result};

/// What one output column is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Source columns, metadata columns included.
    pub columns: BTreeSet<String>,
    /// The source column that passes through unchanged, renamed at most.
    pub plain: Option<String>,
}

/// What a query's output is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    /// For each output column, in order.
    pub output: Vec<Origin>,
    /// Source columns in filters, join conditions and unnested lists: they decide whether and how often a row appears.
    pub decide: BTreeSet<String>,
}

/// The lineage of an un-optimised plan (without the hidden column).
///
/// # Errors
/// [`crate::ErrorKind::Internal`] for a column that no input has: it would be a wrong answer to ignore it.
pub fn lineage(plan: &LogicalPlan, script: &Script) -> Result<Lineage> {
    trace(plan).map_err(|e| script.error(e))
}

fn trace(plan: &LogicalPlan) -> Result<Lineage, DataFusionError> {
    if !reads_slot(plan) {
        return Ok(Lineage {
            output: vec![Origin::default(); plan.schema().fields().len()],
            decide: BTreeSet::new(),
        });
    }
    match plan {
        LogicalPlan::TableScan(scan) if slot_of(scan).is_some() => {
            let names = scan
                .projected_schema
                .fields()
                .iter()
                .map(|f| f.name().clone());
            let output = names.map(|name| Origin {
                columns: BTreeSet::from([name.clone()]),
                plain: Some(name),
            });
            Ok(Lineage {
                output: output.collect(),
                decide: BTreeSet::new(),
            })
        }
        LogicalPlan::Projection(node) => projection(node),
        LogicalPlan::Filter(node) => {
            let mut lineage = trace(&node.input)?;
            let scope = Scope::of(&node.input, &lineage);
            lineage.decide.extend(scope.columns(&node.predicate)?);
            Ok(lineage)
        }
        LogicalPlan::Join(node) => join(node),
        LogicalPlan::Union(node) => union(node),
        LogicalPlan::Unnest(node) => unnest(node),
        other => match other.inputs().as_slice() {
            [input] => trace(input),
            _ => Err(DataFusionError::External(Box::new(Error::internal(
                "lineage met a plan node that should have been refused",
            )))),
        },
    }
}

fn projection(node: &Projection) -> Result<Lineage, DataFusionError> {
    let input = trace(&node.input)?;
    let scope = Scope::of(&node.input, &input);
    let output = node.expr.iter().map(|expr| {
        Ok(Origin {
            columns: scope.columns(expr)?,
            plain: scope.plain(expr)?,
        })
    });
    Ok(Lineage {
        output: output.collect::<Result<_, DataFusionError>>()?,
        decide: input.decide,
    })
}

/// Columns that a lookup brings depend on the columns that it was looked up by.
fn join(node: &Join) -> Result<Lineage, DataFusionError> {
    let (left, right) = (trace(&node.left)?, trace(&node.right)?);
    let left_scope = Scope::of(&node.left, &left);
    let right_scope = Scope::of(&node.right, &right);
    let both = left_scope.and(&right_scope);
    let mut by = BTreeSet::new();
    for (l, r) in &node.on {
        by.extend(left_scope.columns(l)?);
        by.extend(right_scope.columns(r)?);
    }
    if let Some(filter) = &node.filter {
        by.extend(both.columns(filter)?);
    }
    let looked_up = |side: Lineage, plan: &LogicalPlan| {
        let from_lookup = !reads_slot(plan);
        let by = by.clone();
        side.output.into_iter().map(move |mut origin| {
            if from_lookup {
                origin.columns.extend(by.iter().cloned());
            }
            origin
        })
    };
    let mut decide = by.clone();
    decide.extend(left.decide.iter().cloned());
    decide.extend(right.decide.iter().cloned());
    let mut output: Vec<Origin> = looked_up(left, &node.left).collect();
    output.extend(looked_up(right, &node.right));
    Ok(Lineage { output, decide })
}

fn union(node: &Union) -> Result<Lineage, DataFusionError> {
    let mut all: Option<Lineage> = None;
    for input in &node.inputs {
        let branch = trace(input)?;
        let Some(sum) = &mut all else {
            all = Some(branch);
            continue;
        };
        sum.decide.extend(branch.decide);
        for (origin, other) in sum.output.iter_mut().zip(branch.output) {
            if origin.plain != other.plain {
                origin.plain = None;
            }
            origin.columns.extend(other.columns);
        }
    }
    Ok(all.unwrap_or_default())
}

fn unnest(node: &Unnest) -> Result<Lineage, DataFusionError> {
    let input = trace(&node.input)?;
    let origin = |index: &usize| {
        input.output.get(*index).cloned().ok_or_else(|| {
            DataFusionError::External(Box::new(Error::internal("an unnested column has no input")))
        })
    };
    let mut output = node
        .dependency_indices
        .iter()
        .map(origin)
        .collect::<Result<Vec<_>, _>>()?;
    let mut decide = input.decide.clone();
    let unnested: BTreeSet<usize> = node
        .list_type_columns
        .iter()
        .map(|(index, _)| *index)
        .chain(node.struct_type_columns.iter().copied())
        .collect();
    for index in &unnested {
        decide.extend(origin(index)?.columns);
    }
    for (column, index) in output.iter_mut().zip(&node.dependency_indices) {
        if unnested.contains(index) {
            column.plain = None;
        }
    }
    Ok(Lineage { output, decide })
}

/// The origins of the columns that an expression may name.
struct Scope<'a>(Vec<(&'a DFSchema, &'a [Origin])>);

impl<'a> Scope<'a> {
    fn of(plan: &'a LogicalPlan, lineage: &'a Lineage) -> Self {
        Self(vec![(plan.schema().as_ref(), &lineage.output)])
    }

    fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).copied().collect())
    }

    fn origin(&self, column: &Column) -> Result<&'a Origin, DataFusionError> {
        self.0
            .iter()
            .find_map(|(schema, origins)| origins.get(schema.maybe_index_of_column(column)?))
            .ok_or_else(|| {
                DataFusionError::External(Box::new(Error::internal(format!(
                    "lineage of the column `{}` is not known",
                    column.flat_name()
                ))))
            })
    }

    /// Every source column that `expr` reads, through correlated subqueries too.
    fn columns(&self, expr: &Expr) -> Result<BTreeSet<String>, DataFusionError> {
        let mut columns = BTreeSet::new();
        for column in expr.column_refs() {
            columns.extend(self.origin(column)?.columns.iter().cloned());
        }
        let mut outer: HashMap<String, Column> = HashMap::new();
        expr.apply(|expr| {
            if let Some(subquery) = subquery_of(expr) {
                for reference in &subquery.outer_ref_columns {
                    for column in outer_columns(reference)? {
                        outer.insert(column.flat_name(), column);
                    }
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        for column in outer.values() {
            columns.extend(self.origin(column)?.columns.iter().cloned());
        }
        Ok(columns)
    }

    fn plain(&self, expr: &Expr) -> Result<Option<String>, DataFusionError> {
        match expr {
            Expr::Column(column) => Ok(self.origin(column)?.plain.clone()),
            Expr::Alias(alias) => self.plain(&alias.expr),
            _ => Ok(None),
        }
    }
}

fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::InSubquery(subquery) => Some(&subquery.subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        _ => None,
    }
}

fn outer_columns(expr: &Expr) -> Result<Vec<Column>, DataFusionError> {
    let mut columns = Vec::new();
    expr.apply(|expr| {
        if let Expr::OuterReferenceColumn(_, column) = expr {
            columns.push(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(columns)
}
