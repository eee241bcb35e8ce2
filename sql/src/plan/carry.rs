//! The hidden column [`ROW`] through a plan: the index of the source row that each output row came from.
//!
//! A recursive rewrite of the plan as the SQL planner made it, before analysis: names, wildcards, views and CTEs are
//! resolved there and types are not coerced yet, so that analysis runs once, over the rewritten plan. The scan of the
//! slot gets the column, every node above it passes it on, and a node that loses the identity of rows is refused by
//! name. Subtrees that do not read the slot are lookups and stay as they are, so DISTINCT, GROUP BY and LIMIT are
//! legal inside them.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, JoinConstraint, JoinType};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    Distinct, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection, Repartition,
    SubqueryAlias, TableScan, Union, Unnest,
};

use super::script::Script;
use crate::change::is_metadata;
use crate::error::{Error, Result};
use crate::table::{ROW, SlotTable};

/// `plan` with [`ROW`] as its last column.
///
/// # Errors
/// [`crate::ErrorKind::Config`] at the SQL's start, with a sentence that says what to do, for a query that does not
/// return rows of `source` one by one, or does not read it.
pub fn carry(plan: &LogicalPlan, source: &str, script: &Script) -> Result<LogicalPlan> {
    let carrier = Carrier { source, script };
    let rewritten = carrier
        .refuse_reserved(plan)
        .and_then(|()| carrier.root(plan));
    rewritten.map_err(|error| match error.place() {
        Some(_) => error,
        None => error.at(script.start()),
    })
}

/// The slot under `scan`, if it is one.
pub(super) fn slot_of(scan: &TableScan) -> Option<SlotTable> {
    let provider = source_as_provider(&scan.source).ok()?;
    provider.as_any().downcast_ref::<SlotTable>().cloned()
}

/// Whether `plan` reads the slot, subqueries in expressions included.
pub(super) fn reads_slot(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && slot_of(scan).is_some()
        {
            found = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found || walked.is_err()
}

struct Carrier<'a> {
    source: &'a str,
    script: &'a Script,
}

