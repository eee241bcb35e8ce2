//! The effective file: what was said, and every default that was filled in, as YAML.

use std::fmt;
use std::fmt::Write as _;

use super::model::PipelineSpec;
use super::tree::{Node, Scalar, Style, Value};

/// Parts of a key's name that make its value a secret.
const SECRET: [&str; 11] = [
    "authorization",
    "api-key",
    "cookie",
    "password",
    "secret",
    "token",
    "credential",
    "jaas",
    "private_key",
    "private.key",
    "key.pem",
];

/// The effective content of a file: part of a [`PipelineSpec`], read by [`show_defaults`] alone.
#[derive(Clone, Default)]
pub struct Effective(Vec<(String, Line)>);

impl fmt::Debug for Effective {
    /// Says nothing: the content may hold secrets, and repeats the spec.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Effective")
    }
}

impl From<Shown> for Effective {
    fn from(shown: Shown) -> Self {
        match shown {
            Shown::Map(lines) => Self(lines),
            Shown::Scalar(_) | Shown::List(_) => Self::default(),
        }
    }
}

/// One key's value, whether the file said it, and what a default means.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) shown: Shown,
    pub(super) said: bool,
    pub(super) note: Option<&'static str>,
}

/// A value to print.
#[derive(Debug, Clone)]
pub(super) enum Shown {
    /// In YAML's syntax, one line; or text to be written as a block scalar.
    Scalar(String),
    /// A list.
    List(Vec<Shown>),
    /// A block.
    Map(Vec<(String, Line)>),
}

impl Shown {
    /// Nothing said.
    pub(super) fn null() -> Self {
        Self::Scalar("null".to_owned())
    }

    /// Text.
    pub(super) fn text(text: &str) -> Self {
        Self::Scalar(render_text(text))
    }

    /// A list of texts.
    pub(super) fn texts(texts: &[String]) -> Self {
        Self::List(texts.iter().map(|text| Self::text(text)).collect())
    }

    /// What the file says.
    pub(super) fn of(node: &Node) -> Self {
        match &node.value {
            Value::Scalar(scalar) => Self::Scalar(render(scalar)),
            Value::List(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Map(entries) => {
                let line = |node| Line {
                    shown: Self::of(node),
                    said: true,
                    note: None,
                };
                Self::Map(
                    (entries.iter())
                        .map(|e| (e.key.clone(), line(&e.node)))
                        .collect(),
                )
            }
        }
    }
}

/// The complete effective file as YAML, with `# default` on each line that the file did not say. Paths and variables
/// are resolved; values of keys that look like secrets are `***`. Parses to the same spec again, secrets aside.
pub fn show_defaults(spec: &PipelineSpec) -> String {
    let mut out = String::new();
    write_map(&mut out, &spec.effective.0, 0);
    out
}

fn write_map(out: &mut String, lines: &[(String, Line)], indent: usize) {
    for (key, line) in lines {
        let hidden = (line.said && is_secret(key)).then(|| Shown::text("***"));
        let shown = hidden.as_ref().unwrap_or(&line.shown);
        let comment = match (line.said, line.note) {
            (true, _) => String::new(),
            (false, None) => "  # default".to_owned(),
            (false, Some(note)) => format!("  # default: {note}"),
        };
        let _ = write!(out, "{:indent$}{}:", "", render_line(key));
        write_value(out, shown, indent, &comment);
    }
}

/// Writes what stands after `key:`, up to and with the line's end.
fn write_value(out: &mut String, shown: &Shown, indent: usize, comment: &str) {
    match shown {
        Shown::Scalar(text) if text.starts_with('|') => {
            let (header, body) = text.split_once('\n').unwrap_or((text, ""));
            let _ = writeln!(out, " {header}{comment}");
            write_block(out, body, indent + 2);
        }
        Shown::Scalar(text) => {
            let _ = writeln!(out, " {text}{comment}");
        }
        Shown::List(items) => match flow(items) {
            Some(flow) => {
                let _ = writeln!(out, " {flow}{comment}");
            }
            None => {
                let _ = writeln!(out, "{comment}");
                items
                    .iter()
                    .for_each(|item| write_item(out, item, indent + 2));
            }
        },
        Shown::Map(lines) if lines.is_empty() => {
            let _ = writeln!(out, " {{}}{comment}");
        }
        Shown::Map(lines) => {
            let _ = writeln!(out, "{comment}");
            write_map(out, lines, indent + 2);
        }
    }
}

/// A list's item: its first line follows the dash.
fn write_item(out: &mut String, item: &Shown, indent: usize) {
    let mut text = String::new();
    match item {
        Shown::Map(lines) if !lines.is_empty() => write_map(&mut text, lines, indent + 2),
        other => write_value(&mut text, other, indent, ""),
    }
    let _ = write!(out, "{:indent$}- {}", "", text.trim_start_matches([' ']));
}

fn write_block(out: &mut String, body: &str, indent: usize) {
    for line in body.split_inclusive('\n') {
        if line.trim().is_empty() {
            out.push_str(line);
        } else {
            let _ = write!(out, "{:indent$}{line}", "");
        }
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

/// A list on one line, if its items are short scalars.
fn flow(items: &[Shown]) -> Option<String> {
    let items: Option<Vec<&str>> = (items.iter())
        .map(|item| match item {
            Shown::Scalar(text) if !text.starts_with('|') => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let flow = format!("[{}]", items?.join(", "));
    (flow.chars().count() <= 100).then_some(flow)
}

fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET.iter().any(|part| key.contains(part))
}

fn render(scalar: &Scalar) -> String {
    let keeps_meaning = scalar.as_bool().is_some() || scalar.is_number();
    match scalar.style {
        Style::Plain if scalar.is_null() => "null".to_owned(),
        Style::Plain if keeps_meaning => scalar.text.clone(),
        _ => render_text(&scalar.text),
    }
}

/// Text as a YAML scalar that reads as this text: plain if it can be, else in quotes, or a block if it has lines.
fn render_text(text: &str) -> String {
    let escaped = text.replace("${", "$${");
    block(&escaped).unwrap_or_else(|| render_line(text))
}

/// Text as a YAML scalar on one line.
fn render_line(text: &str) -> String {
    let text = text.replace("${", "$${");
    let probe = Scalar {
        text: text.clone(),
        style: Style::Plain,
        layout: super::tree::Layout {
            first_line: 1,
            indent: None,
        },
    };
    let plain = text
        .starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.'))
        && !text.ends_with(':')
        && (text.chars()).all(|c| c.is_ascii_alphanumeric() || "_-./:+@()".contains(c))
        && !(probe.is_null() || probe.is_number() || probe.as_bool().is_some());
    if plain {
        return text;
    }
    serde_json::Value::String(text).to_string()
}

/// Text of several lines as a literal block scalar, where one can hold it exactly.
fn block(text: &str) -> Option<String> {
    let body = text.trim_end_matches('\n');
    let ends = text.len() - body.len();
    let blank = |line: &str| line.trim().is_empty();
    let exact = body.contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && !text
            .chars()
            .any(|c| c.is_control() && c != '\n' && c != '\t')
        && !text.contains(['\u{feff}', '\u{85}', '\u{2028}', '\u{2029}'])
        && !body.lines().any(|line| blank(line) && !line.is_empty());
    let header = match ends {
        0 => "|-",
        1 => "|",
        _ => return None,
    };
    exact.then(|| format!("{header}\n{body}\n"))
}
