//! The one place where a [`SessionContext`] is made: pipelines, the prompt and tests share it.
//!
//! Settings that change results (time zone, number parsing, string types) are the same for every role, so that a
//! query at the prompt returns what the pipeline would write.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::function::MacroFactory;
use crate::table::{AtOnce, RefuseEndless, Slots};

/// Rows that one step of a query handles at a time. Bigger batches fall out of the processor's cache in wide
/// queries; smaller ones cost more calls.
pub const BATCH_ROWS: usize = 8192;

/// Rows that a tailing query gathers before it shows anything: filters and exchanges fill a whole batch first.
const TAIL_ROWS: usize = 16;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A pipeline's SQL: one partition, because a micro-batch is small and its order matters.
    Pipeline,
    /// The prompt, queries that end: as many partitions as there are processors.
    Query,
    /// The prompt, queries over a feed that never ends: rows are shown as they come.
    Tail,
}

/// A session of `role` with the engine's settings, functions and rules, and an empty [`Slots`].
pub fn session(role: Role) -> SessionContext {
    let mut config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(role != Role::Pipeline)
        .with_extension(Arc::new(Slots::default()));
    match role {
        Role::Pipeline => config = config.with_target_partitions(1),
        Role::Query => {}
        Role::Tail => config = config.with_target_partitions(1).with_batch_size(TAIL_ROWS),
    }
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.parquet.schema_force_view_types = false;
    // Times of 96 bits, which Spark writes: as nanoseconds, those before 1677 and after 2262 would come out as others.
    options.execution.parquet.coerce_int96 = Some("us".to_owned());
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.collect_spans = true;
    // A plan that is run again may not keep a bound that an earlier run found.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_physical_optimizer_rules(physical_rules())
        .with_function_factory(Some(Arc::new(MacroFactory)))
        .build();
    let context = SessionContext::new_with_state(state);
    let udfs::Functions { scalar, aggregate } = udfs::all();
    for function in scalar {
        context.register_udf(function);
    }
    for function in aggregate {
        context.register_udaf(function);
    }
    context
}

/// DataFusion's rules with ours before its last one, the sanity check, whose message is a debug dump.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    let last = rules.len().saturating_sub(1);
    rules.insert(last, Arc::new(RefuseEndless));
    rules.insert(last, Arc::new(AtOnce));
    rules
}