impl Carrier<'_> {
    fn root(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let Some(carried) = self.carry(plan)? else {
            return Err(Error::config(format!(
                "the SQL does not read the source `{}`",
                self.source
            ))
            .remedy(format!("write `FROM {}`", self.source)));
        };
        let mut columns = own_columns(plan);
        columns.push(row_of(&carried)?.alias(ROW));
        LogicalPlanBuilder::from(carried)
            .project(columns)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| self.script.error(e))
    }

    /// No query may name a column as the hidden one.
    fn refuse_reserved(&self, plan: &LogicalPlan) -> Result<()> {
        let mut taken = false;
        let walked = plan.apply_with_subqueries(|node| {
            taken |= node
                .schema()
                .fields()
                .iter()
                .any(|field| field.name() == ROW);
            Ok(TreeNodeRecursion::Continue)
        });
        walked.map_err(|e| self.script.error(e))?;
        if taken {
            let error = Error::config(format!("the name `{ROW}` is reserved"))
                .remedy("give the column another name");
            return Err(self.script.locate(error, ROW));
        }
        Ok(())
    }

    /// `None`: the subtree does not read the slot.
    fn carry(&self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        if !reads_slot(plan) {
            return Ok(None);
        }
        self.refuse_subqueries(plan)?;
        let df = |e: DataFusionError| self.script.error(e);
        let carried = match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan)?,
            LogicalPlan::Projection(node) => {
                let child = self.child(&node.input)?;
                let mut expr = node.expr.clone();
                expr.push(row_of(&child)?);
                LogicalPlan::Projection(Projection::try_new(expr, Arc::new(child)).map_err(df)?)
            }
            LogicalPlan::Filter(node) => {
                let child = Arc::new(self.child(&node.input)?);
                LogicalPlan::Filter(Filter::try_new(node.predicate.clone(), child).map_err(df)?)
            }
            // Rows come out in the source's order whatever the query says, so sorting them is work for nothing.
            LogicalPlan::Sort(node) if node.fetch.is_none() => self.child(&node.input)?,
            LogicalPlan::Repartition(node) => LogicalPlan::Repartition(Repartition {
                input: Arc::new(self.child(&node.input)?),
                partitioning_scheme: node.partitioning_scheme.clone(),
            }),
            LogicalPlan::SubqueryAlias(node) => {
                let child = Arc::new(self.child(&node.input)?);
                LogicalPlan::SubqueryAlias(
                    SubqueryAlias::try_new(child, node.alias.clone()).map_err(df)?,
                )
            }
            LogicalPlan::Join(node) => self.join(node)?,
            LogicalPlan::Union(node) => self.union(node)?,
            LogicalPlan::Unnest(node) => {
                let child = Arc::new(self.child(&node.input)?);
                LogicalPlan::Unnest(
                    Unnest::try_new(child, node.exec_columns.clone(), node.options.clone())
                        .map_err(df)?,
                )
            }
            other => return Err(self.refusal(other)),
        };
        Ok(Some(carried))
    }

    /// A child of a node with one input: it reads the slot, because the node does and its subqueries do not.
    fn child(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        self.carry(plan)?
            .ok_or_else(|| Error::internal("a plan node lost its source while it was rewritten"))
    }

    fn scan(&self, scan: &TableScan) -> Result<LogicalPlan> {
        let slot = slot_of(scan)
            .ok_or_else(|| Error::internal("a table was taken for the pipeline's source"))?;
        TableScan::try_new(
            scan.table_name.clone(),
            provider_as_source(Arc::new(slot.with_row())),
            None,
            scan.filters.clone(),
            scan.fetch,
        )
        .map(LogicalPlan::TableScan)
        .map_err(|e| self.script.error(e))
    }

    fn join(&self, join: &Join) -> Result<LogicalPlan> {
        use JoinType::{
            Full, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi,
        };
        let (left, right) = (self.carry(&join.left)?, self.carry(&join.right)?);
        let (refused, carries_left): (&[JoinType], bool) = match (&left, &right) {
            (Some(_), None) => (&[Right, Full, RightSemi, RightAnti, RightMark], true),
            (None, Some(_)) => (&[Left, Full, LeftSemi, LeftAnti, LeftMark], false),
            _ => {
                return Err(Error::config(format!(
                    "`{}` is joined with itself, and a join sees the rows of one batch only",
                    self.source
                ))
                .remedy("join a table from `tables:` instead, or do it in a query over the target table"));
            }
        };
        self.refuse_metadata_keys(join)?;
        if refused.contains(&join.join_type) {
            let side = if carries_left { "left" } else { "right" };
            return Err(Error::config(format!(
                "a {} JOIN with `{}` on its {side} returns rows that are no row of `{}`",
                words(join.join_type),
                self.source,
                self.source
            ))
            .remedy(format!(
                "put `{}` on the side whose rows the join keeps, as in `FROM {} LEFT JOIN …`",
                self.source, self.source
            )));
        }
        Join::try_new(
            left.map_or_else(|| Arc::clone(&join.left), Arc::new),
            right.map_or_else(|| Arc::clone(&join.right), Arc::new),
            join.on.clone(),
            join.filter.clone(),
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )
        .map(LogicalPlan::Join)
        .map_err(|e| self.script.error(e))
    }

    /// A lookup that happens to have a metadata column would join on it unasked.
    fn refuse_metadata_keys(&self, join: &Join) -> Result<()> {
        if join.join_constraint != JoinConstraint::Using {
            return Ok(());
        }
        for (key, _) in &join.on {
            if let Expr::Column(column) = key
                && is_metadata(&column.name)
            {
                let source = self.source;
                return Err(Error::config(format!(
                    "NATURAL JOIN or USING joins `{source}` on its metadata column `{}`",
                    column.name
                ))
                .remedy(format!(
                    "write the condition, as in `JOIN t ON t.id = {source}.id`"
                )));
            }
        }
        Ok(())
    }

    /// Every branch must read the source; each branch's column gets the same name, without qualifier.
    fn union(&self, union: &Union) -> Result<LogicalPlan> {
        let branches = union.inputs.iter().map(|input| {
            let Some(carried) = self.carry(input)? else {
                return Err(Error::config(format!(
                    "a branch of the UNION ALL does not read `{}`, so its rows would come again with every batch",
                    self.source
                ))
                .remedy("load the other table once, outside of the pipeline"));
            };
            let mut columns = own_columns(input);
            columns.push(row_of(&carried)?.alias(ROW));
            let branch = Projection::try_new(columns, Arc::new(carried))
                .map_err(|e| self.script.error(e))?;
            Ok(Arc::new(LogicalPlan::Projection(branch)))
        });
        let branches = branches.collect::<Result<Vec<_>>>()?;
        Union::try_new_with_loose_types(branches)
            .map(LogicalPlan::Union)
            .map_err(|e| self.script.error(e))
    }

    /// A subquery in an expression (`IN`, `EXISTS`, scalar) may read lookups, not the source.
    fn refuse_subqueries(&self, plan: &LogicalPlan) -> Result<()> {
        let mut found = false;
        let walked = plan.apply_subqueries(|subquery| {
            found |= reads_slot(subquery);
            Ok(TreeNodeRecursion::Jump)
        });
        walked.map_err(|e| self.script.error(e))?;
        if found {
            return Err(Error::config(format!(
                "a subquery in an expression reads `{}`, and it would see the rows of one batch only",
                self.source
            ))
            .remedy("a subquery may read the tables from `tables:`"));
        }
        Ok(())
    }

    fn refusal(&self, plan: &LogicalPlan) -> Error {
        let source = self.source;
        let one_batch = "a pipeline's SQL sees one batch at a time, so the answer would depend on where batches end";
        let aggregate_later = "write the rows as they are and aggregate in a query over the target table; inside a lookup's subquery it is fine";
        let (what, why, remedy) = match plan {
            LogicalPlan::Aggregate(_) => ("GROUP BY or an aggregate", one_batch, aggregate_later),
            LogicalPlan::Distinct(Distinct::On(_)) => ("DISTINCT ON", one_batch, aggregate_later),
            LogicalPlan::Distinct(Distinct::All(_)) => (
                "DISTINCT, or a UNION, INTERSECT or EXCEPT,",
                one_batch,
                "use UNION ALL, or remove duplicates in a query over the target table",
            ),
            LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => {
                ("LIMIT", one_batch, "filter with WHERE instead")
            }
            LogicalPlan::Window(_) => ("a window function", one_batch, aggregate_later),
            LogicalPlan::RecursiveQuery(_) => (
                "WITH RECURSIVE",
                one_batch,
                "recursion over a lookup is fine; over the source it is not",
            ),
            LogicalPlan::Subquery(_) => (
                "LATERAL",
                "the identity of a row is lost in it",
                "write a JOIN",
            ),
            _ => (
                "this kind of query",
                "the identity of a row is lost in it",
                "select rows of the source with WHERE, JOIN and expressions",
            ),
        };
        Error::config(format!("{what} over `{source}` is refused: {why}")).remedy(remedy)
    }
}

fn words(join_type: JoinType) -> &'static str {
    match join_type {
        JoinType::Inner => "INNER",
        JoinType::Left => "LEFT",
        JoinType::Right => "RIGHT",
        JoinType::Full => "FULL",
        JoinType::LeftSemi => "LEFT SEMI",
        JoinType::RightSemi => "RIGHT SEMI",
        JoinType::LeftAnti => "LEFT ANTI",
        JoinType::RightAnti => "RIGHT ANTI",
        JoinType::LeftMark => "LEFT MARK",
        JoinType::RightMark => "RIGHT MARK",
    }
}

/// Every column of `plan`'s own output.
fn own_columns(plan: &LogicalPlan) -> Vec<Expr> {
    let columns = plan.schema().iter();
    columns
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
        .collect()
}

/// The hidden column as `plan` calls it: its qualifier changes on the way up.
fn row_of(plan: &LogicalPlan) -> Result<Expr> {
    let mut columns = plan.schema().iter();
    columns
        .find(|(_, field)| field.name() == ROW)
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
        .ok_or_else(|| Error::internal(format!("a plan node lost the column `{ROW}`")))
}
