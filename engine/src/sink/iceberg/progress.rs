//! Positions out of a table's metadata.
//!
//! The snapshots are the truth: a table that was rolled back has the positions of the snapshot it was rolled back to,
//! and its rows. Properties know nothing of a rollback; they count only for partitions whose last commit lies
//! before the oldest snapshot that is still there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iceberg::spec::TableMetadataRef;
use iceberg::util::snapshot::ancestors_of;
use sql::change::{Partition, Position};

fn prefix(pipeline: &str) -> String {
    format!("engine.{pipeline}.pos.")
}

/// The summary's and the property's key of a position.
pub(super) fn key(pipeline: &str, partition: &Partition) -> String {
    format!(
        "{}{}.{}",
        prefix(pipeline),
        partition.topic,
        partition.number
    )
}

fn parse(prefix: &str, key: &str, value: &str) -> Option<(Partition, i64)> {
    let (topic, number) = key.strip_prefix(prefix)?.rsplit_once('.')?;
    Some((
        Partition::new(topic, number.parse().ok()?),
        value.parse().ok()?,
    ))
}

fn take(prefix: &str, from: &HashMap<String, String>) -> BTreeMap<Partition, i64> {
    from.iter()
        .filter_map(|(key, value)| parse(prefix, key, value))
        .collect()
}

/// The positions of `pipeline` at the table's current snapshot.
pub(super) fn positions(metadata: &TableMetadataRef, pipeline: &str) -> Position {
    let prefix = prefix(pipeline);
    let Some(current) = metadata.current_snapshot_id() else {
        return Position::new();
    };
    let properties = take(&prefix, metadata.properties());
    let mut wanted: BTreeSet<&Partition> = properties.keys().collect();
    let mut found: BTreeMap<Partition, i64> = BTreeMap::new();
    let mut cut = false;
    for snapshot in ancestors_of(metadata, current) {
        for (partition, next) in take(&prefix, &snapshot.summary().additional_properties) {
            wanted.remove(&partition);
            found.entry(partition).or_insert(next);
        }
        // Every partition has a property, so none is left to be found.
        if wanted.is_empty() {
            return found.into_iter().collect();
        }
        cut = snapshot
            .parent_snapshot_id()
            .is_some_and(|parent| metadata.snapshot_by_id(parent).is_none());
    }
    if cut {
        for (partition, next) in properties {
            found.entry(partition).or_insert(next);
        }
    }
    found.into_iter().collect()
}

/// The positions of all pipelines at the table's current snapshot, as a summary says them.
pub(super) fn all(metadata: &TableMetadataRef) -> HashMap<String, String> {
    let Some(current) = metadata.current_snapshot_id() else {
        return HashMap::new();
    };
    let mut pipelines: BTreeSet<String> = BTreeSet::new();
    let mut note = |from: &HashMap<String, String>| {
        pipelines.extend(from.keys().filter_map(|key| {
            let (pipeline, rest) = key.strip_prefix("engine.")?.split_once('.')?;
            rest.starts_with("pos.").then(|| pipeline.to_owned())
        }));
    };
    note(metadata.properties());
    for snapshot in ancestors_of(metadata, current) {
        note(&snapshot.summary().additional_properties);
    }
    let mut found = HashMap::new();
    for pipeline in &pipelines {
        let of = positions(metadata, pipeline);
        found.extend(
            of.iter()
                .map(|(p, next)| (key(pipeline, p), next.to_string())),
        );
    }
    found
}

/// Whether an ancestor of the current snapshot carries `value` under `key`.
pub(super) fn has_commit(metadata: &TableMetadataRef, key: &str, value: &str) -> bool {
    metadata.current_snapshot_id().is_some_and(|current| {
        ancestors_of(metadata, current).any(|snapshot| {
            snapshot
                .summary()
                .additional_properties
                .get(key)
                .is_some_and(|there| there == value)
        })
    })
}
