//! Files that a commit adds: rows of one partition each, and the change feed's rows beside them.
//!
//! Row groups are small ([`GROUP_ROWS`]) and pages are indexed, so that a later lookup of a few keys reads a few pages. Statistics of
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
use deltalake::{DeltaTable, ObjectStore};
use object_store::prefix::PrefixStore;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sql::{Error, ErrorKind, Result};

use crate::lake::delta::snapshot;
use crate::lake::storage::storage_error;
use crate::sink::delta::DeltaSink;
use crate::sink::delta::files::one;
use crate::sink::delta::statistics::without_inexact_bounds;

/// Rows of a row group: what a rewrite holds in memory.
pub(in crate::sink::delta) const GROUP_ROWS: usize = 128 * 1024;
/// Rows that are encoded at once.
const CHUNK_ROWS: usize = 8 * 1024;
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
    properties: WriterProperties,
    file_size: NonZero<u64>,
    /// Columns that have statistics, if the table's own rule would leave out the key.
    with_statistics: Option<Vec<String>>,
    /// Whether the table wants a change feed.
    pub(super) feed: bool,
}

/// A file, or several if it grows too large, of one partition.
pub(in crate::sink::delta) struct OpenFile {
    writer: PartitionWriter,
    columns: SchemaRef,
    partition: HashMap<String, Option<String>>,
}

impl Output {
    /// For the table that `sink` has open, with this key.
    pub(in crate::sink::delta) fn new(sink: &DeltaSink, key: &[String]) -> Result<Self> {
        let level = ZstdLevel::try_new(1)
            .map_err(|error| Error::internal("zstd has no level 1").source(error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
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
            properties,
            file_size: settings.target_file_size(),
            with_statistics,
            feed: settings.enable_change_data_feed(),
        })
    }

    /// A data file of `partition`.
    pub(super) fn data(&self, partition: &[ScalarValue]) -> Result<OpenFile> {
        let store = Arc::clone(&self.store);
        self.open(partition, true, store, &self.columns, self.file_size)
    }

    /// A data file that takes the place of another one. It may grow a little beyond the size that files should have: else a file of
    /// just that size would leave a crumb at each rewrite.
    pub(super) fn successor(&self, partition: &[ScalarValue]) -> Result<OpenFile> {
        let store = Arc::clone(&self.store);
        let limit = self.file_size.saturating_add(self.file_size.get() / 4);
        self.open(partition, true, store, &self.columns, limit)
    }

    /// A data file that takes the place of several others, of `limit` bytes at most.
    pub(in crate::sink::delta) fn compacted(
        &self,
        partition: &[ScalarValue],
        limit: NonZero<u64>,
    ) -> Result<OpenFile> {
        let store = Arc::clone(&self.store);
        self.open(partition, true, store, &self.columns, limit)
    }

    /// A file of the feed, of `partition`.
    pub(super) fn feed_file(&self, partition: &[ScalarValue]) -> Result<OpenFile> {
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
    ) -> Result<OpenFile> {
        let failed = |error| storage_error("write a data file", &self.place, error);
        let mut texts = HashMap::new();
        let mut values = Vec::with_capacity(partition.len());
        for (name, value) in self.partition_by.iter().zip(partition) {
            let own = ScalarExt::from_array(one(value)?.as_ref(), 0)
                .ok_or_else(|| Error::internal("a value that cannot be a partition"))?;
            let text = (!value.is_null()).then(|| ScalarExt::serialize(&own));
            texts.insert(name.clone(), text);
            values.push((name.clone(), own));
        }
        if !folders
            || !texts
                .iter()
                .all(|(name, text)| is_plain(name, text.as_deref()))
        {
            values.clear();
        }
        let config = PartitionWriterConfig::try_new(
            Arc::clone(columns),
            values.into_iter().collect(),
            Some(self.properties.clone()),
            Some(limit),
            Some(CHUNK_ROWS),
            None,
        )
        .map_err(failed)?;
        let indexed = snapshot(&self.table, &self.place)?
            .table_config()
            .num_indexed_cols();
        let statistics = self.with_statistics.clone();
        let writer = PartitionWriter::try_with_config(store, config, indexed, statistics);
        Ok(OpenFile {
            writer: writer.map_err(failed)?,
            columns: Arc::clone(columns),
            partition: texts,
        })
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
        file.writer
            .write(&batch)
            .await
            .map_err(|error| storage_error("write a data file", &self.place, error))
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

    async fn end(&self, file: OpenFile) -> Result<Vec<Add>> {
        let closed = file.writer.close().await;
        let mut files =
            closed.map_err(|error| storage_error("write a data file", &self.place, error))?;
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
