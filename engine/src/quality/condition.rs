//! A rule's condition: SQL over one row, typed and without macros.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ToDFSchema};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use sql::plan::{Script, refuse_clocks_in};
use sql::{Error, Result};

/// Output columns, then the source columns that they do not hide.
pub(super) fn visible(output: &Schema, source: &Schema) -> Vec<FieldRef> {
    let own = output.fields().iter().cloned();
    let shown = source
        .fields()
        .iter()
        .filter(|field| output.index_of(field.name()).is_err());
    own.chain(shown.cloned()).collect()
}

/// All nullable: what a rule judges may be anything.
pub(super) fn df_schema(fields: Vec<FieldRef>) -> Result<DFSchema> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    Schema::new(fields)
        .to_dfschema()
        .map_err(|e| Error::internal("a rule's columns do not fit together").source(e))
}

/// The typed condition of a rule, macros inlined.
pub(super) fn condition(state: &SessionState, script: &Script, schema: &DFSchema) -> Result<Expr> {
    let expr = script.result(state.create_logical_expr(script.text(), schema))?;
    refuse_shapes(&expr, script)?;
    refuse_clocks_in(&expr, script)?;
    let context = SimplifyContext::default()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(state.config_options()));
    let simplifier = ExprSimplifier::new(context);
    let typed = |expr| {
        let expr = simplifier.coerce(expr, schema)?;
        let expr = simplifier.simplify(expr)?;
        let data_type = expr.get_type(schema)?;
        Ok::<_, DataFusionError>((expr, data_type))
    };
    let (expr, data_type) = script.result(typed(expr))?;
    if data_type != DataType::Boolean {
        return Err(
            Error::config(format!("the condition of a rule is {data_type}"))
                .at(script.start())
                .expected("a condition that is true or false, as in `email IS NOT NULL`"),
        );
    }
    Ok(expr)
}

fn refuse_shapes(expr: &Expr, script: &Script) -> Result<()> {
    let mut found = None;
    let walked = expr.apply(|expr| {
        found = match expr {
            Expr::AggregateFunction(_) => Some("an aggregate"),
            Expr::WindowFunction(_) => Some("a window function"),
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => Some("a subquery"),
            _ => None,
        };
        Ok(match found {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    script.result(walked)?;
    match found {
        None => Ok(()),
        Some(what) => Err(Error::config(format!("a rule judges one row and cannot hold {what}"))
            .at(script.start())
            .remedy("compute the value in the transform, as in a JOIN, and name its column in the rule")),
    }
}
