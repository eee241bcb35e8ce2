//! Functions of the wall clock are refused: a plan is made once and run for every batch, and the optimiser turns
//! `now()` into a literal, so it would stay at the pipeline's start for ever.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::script::Script;
use crate::change::INGESTED_AT;
use crate::error::{Error, Result};
use crate::function::Macro;

const CLOCKS: [&str; 3] = ["now", "current_date", "current_time"];

/// Refuses a plan that reads the wall clock, subqueries and macros included.
///
/// # Errors
/// [`crate::ErrorKind::Config`] at the call.
pub fn refuse_clocks(plan: &LogicalPlan, script: &Script) -> Result<()> {
    let mut found = None;
    let visited = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found = clock_in(expr)?;
            Ok(stop_if(found.is_some()))
        })
    });
    visited.map_err(|e| script.error(e))?;
    match found {
        None => Ok(()),
        Some(clock) => Err(refusal(&clock, script)),
    }
}

/// Refuses an expression that reads the wall clock, macros included.
///
/// # Errors
/// [`crate::ErrorKind::Config`] at the call.
pub fn refuse_clocks_in(expr: &Expr, script: &Script) -> Result<()> {
    match script.result(clock_in(expr))? {
        None => Ok(()),
        Some(clock) => Err(refusal(&clock, script)),
    }
}

/// The clock that `expr` reads, if any: the function's name.
fn clock_in(expr: &Expr) -> Result<Option<String>, DataFusionError> {
    let mut found = None;
    expr.apply(|expr| {
        if let Expr::ScalarFunction(call) = expr {
            let name = call.func.name();
            if CLOCKS.contains(&name) {
                found = Some(name.to_owned());
            } else if let Some(body) = call.func.inner().as_any().downcast_ref::<Macro>() {
                found = clock_in(body.body())?;
            }
        }
        Ok(stop_if(found.is_some()))
    })?;
    Ok(found)
}

fn stop_if(found: bool) -> TreeNodeRecursion {
    if found {
        TreeNodeRecursion::Stop
    } else {
        TreeNodeRecursion::Continue
    }
}

fn refusal(clock: &str, script: &Script) -> Error {
    let aliases: &[&str] = match clock {
        "now" => &["now", "current_timestamp"],
        "current_date" => &["current_date", "today"],
        _ => &["current_time"],
    };
    let written = aliases
        .iter()
        .find_map(|name| script.find(name).map(|place| (*name, place)));
    let (name, at) = match written {
        Some((name, (line, column))) => (name, script.place(line, column)),
        None => (clock, script.start()),
    };
    Error::config(format!(
        "`{name}` reads the clock, and a pipeline's SQL is planned once for all batches"
    ))
    .at(at)
    .remedy(format!(
        "use `{INGESTED_AT}`, the time at which the engine read the row"
    ))
}
