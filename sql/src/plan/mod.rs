//! A pipeline's SQL, from text to a plan that carries each row's identity.
//!
//! [`logical`] parses and plans one `SELECT`; [`carry`] adds the hidden column [`crate::table::ROW`] to it;
//! [`physical`] optimises and makes it run. [`Script`] turns positions in the SQL into positions in the user's file.

mod carry;
mod clock;
mod lineage;
mod script;
mod statement;
mod wildcard;

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::TableReference;

pub use carry::carry;
pub use clock::{refuse_clocks, refuse_clocks_in};
pub use lineage::{Lineage, Origin, lineage};
pub use script::Script;
pub use statement::parse_select;
pub use wildcard::expand_wildcards;

use crate::error::Result;

/// The plan of `script`, un-analysed: one `SELECT`, wildcards over `source` expanded to the row's own columns.
///
/// # Errors
/// [`crate::ErrorKind::Config`] with a place in the user's file: a syntax error, an unknown name, a statement that is
/// not one `SELECT`, a function of the wall clock.
pub async fn logical(
    state: &SessionState,
    script: &Script,
    source: &str,
    metadata: &[String],
) -> Result<LogicalPlan> {
    let mut statement = parse_select(state, script)?;
    let source_name = TableReference::bare(source);
    expand_wildcards(&mut statement, &source_name, metadata)
        .map_err(|e| script.locate(e, source))?;
    let plan = state
        .statement_to_plan(statement)
        .await
        .map_err(|e| script.error(e))?;
    refuse_clocks(&plan, script)?;
    Ok(plan)
}

/// The optimised plan and the plan that runs.
///
/// # Errors
/// As [`logical`]; types are checked only here.
pub async fn physical(
    state: &SessionState,
    script: &Script,
    plan: &LogicalPlan,
) -> Result<(LogicalPlan, Arc<dyn ExecutionPlan>)> {
    let optimised = state.optimize(plan).map_err(|e| script.error(e))?;
    let physical = state
        .query_planner()
        .create_physical_plan(&optimised, state)
        .await
        .map_err(|e| script.error(e))?;
    Ok((optimised, physical))
}
