//! Which rows of which files are the changes of a version.
//!
//! - A commit with files of the change feed says it by them alone.
//! - Else rows of added files were inserted, rows of removed files deleted; a file that goes and comes with another deletion vector
//!   has changed by the difference of the two. Files that do not change rows (`dataChange` is false: compaction) say nothing.
//! - That is too much where files were rewritten while no feed was kept: then the files' rows are compared, or it is an error.
//!
//! Order: rows that go before rows that come. Both images of an update stand next to each other in the files that all known writers
//! make, unless the update moved the row to another partition: then each is in the file of its own, the feed does not say which
//! belong together, and such images stand before and after everything else.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::DataType;
use deltalake::kernel::DeletionVectorDescriptor;
use futures::TryStreamExt as _;
use roaring::RoaringTreemap;
use sql::change::CHANGE_TYPE;
use sql::{Error, Result};

use super::columns::Columns;
use super::commit::{Commit, DataFile};
use super::place::Place;
use super::read::{Change, Part, Reader, Which};
use super::vector;

pub(super) const INSERT: &str = "insert";
pub(super) const BEFORE: &str = "update_preimage";
pub(super) const AFTER: &str = "update_postimage";
pub(super) const DELETE: &str = "delete";

/// The changes of a version, out of the files that its commit adds and removes.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) deleted: Vec<Part>,
    pub(super) inserted: Vec<Part>,
    /// Whole files went, and whole files came: the same rows may be in both.
    pub(super) rewritten: bool,
}

impl Files {
    /// # Errors
    /// [`sql::ErrorKind::Config`] for deletion vectors that cannot be read; [`sql::ErrorKind::DataLoss`] if one is gone.
    pub(super) async fn of(commit: &Commit, partitioned: bool, place: &Place) -> Result<Self> {
        let mut added: HashMap<&str, &DataFile> = HashMap::new();
        for file in commit.added.iter().filter(|file| file.changes) {
            added.insert(&file.path, file);
        }
        let mut files = Self::default();
        let mut gone = false;
        for file in commit.removed.iter().filter(|file| file.changes) {
            if let Some(successor) = added.remove(file.path.as_str()) {
                files.difference(file, successor, place).await?;
                continue;
            }
            if partitioned && file.partition.is_none() {
                return Err(Error::config(
                    "the Delta table's log does not say which partition a removed file was of",
                )
                .at(format!("{}: {}", place.table(), file.path))
                .remedy("Read the versions after it."));
            }
            gone = true;
            files
                .deleted
                .push(whole(file, Change::All(DELETE), place).await?);
        }
        // In the order of the log.
        for file in &commit.added {
            if added.contains_key(file.path.as_str()) && file.changes {
                files.rewritten = gone;
                files
                    .inserted
                    .push(whole(file, Change::All(INSERT), place).await?);
            }
        }
        Ok(files)
    }

    /// A file that stays, with another deletion vector.
    async fn difference(
        &mut self,
        before: &DataFile,
        after: &DataFile,
        place: &Place,
    ) -> Result<()> {
        let file = Arc::new(after.clone());
        let before = deleted(before.vector.as_ref(), place).await?;
        let after = deleted(after.vector.as_ref(), place).await?;
        let mut part = |rows: RoaringTreemap, word: &'static str| {
            let part = Part {
                file: Arc::clone(&file),
                which: Which::Only(Arc::new(rows)),
                change: Change::All(word),
            };
            match word {
                _ if matches!(&part.which, Which::Only(rows) if rows.is_empty()) => {}
                DELETE => self.deleted.push(part),
                _ => self.inserted.push(part),
            }
        };
        part(&after - &before, DELETE);
        part(&before - &after, INSERT);
        Ok(())
    }
}

async fn deleted(
    vector: Option<&DeletionVectorDescriptor>,
    place: &Place,
) -> Result<RoaringTreemap> {
    match vector {
        Some(vector) => vector::read(place, vector).await,
        None => Ok(RoaringTreemap::new()),
    }
}

/// The rows of a file that are not deleted.
pub(super) async fn whole(file: &DataFile, change: Change, place: &Place) -> Result<Part> {
    let which = match &file.vector {
        Some(vector) => Which::Without(Arc::new(vector::read(place, vector).await?)),
        None => Which::All,
    };
    Ok(Part {
        file: Arc::new(file.clone()),
        which,
        change,
    })
}

/// The changes of a version, out of its feed's files. Each file's column of change types is read first; memory: one byte a row of it.
///
/// # Errors
/// [`sql::ErrorKind::DataLoss`] if a file is gone; [`sql::ErrorKind::Config`] if it is no file of a feed.
pub(super) async fn stored(
    files: &[DataFile],
    columns: &Arc<Columns>,
    place: &Place,
    wants: impl Fn(&str) -> bool + Send,
) -> Result<Vec<Part>> {
    let reader = Reader::try_new(place, columns, &[], true)?;
    let (mut first, mut middle, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        let part = Part {
            file: Arc::new(file.clone()),
            which: Which::All,
            change: Change::Stored,
        };
        let kinds = kinds(&reader, part.clone()).await?;
        let paired = paired(&kinds);
        let mut phases: [RoaringTreemap; 3] = Default::default();
        let mut rows = 0;
        for (kind, row) in kinds.iter().zip(0_u64..) {
            rows += 1;
            if !wants(kind.word()) {
                continue;
            }
            let phase = match kind {
                Kind::Delete => 0,
                Kind::Before if !paired => 0,
                Kind::After if !paired => 2,
                Kind::Before | Kind::After | Kind::Insert => 1,
            };
            if let Some(phase) = phases.get_mut(phase) {
                phase.insert(row);
            }
        }
        for (chosen, phase) in phases.into_iter().zip([&mut first, &mut middle, &mut last]) {
            if chosen.is_empty() {
                continue;
            }
            let which = if chosen.len() == rows {
                Which::All
            } else {
                Which::Only(Arc::new(chosen))
            };
            phase.push(Part {
                which,
                ..part.clone()
            });
        }
    }
    first.extend(middle);
    first.extend(last);
    Ok(first)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Insert,
    Before,
    After,
    Delete,
}

impl Kind {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            INSERT => Self::Insert,
            BEFORE => Self::Before,
            AFTER => Self::After,
            DELETE => Self::Delete,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Insert => INSERT,
            Self::Before => BEFORE,
            Self::After => AFTER,
            Self::Delete => DELETE,
        }
    }
}

/// What a file says of each of its rows.
async fn kinds(reader: &Reader, part: Part) -> Result<Vec<Kind>> {
    let path = part.file.path.clone();
    let mut rows = reader.all(vec![part]);
    let mut kinds = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        let words = batch.column_by_name(CHANGE_TYPE);
        let words = words.filter(|words| *words.data_type() == DataType::Utf8);
        let words = words.ok_or_else(|| Error::internal("no change types"))?;
        for word in words.as_string::<i32>() {
            let kind = word.and_then(Kind::of).ok_or_else(|| {
                Error::config("a file of the change feed says something unknown of a row")
                    .at(&path)
                    .expected("insert, update_preimage, update_postimage or delete")
                    .remedy("Read the versions after it.")
            })?;
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

/// Whether each image before an update is followed by the one after it.
fn paired(kinds: &[Kind]) -> bool {
    let mut before = false;
    for kind in kinds {
        if before != (*kind == Kind::After) {
            return false;
        }
        before = *kind == Kind::Before;
    }
    !before
}
