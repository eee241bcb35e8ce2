//! Maintenance of an Iceberg table: one pass.
//!
//! 1. **Compaction** ([`choose`], [`rewrite`], [`compact`]): small data files of a partition, and files with many deleted rows, are
//!    written again without those rows. The new files take the old ones' place in a snapshot of the operation `replace`, which says
//!    that no row changed. They get that snapshot's sequence number: position deletes that come later apply to them, those that came
//!    before were applied when the rows were read. If another writer deleted from one of the old files meanwhile, or took it away, the
//!    group of that file is given up and found again by the next pass.
//! 2. **Manifests** are merged in the same snapshot, or in one of their own if there are many.
//! 3. **Expiry** ([`expire`]): snapshots that have not been the table's state for the retention go in one commit. Then, and only then,
//!    the files go that no other snapshot reaches ([`reach`]).
//! 4. **Orphans** ([`orphans`]): files in the table's folder that no snapshot reaches, older than the retention: left by attempts
//!    that crashed.
//!
//! Positions stay findable: a `replace` snapshot says all of them again, because the snapshots that said them will expire.
//!
//! Tables of format version 3 and tables with equality deletes are not compacted, which the report notes; the rest is done.

mod choose;
mod compact;
mod expire;
mod fill;
mod orphans;
mod reach;
mod rewrite;

use std::collections::HashMap;

use iceberg::spec::{FormatVersion, TableMetadata};
use serde_json::Value;
use sql::{Error, Result};

use super::IcebergSink;
use super::upsert::files::{Manifests, State};
use super::upsert::read::LakeReader;
use crate::maintain::{Policy, Report};

/// Attempts at one commit of maintenance against other writers. They matter more than it does.
const MAX_ATTEMPTS: u32 = 5;

/// One pass over the table of a sink.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    sink: &'a mut IcebergSink,
    manifests: &'a mut Manifests,
    reader: &'a LakeReader,
    policy: &'a Policy,
    report: Report,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        sink: &'a mut IcebergSink,
        manifests: &'a mut Manifests,
        reader: &'a LakeReader,
        policy: &'a Policy,
    ) -> Self {
        Self {
            sink,
            manifests,
            reader,
            policy,
            report: Report::default(),
        }
    }

    /// Does what there is to do.
    pub(super) async fn run(mut self) -> Result<Report> {
        self.sink.refresh().await?;
        let state = self.state().await?;
        self.count_after(&state);
        self.report.files_before = self.report.files_after;
        self.report.delete_files_before = self.report.delete_files_after;
        if self.sink.table.metadata().current_snapshot().is_none() || self.policy.is_stopped() {
            return Ok(self.report);
        }
        if let Some(why) = self.unfit(&state) {
            self.report.note(why);
        } else {
            self.compact(state).await?;
        }
        if is_collected(self.sink.table.metadata()) {
            if !self.policy.is_stopped() {
                self.expire().await?;
            }
            if self.policy.sweep && !self.policy.is_stopped() {
                self.remove_orphans().await?;
            }
        } else {
            self.report
                .note("the table's property `gc.enabled` is false: nothing is expired or deleted");
        }
        if !self.policy.dry_run {
            let state = self.state().await?;
            self.count_after(&state);
        }
        Ok(self.report)
    }

    /// The files of the snapshot that the sink last saw.
    async fn state(&mut self) -> Result<State> {
        self.manifests
            .any_state(&self.sink.table, &self.sink.place)
            .await
    }

    fn count_after(&mut self, state: &State) {
        self.report.files_after = state.data().count() as u64;
        self.report.delete_files_after = state.deletes().count() as u64;
    }

    /// Why the table is not compacted.
    fn unfit(&self, state: &State) -> Option<&'static str> {
        if self.sink.table.metadata().format_version() != FormatVersion::V2 {
            return Some("the table is not of format version 2: it is not compacted");
        }
        state
            .equality_deletes()
            .map(|_| "the table has equality deletes: it is not compacted")
    }
}

/// Whether the table lets files be deleted.
fn is_collected(metadata: &TableMetadata) -> bool {
    metadata
        .properties()
        .get("gc.enabled")
        .is_none_or(|value| value != "false")
}

/// A reference to a snapshot: a branch or a tag.
#[derive(Debug)]
struct Reference {
    name: String,
    snapshot: i64,
    is_branch: bool,
    /// The retention that the reference itself asks for.
    keeps: Option<usize>,
    keeps_ms: Option<i64>,
}

/// The table's branches and tags, which the library does not list.
fn references(metadata: &TableMetadata) -> Result<Vec<Reference>> {
    let json = serde_json::to_value(metadata)
        .map_err(|error| Error::internal("the table's metadata cannot be copied").source(error))?;
    let found: HashMap<String, Value> = json
        .get("refs")
        .and_then(Value::as_object)
        .map(|refs| refs.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
        .unwrap_or_default();
    found
        .into_iter()
        .map(|(name, value)| {
            let number = |key: &str| value.get(key).and_then(Value::as_i64);
            Ok(Reference {
                snapshot: number("snapshot-id")
                    .ok_or_else(|| Error::internal("a reference to no snapshot").at(&name))?,
                is_branch: value.get("type").and_then(Value::as_str) == Some("branch"),
                keeps: number("min-snapshots-to-keep").and_then(|n| usize::try_from(n).ok()),
                keeps_ms: number("max-snapshot-age-ms"),
                name,
            })
        })
        .collect()
}
