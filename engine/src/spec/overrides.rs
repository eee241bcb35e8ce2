//! `--set path=value`: values from the command line put into the tree before it is checked.

use sql::{Error, Result};

use super::block::Context;
use super::tree::{Entry, Layout, Node, Origin, Scalar, Style, Value};
use super::yaml;

/// Blocks whose keys are free text and may hold dots: what follows them in a path is one key.
const FREE: [&str; 2] = ["properties", "storage_options"];

/// Puts `value` at the dotted path `key`. Blocks on the way that the file does not have are made; whether they may
/// exist is the check's business. List items are `rules[0]` or `rules.0`.
pub(super) fn set(root: &mut Node, key: &str, value: &str) -> Result<()> {
    let origin = Origin::Set(key.to_owned());
    let place = format!("--set {key}");
    let steps = steps(key);
    if steps
        .iter()
        .any(|step| step.is_empty() || step.contains("${"))
    {
        return Err(
            Error::config(format!("`{key}` is not a path into the file"))
                .at(place)
                .expected("keys joined by dots, such as `pipeline.batch.max_records=100`")
                .remedy("correct the path"),
        );
    }
    let value = parse_value(value, &origin, &place)?;
    let mut node = root;
    let mut walked = String::new();
    for step in &steps {
        if node.is_null() {
            node.value = Value::Map(Vec::new());
            node.origin = origin.clone();
        }
        node = enter(node, step, &origin).map_err(|problem| {
            let remedy = "change the file, or set the whole value";
            let error = match problem {
                Problem::NotABlock => {
                    Error::config(format!("`{walked}` has no keys in the file: it is a value"))
                }
                Problem::NoItem(len) => Error::config(format!(
                    "`{walked}` is a list of {len}, and has no `{step}`"
                ))
                .expected("the item's number, from 0"),
            };
            error.at(format!("{place} ({walked})")).remedy(remedy)
        })?;
        walked = Context::join(&walked, step);
    }
    *node = value;
    Ok(())
}

enum Problem {
    NotABlock,
    NoItem(usize),
}

fn enter<'a>(node: &'a mut Node, step: &str, origin: &Origin) -> Result<&'a mut Node, Problem> {
    match &mut node.value {
        Value::Scalar(_) => Err(Problem::NotABlock),
        Value::List(items) => {
            let len = items.len();
            let index = step.parse::<usize>().map_err(|_| Problem::NoItem(len))?;
            items.get_mut(index).ok_or(Problem::NoItem(len))
        }
        Value::Map(entries) => {
            let index = match entries.iter().position(|entry| entry.key == step) {
                Some(index) => index,
                None => {
                    entries.push(Entry {
                        key: step.to_owned(),
                        origin: origin.clone(),
                        node: plain("", origin),
                    });
                    entries.len() - 1
                }
            };
            let entry = entries.get_mut(index).ok_or(Problem::NotABlock)?;
            Ok(&mut entry.node)
        }
    }
}

fn steps(key: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut rest = key;
    while !rest.is_empty() {
        if steps
            .last()
            .is_some_and(|last: &String| FREE.contains(&last.as_str()))
        {
            steps.push(rest.to_owned());
            return steps;
        }
        let (step, after) = rest.split_once('.').unwrap_or((rest, ""));
        let ends_in_dot = rest.len() == step.len() + 1;
        match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
            Some((name, index)) => steps.extend([name.to_owned(), index.to_owned()]),
            None => steps.push(step.to_owned()),
        }
        if ends_in_dot {
            steps.push(String::new());
        }
        rest = after;
    }
    if steps.is_empty() {
        steps.push(String::new());
    }
    steps
}

/// A value in brackets, braces or quotes is read as YAML, anything else is a scalar as it stands.
fn parse_value(value: &str, origin: &Origin, place: &str) -> Result<Node> {
    if !value.trim_start().starts_with(['[', '{', '"', '\'']) {
        return Ok(plain(value, origin));
    }
    let mut node = yaml::load(value, "value").map_err(|error| {
        Error::config(error.message())
            .at(place)
            .expected("a YAML value")
            .remedy("quote the whole `--set` for the shell, or put the value in the file")
    })?;
    adopt(&mut node, origin);
    Ok(node)
}

fn adopt(node: &mut Node, origin: &Origin) {
    node.origin = origin.clone();
    match &mut node.value {
        Value::Scalar(scalar) => scalar.layout.indent = None,
        Value::List(items) => items.iter_mut().for_each(|item| adopt(item, origin)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.origin = origin.clone();
            adopt(&mut entry.node, origin);
        }),
    }
}

fn plain(text: &str, origin: &Origin) -> Node {
    Node {
        value: Value::Scalar(Scalar {
            text: text.to_owned(),
            style: Style::Plain,
            layout: Layout {
                first_line: 1,
                indent: None,
            },
        }),
        origin: origin.clone(),
    }
}
