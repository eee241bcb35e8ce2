//! Finds the rows of given keys in Parquet files, reading as little as it can.
//!
//! Of each file: its footer; the bloom filters of row groups that may hold only a few of the keys; the page index, if there are
//! fewer keys than pages; then the key columns alone of the pages and row groups that are left. Row groups and pages are left
//! out by their smallest and largest values ([`KeySet::between`]).
//!
//! Files are searched side by side, [`Search::parallel`] at once. Memory: for each of them the compressed key columns of one row
//! group and one batch of decoded keys, and 16 bytes for each row found.

mod open;
mod prune;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type};
use futures::TryStreamExt as _;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::arrow::{ProjectionMask, RowNumber};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use sql::{Error, Result};
use tokio::task::JoinSet;

pub use open::{Counted, ParquetFiles, StoreFiles};
use prune::{Group, Leaf};

use super::compatible::castable;
use super::keys::KeySet;
use super::storage::storage_error;
use super::values::cast_values;

/// Rows that are decoded and probed at once.
const BATCH_ROWS: usize = 16 * 1024;
/// The column of row numbers that the Parquet reader makes.
const ROW_NUMBER: &str = "\u{0}row";

/// A column of the key, as files know it. Its type is that of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name.
    pub name: String,
    /// Its field id: then files whose columns have ids are searched by it, whatever the column's name was when they were written.
    pub field_id: Option<i32>,
}

/// A file to search.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Its path, as [`ParquetFiles::open`] takes it.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// Columns of the key (by their place in it) that are the same in all its rows and need not be in it: partition values. Each an
    /// array of one value of the key's type.
    pub constants: Vec<(usize, ArrayRef)>,
}

/// A row that has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// The row's number in its file, from 0.
    pub row: u64,
    /// The key's index in the [`KeySet`]; the first of equal keys.
    pub key: u32,
}

/// The rows found in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHits {
    /// The file's place among those that were searched.
    pub file: usize,
    /// How many rows the file has.
    pub rows: u64,
    /// Ascending by row; never empty.
    pub hits: Vec<Hit>,
}

/// What a search cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Files whose footer was read.
    pub files: u64,
    /// Row groups of these files.
    pub row_groups: u64,
    /// Row groups of which keys were read.
    pub row_groups_read: u64,
    /// Rows whose key was read.
    pub rows: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Located {
    /// Files in which keys were found, in the order in which they were given.
    pub files: Vec<FileHits>,
    /// What it cost.
    pub cost: Cost,
}

/// A search for keys.
#[derive(Debug, Clone)]
pub struct Search {
    /// Where the files are.
    pub files: Arc<dyn ParquetFiles>,
    /// What is looked for.
    pub keys: Arc<KeySet>,
    /// The columns of the key, in its order.
    pub columns: Vec<KeyColumn>,
    /// How many files are searched at once, at least one.
    pub parallel: usize,
}

