//! A value with its place, and the types that it can be read as.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use sql::{Error, Result};

use super::block::{Context, one_of, short};
use super::model::Located;
use super::nearest::nearest;
use super::tree::{Entry, Node, Origin, Scalar, Style, Value};
use super::units;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) context: &'a Context,
    pub(super) path: String,
    pub(super) node: Cow<'a, Node>,
}

impl<'a> Field<'a> {
    /// The whole file.
    pub(super) fn root(context: &'a Context, node: &'a Node) -> Self {
        Self {
            context,
            path: String::new(),
            node: Cow::Borrowed(node),
        }
    }

    /// `FILE:LINE:COLUMN (yaml.path)`.
    pub(super) fn at(&self) -> String {
        self.context.at(&self.node.origin, &self.path)
    }

    /// The key it stands under.
    pub(super) fn key(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    /// An error about this value.
    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        self.context.error(&self.node.origin, &self.path, message)
    }

    /// An error about a place in this value's text: 1-based line and column of the text.
    pub(super) fn error_in(&self, line: usize, column: usize, message: impl Into<String>) -> Error {
        let position = match &self.node.value {
            Value::Scalar(scalar) => scalar.position(line, column),
            Value::List(_) | Value::Map(_) => None,
        };
        let origin = position.map_or_else(|| self.node.origin.clone(), Origin::File);
        self.context.error(&origin, &self.path, message)
    }

    /// The error of a value of the wrong type.
    pub(super) fn wrong_type(&self, expected: impl Into<String>) -> Error {
        let what = match self.path.as_str() {
            "" => "the file".to_owned(),
            path => format!("`{path}`"),
        };
        let came = match &self.node.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a block of keys".to_owned(),
            Value::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Value::Scalar(scalar) => {
                let kind = match scalar {
                    s if s.as_bool().is_some() => "boolean",
                    s if s.is_number() => "number",
                    _ => "text",
                };
                format!("the {kind} `{}`", short(&scalar.text))
            }
        };
        self.error(format!("{what} is {came}")).expected(expected)
    }

    /// The scalar, if it is one.
    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            _ => None,
        }
    }

    /// The keys of the block.
    pub(super) fn entries(&self, expected: &str) -> Result<&[Entry]> {
        match &self.node.value {
            Value::Map(entries) => Ok(entries),
            Value::Scalar(_) | Value::List(_) => Err(self.wrong_type(expected)),
        }
    }

    /// As a list.
    pub(super) fn items(&self, expected: &str) -> Result<Vec<Field<'a>>> {
        let item = |i: usize, node| Field {
            context: self.context,
            path: format!("{}[{i}]", self.path),
            node,
        };
        match &self.node {
            Cow::Borrowed(Node {
                value: Value::List(items),
                ..
            }) => Ok((items.iter().enumerate())
                .map(|(i, node)| item(i, Cow::Borrowed(node)))
                .collect()),
            Cow::Owned(Node {
                value: Value::List(items),
                ..
            }) => Ok((items.iter().enumerate())
                .map(|(i, node)| item(i, Cow::Owned(node.clone())))
                .collect()),
            _ => Err(self.wrong_type(expected)),
        }
    }
}

