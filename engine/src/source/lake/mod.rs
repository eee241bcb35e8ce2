//! The changes of a Delta table or an Iceberg table as a feed.
//!
//! A row has the table's own columns, then what the change is: `_op` (`c`, `u`, `d`; `r` for rows of the initial snapshot),
//! `_change_type` (Delta's words), `_commit_version`, `_commit_timestamp`, `_ingested_at`. Both images of an update are rows, and a
//! delete has its whole row.
//!
//! # Batches and positions
//!
//! A batch is whole versions, as many as fit. Versions without changes (compaction) move the position and are no rows. A version that
//! does not fit, and the initial snapshot, are cut between rows, never between both images of an update; they can be gone on with
//! because a table returns the rows of a version in the same order each time.
//!
//! A position is a topic of the source's name:
//!
//! | partition | value |
//! |---|---|
//! | 0 | the last version that is done whole; absent before the first |
//! | 1 | only once a version was split: a counter of rows. It stands at a multiple of 2^40 between versions; in the middle of one, the rest is the rows that are done of it, from 2^39 on those of the second reading |
//! | 2 | only with `start: snapshot`: the version whose rows were read first. While partition 0 is absent or smaller, that reading is under way |
//!
//! # Targets that are kept by key
//!
//! Of a version, removals come first (deletes, and the images before of rows whose key changes), then additions. A version that does not
//! fit into a batch is read twice for that: first for what it takes away, of which only the keys are read. Until all of it is there, rows
//! whose key changes are missing in the target.
//!
//! # What readers leave behind
//!
//! A pipeline that reads a table registers beside it ([`crate::maintain::readers`]) before it reads and after each commit of its own, so
//! that maintenance of the table keeps the versions that come next.

mod feed;
mod fill;
mod images;
mod place;
mod range;
mod raw;
mod reading;
mod register;
mod schema;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sql::feed::ChangeFeed;
use sql::{Error, ErrorKind, Result};
use tracing::info;

pub use feed::{LakeFeed, LakeOptions};
pub use register::Registration;

use super::{Discovered, SourceOptions};
use crate::clock;
use crate::lake;
use crate::lake::catalog::{Absent, OpenCatalog, catalog_file};
use crate::lake::versioned::{self, VersionedSpec};
use crate::sink::sidecar;
use crate::spec::model::{CatalogKind, LakeSpec};

/// How long a table that does not answer is tried at start.
const GRACE: Duration = Duration::from_secs(30);

/// What messages call a table.
pub fn describe_table(table: &VersionedSpec) -> String {
    match table {
        VersionedSpec::Delta(delta) => format!("Delta table {}", delta.path),
        VersionedSpec::Iceberg(iceberg) => {
            format!("Iceberg table {}", lake::iceberg::shown(iceberg))
        }
    }
}

/// Opens the table of `spec` as a feed. Unless the feed is bounded, a table that is not there yet is waited for.
///
/// # Errors
/// [`ErrorKind::Config`] for a table that cannot be read, or does not fit what the file says; of its storage or catalog.
pub(super) async fn open(spec: &LakeSpec, options: SourceOptions) -> Result<Box<dyn ChangeFeed>> {
    wait_until_there(spec, &options).await?;
    let begun = Instant::now();
    let table = loop {
        match versioned::open(&spec.table, spec.missing_feed).await {
            Err(error)
                if error.kind() == ErrorKind::Unavailable
                    && begun.elapsed() < GRACE
                    && !options.stop.is_cancelled() =>
            {
                info!(source = spec.name, error = %error, "the table does not answer, trying again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            opened => break opened.map_err(|error| placed(error, spec))?,
        }
    };
    let registration = match &options.reader {
        None => None,
        Some(reader) => match sidecar::of_table(&spec.table).await {
            Ok(files) => Some(Registration::new(files, reader.as_str())),
            Err(error) => {
                tracing::warn!(source = spec.name, error = %error, "the reader of the table cannot be registered beside it");
                None
            }
        },
    };
    let feed = LakeFeed::try_new(
        table,
        LakeOptions {
            name: spec.name.clone(),
            key: spec.key.clone(),
            start: spec.start,
            end: spec.end,
            change_types: spec.change_types.clone(),
            max_versions: spec.max_versions,
            poll_interval: spec.poll_interval,
            bounded: options.bounded,
            keyed: options.keyed,
            keep_raw: options.keep_raw,
            schema_change: options.schema_change,
            at: spec.at.clone(),
            registration,
            stop: options.stop,
            clock: clock::now_micros,
        },
    )?;
    Ok(Box::new(feed))
}

/// The columns and the key of the table; `None` if it is not there yet, or on another machine without `connect`.
///
/// # Errors
/// As [`open`].
pub(super) async fn discover(spec: &LakeSpec, connect: bool) -> Result<Option<Discovered>> {
    if !connect && (!is_local(&spec.table) || !exists(&spec.table).await?) {
        return Ok(None);
    }
    let table = versioned::open(&spec.table, spec.missing_feed).await;
    let table = table.map_err(|error| placed(error, spec))?;
    let layout = fill::Layout::try_new(&table.schema(), table.name())?;
    Ok(Some(Discovered {
        schema: Arc::clone(&layout.full),
        key: schema::key(table.as_ref(), &spec.key, false, &spec.at)?,
    }))
}

fn placed(error: Error, spec: &LakeSpec) -> Error {
    if error.place().is_some() {
        return error;
    }
    error.at(spec.at.clone())
}

/// A pipeline may be started before the one that makes its table.
async fn wait_until_there(spec: &LakeSpec, options: &SourceOptions) -> Result<()> {
    let mut told = false;
    while !options.bounded && !exists(&spec.table).await.unwrap_or(true) {
        if !told {
            told = true;
            info!(
                source = spec.name,
                table = describe_table(&spec.table),
                "waiting for the table: it is not there yet"
            );
        }
        tokio::select! {
            biased;
            () = options.stop.cancelled() => {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("told to stop while waiting for the {}", describe_table(&spec.table)),
                )
                .at(spec.at.clone()));
            }
            () = tokio::time::sleep(spec.poll_interval) => {}
        }
    }
    Ok(())
}

fn is_local(table: &VersionedSpec) -> bool {
    match table {
        VersionedSpec::Delta(delta) => {
            !delta.path.contains("://") || delta.path.starts_with("file://")
        }
        VersionedSpec::Iceberg(iceberg) => matches!(iceberg.catalog.kind, CatalogKind::Sql { .. }),
    }
}

/// Whether there is such a table.
async fn exists(table: &VersionedSpec) -> Result<bool> {
    match table {
        VersionedSpec::Delta(delta) => Ok(lake::delta::existing_columns(delta).await?.is_some()),
        VersionedSpec::Iceberg(iceberg) => {
            if let CatalogKind::Sql { uri, .. } = &iceberg.catalog.kind
                && catalog_file(uri).is_some_and(|file| !file.exists())
            {
                return Ok(false);
            }
            let catalog = OpenCatalog::open(&iceberg.catalog, Absent::Refuse).await?;
            let table = lake::iceberg::identifier(iceberg)?;
            Ok(catalog.load(&table).await?.is_some())
        }
    }
}