impl Search {
    /// Searches `files`. A file that lacks a column of the key holds no key: the column is null in all its rows.
    ///
    /// # Errors
    /// Of the storage; [`sql::ErrorKind::Config`] if a file is no Parquet file or has a key column of a type that the key's type
    /// cannot hold.
    pub async fn locate(&self, files: Vec<DataFile>) -> Result<Located> {
        if self.columns.len() != self.keys.keys().num_columns() {
            return Err(Error::internal("a search by other columns than the key's"));
        }
        let mut located = Located::default();
        if self.keys.is_empty() {
            return Ok(located);
        }
        let mut waiting = files.into_iter().enumerate();
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.parallel.max(1)
                && let Some((place, file)) = waiting.next()
            {
                let search = self.clone();
                running.spawn(async move {
                    let found = search.search(place, &file).await;
                    found.map_err(|error| error.at(&file.path))
                });
            }
            let Some(done) = running.join_next().await else {
                break;
            };
            let (hits, cost) =
                done.map_err(|error| Error::internal("a search ended early").source(error))??;
            located.cost.add(cost);
            located.files.extend(hits);
        }
        located.files.sort_by_key(|found| found.file);
        Ok(located)
    }

    async fn search(&self, place: usize, file: &DataFile) -> Result<(Option<FileHits>, Cost)> {
        let failed = |error: ParquetError| parquet_error(&file.path, error);
        let read = Arc::new(AtomicU64::new(0));
        let opened = self.files.open(&file.path, file.size).await?;
        let mut reader = Counted::new(opened, file.size, Arc::clone(&read));
        let footer = reader.footer().await.map_err(failed)?;
        let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        let mut cost = Cost {
            files: 1,
            row_groups: footer.num_row_groups() as u64,
            ..Cost::default()
        };
        let mut hits = Vec::new();
        if let Some(leaves) = self.leaves(file, &footer)? {
            let (footer, groups) = self.prune(&mut reader, &leaves, footer).await?;
            cost.row_groups_read = groups.len() as u64;
            if !groups.is_empty() {
                hits = self
                    .read(reader, file, &leaves, footer, groups, &mut cost)
                    .await?;
            }
        }
        cost.bytes = read.load(Ordering::Relaxed);
        let found = (!hits.is_empty()).then_some(FileHits {
            file: place,
            rows,
            hits,
        });
        Ok((found, cost))
    }

    /// The key's columns in the file; `None` if no row of it can have one of the keys.
    fn leaves(&self, file: &DataFile, footer: &ParquetMetaData) -> Result<Option<Vec<Leaf>>> {
        let mut leaves = Vec::new();
        for (column, wanted) in self.columns.iter().enumerate() {
            if let Some((_, value)) = file.constants.iter().find(|(at, _)| *at == column) {
                let between = self.keys.between(column, value, value)?;
                if value.is_null(0) || between.iter().all(std::ops::Range::is_empty) {
                    return Ok(None);
                }
                continue;
            }
            match find_leaf(wanted, footer) {
                Some((leaf, name)) => leaves.push(Leaf { column, leaf, name }),
                None => return Ok(None),
            }
        }
        Ok(Some(leaves))
    }

    async fn prune(
        &self,
        reader: &mut Counted,
        leaves: &[Leaf],
        footer: ParquetMetaData,
    ) -> Result<(ArrowReaderMetadata, Vec<Group>)> {
        let failed = |error: ParquetError| parquet_error("", error);
        let metadata = arrow_metadata(footer).map_err(failed)?;
        let groups = prune::row_groups(&self.keys, leaves, &metadata)?;
        let file = metadata.metadata();
        let groups = prune::by_bloom_filters(reader, &self.keys, leaves, file, groups)
            .await
            .map_err(failed)?;
        if !prune::pages_may_help(&groups, leaves, file) {
            return Ok((metadata, groups));
        }
        let footer = file.as_ref().clone();
        let footer = reader.page_index(footer).await.map_err(failed)?;
        Ok((arrow_metadata(footer).map_err(failed)?, groups))
    }

    async fn read(
        &self,
        reader: Counted,
        file: &DataFile,
        leaves: &[Leaf],
        metadata: ArrowReaderMetadata,
        groups: Vec<Group>,
        cost: &mut Cost,
    ) -> Result<Vec<Hit>> {
        let failed = |error: ParquetError| parquet_error(&file.path, error);
        let mask = leaves.iter().map(|leaf| leaf.leaf);
        let mask = ProjectionMask::leaves(metadata.parquet_schema(), mask);
        let selection = match metadata.metadata().column_index() {
            Some(_) => prune::pages(&self.keys, leaves, &metadata, &groups)?,
            None => None,
        };
        let mut stream = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
            .with_projection(mask)
            .with_row_groups(groups.into_iter().map(|group| group.index).collect())
            .with_batch_size(BATCH_ROWS);
        if let Some(selection) = selection {
            stream = stream.with_row_selection(selection);
        }
        let mut stream = stream.build().map_err(failed)?;
        let mut hits = Vec::new();
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            cost.rows += batch.num_rows() as u64;
            let columns = self.key_columns(file, leaves, &batch)?;
            let numbers = batch
                .column_by_name(ROW_NUMBER)
                .and_then(|column| column.as_primitive_opt::<Int64Type>())
                .ok_or_else(|| Error::internal("the Parquet reader numbers no rows"))?
                .values();
            self.keys.probe(&columns, |row, key| {
                let number = numbers
                    .get(row)
                    .copied()
                    .and_then(|n| u64::try_from(n).ok());
                if let (Some(row), Ok(key)) = (number, u32::try_from(key)) {
                    hits.push(Hit { row, key });
                }
            })?;
            // Decoding keeps the thread; others have work too.
            tokio::task::yield_now().await;
        }
        Ok(hits)
    }

    /// The key's columns of a batch, in its order and with its types.
    fn key_columns(
        &self,
        file: &DataFile,
        leaves: &[Leaf],
        batch: &RecordBatch,
    ) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (column, key) in self.keys.keys().columns().iter().enumerate() {
            let stored = leaves.iter().find(|leaf| leaf.column == column);
            columns.push(match stored {
                Some(leaf) => {
                    let values = batch
                        .column_by_name(&leaf.name)
                        .ok_or_else(|| Error::internal("a column that was asked for is missing"))?;
                    as_key(values, key.data_type(), &leaf.name)?
                }
                None => repeated(file, column, batch.num_rows())?,
            });
        }
        Ok(columns)
    }
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.row_groups += other.row_groups;
        self.row_groups_read += other.row_groups_read;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

