//! Where results go.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sql::{Error, ErrorKind, Result};

use crate::command::print::Output;
use crate::command::show::not_to_a_file;

/// Standard output, or a file that replaces what was there with the first result.
#[derive(Debug)]
pub(super) enum Target {
    /// Standard output.
    Stdout(BufWriter<Output>),
    /// A file.
    File {
        /// Where it is.
        path: PathBuf,
        /// Open since the first result.
        out: Option<BufWriter<File>>,
        /// Whether it holds a result.
        used: bool,
    },
}

impl Target {
    pub(super) fn stdout() -> Self {
        Self::Stdout(BufWriter::new(Output::stdout()))
    }

    pub(super) fn file(path: impl Into<PathBuf>) -> Self {
        Self::File {
            path: path.into(),
            out: None,
            used: false,
        }
    }

    /// Whether a person reads it.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout(out) if out.get_ref().is_terminal())
    }

    /// Whether nobody reads it any longer.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Stdout(out) if out.get_ref().is_closed())
    }

    /// The file that holds one result and no other.
    ///
    /// # Errors
    /// Standard output, and a file that holds a result already.
    pub(super) fn take_file(&mut self) -> Result<&Path> {
        match self {
            Self::Stdout(_) => Err(not_to_a_file()),
            Self::File {
                path, used: true, ..
            } => Err(
                Error::config("a Parquet file holds the result of one query")
                    .at(path.display().to_string())
                    .remedy("name another file for each query: \\o FILE"),
            ),
            Self::File { path, used, .. } => {
                *used = true;
                Ok(path)
            }
        }
    }

    /// Makes the file, if it is one and not open yet.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub(super) fn open(&mut self) -> Result<()> {
        if let Self::File { path, out, used } = self
            && out.is_none()
        {
            let file = File::create(&*path).map_err(|error| {
                Error::new(ErrorKind::Storage, "the output file cannot be written")
                    .at(path.display().to_string())
                    .remedy("name a file in a folder that this user may write to")
                    .source(error)
            })?;
            *out = Some(BufWriter::new(file));
            *used = true;
        }
        Ok(())
    }

    /// Hands on what was written so far.
    ///
    /// # Errors
    /// Output that cannot be written to.
    pub(super) fn hand_on(&mut self) -> Result<()> {
        self.flush().map_err(|error| {
            Error::new(ErrorKind::Storage, "the output cannot be written to").source(error)
        })
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File { out: Some(out), .. } => out.write(bytes),
            Self::File { out: None, .. } => Err(io::Error::other("the file is not open")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File { out: Some(out), .. } => out.flush(),
            Self::File { out: None, .. } => Ok(()),
        }
    }
}
