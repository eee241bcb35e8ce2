//! `${NAME}` and `${NAME:-default}` in values.
//!
//! `$${` stands for a literal `${`. A default is used where the variable is unset or empty. A value without quotes is read
//! again as a YAML scalar after substitution (`${N}` may be a number); in quotes and in block scalars it stays text.

use sql::Result;

use super::block::Context;
use super::tree::{Node, Origin, Scalar, Value};

/// Looks up a variable.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Fills in the variables of every value that the file said. Values of `--set` are left alone: the shell had its turn.
pub(super) fn substitute(
    node: &mut Node,
    path: &str,
    context: &Context,
    env: Lookup<'_>,
) -> Result<()> {
    match &mut node.value {
        Value::Map(entries) => entries.iter_mut().try_for_each(|entry| {
            let path = Context::join(path, &entry.key);
            substitute(&mut entry.node, &path, context, env)
        }),
        Value::List(items) => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(i, item)| substitute(item, &format!("{path}[{i}]"), context, env)),
        Value::Scalar(scalar) => {
            if matches!(node.origin, Origin::File(_)) && scalar.text.contains("${") {
                match expand(&scalar.text, env) {
                    Ok(text) => scalar.text = text,
                    Err(problem) => return Err(problem.error(scalar, &node.origin, path, context)),
                }
            }
            Ok(())
        }
    }
}

/// What is wrong with a `${…}`, and at which byte of the text.
struct Problem {
    offset: usize,
    kind: ProblemKind,
}

enum ProblemKind {
    Unterminated,
    BadName(String),
    Nested(String),
    Missing(String),
}

fn expand(text: &str, env: Lookup<'_>) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("${") {
        let (before, from) = rest.split_at(found);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = from.get(2..).unwrap_or_default();
            continue;
        }
        out.push_str(before);
        let problem = |kind| Problem {
            offset: text.len() - from.len(),
            kind,
        };
        let inside = from.get(2..).unwrap_or_default();
        let Some((inside, after)) = inside.split_once('}') else {
            return Err(problem(ProblemKind::Unterminated));
        };
        out.push_str(&value_of(inside, env).map_err(problem)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn value_of(inside: &str, env: Lookup<'_>) -> Result<String, ProblemKind> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts_right = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_right || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        // A line break or a quote before the brace: the brace belongs to something else.
        let unterminated = name.contains(['\n', '"', '\'']);
        return Err(if unterminated {
            ProblemKind::Unterminated
        } else {
            ProblemKind::BadName(name.chars().take(40).collect())
        });
    }
    match (env(name), default) {
        (_, Some(default)) if default.contains("${") => Err(ProblemKind::Nested(name.to_owned())),
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ProblemKind::Missing(name.to_owned())),
    }
}

impl Problem {
    fn error(self, scalar: &Scalar, origin: &Origin, path: &str, context: &Context) -> sql::Error {
        let origin = match scalar.position_of(self.offset) {
            Some(mark) => Origin::File(mark),
            None => origin.clone(),
        };
        let form = "`${NAME}` or `${NAME:-default}`";
        let (message, expected, remedy) = match self.kind {
            ProblemKind::Unterminated => (
                "`${` has no closing brace".to_owned(),
                form.to_owned(),
                "close it with `}`, or write `$${` for a literal `${`".to_owned(),
            ),
            ProblemKind::BadName(name) => (
                format!("`{name}` is not a variable's name"),
                format!("{form}; names have letters, digits and underscores"),
                "correct the name, or write `$${` for a literal `${`".to_owned(),
            ),
            ProblemKind::Nested(name) => (
                format!("the default of `{name}` holds another variable"),
                "a default without `${…}`".to_owned(),
                format!("set `{name}`, or write the default out"),
            ),
            ProblemKind::Missing(name) => (
                format!("the environment variable `{name}` is not set"),
                "a value, since the file gives no default".to_owned(),
                format!(
                    "run with `{name}=… engine …`, or give a default in the file: `${{{name}:-…}}`"
                ),
            ),
        };
        context
            .error(&origin, path, message)
            .expected(expected)
            .remedy(remedy)
    }
}
