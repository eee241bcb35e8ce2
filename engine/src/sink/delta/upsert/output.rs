//! Files that a commit adds: rows of one partition each, and the change feed's rows beside them.
//!
//! Row groups are small ([`encoding::GROUP_ROWS`]) and pages are indexed, so that a later lookup of a few keys reads a few pages. Statistics of
//! the key columns are written whatever the table says of others. There are no bloom filters: a batch has more keys between the
//! bounds of a row group than a filter could rule out, and it would cost more than a byte a row.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use deltalake::kernel::scalars::ScalarExt;
use deltalake::kernel::{Add, AddCDCFile};
use deltalake::operations::write::writer::{PartitionWriter, PartitionWriterConfig};
use deltalake::table::config::TablePropertiesExt as _;
use deltalake::{DeltaResult, DeltaTable, ObjectStore};
use object_store::prefix::PrefixStore;
use sql::{Error, ErrorKind, Result};
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinSet;

use crate::lake::delta::snapshot;
use crate::lake::encoding;
use crate::lake::storage::storage_error;
use crate::sink::delta::DeltaSink;
use crate::sink::delta::files::one;
use crate::sink::delta::statistics::without_inexact_bounds;

/// Rows that are encoded at once.
const CHUNK_ROWS: usize = 8 * 1024;
/// Chunks that wait to be encoded.
const AHEAD: usize = 2;
const FEED_FOLDER: &str = "_change_data";
const CHANGE_TYPE: &str = "_change_type";

/// What the feed says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sink::delta) enum Image {
    Insert,
    Before,
    After,
    Delete,
}

impl Image {
    fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Before => "update_preimage",
            Self::After => "update_postimage",
            Self::Delete => "delete",
        }
    }
}

/// Where a commit's files are written to.
#[derive(Debug)]
pub(in crate::sink::delta) struct Output {
    table: DeltaTable,
    store: Arc<dyn ObjectStore>,
    place: String,
    partition_by: Vec<String>,
    /// Columns of data files: the table's without the partition columns.
    columns: SchemaRef,
    feed_columns: SchemaRef,
    file_size: NonZero<u64>,
    /// Columns that have statistics, if the table's own rule would leave out the key.
    with_statistics: Option<Vec<String>>,
    /// Whether the table wants a change feed.
    pub(super) feed: bool,
}

/// A file, or several if it grows too large, of one partition. It is begun with its first rows, and encoded by a task of its own
/// while the next rows are read.
pub(in crate::sink::delta) struct OpenFile {
    store: Arc<dyn ObjectStore>,
    columns: SchemaRef,
    values: Vec<ScalarValue>,
    folders: bool,
    /// The partition as the log says it; known when the file is begun.
    partition: HashMap<String, Option<String>>,
    limit: NonZero<u64>,
    // Before the channel: the task ends first when a file is given up.
    encoding: JoinSet<DeltaResult<Vec<Add>>>,
    rows: Option<mpsc::Sender<Part>>,
}

/// What the encoding task is told.
enum Part {
    Rows(RecordBatch),
    /// The file is whole. Without this word it is given up.
    End,
}

/// Encodes a file to its end.
async fn encode(mut writer: PartitionWriter, mut parts: Receiver<Part>) -> DeltaResult<Vec<Add>> {
    loop {
        match parts.recv().await {
            Some(Part::Rows(rows)) => writer.write(&rows).await?,
            Some(Part::End) => return writer.close().await,
            None => return Ok(Vec::new()),
        }
    }
}

