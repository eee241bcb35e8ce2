//! What names may look like.

use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, PostgreSqlDialect};
use datafusion::sql::sqlparser::parser::Parser;
use sql::Result;

use super::block::short;
use super::field::Field;
use crate::source::is_glob;

/// A pipeline's name: part of the positions' keys in the tables.
pub(super) fn pipeline(field: &Field<'_>) -> Result<String> {
    let name = field.text()?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if !name.chars().all(fits) || name.len() > 100 {
        return Err(field
            .error(format!("`{}` cannot name a pipeline", short(&name)))
            .expected("at most 100 lowercase letters, digits, `_` and `-`")
            .remedy(
                "choose such a name; it keeps the table's positions, so it should never change",
            ));
    }
    Ok(name)
}

/// A table's name in SQL: usable without quotes.
pub(super) fn table(field: &Field<'_>) -> Result<String> {
    let name = field.text()?;
    let starts_right = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !starts_right || !name.chars().all(fits) || name.len() > 100 {
        return Err(field
            .error(format!("`{}` cannot name a table in SQL", short(&name)))
            .expected("lowercase letters, digits and `_`, not starting with a digit")
            .remedy("choose a name that SQL reads without quotes"));
    }
    if is_reserved(&name) {
        return Err(field
            .error(format!("`{name}` is a word of SQL"))
            .expected("a name that SQL reads without quotes")
            .remedy(format!("choose another name, such as `{name}_changes`")));
    }
    Ok(name)
}

/// Words that the standard reserves. The parser lets some of them name tables in some places; queries that do are
/// a puzzle to their readers, and no other engine takes them.
const RESERVED: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "both",
    "by",
    "case",
    "cast",
    "check",
    "column",
    "constraint",
    "create",
    "cross",
    "default",
    "delete",
    "desc",
    "distinct",
    "drop",
    "else",
    "end",
    "except",
    "exists",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "in",
    "inner",
    "insert",
    "intersect",
    "into",
    "is",
    "join",
    "lateral",
    "left",
    "like",
    "limit",
    "natural",
    "not",
    "null",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "primary",
    "references",
    "right",
    "select",
    "set",
    "some",
    "table",
    "then",
    "to",
    "true",
    "union",
    "unique",
    "unnest",
    "update",
    "user",
    "using",
    "values",
    "when",
    "where",
    "window",
    "with",
];

fn is_reserved(name: &str) -> bool {
    let query = format!("SELECT {name}.a FROM {name} JOIN {name} ON {name}.a = {name}.b");
    let dialects: [&dyn Dialect; 2] = [&PostgreSqlDialect {}, &GenericDialect {}];
    let parses = |dialect: &&dyn Dialect| Parser::parse_sql(*dialect, &query).is_ok();
    RESERVED.contains(&name) || !dialects.iter().all(parses)
}

/// A rule's name: a metric label.
pub(super) fn rule(field: &Field<'_>) -> Result<String> {
    let name = field.text()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !name.chars().all(fits) || name.len() > 100 {
        return Err(field
            .error(format!("`{}` cannot name a rule", short(&name)))
            .expected("at most 100 letters, digits, `_`, `-` and `.`")
            .remedy("choose such a name; it is a metric's label"));
    }
    Ok(name)
}

/// An entry of `topics`: a topic's name, or a pattern in which `*` stands for any characters.
pub(super) fn topic(field: &Field<'_>, name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-*".contains(c);
    if !name.chars().all(fits) || name.len() > 249 {
        return Err(field
            .error(format!("`{}` cannot name a topic", short(name)))
            .expected("at most 249 letters, digits, `.`, `_` and `-`; `*` stands for any of them")
            .remedy("use `topics_regex` for a regular expression"));
    }
    if is_glob(name) && (name.starts_with(".*") || name.contains("**")) {
        return Err(field
            .error(format!(
                "`{}` reads like a regular expression, which `topics` does not take",
                short(name)
            ))
            .expected("topic names; `*` stands for any characters, a dot for a dot")
            .remedy(format!(
                "write `{}`, or use `topics_regex`",
                short(&name.strip_prefix('.').unwrap_or(name).replace("**", "*"))
            )));
    }
    if is_glob(name) && !name.contains(|c: char| c.is_ascii_alphanumeric()) {
        return Err(field
            .error(format!("`{name}` stands for every topic of the cluster"))
            .expected("a part of the topics' names, such as `cdc.postgres.*`")
            .remedy("name the connector's topic.prefix, or use `topics_regex` if you mean it"));
    }
    Ok(())
}

/// An entry of `tables`: a table's name, with or without schema and database; `*` stands for any characters.
pub(super) fn source_table(field: &Field<'_>, name: &str) -> Result<()> {
    if name.trim() != name || name.is_empty() || name.contains("**") {
        return Err(field
            .error(format!(
                "`{}` cannot name a table of the source database",
                short(name)
            ))
            .expected("`table`, `schema.table` or `database.table`; `*` stands for any characters")
            .remedy("write the name as the database has it, without quotes"));
    }
    Ok(())
}
