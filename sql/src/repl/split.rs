//! Where a statement ends.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Token, TokenWithSpan, Tokenizer, TokenizerError,
};

/// What stands at the start of a text. Places are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// White space and comments, and perhaps a `;` alone, up to `end`.
    Nothing {
        /// Where the rest starts.
        end: usize,
    },
    /// A statement with its `;`.
    Statement {
        /// Where its first word or comment starts.
        start: usize,
        /// Where the rest starts.
        end: usize,
    },
    /// A backslash command, which its line ends.
    Command {
        /// Where its backslash is.
        start: usize,
        /// Where the line ends, before the line's end.
        end: usize,
    },
    /// A statement or a comment whose end is not there yet.
    Unfinished {
        /// Whether there is a statement, not only an open comment.
        statement: bool,
    },
}

/// What `text` starts with.
pub fn next(text: &str) -> Next {
    let (tokens, error) = tokens(text);
    let mut statement = false;
    for found in &tokens {
        match &found.token {
            Token::Whitespace(_) => {}
            Token::SemiColon => {
                let end = offset(text, found.span.end);
                return match statement {
                    true => Next::Statement {
                        start: leading(text),
                        end,
                    },
                    false => Next::Nothing { end },
                };
            }
            Token::Backslash if !statement => {
                let start = offset(text, found.span.start);
                return Next::Command {
                    start,
                    end: line_end(text, start),
                };
            }
            _ => statement = true,
        }
    }
    match error {
        None if statement => Next::Unfinished { statement },
        None => Next::Nothing { end: text.len() },
        Some(error) => unfinished(text, &error, statement),
    }
}

/// An open string, name or comment waits for its end. Anything else is wrong as it stands: it is a statement as far as a `;`
/// goes, for the parser to refuse.
fn unfinished(text: &str, error: &TokenizerError, statement: bool) -> Next {
    let comment = error.message.contains("comment");
    let open =
        comment || error.message.contains("nterminated") || error.message.contains("before EOF");
    let statement = statement || !comment;
    if open {
        return Next::Unfinished { statement };
    }
    let wrong = offset(text, error.location);
    match text.get(wrong..).and_then(|rest| rest.find(';')) {
        Some(at) => Next::Statement {
            start: leading(text),
            end: wrong + at + 1,
        },
        None => Next::Unfinished { statement },
    }
}

/// The tokens of `text`, up to where it cannot be read on.
pub(super) fn tokens(text: &str) -> (Vec<TokenWithSpan>, Option<TokenizerError>) {
    let mut tokens = Vec::new();
    let read =
        Tokenizer::new(&GenericDialect {}, text).tokenize_with_location_into_buf(&mut tokens);
    (tokens, read.err())
}

/// The byte at a place that the tokenizer gave: lines and characters, both from 1.
pub(super) fn offset(text: &str, at: Location) -> usize {
    let (mut line, mut column) = (1, 1);
    for (index, letter) in text.char_indices() {
        if (line, column) == (at.line, at.column) {
            return index;
        }
        if letter == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    text.len()
}

fn leading(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn line_end(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.find('\n').map_or(text.len(), |at| from + at)
}
