//! Rows of data files, by their numbers.

use arrow::array::RecordBatch;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::spec::DataFileFormat;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::ParquetError;
use roaring::RoaringTreemap;
use sql::{Error, Result};

use super::columns::{Columns, Constants};
use crate::lake::live::{LakeReader, LiveFile};
use crate::lake::locate::Counted;
use crate::lake::storage::storage_error;

/// Rows that are decoded at once.
pub(super) const BATCH_ROWS: usize = 8 * 1024;

/// Which rows of a file.
#[derive(Debug, Clone)]
pub(super) enum Which {
    /// All.
    All,
    /// Those with these numbers.
    These(RoaringTreemap),
}

impl Which {
    /// All but `gone`, of a file of `rows` rows.
    pub(super) fn all_but(gone: &RoaringTreemap, rows: u64) -> Self {
        if gone.is_empty() {
            return Self::All;
        }
        let mut left = RoaringTreemap::new();
        left.insert_range(0..rows);
        Self::These(left - gone)
    }

    pub(super) fn is_empty(&self, rows: u64) -> bool {
        match self {
            Self::All => rows == 0,
            Self::These(these) => these.is_empty(),
        }
    }

    /// How many they are, of a file of `rows` rows.
    pub(super) fn count(&self, rows: u64) -> u64 {
        match self {
            Self::All => rows,
            Self::These(these) => these.len(),
        }
    }

    /// Their numbers, ascending, of a file of `rows` rows.
    pub(super) fn numbers(&self, rows: u64) -> Box<dyn Iterator<Item = u64> + Send + '_> {
        match self {
            Self::All => Box::new(0..rows),
            Self::These(these) => Box::new(these.iter()),
        }
    }

    fn selection(&self, total: u64) -> Result<Option<RowSelection>> {
        let Self::These(these) = self else {
            return Ok(None);
        };
        let place = |row: u64| {
            usize::try_from(row).map_err(|error| Error::internal("a row too far").source(error))
        };
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        for row in these.iter().take_while(|row| *row < total) {
            let row = place(row)?;
            match ranges.last_mut() {
                Some(last) if last.end == row => last.end += 1,
                _ => ranges.push(row..row + 1),
            }
        }
        let ranges = ranges.into_iter();
        let total = place(total)?;
        Ok(Some(RowSelection::from_consecutive_ranges(ranges, total)))
    }
}

/// An open data file.
pub(super) struct Opened {
    reader: Counted,
    pub(super) metadata: ArrowReaderMetadata,
    path: String,
}

/// Opens a data file and reads its footer.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for a file that is no Parquet file; [`sql::ErrorKind::Storage`] if it has another number of rows than its
/// manifest says; of the storage.
pub(super) async fn open(reader: &LakeReader, file: &LiveFile) -> Result<Opened> {
    if file.format != DataFileFormat::Parquet {
        return Err(Error::config(format!(
            "the Iceberg table has a data file of format {}, which the engine does not read",
            file.format
        ))
        .at(&file.path)
        .expected("Parquet")
        .remedy("Rewrite the table's data files as Parquet with the tool that wrote them."));
    }
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let (opened, metadata) = reader.open(&file.path, file.size, options).await?;
    let rows = metadata.metadata().file_metadata().num_rows();
    file.check_rows(rows)?;
    Ok(Opened {
        reader: opened,
        metadata,
        path: file.path.clone(),
    })
}

impl Opened {
    /// The rows `which`, as `columns`, of these row groups or of all. Memory: a batch, and of a row group the pages that hold the
    /// rows.
    ///
    /// # Errors
    /// Of the storage; [`sql::ErrorKind::Config`] for columns of types that do not fit the table's.
    pub(super) fn rows(
        self,
        columns: Columns,
        constants: Constants,
        which: &Which,
        groups: Option<Vec<usize>>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let path = self.path;
        let failed = {
            let path = path.clone();
            move |error: ParquetError| storage_error("read a data file", &path, error)
        };
        let total = self.metadata.metadata().file_metadata().num_rows();
        let selection = which.selection(u64::try_from(total).unwrap_or(0))?;
        let selection = match (&groups, selection) {
            (Some(groups), Some(own)) => Some(of_groups(own, &self.metadata, groups)),
            (_, own) => own,
        };
        let places = columns.places(self.metadata.schema());
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), places);
        let mut stream =
            ParquetRecordBatchStreamBuilder::new_with_metadata(self.reader, self.metadata)
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS);
        if let Some(groups) = groups {
            stream = stream.with_row_groups(groups);
        }
        if let Some(selection) = selection {
            stream = stream.with_row_selection(selection);
        }
        let stream = stream.build().map_err(&failed)?;
        let rows = stream.map_err(failed).and_then(move |batch| {
            let rows = columns.convert(&batch, &constants);
            let rows = rows.map_err(|error| error.at(&path));
            async move {
                // Decoding keeps the thread; others have work too.
                tokio::task::yield_now().await;
                rows
            }
        });
        Ok(rows.boxed())
    }
}

/// The part of a selection that is about `groups`: the reader counts rows from the first of them.
fn of_groups(
    mut selection: RowSelection,
    metadata: &ArrowReaderMetadata,
    groups: &[usize],
) -> RowSelection {
    let mut kept = Vec::new();
    for (at, group) in metadata.metadata().row_groups().iter().enumerate() {
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let own = selection.split_off(rows);
        if groups.contains(&at) {
            let selectors: Vec<_> = own.into();
            kept.extend(selectors);
        }
    }
    RowSelection::from(kept)
}

/// Rows of several files, one after the other.
pub(super) fn chained(
    reader: &LakeReader,
    sources: Vec<(LiveFile, Constants, Which)>,
    columns: &Columns,
) -> BoxStream<'static, Result<RecordBatch>> {
    let (reader, columns) = (reader.clone(), columns.clone());
    futures::stream::iter(sources)
        .then(move |(file, constants, which)| {
            let (reader, columns) = (reader.clone(), columns.clone());
            async move {
                let opened = open(&reader, &file).await?;
                opened.rows(columns, constants, &which, None)
            }
        })
        .try_flatten()
        .boxed()
}
