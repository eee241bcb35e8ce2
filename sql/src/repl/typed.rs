//! Lines in, statements and commands out.

use super::split::{Next, next};

/// A statement as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The text with its `;`. Where another statement stands before it in its first line, there are blanks in its place, so
    /// that columns are those of the line.
    pub text: String,
    /// The number of its first line, from 1.
    pub line: usize,
}

impl Statement {
    /// The text alone.
    pub fn bare(&self) -> &str {
        self.text.trim()
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Run this.
    Statement(Statement),
    /// A line that starts with a backslash, where no statement had begun.
    Command {
        /// The line, from its backslash on.
        text: String,
        /// Its number, from 1.
        line: usize,
    },
}

/// What was typed and not taken yet.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    buffer: String,
    /// Line ends that were taken.
    lines: usize,
    /// Characters of the buffer's first line that were taken.
    column: usize,
    /// Whether the buffer is a statement that had no end, and no `;` came since.
    waiting: bool,
}

impl Typed {
    /// Adds a line, without its end.
    pub fn line(&mut self, line: &str) {
        self.waiting = self.waiting && !line.contains(';');
        self.buffer.push_str(line);
        self.buffer.push('\n');
    }

    /// Takes what is to be done next; `None` if more lines are needed.
    pub fn step(&mut self) -> Option<Step> {
        while !self.waiting {
            match next(&self.buffer) {
                Next::Nothing { end } => {
                    let more = end < self.buffer.len();
                    self.take(end);
                    if !more {
                        return None;
                    }
                }
                Next::Statement { start, end } => {
                    self.take(start);
                    return Some(self.statement(end - start));
                }
                Next::Command { start, end } => {
                    self.take(start);
                    let line = self.lines + 1;
                    let text = self.take(end - start).trim_end().to_owned();
                    return Some(Step::Command { text, line });
                }
                // An open comment may end in any line, and a command may follow.
                Next::Unfinished { statement: false } => return None,
                Next::Unfinished { statement: true } => self.waiting = true,
            }
        }
        None
    }

    /// Takes what is left when there are no more lines: the last statement needs no `;`.
    pub fn end(&mut self) -> Option<Step> {
        if let Some(step) = self.step() {
            return Some(step);
        }
        let blank = self.buffer.len() - self.buffer.trim_start().len();
        self.take(blank);
        if self.buffer.is_empty() {
            return None;
        }
        Some(self.statement(self.buffer.len()))
    }

    /// Whether a statement has begun.
    pub fn begun(&self) -> bool {
        !self.buffer.trim().is_empty()
    }

    /// What has been typed of it, lines with their ends.
    pub fn pending(&self) -> &str {
        &self.buffer
    }

    /// Forgets it.
    pub fn clear(&mut self) {
        let all = self.buffer.len();
        self.take(all);
    }

    fn statement(&mut self, length: usize) -> Step {
        let (line, column) = (self.lines + 1, self.column);
        let text = self.take(length);
        Step::Statement(Statement {
            text: format!("{:column$}{}", "", text.trim_end()),
            line,
        })
    }

    fn take(&mut self, length: usize) -> String {
        let rest = self.buffer.split_off(length.min(self.buffer.len()));
        let taken = std::mem::replace(&mut self.buffer, rest);
        self.lines += taken.matches('\n').count();
        self.column = match taken.rsplit_once('\n') {
            Some((_, last)) => last.chars().count(),
            None => self.column + taken.chars().count(),
        };
        self.waiting = false;
        taken
    }
}