impl Field<'_> {
    /// Text that is not blank. Numbers and booleans must be in quotes, unless they come from `--set`.
    pub(super) fn text(&self) -> Result<String> {
        let Some(scalar) = self.scalar() else {
            return Err(self.wrong_type("text").remedy("write one text here"));
        };
        let said_in_file = matches!(self.node.origin, Origin::File(_));
        if said_in_file && (scalar.as_bool().is_some() || scalar.is_number()) {
            return Err(self.wrong_type("text").remedy("put it in quotes"));
        }
        if scalar.text.trim().is_empty() {
            return Err(self
                .error(format!("`{}` is blank", self.path))
                .expected("text")
                .remedy("fill it in, or remove the key"));
        }
        Ok(scalar.text.clone())
    }

    /// Text with its place.
    pub(super) fn located(&self) -> Result<Located<String>> {
        let value = self.text()?;
        let first_line = match (&self.node.origin, self.scalar()) {
            (Origin::File(_), Some(scalar)) => scalar.layout.first_line,
            _ => 1,
        };
        Ok(Located {
            value,
            at: self.at(),
            first_line,
        })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool> {
        let scalar = self.scalar();
        scalar.and_then(|scalar| scalar.as_bool()).ok_or_else(|| {
            let error = self.wrong_type("`true` or `false`");
            match scalar {
                Some(s) if s.style == Style::Quoted => error.remedy("remove the quotes"),
                _ => error.remedy("write `true` or `false`"),
            }
        })
    }

    /// A positive whole number.
    pub(super) fn count(&self) -> Result<usize> {
        self.scalar()
            .filter(|scalar| scalar.style == Style::Plain)
            .and_then(|scalar| scalar.text.parse().ok())
            .filter(|count| *count > 0)
            .ok_or_else(|| {
                self.wrong_type("a positive whole number")
                    .remedy("write 1 or more, digits only, without quotes")
            })
    }

    /// A share: more than 0, at most 1.
    pub(super) fn share(&self) -> Result<f64> {
        self.scalar()
            .filter(|scalar| scalar.is_number())
            .and_then(|scalar| scalar.text.parse().ok())
            .filter(|share| *share > 0.0 && *share <= 1.0)
            .ok_or_else(|| {
                self.wrong_type("a share of 1: more than 0, at most 1")
                    .remedy("write `0.01` for one in a hundred")
            })
    }

    /// A duration.
    pub(super) fn duration(&self) -> Result<Duration> {
        self.scalar()
            .and_then(|scalar| units::duration(&scalar.text))
            .ok_or_else(|| {
                self.wrong_type(units::DURATION)
                    .remedy("write it in one of these forms")
            })
    }

    /// A number of bytes.
    pub(super) fn size(&self) -> Result<usize> {
        self.scalar()
            .and_then(|scalar| units::size(&scalar.text))
            .ok_or_else(|| {
                self.wrong_type(units::SIZE)
                    .remedy("write it in one of these forms")
            })
    }

    /// One of the words of `built`. Those of `not_built` have a sentence of their own.
    pub(super) fn choice<T: Copy>(&self, built: &[(&str, T)], not_built: &[&str]) -> Result<T> {
        let words: Vec<&str> = built.iter().map(|(word, _)| *word).collect();
        let expected = one_of(&words);
        let Some(scalar) = self.scalar() else {
            return Err(self.wrong_type(expected).remedy("write one word"));
        };
        let word = scalar.text.trim();
        if let Some((_, value)) = built.iter().find(|(known, _)| *known == word) {
            return Ok(*value);
        }
        let key = self.key();
        if not_built.contains(&word) {
            return Err(self
                .error(format!("`{key}: {word}` is not built yet"))
                .expected(expected)
                .remedy(match words.as_slice() {
                    [only] => format!("use `{key}: {only}`"),
                    _ => format!("use another `{key}`"),
                }));
        }
        let error = self
            .error(format!("`{}` is no value of `{key}`", short(word)))
            .expected(expected);
        Err(match nearest(word, words.iter().copied()) {
            Some(near) => error.remedy(format!("did you mean `{near}`?")),
            None => error.remedy("choose one of them"),
        })
    }

    /// A list of distinct texts; each passes `check`.
    pub(super) fn texts(
        &self,
        expected: &str,
        check: impl Fn(&Field<'_>, &str) -> Result<()>,
    ) -> Result<Vec<String>> {
        let items = self.items(expected).map_err(|error| match self.scalar() {
            Some(scalar) => {
                error.remedy(format!("write `{}: [{}]`", self.key(), short(&scalar.text)))
            }
            None => error.remedy(format!("write `{}: […]`", self.key())),
        })?;
        let mut out: Vec<String> = Vec::with_capacity(items.len());
        for item in items {
            let text = item.text()?;
            check(&item, &text)?;
            if out.contains(&text) {
                return Err(item
                    .error(format!("`{}` is in `{}` twice", short(&text), self.key()))
                    .expected("distinct names")
                    .remedy("remove one of them"));
            }
            out.push(text);
        }
        Ok(out)
    }

    /// Free keys with scalar values, which are kept as their text: `properties`, `storage_options`.
    pub(super) fn options(&self) -> Result<BTreeMap<String, String>> {
        let expected = "keys with text values";
        let mut options = BTreeMap::new();
        let entries = self.entries(expected);
        for entry in entries.map_err(|error| error.remedy("write `{ key: value }`"))? {
            let path = Context::join(&self.path, &entry.key);
            let error = |message: String| {
                let error = self.context.error(&entry.node.origin, &path, message);
                error.expected(expected)
            };
            let value = match &entry.node.value {
                Value::Scalar(scalar) if scalar.is_null() => {
                    return Err(error(format!("`{path}` has no value"))
                        .remedy("remove it, or put the value in quotes"));
                }
                Value::Scalar(scalar) => scalar.text.clone(),
                Value::List(_) | Value::Map(_) => {
                    return Err(error(format!("`{path}` is not text but a block or a list"))
                        .remedy("write dots in the key: `sasl.mechanism: PLAIN`"));
                }
            };
            options.insert(entry.key.clone(), value);
        }
        Ok(options)
    }
}
