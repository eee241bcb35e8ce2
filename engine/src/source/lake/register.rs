//! Says beside the table that a pipeline reads it, so that maintenance keeps what the pipeline still needs.

use std::sync::Arc;

use tracing::warn;

use crate::maintain::readers;
use crate::sink::Sidecar;

/// The entry of one reader.
#[derive(Debug)]
pub struct Registration {
    files: Arc<dyn Sidecar>,
    reader: String,
    last: Option<i64>,
    warned: bool,
}

impl Registration {
    /// The entry of `reader` among `files` beside the table.
    pub fn new(files: Arc<dyn Sidecar>, reader: impl Into<String>) -> Self {
        Self {
            files,
            reader: reader.into(),
            last: None,
            warned: false,
        }
    }

    /// The reader has read up to `version`. What cannot be written is warned of once: the table may be another's, and only to be
    /// read.
    pub(super) async fn reached(&mut self, version: i64, now_micros: i64) {
        if self.last == Some(version) {
            return;
        }
        let written =
            readers::register(self.files.as_ref(), &self.reader, version, now_micros).await;
        match written {
            Ok(()) => self.last = Some(version),
            Err(error) if !self.warned => {
                self.warned = true;
                warn!(
                    table = self.files.place(),
                    reader = self.reader,
                    error = %error,
                    "the reader of the table cannot be registered beside it: whoever maintains the table does not know what the pipeline still needs"
                );
            }
            Err(_) => {}
        }
    }
}
