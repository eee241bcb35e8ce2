//! Queries over a feed that could never answer are refused before they run.
//!
//! DataFusion refuses most of them itself, with a debug dump of the operator, and accepts some that never end
//! (`lookup WHERE n IN (SELECT id FROM feed)`, `lookup LEFT JOIN feed`): rows of the bounded side that wait for the
//! end of the feed.

use std::sync::Arc;

use datafusion::common::{JoinType, Result as DfResult};
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SymmetricHashJoinExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::changes::ChangesExec;
use super::exec::{Ends, SourceExec};
use crate::error::Error;

/// The physical optimiser's rule that refuses what would wait for the end of a feed.
#[derive(Debug, Clone, Copy, Default)]
pub struct RefuseEndless;

impl PhysicalOptimizerRule for RefuseEndless {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        check(&plan)?;
        Ok(plan)
    }

    fn name(&self) -> &'static str {
        "refuse_endless"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Children first, so that the operator that waits is named and not one above it.
fn check(plan: &Arc<dyn ExecutionPlan>) -> DfResult<()> {
    for child in plan.children() {
        check(child)?;
    }
    if waits_for_the_end(plan) || keeps_unmatched(plan) {
        return Err(DataFusionError::External(Box::new(refusal(plan))));
    }
    Ok(())
}

fn waits_for_the_end(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.boundedness() {
        Boundedness::Bounded => false,
        Boundedness::Unbounded {
            requires_infinite_memory,
        } => requires_infinite_memory || plan.pipeline_behavior() == EmissionType::Final,
    }
}

/// Whether rows of a bounded side are known to have no match only when the feed has ended.
fn keeps_unmatched(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let any = plan.as_any();
    let (probe, join_type) = if let Some(join) = any.downcast_ref::<HashJoinExec>() {
        (join.right(), join.join_type())
    } else if let Some(join) = any.downcast_ref::<NestedLoopJoinExec>() {
        (join.right(), join.join_type())
    } else if let Some(join) = any.downcast_ref::<SymmetricHashJoinExec>() {
        return *join.join_type() != JoinType::Inner;
    } else {
        return false;
    };
    let collected_side_answers = matches!(
        join_type,
        JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
            | JoinType::Full
    );
    collected_side_answers && probe.boundedness().is_unbounded()
}

fn refusal(plan: &Arc<dyn ExecutionPlan>) -> Error {
    let feed = feed_under(plan).unwrap_or("the feed").to_owned();
    // Names may carry a variant, as in `SortExec(TopK)`.
    let what = match plan.name().split('(').next().unwrap_or_default() {
        "AggregateExec" => "GROUP BY, DISTINCT or an aggregate",
        "SortExec" | "SortPreservingMergeExec" | "PartialSortExec" => "ORDER BY",
        "WindowAggExec" | "BoundedWindowAggExec" => "a window function",
        "CrossJoinExec" => "a cross join",
        "HashJoinExec" | "NestedLoopJoinExec" | "SymmetricHashJoinExec" | "SortMergeJoinExec" => {
            "this kind of join or subquery"
        }
        _ => "this kind of query",
    };
    let error = Error::config(format!(
        "`{feed}` never ends, and {what} over it answers only at the end"
    ));
    if follows_changes(plan) {
        return error.remedy(
            "give the range an end: with a version to start at and no more, table_changes('table', 0) ends at the newest version",
        );
    }
    error.remedy(format!(
        "cut it, as in `FROM (SELECT * FROM {feed} LIMIT 1000)`; or put `{feed}` on the left of a LEFT JOIN; or query the table that the pipeline writes"
    ))
}

fn follows_changes(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let changes = plan.as_any().downcast_ref::<ChangesExec>();
    changes.is_some_and(|changes| changes.range().to.is_none())
        || plan.children().into_iter().any(follows_changes)
}

fn feed_under(plan: &Arc<dyn ExecutionPlan>) -> Option<&str> {
    if let Some(source) = plan.as_any().downcast_ref::<SourceExec>() {
        return (source.ends() == Ends::Never && source.fetch().is_none()).then(|| source.source());
    }
    if let Some(changes) = plan.as_any().downcast_ref::<ChangesExec>() {
        let endless = changes.range().to.is_none() && changes.fetch().is_none();
        return endless.then(|| changes.table());
    }
    plan.children().into_iter().find_map(feed_under)
}
