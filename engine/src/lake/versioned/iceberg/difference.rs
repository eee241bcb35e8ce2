//! What is left of the rows that went and of those that came, once equal rows have cancelled each other.
//!
//! Rows are compared by their hashes ([`crate::lake::versioned::hash`]). Memory: 32 bytes a row on either side, of [`AT_ONCE`] rows at most; of more
//! rows the hashes are looked at in so many shares, and all rows are read once for each share.

use futures::TryStreamExt as _;
use roaring::RoaringTreemap;
use sql::Result;

use super::columns::Columns;
use super::read::{Which, chained};
use super::{Source, plain};
use crate::lake::live::LakeReader;
use crate::lake::versioned::hash::Hasher;

/// Rows whose hashes are in memory at once.
const AT_ONCE: u64 = 4 << 20;

/// Takes out of `minus` and `plus` the rows that stand in both, as often as they do. Of equal rows the first ones go.
///
/// # Errors
/// Of the storage.
pub(super) async fn difference(
    reader: &LakeReader,
    columns: &Columns,
    minus: Vec<Source>,
    plus: Vec<Source>,
) -> Result<(Vec<Source>, Vec<Source>)> {
    let rows = count(&minus) + count(&plus);
    let shares = u128::from(rows.div_ceil(AT_ONCE).max(1));
    let (mut gone, mut come) = (RoaringTreemap::new(), RoaringTreemap::new());
    for share in 0..shares {
        let keep = |hash: u128| hash % shares == share;
        let old = hashes(reader, columns, &minus, keep).await?;
        let new = hashes(reader, columns, &plus, keep).await?;
        cancel(&old, &new, &mut gone, &mut come);
    }
    Ok((kept(minus, &gone), kept(plus, &come)))
}

pub(super) fn count(sources: &[Source]) -> u64 {
    let rows = sources.iter();
    rows.map(|source| source.which.count(source.data.file.rows))
        .sum()
}

/// Hashes and ordinals of rows, sorted.
async fn hashes(
    reader: &LakeReader,
    columns: &Columns,
    sources: &[Source],
    keep: impl Fn(u128) -> bool,
) -> Result<Vec<(u128, u64)>> {
    let hasher = Hasher::try_new(columns.schema())?;
    let mut rows = chained(reader, plain(sources), columns);
    let mut found = Vec::new();
    let mut ordinal = 0;
    while let Some(batch) = rows.try_next().await? {
        for hash in hasher.hashes(&batch)? {
            if keep(hash) {
                found.push((hash, ordinal));
            }
            ordinal += 1;
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Adds the ordinals of what is left to `gone` and `come`.
fn cancel(
    old: &[(u128, u64)],
    new: &[(u128, u64)],
    gone: &mut RoaringTreemap,
    come: &mut RoaringTreemap,
) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some((a, _)), Some((b, _))) if a == b => {
                old.next();
                new.next();
            }
            (Some((a, row)), other) if other.is_none_or(|(b, _)| a < b) => {
                gone.insert(*row);
                old.next();
            }
            (_, Some((_, row))) => {
                come.insert(*row);
                new.next();
            }
            (_, None) => break,
        }
    }
}

/// The rows with these ordinals.
fn kept(sources: Vec<Source>, ordinals: &RoaringTreemap) -> Vec<Source> {
    let mut next = 0;
    let mut left = Vec::new();
    for mut source in sources {
        let rows = source.data.file.rows;
        let count = source.which.count(rows);
        let mut these = RoaringTreemap::new();
        for (ordinal, number) in (next..).zip(source.which.numbers(rows)) {
            if ordinals.contains(ordinal) {
                these.insert(number);
            }
        }
        next += count;
        if !these.is_empty() {
            source.which = Which::These(these);
            left.push(source);
        }
    }
    left
}

/// All rows of these sources. Memory: the rows.
///
/// # Errors
/// Of the storage.
pub(super) async fn collected(
    reader: &LakeReader,
    columns: &Columns,
    sources: &[Source],
) -> Result<Vec<arrow::array::RecordBatch>> {
    chained(reader, plain(sources), columns).try_collect().await
}
