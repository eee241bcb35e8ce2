//! A result as a Parquet file.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use sql::{Error, ErrorKind, Result};

use super::cannot_show;

/// Bytes that are gathered before a row group is written: what a result takes of memory.
const ROW_GROUP: usize = 64 << 20;

/// A file that gets its name when it is whole. Dropped before, it leaves nothing behind.
pub struct ParquetFile {
    writer: Option<ArrowWriter<File>>,
    part: PathBuf,
    path: PathBuf,
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl ParquetFile {
    /// A file at `path`, which is replaced in the end.
    ///
    /// # Errors
    /// A folder that cannot be written to; a column's type that Parquet has not.
    pub fn new(path: &Path, schema: &SchemaRef) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = File::create(&part).map_err(|error| cannot_make(path, error))?;
        let mut made = Self {
            writer: None,
            part,
            path: path.to_owned(),
        };
        let writer = ArrowWriter::try_new(file, schema.clone(), None).map_err(cannot_show)?;
        made.writer = Some(writer);
        Ok(made)
    }

    pub(super) fn rows(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Err(Error::internal("a finished file is written to"));
        };
        writer.write(batch).map_err(cannot_show)?;
        if writer.in_progress_size() > ROW_GROUP {
            writer.flush().map_err(cannot_show)?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            writer.close().map_err(cannot_show)?;
        }
        fs::rename(&self.part, &self.path).map_err(|error| cannot_make(&self.path, error))
    }
}

impl Drop for ParquetFile {
    fn drop(&mut self) {
        // After `finish` there is no such file, which is as it should be.
        let _gone = fs::remove_file(&self.part);
    }
}

fn cannot_make(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, "the output file cannot be written")
        .at(path.display().to_string())
        .remedy("name a file in a folder that this user may write to")
        .source(error)
}