impl Output {
    /// For the table that `sink` has open, with this key.
    pub(in crate::sink::delta) fn new(sink: &DeltaSink, key: &[String]) -> Result<Self> {
        let state = snapshot(&sink.table, &sink.path)?;
        let settings = state.table_config();
        let fields = sink.file_schema.fields().iter();
        let fields = fields.filter(|field| !sink.partition_by.contains(field.name()));
        let mut fields: Vec<_> = fields.cloned().collect();
        let columns = Arc::new(Schema::new(fields.clone()));
        fields.push(Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8, true)));
        let with_statistics = with_statistics(state.metadata().configuration(), &columns, key);
        Ok(Self {
            table: sink.table.clone(),
            store: sink.store.object_store(None),
            place: sink.path.clone(),
            partition_by: sink.partition_by.clone(),
            feed_columns: Arc::new(Schema::new(fields)),
            columns,
            file_size: settings.target_file_size(),
            with_statistics,
            feed: settings.enable_change_data_feed(),
        })
    }

    /// A data file of `partition`.
    pub(super) fn data(&self, partition: &[ScalarValue]) -> OpenFile {
        let store = Arc::clone(&self.store);
        self.open(partition, true, store, &self.columns, self.file_size)
    }

    /// A data file that takes the place of another one. It may grow a little beyond the size that files should have: else a file of
    /// just that size would leave a crumb at each rewrite.
    pub(super) fn successor(&self, partition: &[ScalarValue]) -> OpenFile {
        let store = Arc::clone(&self.store);
        let limit = self.file_size.saturating_add(self.file_size.get() / 4);
        self.open(partition, true, store, &self.columns, limit)
    }

    /// A data file that takes the place of several others, of `limit` bytes at most.
    pub(in crate::sink::delta) fn compacted(
        &self,
        partition: &[ScalarValue],
        limit: NonZero<u64>,
    ) -> OpenFile {
        let store = Arc::clone(&self.store);
        self.open(partition, true, store, &self.columns, limit)
    }

    /// A file of the feed, of `partition`.
    pub(super) fn feed_file(&self, partition: &[ScalarValue]) -> OpenFile {
        let folder = PrefixStore::new(Arc::clone(&self.store), FEED_FOLDER);
        let columns = &self.feed_columns;
        self.open(partition, false, Arc::new(folder), columns, self.file_size)
    }

    /// With `folders` the file lies in one that is named for its partition, unless the name would need to be encoded: readers
    /// disagree on how often, and it may grow too long. The log says what partition a file is of, not its path.
    fn open(
        &self,
        partition: &[ScalarValue],
        folders: bool,
        store: Arc<dyn ObjectStore>,
        columns: &SchemaRef,
        limit: NonZero<u64>,
    ) -> OpenFile {
        OpenFile {
            store,
            columns: Arc::clone(columns),
            values: partition.to_vec(),
            folders,
            partition: HashMap::new(),
            limit,
            encoding: JoinSet::new(),
            rows: None,
        }
    }

    /// Begins a file whose rows are like those of `sample`.
    fn begin(&self, file: &mut OpenFile, sample: &RecordBatch) -> Result<mpsc::Sender<Part>> {
        let failed = |error| storage_error("write a data file", &self.place, error);
        let mut values = Vec::with_capacity(file.values.len());
        for (name, value) in self.partition_by.iter().zip(&file.values) {
            let own = ScalarExt::from_array(one(value)?.as_ref(), 0)
                .ok_or_else(|| Error::internal("a value that cannot be a partition"))?;
            let text = (!value.is_null()).then(|| ScalarExt::serialize(&own));
            file.partition.insert(name.clone(), text);
            values.push((name.clone(), own));
        }
        let mut texts = file.partition.iter();
        if !file.folders || !texts.all(|(name, text)| is_plain(name, text.as_deref())) {
            values.clear();
        }
        let indexed = snapshot(&self.table, &self.place)?
            .table_config()
            .num_indexed_cols();
        let properties = encoding::properties(sample)?.build();
        let config = PartitionWriterConfig::try_new(
            Arc::clone(&file.columns),
            values.into_iter().collect(),
            Some(properties),
            Some(file.limit),
            Some(CHUNK_ROWS),
            None,
        )
        .map_err(failed)?;
        let (store, statistics) = (Arc::clone(&file.store), self.with_statistics.clone());
        let writer = PartitionWriter::try_with_config(store, config, indexed, statistics);
        let (sender, receiver) = mpsc::channel(AHEAD);
        file.encoding
            .spawn(encode(writer.map_err(failed)?, receiver));
        Ok(sender)
    }

    /// Writes rows with the table's columns; for a file of the feed `images` says what each is.
    pub(in crate::sink::delta) async fn write(
        &self,
        file: &mut OpenFile,
        rows: &RecordBatch,
        images: Option<&[Image]>,
    ) -> Result<()> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(file.columns.fields().len());
        for field in self.columns.fields() {
            let column = rows.column_by_name(field.name());
            columns.push(Arc::clone(column.ok_or_else(|| {
                Error::internal("rows that lack a column of the table")
            })?));
        }
        if let Some(images) = images {
            let words = images.iter().map(|image| Some(image.word()));
            columns.push(Arc::new(words.collect::<StringArray>()));
        }
        let batch = RecordBatch::try_new(Arc::clone(&file.columns), columns).map_err(|error| {
            Error::new(ErrorKind::Policy, "a row does not fit the table's columns")
                .at(&self.place)
                .source(error)
        })?;
        let rows = match file.rows.take() {
            Some(rows) => rows,
            None => self.begin(file, &batch)?,
        };
        if rows.send(Part::Rows(batch)).await.is_err() {
            // The task has ended, which only an error makes it do.
            self.encoded(file).await?;
            return Err(Error::internal("a file ended before its rows"));
        }
        file.rows = Some(rows);
        Ok(())
    }

    /// What the encoding task says at its end.
    async fn encoded(&self, file: &mut OpenFile) -> Result<Vec<Add>> {
        match file.encoding.join_next().await {
            None => Ok(Vec::new()),
            Some(Ok(done)) => {
                done.map_err(|error| storage_error("write a data file", &self.place, error))
            }
            Some(Err(error)) => {
                Err(Error::internal("the writing of a file ended early").source(error))
            }
        }
    }

    /// Ends a data file; none is there if nothing was written. Adds what was written to `written`.
    pub(in crate::sink::delta) async fn close(
        &self,
        file: OpenFile,
        written: &mut Vec<String>,
    ) -> Result<Vec<Add>> {
        let files = self.end(file).await?;
        written.extend(files.iter().map(|file| file.path.clone()));
        Ok(files)
    }

    /// Ends a file of the feed. Adds what was written to `written`.
    pub(super) async fn close_feed(
        &self,
        file: OpenFile,
        written: &mut Vec<String>,
    ) -> Result<Vec<AddCDCFile>> {
        let files = self.end(file).await?;
        let files = files.into_iter().map(|file| AddCDCFile {
            path: format!("{FEED_FOLDER}/{}", file.path),
            size: file.size,
            partition_values: file.partition_values,
            data_change: false,
            tags: None,
        });
        let files: Vec<_> = files.collect();
        written.extend(files.iter().map(|file| file.path.clone()));
        Ok(files)
    }

    async fn end(&self, mut file: OpenFile) -> Result<Vec<Add>> {
        if let Some(rows) = file.rows.take() {
            // If the task is gone, it says why.
            let _ = rows.send(Part::End).await;
        }
        let mut files = self.encoded(&mut file).await?;
        without_inexact_bounds(&mut files, file.columns.fields())?;
        for written in &mut files {
            written.partition_values.clone_from(&file.partition);
        }
        Ok(files)
    }
}

/// Whether a folder `name=text` needs no encoding.
fn is_plain(name: &str, text: Option<&str>) -> bool {
    let text = text.unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    name.len() + text.len() <= 200 && name.chars().chain(text.chars()).all(plain)
}

/// The columns to keep statistics of, where the table's settings would leave out a column of the key.
fn with_statistics(
    settings: &HashMap<String, String>,
    columns: &SchemaRef,
    key: &[String],
) -> Option<Vec<String>> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let named = settings.get("delta.dataSkippingStatsColumns");
    let count = settings
        .get("delta.dataSkippingNumIndexedCols")
        .and_then(|count| count.parse::<i64>().ok())
        .unwrap_or(32);
    let first = usize::try_from(count).unwrap_or(usize::MAX);
    let mut chosen: Vec<String> = match named {
        Some(named) => named
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect(),
        None => {
            let names = columns.fields().iter().take(first);
            names.map(|field| quoted(field.name())).collect()
        }
    };
    let before = chosen.len();
    for name in key {
        let here = columns.column_with_name(name).is_some();
        if here && !chosen.contains(name) && !chosen.contains(&quoted(name)) {
            chosen.push(quoted(name));
        }
    }
    (named.is_some() || chosen.len() > before).then_some(chosen)
}
