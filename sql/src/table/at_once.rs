//! Rows of a feed are shown when they come.
//!
//! A filter gathers a batch of rows before it hands any on. Over a feed that never ends and is quiet, the last rows that passed
//! would wait for others for ever.

use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// The physical optimiser's rule that lets filters over feeds hand on each row at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct AtOnce;

impl PhysicalOptimizerRule for AtOnce {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let changed = plan.transform_up(|node| {
            let endless = node.boundedness().is_unbounded();
            match node.as_any().downcast_ref::<FilterExec>() {
                Some(filter) if endless && filter.batch_size() != 1 => {
                    Ok(Transformed::yes(Arc::new(filter.with_batch_size(1)?)))
                }
                _ => Ok(Transformed::no(node)),
            }
        });
        changed.map(|changed| changed.data)
    }

    fn name(&self) -> &'static str {
        "at_once"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
