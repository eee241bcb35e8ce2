//! The blocks that hold SQL: `rules:` and `functions:`.

use sql::Result;

use super::block::Block;
use super::effective::Shown;
use super::field::Field;
use super::model::{Located, OnFail, RuleSpec};
use super::names;

/// Reads `rules:`.
pub(super) fn rules(root: &mut Block<'_>) -> Result<Vec<RuleSpec>> {
    let items = items(root, "rules", "a list of rules")?;
    let mut rules: Vec<RuleSpec> = Vec::with_capacity(items.len());
    let mut shown = Vec::with_capacity(items.len());
    for item in &items {
        let mut block = item.block()?;
        block.only(&["name", "expect", "on_fail"], &[])?;
        let field = block.required("name", "the rule's name, a metric's label")?;
        let name = names::rule(&field)?;
        if rules.iter().any(|rule| rule.name == name) {
            return Err(field
                .error(format!("two rules are named `{name}`"))
                .expected("distinct names")
                .remedy("rename one of them"));
        }
        let expect = block.required("expect", "a SQL condition")?;
        rules.push(RuleSpec {
            name,
            expect: expect.located()?,
            on_fail: block.value("on_fail", "warn", |field| {
                let words = [
                    ("warn", OnFail::Warn),
                    ("drop", OnFail::Drop),
                    ("quarantine", OnFail::Quarantine),
                    ("fail", OnFail::Fail),
                ];
                field.choice(&words, &[])
            })?,
        });
        shown.push(block.finish());
    }
    show(root, "rules", shown, !items.is_empty());
    Ok(rules)
}

/// Reads `functions:`.
pub(super) fn functions(root: &mut Block<'_>) -> Result<Vec<Located<String>>> {
    let items = items(root, "functions", "a list of `CREATE FUNCTION` statements")?;
    let functions: Vec<Located<String>> =
        items.iter().map(Field::located).collect::<Result<_>>()?;
    let shown = items.iter().map(|item| Shown::of(&item.node)).collect();
    show(root, "functions", shown, !items.is_empty());
    Ok(functions)
}

/// The items of a list that may be absent.
pub(super) fn items<'a>(root: &Block<'a>, key: &str, expected: &str) -> Result<Vec<Field<'a>>> {
    match root.get(key) {
        Some(field) => field
            .items(expected)
            .map_err(|error| error.remedy("start each item with `- `")),
        None => Ok(Vec::new()),
    }
}

/// Writes down the items of a list.
pub(super) fn show(root: &mut Block<'_>, key: &str, shown: Vec<Shown>, said: bool) {
    root.show(key, Shown::List(shown), said);
}
