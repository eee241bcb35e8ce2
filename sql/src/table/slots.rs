//! What a source's name stands for while a plan runs.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use parking_lot::RwLock;

use crate::error::Result;
use crate::feed::ChangeFeed;
use crate::versioned::VersionedTable;

/// Opens a feed. Called once for each execution of a plan that reads the feed; nothing is opened by planning.
pub type OpenFeed = Arc<dyn Fn() -> BoxFuture<'static, Result<Box<dyn ChangeFeed>>> + Send + Sync>;

/// Live rows and feeds by source name, and tables that remember what changed: a session extension. A pipeline puts a new one into each batch's task.
#[derive(Default)]
pub struct Slots {
    rows: RwLock<HashMap<String, RecordBatch>>,
    feeds: RwLock<HashMap<String, OpenFeed>>,
    tables: RwLock<HashMap<String, Arc<dyn VersionedTable>>>,
}

impl Slots {
    /// Puts a micro-batch under `name`, instead of what was there. Columns are found by name, so the batch may have
    /// more columns than a plan reads, in any order.
    pub fn put_rows(&self, name: impl Into<String>, rows: RecordBatch) {
        self.rows.write().insert(name.into(), rows);
    }

    /// Puts the opener of a feed under `name`, instead of what was there.
    pub fn put_feed(&self, name: impl Into<String>, open: OpenFeed) {
        self.feeds.write().insert(name.into(), open);
    }

    /// Puts a table whose changes are read under `name`, instead of what was there.
    pub fn put_table(&self, name: impl Into<String>, table: Arc<dyn VersionedTable>) {
        self.tables.write().insert(name.into(), table);
    }

    /// The micro-batch under `name`.
    pub fn rows(&self, name: &str) -> Option<RecordBatch> {
        self.rows.read().get(name).cloned()
    }

    /// The opener of the feed under `name`.
    pub fn feed(&self, name: &str) -> Option<OpenFeed> {
        self.feeds.read().get(name).cloned()
    }

    /// The table under `name`.
    pub fn table(&self, name: &str) -> Option<Arc<dyn VersionedTable>> {
        self.tables.read().get(name).cloned()
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("rows", &self.rows.read().keys())
            .field("feeds", &self.feeds.read().keys())
            .field("tables", &self.tables.read().keys())
            .finish()
    }
}
