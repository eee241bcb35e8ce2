//! Typed reading of the tree: a block refuses keys that it does not know, a field refuses values of the wrong type.
//!
//! What is read is written down at the same time, with the defaults filled in: that is what
//! [`super::show_defaults`] prints. A key whose value is null counts as not said.

use std::borrow::Cow;
use std::fmt::Display;
use std::path::PathBuf;

use sql::{Error, Result};

use super::effective::{Line, Shown};
use super::field::Field;
use super::nearest::nearest;
use super::tree::{Entry, Layout, Node, Origin, Scalar, Style, Value};

/// What every error and every path of one file needs.
#[derive(Debug)]
pub(super) struct Context {
    /// The file as the user named it.
    pub(super) file: String,
    /// The file's folder, absolute.
    pub(super) folder: PathBuf,
    /// The working folder, absolute.
    pub(super) working: PathBuf,
}

impl Context {
    /// The YAML path of `key` in the block at `path`.
    pub(super) fn join(path: &str, key: &str) -> String {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    }

    /// `FILE:LINE:COLUMN (yaml.path)`.
    pub(super) fn at(&self, origin: &Origin, path: &str) -> String {
        let place = match origin {
            Origin::File(mark) => format!("{}:{}:{}", self.file, mark.line, mark.column),
            Origin::Set(key) => format!("--set {key}"),
        };
        if path.is_empty() {
            place
        } else {
            format!("{place} ({path})")
        }
    }

    /// An error about the value or key at `path`.
    pub(super) fn error(&self, origin: &Origin, path: &str, message: impl Into<String>) -> Error {
        Error::config(message).at(self.at(origin, path))
    }
}

/// A block: keys and values.
#[derive(Debug)]
pub(super) struct Block<'a> {
    context: &'a Context,
    path: String,
    origin: Origin,
    entries: Cow<'a, [Entry]>,
    said: bool,
    shown: Vec<(String, Line)>,
}

impl<'a> Block<'a> {
    /// The place of the block itself.
    pub(super) fn at(&self) -> String {
        self.context.at(&self.origin, &self.path)
    }

    /// Refuses keys that are neither in `known` nor in `not_built`; and those of `not_built` with a sentence of their own.
    pub(super) fn only(&self, known: &[&str], not_built: &[&str]) -> Result<()> {
        for entry in self.entries.iter() {
            let key = entry.key.as_str();
            if known.contains(&key) {
                continue;
            }
            let path = Context::join(&self.path, key);
            if not_built.contains(&key) {
                if entry.node.is_null() {
                    continue;
                }
                return Err(self
                    .context
                    .error(&entry.origin, &path, format!("`{key}` is not built yet"))
                    .remedy(match entry.node.value {
                        Value::Scalar(_) => "remove the key",
                        Value::List(_) | Value::Map(_) => "remove the block",
                    }));
            }
            return Err(self.unknown(entry, &path, known));
        }
        Ok(())
    }

    fn unknown(&self, entry: &Entry, path: &str, known: &[&str]) -> Error {
        let key = &entry.key;
        let block = match self.path.as_str() {
            "" => "the top level".to_owned(),
            path => format!("`{path}`"),
        };
        let error = self
            .context
            .error(
                &entry.origin,
                path,
                format!("unknown key `{key}` in {block}"),
            )
            .expected(one_of(known));
        match nearest(key, known.iter().copied()) {
            Some(near) => error.remedy(format!("did you mean `{near}`?")),
            None => error.remedy("remove it, or correct its name"),
        }
    }

