//! `CREATE FUNCTION` with named arguments.
//!
//! DataFusion plans a body against no columns at all, so arguments would have to be written `$1`. Here each name is
//! turned into its number before planning.

use std::ops::ControlFlow;

use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    self, CreateFunctionBody, Expr, Ident, ObjectNamePart, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use crate::error::{Error, Result};
use crate::plan::Script;

const SHAPE: &str = "CREATE FUNCTION name(a TYPE, b TYPE) RETURNS TYPE RETURN expression";

/// Adds the function that `script` defines to the session.
///
/// # Errors
/// [`crate::ErrorKind::Config`] with a place: anything else than one `CREATE FUNCTION` with an expression as its body,
/// a name that is taken, a body that does not type.
pub async fn define(session: &SessionContext, script: &Script) -> Result<()> {
    let refuse = |message: String| Error::config(message).at(script.start()).expected(SHAPE);
    let mut statements = DFParserBuilder::new(script.text())
        .with_dialect(&GenericDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| script.error(e))?;
    if statements.len() != 1 {
        return Err(refuse(format!(
            "{} statements stand here",
            statements.len()
        )));
    }
    let Some(Statement::Statement(mut statement)) = statements.pop_front() else {
        return Err(refuse("this statement defines no function".to_owned()));
    };
    let ast::Statement::CreateFunction(function) = statement.as_mut() else {
        return Err(refuse("this statement defines no function".to_owned()));
    };
    let name = match function.name.0.as_slice() {
        [part] => part.as_ident().map_or_else(String::new, lower),
        _ => return Err(refuse("a function's name has no dots".to_owned())),
    };
    // The planner takes this name as written and looks calls up in lower case.
    function.name = ast::ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    let Some(CreateFunctionBody::Return(body)) = function.function_body.as_mut() else {
        return Err(refuse(
            "the function has no RETURN with an expression".to_owned(),
        ));
    };
    let names = function
        .args
        .iter()
        .flatten()
        .map(|arg| arg.name.as_ref().map(lower));
    let names: Vec<Option<String>> = names.collect();
    for (i, name) in names.iter().enumerate() {
        if name.is_some() && names.iter().skip(i + 1).any(|other| other == name) {
            let name = name.as_deref().unwrap_or_default();
            return Err(refuse(format!("two arguments are called `{name}`")));
        }
    }
    let numbered = body.visit(&mut Numbers { names: &names });
    if let ControlFlow::Break(unknown) = numbered {
        let error = Error::config(format!("`{unknown}` is no argument of the function"))
            .expected(format!("one of {}", known(&names)));
        return Err(script.locate(error, &unknown));
    }
    let state = session.state();
    let plan = state
        .statement_to_plan(Statement::Statement(statement))
        .await
        .map_err(|e| script.error(e))?;
    session
        .execute_logical_plan(plan)
        .await
        .map_err(|e| script.error(e))?;
    Ok(())
}

fn known(names: &[Option<String>]) -> String {
    let names: Vec<String> = names.iter().flatten().map(|n| format!("`{n}`")).collect();
    if names.is_empty() {
        "none: it has no named arguments".to_owned()
    } else {
        names.join(", ")
    }
}

struct Numbers<'a> {
    names: &'a [Option<String>],
}

impl VisitorMut for Numbers<'_> {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        if let Expr::Identifier(ident) = expr {
            let name = lower(ident);
            let position = self.names.iter().position(|n| n.as_deref() == Some(&name));
            match position {
                Some(i) => *expr = Expr::Value(Value::Placeholder(format!("${}", i + 1)).into()),
                None => return ControlFlow::Break(ident.value.clone()),
            }
        }
        ControlFlow::Continue(())
    }
}

fn lower(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}