fn repeated(file: &DataFile, column: usize, rows: usize) -> Result<ArrayRef> {
    let constant = file.constants.iter().find(|(at, _)| *at == column);
    let (_, value) = constant.ok_or_else(|| Error::internal("a key column has no value"))?;
    take(value, &UInt32Array::from(vec![0; rows]), None)
        .map_err(|error| Error::internal("a partition value cannot be repeated").source(error))
}

/// A file may hold a narrower type than the table's: the column was widened since.
fn as_key(values: &ArrayRef, key: &DataType, name: &str) -> Result<ArrayRef> {
    let refuse = |why: String| {
        Error::config(format!(
            "a data file has the key column `{name}` as {}, the table as {key}: {why}",
            values.data_type()
        ))
        .remedy("Rewrite the file with the table's types, or write to another table.")
    };
    castable(values.data_type(), key).map_err(refuse)?;
    cast_values(values, key).map_err(|misfit| refuse(misfit.why))
}

/// A top-level column of the file: its place and its name there.
fn find_leaf(wanted: &KeyColumn, footer: &ParquetMetaData) -> Option<(usize, String)> {
    let schema = footer.file_metadata().schema_descr();
    let roots = schema.root_schema().get_fields();
    let has_ids = roots.iter().any(|field| field.get_basic_info().has_id());
    let root = roots.iter().position(|field| match wanted.field_id {
        Some(id) if has_ids => field.get_basic_info().has_id() && field.get_basic_info().id() == id,
        _ => field.name() == wanted.name,
    })?;
    let name = roots.get(root)?.name().to_owned();
    let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root)?;
    Some((leaf, name))
}

/// The columns as Parquet has them (not as Arrow had them when they were written), and the number of each row.
fn arrow_metadata(footer: ParquetMetaData) -> Result<ArrowReaderMetadata, ParquetError> {
    let number = Field::new(ROW_NUMBER, DataType::Int64, false).with_extension_type(RowNumber);
    let options = ArrowReaderOptions::new()
        .with_skip_arrow_metadata(true)
        .with_virtual_columns(vec![Arc::new(number)])?;
    ArrowReaderMetadata::try_new(Arc::new(footer), options)
}

fn parquet_error(path: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(_) | ParquetError::ArrowError(_) => {
            storage_error("read a data file", path, error)
        }
        _ => Error::config("a data file cannot be understood")
            .at(path)
            .remedy("Restore the file from a copy, or restore the table to a version without it.")
            .source(error),
    }
}
