//! Standard output.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Stdout, Write};

use sql::{Error, Result};

/// Standard output, as long as somebody reads it: what comes after `head` has seen enough goes nowhere, and is no error.
#[derive(Debug)]
pub struct Output {
    stdout: Stdout,
    closed: bool,
}

impl Output {
    /// This process' standard output.
    pub fn stdout() -> Self {
        Self {
            stdout: std::io::stdout(),
            closed: false,
        }
    }

    /// Whether the reader went away.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether a person reads it.
    pub fn is_terminal(&self) -> bool {
        self.stdout.is_terminal()
    }

    /// Writes a text and a line's end.
    ///
    /// # Errors
    /// Standard output that cannot be written to, such as a file on a full disk.
    pub fn line(&mut self, text: impl Display) -> Result<()> {
        writeln!(self, "{text}").map_err(cannot_write)
    }

    fn unless_closed<T>(&mut self, result: std::io::Result<T>, closed: T) -> std::io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(closed)
            }
            other => other,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.closed {
            return Ok(bytes.len());
        }
        let written = self.stdout.write(bytes);
        self.unless_closed(written, bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.stdout.flush();
        self.unless_closed(flushed, ())
    }
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::new(
        sql::ErrorKind::Storage,
        "standard output cannot be written to",
    )
    .source(error)
}
