//! The types that a field can be read as.

use std::collections::BTreeMap;
use std::time::Duration;

use sql::Result;

use super::block::{Field, list, short};
use super::model::Located;
use super::nearest::nearest;
use super::tree::{Origin, Style, Value};
use super::units;

impl Field<'_> {
    /// Text that is not blank. Numbers and booleans must be in quotes, unless they come from `--set`.
    pub(super) fn text(&self) -> Result<String> {
        let Some(scalar) = self.scalar() else {
            return Err(self.wrong_type("text"));
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
                    .remedy("write digits only, without quotes")
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
                    .remedy("give a number and a unit")
            })
    }

    /// A number of bytes.
    pub(super) fn size(&self) -> Result<usize> {
        self.scalar()
            .and_then(|scalar| units::size(&scalar.text))
            .ok_or_else(|| {
                self.wrong_type(units::SIZE)
                    .remedy("give a number and a unit")
            })
    }

    /// One of the words of `built`. Those of `not_built` have a sentence of their own.
    pub(super) fn choice<T: Copy>(&self, built: &[(&str, T)], not_built: &[&str]) -> Result<T> {
        let words: Vec<&str> = built.iter().map(|(word, _)| *word).collect();
        let expected = match words.as_slice() {
            [only] => format!("`{only}`"),
            words => format!("one of {}", list(words)),
        };
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
        for entry in self.entries(expected)? {
            let value = match &entry.node.value {
                Value::Scalar(scalar) => scalar.text.clone(),
                Value::List(_) | Value::Map(_) => {
                    let path = format!("{}.{}", self.path, entry.key);
                    return Err(self
                        .context
                        .error(
                            &entry.node.origin,
                            &path,
                            format!("`{path}` is not text but a block or a list"),
                        )
                        .expected(expected)
                        .remedy("write dots in the key: `sasl.mechanism: PLAIN`"));
                }
            };
            options.insert(entry.key.clone(), value);
        }
        Ok(options)
    }
}
