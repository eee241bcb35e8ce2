//! Where lines come from: a person at a terminal ([`super::prompt`]), or a text.

use std::io::{BufRead, ErrorKind};

use sql::{Error, Result};

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end; from a terminal it may be several, if they were pasted or recalled.
    Text(String),
    /// Ctrl-C: what was typed is to be forgotten.
    Interrupted,
    /// There are no more.
    End,
}

/// Lines of statements and commands, one by one.
pub(super) trait Input {
    /// Waits for the next line. `pending` is what came of the statement so far.
    ///
    /// # Errors
    /// Lines that cannot be read.
    fn line(&mut self, pending: &str) -> Result<Line>;

    /// Keeps a whole statement or command, for somebody who wants it again.
    fn remember(&mut self, _text: &str) {}
}

/// The lines of a text.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    name: String,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `reader`, which messages call `name`.
    pub(super) fn new(reader: R, name: impl Into<String>) -> Self {
        Self {
            reader,
            name: name.into(),
            number: 0,
        }
    }
}

impl<R: BufRead> Input for Lines<R> {
    fn line(&mut self, _pending: &str) -> Result<Line> {
        self.number += 1;
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Ok(Line::End),
            Ok(_) => {
                let line = line.strip_suffix('\n').unwrap_or(&line);
                Ok(Line::Text(
                    line.strip_suffix('\r').unwrap_or(line).to_owned(),
                ))
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(Error::config("the text is not UTF-8")
                    .at(format!("{}:{}", self.name, self.number))
                    .remedy("save it as UTF-8"))
            }
            Err(error) => Err(Error::config("the text cannot be read")
                .at(format!("{}:{}", self.name, self.number))
                .source(error)),
        }
    }
}
