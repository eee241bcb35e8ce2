//! The file as a tree of values that remember where they stand.

/// A place in the file, both 1-based, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Who said a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file, there.
    File(Mark),
    /// `--set KEY=…`. The value is left out on purpose: it may be a secret.
    Set(String),
}

/// A value.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// What a value is. Scalars are kept as text: what they mean depends on what the reader wants.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a block. Keys are distinct: the loader refuses duplicates.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) origin: Origin,
    pub(super) node: Node,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: may be a number, a boolean or null.
    Plain,
    /// In quotes: always text.
    Quoted,
    /// A block scalar: always text.
    Block,
}

/// A scalar and how its text lies in the file.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) style: Style,
    pub(super) layout: Layout,
}

/// How a scalar's text lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// The file's line that the text's first line stands on.
    pub(super) first_line: usize,
    /// Characters before the text on each of its lines; `None` where lines of text are not lines of the file
    /// (folded text, quotes over several lines, `--set`).
    pub(super) indent: Option<usize>,
}

impl Scalar {
    /// The place of a 1-based line and column of the text, if the text lies in the file line by line.
    pub(super) fn position(&self, line: usize, column: usize) -> Option<Mark> {
        let indent = self.layout.indent?;
        Some(Mark {
            line: self.layout.first_line + line.saturating_sub(1),
            column: indent + column,
        })
    }

    /// The place of a byte offset of the text.
    pub(super) fn position_of(&self, offset: usize) -> Option<Mark> {
        let before = self.text.get(..offset)?;
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        self.position(line, last.chars().count() + 1)
    }

    /// Whether it says nothing: `~`, `null` or no text at all, without quotes.
    pub(super) fn is_null(&self) -> bool {
        self.style == Style::Plain
            && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The boolean it is by YAML 1.2's core schema.
    pub(super) fn as_bool(&self) -> Option<bool> {
        match (self.style, self.text.as_str()) {
            (Style::Plain, "true" | "True" | "TRUE") => Some(true),
            (Style::Plain, "false" | "False" | "FALSE") => Some(false),
            _ => None,
        }
    }

    /// Whether it is a number by YAML 1.2's core schema.
    pub(super) fn is_number(&self) -> bool {
        if self.style != Style::Plain {
            return false;
        }
        let text = self.text.as_str();
        if let Some(digits) = text.strip_prefix("0x") {
            return !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        }
        if let Some(digits) = text.strip_prefix("0o") {
            return !digits.is_empty() && digits.chars().all(|c| ('0'..='7').contains(&c));
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if matches!(
            unsigned,
            ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
        ) {
            return true;
        }
        unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && unsigned.parse::<f64>().is_ok()
    }
}

impl Node {
    /// Whether it says nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// How many nodes the tree under it has, itself included.
    pub(super) fn size(&self) -> usize {
        match &self.value {
            Value::Scalar(_) => 1,
            Value::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|e| e.node.size()).sum::<usize>(),
        }
    }
}
