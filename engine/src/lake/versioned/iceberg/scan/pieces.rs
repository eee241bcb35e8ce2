//! Which task reads what: files, large ones by their row groups, so that each task has about as many bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::Files;
use crate::lake::versioned::iceberg::state::Data;

/// Files smaller than this are not split.
const WORTH_SPLITTING: u64 = 1 << 20;

/// Row groups of a data file: those that begin in a range of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
    pub(super) path: String,
    pub(super) from: u64,
    /// Exclusive.
    pub(super) to: u64,
}

/// The pieces of each of at most `partitions` tasks; each piece once, and no task without any unless there is nothing to read.
pub(super) fn balanced(files: &Files, chosen: &[&Data], partitions: usize) -> Vec<Vec<Piece>> {
    let total: u64 = chosen.iter().map(|data| data.file.size).sum();
    let share = total
        .div_ceil(partitions.max(1) as u64)
        .max(WORTH_SPLITTING);
    let mut pieces: Vec<(u64, Piece)> = Vec::new();
    for data in chosen {
        pieces.extend(split(files, data, share));
    }
    let tasks = partitions.min(pieces.len()).max(1);
    pieces.sort_by(|a, b| {
        (Reverse(a.0), &a.1.path, a.1.from).cmp(&(Reverse(b.0), &b.1.path, b.1.from))
    });
    let mut parts: Vec<Vec<Piece>> = vec![Vec::new(); tasks];
    let mut loads: BinaryHeap<Reverse<(u64, usize)>> =
        (0..tasks).map(|at| Reverse((0, at))).collect();
    for (bytes, piece) in pieces {
        let Some(Reverse((load, at))) = loads.pop() else {
            break;
        };
        if let Some(part) = parts.get_mut(at) {
            part.push(piece);
        }
        loads.push(Reverse((load + bytes, at)));
    }
    for part in &mut parts {
        part.sort_by(|a, b| (&a.path, a.from).cmp(&(&b.path, b.from)));
    }
    parts
}

/// A file in pieces of about `share` bytes, with their bytes.
fn split(files: &Files, data: &Data, share: u64) -> Vec<(u64, Piece)> {
    let size = data.file.size;
    let piece = |from, to| Piece {
        path: data.file.path.clone(),
        from,
        to,
    };
    let offsets = data.entry.data_file().split_offsets().unwrap_or_default();
    // Equality deletes are looked for in a whole file at once.
    if size <= share || offsets.len() < 2 || files.deletes.reads_rows(data) {
        return vec![(size, piece(0, u64::MAX))];
    }
    let starts = offsets
        .iter()
        .filter_map(|offset| u64::try_from(*offset).ok());
    let starts: Vec<u64> = starts.collect();
    let count = size.div_ceil(share);
    // A row group is of the piece that its middle would be in if all pieces were equal.
    let place = |(start, end): (&u64, u64)| {
        let middle = start.midpoint(end);
        u128::from(middle) * u128::from(count) / u128::from(size.max(1))
    };
    let ends = starts.iter().skip(1).copied().chain([size]);
    let places: Vec<u128> = starts.iter().zip(ends).map(place).collect();
    let mut pieces = Vec::new();
    let mut from = 0;
    for (pair, start) in places.windows(2).zip(starts.iter().skip(1)) {
        if matches!(pair, [before, own] if before != own) && *start > from {
            pieces.push((start - from, piece(from, *start)));
            from = *start;
        }
    }
    pieces.push((size.saturating_sub(from), piece(from, u64::MAX)));
    pieces
}
