//! Windows that no start reads any more and that nobody else deletes.
//!
//! A file is written before its commit. If the engine is killed in between, the batch that follows may be cut elsewhere, and the file
//! is named after a position that the table never has. No chain and no list of retired files knows it.

use std::collections::{BTreeMap, BTreeSet};

use sql::Result;
use sql::change::{Partition, Position};

use super::segment::Segment;
use crate::sink::sidecar::Sidecar;

/// The folder of a pipeline's windows, relative to the table's.
pub fn folder(pipeline: &str) -> String {
    format!("_engine/{pipeline}/resends")
}

/// Those of the files `found` below [`folder`] that can be deleted: each has its path relative to the table's folder and the time when
/// it was written, in milliseconds since the epoch. `position` is the table's.
///
/// A window stays if it was written at `keep_after_ms` or later, if it is that of the table's position, or if one of these is
/// continued from it: so a table that is restored to a version since then finds its windows. Windows of partitions that the table
/// has no position of stay too, and whatever is no window.
///
/// # Errors
/// From the storage; [`sql::ErrorKind::Storage`] for a damaged window.
pub async fn strays(
    files: &dyn Sidecar,
    pipeline: &str,
    position: &Position,
    found: &[(String, i64)],
    keep_after_ms: i64,
) -> Result<Vec<String>> {
    let mut windows: BTreeMap<Partition, BTreeMap<i64, (&str, bool)>> = BTreeMap::new();
    for (path, modified) in found {
        if let Some((partition, to)) = window(path, pipeline) {
            let young = *modified >= keep_after_ms;
            let there = windows.entry(partition).or_default();
            there.insert(to, (path.as_str(), young));
        }
    }
    let mut strays = Vec::new();
    for (partition, windows) in &windows {
        let Some(next) = position.get(partition) else {
            continue;
        };
        let stays = |to: i64, young: bool| young || to == next;
        if windows.iter().all(|(to, (_, young))| stays(*to, *young)) {
            continue;
        }
        let mut needed = BTreeSet::new();
        let staying = windows
            .iter()
            .filter(|(to, (_, young))| stays(**to, *young));
        // The files of a chain are newer the further it goes: only the first young ones can be continued from old ones, and none after
        // a whole one. The table's own is looked at in any case: it may have been restored.
        let mut whole = false;
        for (to, (path, _)) in staying {
            if whole && *to != next {
                continue;
            }
            if let Some(content) = files.read(path).await? {
                let segment = Segment::decode(&content, path)?;
                whole |= segment.older.is_empty() && *to != next;
                needed.extend(segment.older.iter().map(|part| part.to));
            }
        }
        let old = windows
            .iter()
            .filter(|(to, (_, young))| !stays(**to, *young) && !needed.contains(to));
        strays.extend(old.map(|(_, (path, _))| (*path).to_owned()));
    }
    Ok(strays)
}

/// Whose window a path is.
fn window(path: &str, pipeline: &str) -> Option<(Partition, i64)> {
    let below = path.strip_prefix(&folder(pipeline))?.strip_prefix('/')?;
    let (partition, name) = below.rsplit_once('/')?;
    let to = name.strip_suffix(".window")?.parse().ok()?;
    Some((partition.parse().ok()?, to))
}
