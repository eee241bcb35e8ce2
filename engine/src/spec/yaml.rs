//! YAML text into the positioned tree.
//!
//! Aliases are copies of what they name. Refused: duplicate keys, merge keys, tags, keys that are not text,
//! variables in keys, several documents, and trees too deep or too large for a pipeline file.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use sql::{Error, Result};

use super::block::Context;
use super::tree::{Entry, Layout, Mark, Node, Origin, Scalar, Style, Value};

/// Levels of blocks in blocks; a pipeline file needs six.
const MAX_DEPTH: usize = 32;
/// Values, aliases expanded: what keeps aliases of aliases from filling the memory.
const MAX_NODES: usize = 20_000;

/// Reads `text`, named `file` in errors.
pub(super) fn load(text: &str, file: &str) -> Result<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut loader = Loader {
        parser: Parser::new_from_str(text),
        lines: text.lines().collect(),
        file,
        anchors: HashMap::new(),
        nodes: 0,
    };
    loader.document()
}

struct Loader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    lines: Vec<&'a str>,
    file: &'a str,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Loader<'a> {
    fn document(&mut self) -> Result<Node> {
        let mut root = None;
        loop {
            let (event, span) = self.event()?;
            match event {
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(self
                        .error(mark(&span), "", "a second YAML document starts here")
                        .expected("one pipeline a file")
                        .remedy("move it to a file of its own; `engine run DIR` runs every file of a folder"));
                }
                Event::DocumentStart(_) => {}
                event => root = Some(self.node(event, &span, "", 0)?),
            }
        }
        root.filter(|root| !root.is_null()).ok_or_else(|| {
            self.error(Mark { line: 1, column: 1 }, "", "the file says nothing")
                .expected("a pipeline: blocks `pipeline`, `source` and `sink`")
                .remedy("start from a copy of `pipelines/customers.yaml`")
        })
    }

    fn event(&mut self) -> Result<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Err(error)) => {
                let marker = error.marker();
                let at = Mark {
                    line: marker.line().max(1),
                    column: marker.col() + 1,
                };
                Err(self
                    .error(at, "", format!("this is not YAML: {}", error.info()))
                    .remedy(self.syntax_remedy(at.line, error.info())))
            }
        }
    }

    /// What is most often wrong with a line that YAML cannot read.
    fn syntax_remedy(&self, line: usize, info: &str) -> &'static str {
        if info.contains("unknown anchor") {
            return "name an anchor (`&name`) that stands above this line, or put the value in quotes";
        }
        let near = [line, line.saturating_sub(1)];
        let mut near = near
            .iter()
            .filter_map(|line| self.lines.get(line.checked_sub(1)?));
        if near.clone().any(|l| {
            l.chars()
                .take_while(|c| c.is_whitespace())
                .any(|c| c == '\t')
        }) {
            return "indent with spaces: YAML has no tabs";
        }
        if near.any(|l| l.contains("${") && l.contains(['{', '['])) {
            return "put values that hold `${…}` in double quotes where they stand inside `{ }` or `[ ]`";
        }
        "check the indentation, the colons and the quotes on this line and the one before it"
    }

    fn node(&mut self, event: Event<'a>, span: &Span, path: &str, depth: usize) -> Result<Node> {
        let at = mark(span);
        self.count(1, at, path)?;
        if depth > MAX_DEPTH {
            return Err(self
                .error(
                    at,
                    path,
                    format!("blocks are nested deeper than {MAX_DEPTH} levels"),
                )
                .remedy("a pipeline file needs six; is this one?"));
        }
        let (anchor, value) = match event {
            Event::Alias(id) => return self.alias(id, at, path),
            Event::Scalar(text, style, anchor, tag) => {
                self.no_tag(tag.is_some(), at, path)?;
                (anchor, Value::Scalar(Self::scalar(&text, style, span)))
            }
            Event::SequenceStart(anchor, tag) => {
                self.no_tag(tag.is_some(), at, path)?;
                (anchor, self.list(path, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.no_tag(tag.is_some(), at, path)?;
                (anchor, self.map(path, depth)?)
            }
            other => {
                return Err(self.error(at, path, format!("unexpected YAML here: {other:?}")));
            }
        };
        let node = Node {
            value,
            origin: Origin::File(at),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, more: usize, at: Mark, path: &str) -> Result<()> {
        self.nodes += more;
        if self.nodes > MAX_NODES {
            return Err(self
                .error(
                    at,
                    path,
                    format!("the file has more than {MAX_NODES} values"),
                )
                .remedy("aliases are copies: do not alias what holds aliases"));
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, at: Mark, path: &str) -> Result<Node> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(self
                .error(at, path, "an alias names the block that it stands in")
                .expected("the anchor of a value that ended before")
                .remedy("write the value out"));
        };
        self.count(node.size(), at, path)?;
        Ok(node)
    }

    fn no_tag(&self, tagged: bool, at: Mark, path: &str) -> Result<()> {
        if tagged {
            return Err(self
                .error(at, path, "YAML tags (`!…`) are not used in pipeline files")
                .remedy("remove the tag; put a value in quotes to make it text"));
        }
        Ok(())
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Value> {
        let mut items = Vec::new();
        loop {
            match self.event()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Value::List(items)),
                (event, span) => {
                    let path = format!("{path}[{}]", items.len());
                    items.push(self.node(event, &span, &path, depth + 1)?);
                }
            }
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Value> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.event()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(Value::Map(entries));
            }
            let at = mark(&span);
            let key = self.key(event, at, path)?;
            let path = Context::join(path, &key);
            if let Some(first) = entries.iter().find(|e| e.key == key) {
                let line = match &first.origin {
                    Origin::File(mark) => mark.line,
                    Origin::Set(_) => 0,
                };
                return Err(self
                    .error(at, &path, format!("`{key}` is said twice in one block"))
                    .expected(format!("each key once; the first is on line {line}"))
                    .remedy("remove one of them"));
            }
            let (event, span) = self.event()?;
            let node = self.node(event, &span, &path, depth + 1)?;
            entries.push(Entry {
                key,
                origin: Origin::File(at),
                node,
            });
        }
    }

    fn key(&self, event: Event<'a>, at: Mark, path: &str) -> Result<String> {
        let Event::Scalar(text, style, _, tag) = event else {
            return Err(self
                .error(at, path, "a key is not plain text")
                .expected("`key: value`")
                .remedy("if this is a value with `${…}` or braces, put it in double quotes"));
        };
        self.no_tag(tag.is_some(), at, path)?;
        if style == ScalarStyle::Plain && text == "<<" {
            return Err(self
                .error(at, path, "YAML merge keys (`<<`) are not supported")
                .expected("keys written out, or an alias for a whole value (`catalog: *catalog`)")
                .remedy("write the keys out"));
        }
        if text.contains("${") {
            return Err(self
                .error(at, path, format!("the key `{text}` holds a variable"))
                .expected("variables in values only")
                .remedy("write the key out"));
        }
        Ok(text.into_owned())
    }

    fn scalar(text: &str, style: ScalarStyle, span: &Span) -> Scalar {
        let (line, column) = (span.start.line(), span.start.col());
        let on_one_line = span.end.line() == line;
        let at_line = |indent| Layout {
            first_line: line,
            indent,
        };
        let (style, layout) = match style {
            // The span of a block scalar starts at its first line that is not blank.
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let blank = text.len() - text.trim_start_matches('\n').len();
                let layout = Layout {
                    first_line: line.saturating_sub(blank),
                    indent: (style == ScalarStyle::Literal).then_some(column),
                };
                (Style::Block, layout)
            }
            ScalarStyle::Plain => (Style::Plain, at_line(on_one_line.then_some(column))),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                (Style::Quoted, at_line(on_one_line.then_some(column + 1)))
            }
        };
        Scalar {
            text: text.to_owned(),
            style,
            layout,
        }
    }

    fn error(&self, at: Mark, path: &str, message: impl Into<String>) -> Error {
        let mut place = format!("{}:{}:{}", self.file, at.line, at.column);
        if !path.is_empty() {
            place.push_str(&format!(" ({path})"));
        }
        Error::config(message).at(place)
    }
}

fn mark(span: &Span) -> Mark {
    Mark {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
    }
}
