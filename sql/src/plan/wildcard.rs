//! Over a source, `*` and `t.*` mean the row's own columns: metadata columns must be named.
//!
//! Done on the syntax tree, before planning: a wildcard of a `SELECT` whose `FROM` has the source itself gets an
//! `EXCLUDE` of the metadata columns. A `SELECT *` over a subquery or a CTE returns whatever that one names, so a
//! metadata column that was named inside stays. In a join, `*` is first split into one `t.*` for each table, so that
//! another table's columns of the same names are left alone; with `USING` and `NATURAL`, which merge columns, it is not.

use std::ops::ControlFlow;

use datafusion::sql::TableReference;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    ExceptSelectItem, ExcludeSelectItem, Ident, JoinConstraint, JoinOperator, ObjectName,
    ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor, TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use crate::error::{Error, Result};

/// Expands the wildcards over the table that the SQL calls `source` in place; `metadata` are the metadata columns that the source has.
///
/// # Errors
/// [`crate::ErrorKind::Config`] if a CTE takes the source's name: it could not be told apart from the source.
pub fn expand_wildcards(
    statement: &mut Statement,
    source: &TableReference,
    metadata: &[String],
) -> Result<()> {
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => {
            return expand_wildcards(&mut explain.statement, source, metadata);
        }
        _ => return Ok(()),
    };
    let mut expander = Expander { source, metadata };
    match inner.visit(&mut expander) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Expander<'a> {
    source: &'a TableReference,
    metadata: &'a [String],
}

impl VisitorMut for Expander<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        for cte in tables {
            if self.source.schema().is_none() && normal(&cte.alias.name) == self.source.table() {
                return ControlFlow::Break(
                    Error::config(format!(
                        "the WITH query `{}` hides the source of the same name",
                        self.source
                    ))
                    .remedy("give the WITH query another name"),
                );
            }
        }
        self.body(&mut query.body);
        ControlFlow::Continue(())
    }
}

impl Expander<'_> {
    /// The `SELECT`s of one query level; nested queries are visited by themselves.
    fn body(&self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            _ => {}
        }
    }

    fn select(&self, select: &mut Select) {
        let mut tables = Vec::new();
        let mut merges = false;
        for item in &select.from {
            self.tables(item, &mut tables, &mut merges);
        }
        if !tables.iter().any(|table| table.is_source) {
            return;
        }
        // A table without a name (a nameless subquery) cannot be named in `t.*`.
        let splits = !merges && tables.len() > 1 && tables.iter().all(|t| t.name.is_some());
        let items = std::mem::take(&mut select.projection);
        for item in items {
            match item {
                SelectItem::Wildcard(options) if splits && is_plain(&options) => {
                    select
                        .projection
                        .extend(tables.iter().filter_map(|t| self.of(t)));
                }
                SelectItem::Wildcard(options) => {
                    select
                        .projection
                        .push(SelectItem::Wildcard(self.exclude(options)));
                }
                SelectItem::QualifiedWildcard(kind, options) => {
                    let over_source = matches!(&kind, SelectItemQualifiedWildcardKind::ObjectName(name)
                        if tables.iter().any(|t| t.is_source && t.is_named(name)));
                    let options = if over_source {
                        self.exclude(options)
                    } else {
                        options
                    };
                    select
                        .projection
                        .push(SelectItem::QualifiedWildcard(kind, options));
                }
                other => select.projection.push(other),
            }
        }
    }

    fn tables(&self, item: &TableWithJoins, tables: &mut Vec<Table>, merges: &mut bool) {
        self.factor(&item.relation, tables, merges);
        for join in &item.joins {
            *merges |= merges_columns(&join.join_operator);
            self.factor(&join.relation, tables, merges);
        }
    }

    fn factor(&self, factor: &TableFactor, tables: &mut Vec<Table>, merges: &mut bool) {
        match factor {
            TableFactor::Table {
                name, alias, args, ..
            } => {
                let table = name.0.last().and_then(ObjectNamePart::as_ident);
                let is_source = args.is_none() && self.is_source(name);
                let shown = alias.as_ref().map(|a| &a.name).or(table);
                tables.push(Table {
                    name: shown.cloned(),
                    is_source,
                });
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => tables.push(Table {
                name: alias.as_ref().map(|a| a.name.clone()),
                is_source: false,
            }),
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                *merges |= alias.is_some();
                self.tables(table_with_joins, tables, merges);
            }
            _ => *merges = true,
        }
    }

    /// Whether `name` ends with the source's name, as far as that goes.
    fn is_source(&self, name: &ObjectName) -> bool {
        let source = [
            Some(self.source.table()),
            self.source.schema(),
            self.source.catalog(),
        ];
        let mut written = name.0.iter().rev();
        source.into_iter().flatten().all(|part| {
            let ident = written.next().and_then(ObjectNamePart::as_ident);
            ident.is_some_and(|ident| normal(ident) == part)
        })
    }

    /// `t.*`, without metadata columns if `t` is the source.
    fn of(&self, table: &Table) -> Option<SelectItem> {
        let name = ObjectName::from(vec![table.name.clone()?]);
        let options = WildcardAdditionalOptions::default();
        let options = if table.is_source {
            self.exclude(options)
        } else {
            options
        };
        Some(SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(name),
            options,
        ))
    }

    /// Adds the metadata columns to what is left out already.
    fn exclude(&self, mut options: WildcardAdditionalOptions) -> WildcardAdditionalOptions {
        let mut out: Vec<Ident> = match options.opt_exclude.take() {
            None => Vec::new(),
            Some(ExcludeSelectItem::Single(ident)) => vec![ident],
            Some(ExcludeSelectItem::Multiple(idents)) => idents,
        };
        if let Some(ExceptSelectItem {
            first_element,
            additional_elements,
        }) = options.opt_except.take()
        {
            out.push(first_element);
            out.extend(additional_elements);
        }
        for name in self.metadata {
            if !out.iter().any(|ident| ident.value == *name) {
                out.push(Ident::with_quote('"', name));
            }
        }
        if !out.is_empty() {
            options.opt_exclude = Some(ExcludeSelectItem::Multiple(out));
        }
        options
    }
}

/// One table of a `FROM`, by the name that a qualified wildcard would use.
struct Table {
    name: Option<Ident>,
    is_source: bool,
}

impl Table {
    fn is_named(&self, name: &ObjectName) -> bool {
        let wanted = name.0.last().and_then(ObjectNamePart::as_ident);
        match (&self.name, wanted) {
            (Some(name), Some(wanted)) => normal(name) == normal(wanted),
            _ => false,
        }
    }
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
}

fn merges_columns(operator: &JoinOperator) -> bool {
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c)
        | JoinOperator::CrossJoin(c) => {
            matches!(c, JoinConstraint::Using(_) | JoinConstraint::Natural)
        }
        // Semi and anti joins return one side only; anything else is left to the planner as it is.
        _ => true,
    }
}

/// How the planner reads a name.
fn normal(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}
