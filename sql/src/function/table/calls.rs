//! The calls of table functions in a statement.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::TableReference;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, TableAlias, TableFactor,
    Visit, VisitMut, Visitor, VisitorMut,
};

use super::TableFunction;
use crate::error::{Error, Result};
use crate::plan::Script;

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// What is called.
    pub function: TableFunction,
    /// With which arguments; as many as the function takes.
    pub arguments: Vec<Expr>,
    /// The call in SQL, spelt in one way: two calls with the same text are one.
    pub text: String,
    /// Line and column in the statement's script, both from 1.
    pub at: (u64, u64),
}

impl Call {
    /// The name that the call's table must be registered under.
    pub fn reference(&self) -> TableReference {
        TableReference::bare(self.text.as_str())
    }

    /// Whether `name` is that name.
    pub fn is_named(&self, name: &TableReference) -> bool {
        name.schema().is_none() && name.table() == self.text
    }
}

/// The calls in `statement`, which stands in `script`; each text once.
///
/// # Errors
/// [`crate::ErrorKind::Config`] for arguments that are named, too few or too many, with the usage.
pub fn calls(statement: &Statement, script: &Script) -> Result<Vec<Call>> {
    let mut finder = Finder {
        script,
        found: Vec::new(),
    };
    let Some(inner) = inner(statement) else {
        return Ok(Vec::new());
    };
    match inner.visit(&mut finder) {
        ControlFlow::Continue(()) => Ok(finder.found),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Puts a table in the place of each call: the one that is registered under the call's text, by the function's name if
/// the statement gives it no other.
pub fn replace(statement: &mut Statement, found: &[Call]) {
    match statement {
        Statement::Statement(inner) => {
            let texts = found.iter().map(|call| (call.text.as_str(), call.function));
            let mut replacer = Replacer(texts.collect());
            let _ = inner.visit(&mut replacer);
        }
        Statement::Explain(explain) => replace(&mut explain.statement, found),
        _ => {}
    }
}

fn inner(statement: &Statement) -> Option<&datafusion::sql::sqlparser::ast::Statement> {
    match statement {
        Statement::Statement(inner) => Some(inner),
        Statement::Explain(explain) => inner(&explain.statement),
        _ => None,
    }
}

/// The function that a table factor calls, its name and its arguments.
fn called(factor: &TableFactor) -> Option<(TableFunction, &Ident, &[FunctionArg])> {
    let (name, arguments) = match factor {
        TableFactor::Table {
            name,
            args: Some(args),
            ..
        } => (name, &args.args),
        TableFactor::Function { name, args, .. } => (name, args),
        _ => return None,
    };
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
        return None;
    };
    let function = match ident.quote_style {
        Some(_) => TableFunction::named(&ident.value),
        None => TableFunction::named(&ident.value.to_lowercase()),
    };
    Some((function?, ident, arguments.as_slice()))
}

fn text(function: TableFunction, arguments: &[FunctionArg]) -> String {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    format!("{}({})", function.name(), arguments.join(", "))
}

struct Finder<'a> {
    script: &'a Script,
    found: Vec<Call>,
}

impl Finder<'_> {
    fn take(&mut self, factor: &TableFactor) -> Result<()> {
        let Some((function, ident, arguments)) = called(factor) else {
            return Ok(());
        };
        let at = (ident.span.start.line, ident.span.start.column);
        let wrong = |message: String| {
            Error::config(message)
                .at(self.script.place(at.0, at.1))
                .expected(function.usage())
        };
        let name = function.name();
        let takes = function.arguments();
        if !takes.contains(&arguments.len()) {
            let many = match (takes.start(), takes.end()) {
                (1, 1) => "one argument".to_owned(),
                (least, most) if least == most => format!("{least} arguments"),
                (least, most) => format!("{least} to {most} arguments"),
            };
            let given = arguments.len();
            return Err(wrong(format!("{name} takes {many}, not {given}"))
                .remedy(format!("{name} returns {}", function.about())));
        }
        let mut expressions = Vec::with_capacity(arguments.len());
        for argument in arguments {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => {
                    expressions.push(expression.clone());
                }
                FunctionArg::Unnamed(_) => {
                    return Err(wrong(format!("`{argument}` is no argument of {name}")));
                }
                FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
                    return Err(wrong(format!(
                        "the arguments of {name} have no names, and `{argument}` gives one"
                    ))
                    .remedy("write the values alone, in this order"));
                }
            }
        }
        let text = text(function, arguments);
        if !self.found.iter().any(|call| call.text == text) {
            self.found.push(Call {
                function,
                arguments: expressions,
                text,
                at,
            });
        }
        Ok(())
    }
}

impl Visitor for Finder<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        match self.take(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

struct Replacer<'a>(HashMap<&'a str, TableFunction>);

impl VisitorMut for Replacer<'_> {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let Some((function, _, arguments)) = called(factor) else {
            return ControlFlow::Continue(());
        };
        let text = text(function, arguments);
        if !self.0.contains_key(text.as_str()) {
            return ControlFlow::Continue(());
        }
        let alias = match factor {
            TableFactor::Table { alias, .. } | TableFactor::Function { alias, .. } => alias.take(),
            _ => None,
        };
        let alias = alias.unwrap_or_else(|| TableAlias {
            explicit: true,
            name: Ident::new(function.name()),
            columns: Vec::new(),
        });
        *factor = TableFactor::Table {
            name: ObjectName::from(vec![Ident::with_quote('"', text)]),
            alias: Some(alias),
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        };
        ControlFlow::Continue(())
    }
}