    /// The value of `key`, if it was said.
    pub(super) fn get(&self, key: &str) -> Option<Field<'a>> {
        let context = self.context;
        let path = Context::join(&self.path, key);
        let field = |node| Field {
            context,
            path,
            node,
        };
        match &self.entries {
            Cow::Borrowed(entries) => find(entries, key).map(|e| field(Cow::Borrowed(&e.node))),
            Cow::Owned(entries) => find(entries, key).map(|e| field(Cow::Owned(e.node.clone()))),
        }
    }

    /// The value of `key`, which has no default.
    pub(super) fn required(&mut self, key: &str, expected: &str) -> Result<Field<'a>> {
        let Some(field) = self.get(key) else {
            return Err(self.missing(key, expected));
        };
        self.record(key, &field.node, true);
        Ok(field)
    }

    fn missing(&self, key: &str, expected: &str) -> Error {
        let near = self
            .entries
            .iter()
            .find(|e| e.key != key && nearest(&e.key, [key]).is_some());
        let path = Context::join(&self.path, key);
        match self.entries.iter().find(|e| e.key == key).or(near) {
            Some(entry) if entry.key == key => self
                .context
                .error(&entry.origin, &path, format!("`{path}` has no value"))
                .expected(expected)
                .remedy("give it a value; it has no default"),
            Some(entry) => self.unknown(entry, &Context::join(&self.path, &entry.key), &[key]),
            None => self
                .context
                .error(&self.origin, &self.path, format!("`{path}` is missing"))
                .expected(expected)
                .remedy("add it; it has no default"),
        }
    }

    /// The value of `key`, or what `default` means as a plain YAML scalar, read by `read`.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        default: &str,
        read: impl FnOnce(&Field<'a>) -> Result<T>,
    ) -> Result<T> {
        let (field, said) = match self.get(key) {
            Some(field) => (field, true),
            None => (self.default_field(key, default), false),
        };
        self.record(key, &field.node, said);
        read(&field)
    }

    /// The value of `key`, read by `read`, or nothing. `note` says in the effective file what nothing means.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        note: &'static str,
        read: impl FnOnce(&Field<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.get(key) {
            Some(field) => {
                self.record(key, &field.node, true);
                read(&field).map(Some)
            }
            None => {
                self.show(key, Shown::null(), false);
                self.note(key, note);
                Ok(None)
            }
        }
    }

    /// The block at `key`, or an empty one. Give it back to [`Block::close`] when it is read.
    pub(super) fn block(&mut self, key: &str) -> Result<Block<'a>> {
        match self.get(key) {
            Some(field) => field.block(),
            None => Ok(Block {
                context: self.context,
                path: Context::join(&self.path, key),
                origin: self.origin.clone(),
                entries: Cow::Borrowed(&[]),
                said: false,
                shown: Vec::new(),
            }),
        }
    }

    /// Writes down the block that was read at `key`.
    pub(super) fn close(&mut self, key: &str, block: Block<'a>) {
        let said = block.said;
        self.show(key, block.finish(), said);
    }

    /// Writes down `shown` as the effective value of `key`, in place of what was there.
    pub(super) fn show(&mut self, key: &str, shown: Shown, said: bool) {
        let line = Line {
            shown,
            said,
            note: None,
        };
        match self.shown.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = line,
            None => self.shown.push((key.to_owned(), line)),
        }
    }

    /// Replaces the effective text of `key` by what it was resolved to.
    pub(super) fn resolved(&mut self, key: &str, text: &str) {
        if let Some((_, line)) = self.shown.iter_mut().find(|(k, _)| k == key) {
            line.shown = Shown::text(text);
        }
    }

    /// Says beside `key` in the effective file what its default means.
    pub(super) fn note(&mut self, key: &str, note: &'static str) {
        if let Some((_, line)) = self.shown.iter_mut().find(|(k, _)| k == key) {
            line.note = Some(note);
        }
    }

    /// What the block says, defaults filled in.
    pub(super) fn finish(self) -> Shown {
        Shown::Map(self.shown)
    }

    fn record(&mut self, key: &str, node: &Node, said: bool) {
        self.show(key, Shown::of(node), said);
    }

    fn default_field(&self, key: &str, text: &str) -> Field<'a> {
        let layout = Layout {
            first_line: 1,
            indent: None,
        };
        let scalar = Scalar {
            text: text.to_owned(),
            style: Style::Plain,
            layout,
        };
        Field {
            context: self.context,
            path: Context::join(&self.path, key),
            node: Cow::Owned(Node {
                value: Value::Scalar(scalar),
                origin: self.origin.clone(),
            }),
        }
    }
}

fn find<'e>(entries: &'e [Entry], key: &str) -> Option<&'e Entry> {
    entries
        .iter()
        .find(|entry| entry.key == key && !entry.node.is_null())
}

/// `one of` and the names in backticks; the name alone if there is one.
pub(super) fn one_of<T: Display>(names: &[T]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [only] => only.clone(),
        names => format!("one of {}", names.join(", ")),
    }
}

impl<'a> Field<'a> {
    /// As a block.
    pub(super) fn block(&self) -> Result<Block<'a>> {
        self.entries("a block of keys").map_err(|error| {
            error.remedy(match self.path.as_str() {
                "" => "start from a copy of `pipelines/customers.yaml`",
                _ => "write `key: value` lines indented below it, or `{ key: value }`",
            })
        })?;
        let entries = match &self.node {
            Cow::Borrowed(Node {
                value: Value::Map(entries),
                ..
            }) => Cow::Borrowed(entries.as_slice()),
            Cow::Owned(Node {
                value: Value::Map(entries),
                ..
            }) => Cow::Owned(entries.clone()),
            _ => Cow::Borrowed(&[] as &[Entry]),
        };
        Ok(Block {
            context: self.context,
            path: self.path.clone(),
            origin: self.node.origin.clone(),
            entries,
            said: true,
            shown: Vec::new(),
        })
    }
}

/// At most 40 characters of the first line.
pub(super) fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut out: String = line.chars().take(40).collect();
    if out.len() < text.trim_end().len() {
        out.push('…');
    }
    out
}
