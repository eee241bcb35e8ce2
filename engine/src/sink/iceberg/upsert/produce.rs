//! A snapshot by hand: manifests, the list of them, and the updates that make it the table's current one.
//!
//! The library's transactions know only appends. Everything below them is public, so the snapshot is put together here as the
//! format's specification says: manifests without a changed entry are carried over; the others are written anew, their entries
//! as existing or deleted with the numbers they had; new files get a manifest of their own for each partition spec, and take
//! their sequence number from the list.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use iceberg::spec::{
    DataContentType, DataFile, FormatVersion, MAIN_BRANCH, ManifestContentType, ManifestEntry,
    ManifestFile, ManifestListWriter, ManifestWriter, ManifestWriterBuilder, Operation,
    PartitionSpec, SchemaRef, Snapshot, SnapshotReference, SnapshotRetention, Summary,
    TableMetadata,
};
use iceberg::table::Table;
use iceberg::{Error as IcebergError, ErrorKind as IcebergKind, Result as IcebergResult};
use iceberg::{TableRequirement, TableUpdate};
use uuid::Uuid;

use super::files::{Listed, State};
use super::summary::Totals;
use crate::clock::now_micros;

/// From so many manifests of one kind on they are merged, unless the table's `commit.manifest.min-count-to-merge` says otherwise.
const MERGE_FROM: usize = 100;
/// No merged manifest is larger, unless the table's `commit.manifest.target-size-bytes` says otherwise.
const MERGE_BYTES: i64 = 8 * 1024 * 1024;

/// What a snapshot changes.
#[derive(Debug, Default)]
pub(in crate::sink::iceberg) struct Changes {
    /// Files that come, data and deletes, each with its partition spec.
    pub(in crate::sink::iceberg) added: Vec<(DataFile, i32)>,
    /// Paths of the live files that go, data and deletes.
    pub(in crate::sink::iceberg) removed: BTreeSet<String>,
    /// Whether the rows are the same afterwards.
    pub(in crate::sink::iceberg) replace: bool,
}

/// A commit that any catalog understands.
#[derive(Debug)]
pub(in crate::sink::iceberg) struct Commit {
    pub(in crate::sink::iceberg) requirements: Vec<TableRequirement>,
    pub(in crate::sink::iceberg) updates: Vec<TableUpdate>,
}

/// Makes one snapshot.
#[derive(Debug)]
pub(in crate::sink::iceberg) struct Producer<'a> {
    table: &'a Table,
    state: &'a State,
    snapshot_id: i64,
    commit: Uuid,
    /// Files that were written: garbage if the commit is not made.
    pub(in crate::sink::iceberg) written: Vec<String>,
    totals: Totals,
    /// From so many manifests of one kind on they are merged, whatever the table says.
    pub(in crate::sink::iceberg) merge_from: Option<usize>,
    /// Manifests that were put together with others.
    pub(in crate::sink::iceberg) merged: u64,
    /// How many manifests fewer the snapshot has than its base.
    pub(in crate::sink::iceberg) saved: usize,
}

impl<'a> Producer<'a> {
    /// On top of the table's current snapshot, whose files are `state`.
    pub(in crate::sink::iceberg) fn new(table: &'a Table, state: &'a State) -> Self {
        Self {
            table,
            state,
            snapshot_id: new_snapshot_id(table),
            commit: Uuid::new_v4(),
            written: Vec::new(),
            totals: Totals::of(state),
            merge_from: None,
            merged: 0,
            saved: 0,
        }
    }

    /// Writes manifests and list. `summary` and `properties` go into the snapshot's summary and the table's properties.
    pub(in crate::sink::iceberg) async fn produce(
        &mut self,
        changes: &Changes,
        summary: HashMap<String, String>,
        properties: HashMap<String, String>,
    ) -> IcebergResult<Commit> {
        let mut manifests = self.added(changes).await?;
        let (carried, rewritten) = self.carried(changes).await?;
        manifests.extend(rewritten);
        manifests.extend(self.merged(carried).await?);
        self.saved = self.state.manifests.len().saturating_sub(manifests.len());
        let list = self.list(manifests).await?;
        let metadata = self.table.metadata();
        let operation = if changes.replace {
            Operation::Replace
        } else {
            self.totals.operation()
        };
        let snapshot = Snapshot::builder()
            .with_manifest_list(list)
            .with_snapshot_id(self.snapshot_id)
            .with_parent_snapshot_id(metadata.current_snapshot_id())
            .with_sequence_number(metadata.next_sequence_number())
            .with_summary(self.summary(operation, summary))
            .with_schema_id(metadata.current_schema_id())
            // A clock that was set back must not make the table's history go back.
            .with_timestamp_ms((now_micros() / 1000).max(metadata.last_updated_ms()))
            .build();
        let branch = SnapshotRetention::branch(None, None, None);
        Ok(Commit {
            requirements: vec![
                TableRequirement::UuidMatch {
                    uuid: metadata.uuid(),
                },
                TableRequirement::RefSnapshotIdMatch {
                    r#ref: MAIN_BRANCH.to_owned(),
                    snapshot_id: metadata.current_snapshot_id(),
                },
            ],
            updates: vec![
                TableUpdate::SetProperties {
                    updates: properties,
                },
                TableUpdate::AddSnapshot { snapshot },
                TableUpdate::SetSnapshotRef {
                    ref_name: MAIN_BRANCH.to_owned(),
                    reference: SnapshotReference::new(self.snapshot_id, branch),
                },
            ],
        })
    }

    fn summary(&self, operation: Operation, own: HashMap<String, String>) -> Summary {
        let mut additional_properties = own;
        additional_properties.extend(self.totals.properties());
        Summary {
            operation,
            additional_properties,
        }
    }

    /// The manifests of new files: one for each partition spec and kind.
    async fn added(&mut self, changes: &Changes) -> IcebergResult<Vec<ManifestFile>> {
        let mut groups: BTreeMap<(i32, bool), Vec<&DataFile>> = BTreeMap::new();
        for (file, spec) in &changes.added {
            let deletes = file.content_type() != DataContentType::Data;
            groups.entry((*spec, deletes)).or_default().push(file);
        }
        let mut manifests = Vec::with_capacity(groups.len());
        for ((spec_id, deletes), files) in groups {
            let content = if deletes {
                ManifestContentType::Deletes
            } else {
                ManifestContentType::Data
            };
            let metadata = self.table.metadata();
            let schema = Arc::clone(metadata.current_schema());
            let spec = metadata.partition_spec_by_id(spec_id).ok_or_else(|| {
                invalid(format!("a file of the unknown partition spec {spec_id}"))
            })?;
            let spec = Arc::clone(spec);
            let mut writer = self.writer(content, Arc::clone(&schema), spec.as_ref())?;
            for file in files {
                self.totals.add(file, &schema, &spec)?;
                writer.add_file(file.clone(), INHERITED)?;
            }
            manifests.push(writer.write_manifest_file().await?);
        }
        Ok(manifests)
    }

    /// The manifests of the base: those that stay, and those that are written anew because a file of theirs goes.
    async fn carried(
        &mut self,
        changes: &Changes,
    ) -> IcebergResult<(Vec<&'a ManifestFile>, Vec<ManifestFile>)> {
        let mut carried = Vec::new();
        let mut rewritten = Vec::new();
        let mut removed = 0;
        for (file, listed) in &self.state.manifests {
            let touched = touched(listed, &changes.removed);
            if touched == 0 {
                carried.push(file);
                continue;
            }
            removed += touched;
            rewritten.push(self.without(file, &changes.removed).await?);
        }
        if removed != changes.removed.len() {
            return Err(invalid("a file to remove is not in the table".to_owned()));
        }
        Ok((carried, rewritten))
    }

    async fn without(
        &mut self,
        file: &ManifestFile,
        removed: &BTreeSet<String>,
    ) -> IcebergResult<ManifestFile> {
        let manifest = file.load_manifest(self.table.file_io()).await?;
        let of = manifest.metadata();
        let mut writer = self.writer(file.content, Arc::clone(&of.schema), &of.partition_spec)?;
        let spec = Arc::new(of.partition_spec.clone());
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let (sequence, file_sequence) = numbers(entry)?;
            if removed.contains(entry.file_path()) {
                self.totals.remove(entry.data_file(), &of.schema, &spec)?;
                writer.add_delete_file(entry.data_file().clone(), sequence, file_sequence)?;
            } else {
                add_existing(&mut writer, entry)?;
            }
        }
        writer.write_manifest_file().await
    }

    /// Merges manifests of one kind if there are many.
    async fn merged(&mut self, carried: Vec<&ManifestFile>) -> IcebergResult<Vec<ManifestFile>> {
        let properties = self.table.metadata().properties();
        let from = property(properties, "commit.manifest.min-count-to-merge").unwrap_or(MERGE_FROM);
        let from = self.merge_from.unwrap_or(from);
        let most = most_bytes(properties);
        let mut manifests = Vec::new();
        for group in by_kind(carried) {
            if !merges(properties) || group.len() < from.max(2) {
                manifests.extend(group.into_iter().cloned());
                continue;
            }
            for bin in bins(group, most) {
                match bin.as_slice() {
                    [single] => manifests.push((*single).clone()),
                    several => {
                        self.merged += several.len() as u64;
                        manifests.extend(self.merge(several).await?);
                    }
                }
            }
        }
        Ok(manifests)
    }

    /// One manifest of the live entries of several; those of another schema stay by themselves.
    async fn merge(&mut self, files: &[&ManifestFile]) -> IcebergResult<Vec<ManifestFile>> {
        let mut done = Vec::new();
        let mut writers: BTreeMap<i32, ManifestWriter> = BTreeMap::new();
        for file in files {
            let manifest = file.load_manifest(self.table.file_io()).await?;
            let of = manifest.metadata();
            let mut writer = match writers.remove(&of.schema_id) {
                Some(writer) => writer,
                None => self.writer(file.content, Arc::clone(&of.schema), &of.partition_spec)?,
            };
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                add_existing(&mut writer, entry)?;
            }
            writers.insert(of.schema_id, writer);
        }
        for writer in writers.into_values() {
            done.push(writer.write_manifest_file().await?);
        }
        Ok(done)
    }

    fn writer(
        &mut self,
        content: ManifestContentType,
        schema: SchemaRef,
        spec: &PartitionSpec,
    ) -> IcebergResult<ManifestWriter> {
        let path = self.path(&format!("{}-m{}.avro", self.commit, self.written.len()));
        let output = self.table.file_io().new_output(&path)?;
        self.written.push(path);
        let id = Some(self.snapshot_id);
        let builder = ManifestWriterBuilder::new(output, id, schema, spec.clone());
        Ok(match content {
            ManifestContentType::Data => builder.build_v2_data(),
            ManifestContentType::Deletes => builder.build_v2_deletes(),
        })
    }

    async fn list(&mut self, manifests: Vec<ManifestFile>) -> IcebergResult<String> {
        let metadata = self.table.metadata();
        if metadata.format_version() != FormatVersion::V2 {
            return Err(invalid("a snapshot of another format version".to_owned()));
        }
        let path = self.path(&format!("snap-{}-0-{}.avro", self.snapshot_id, self.commit));
        let output = self.table.file_io().new_output(&path)?;
        self.written.push(path.clone());
        let mut writer = ManifestListWriter::v2(
            output.writer().await?,
            self.snapshot_id,
            metadata.current_snapshot_id(),
            metadata.next_sequence_number(),
        );
        writer.add_manifests(manifests.into_iter())?;
        writer.close().await?;
        Ok(path)
    }

    fn path(&self, name: &str) -> String {
        let metadata = self.table.metadata();
        let folder = metadata.properties().get("write.metadata.path");
        match folder {
            Some(folder) => format!("{}/{name}", folder.trim_end_matches('/')),
            None => format!("{}/metadata/{name}", metadata.location()),
        }
    }
}

/// How many manifests fewer the table would have if those of each kind were merged from `from` on.
pub(in crate::sink::iceberg) fn saved_by_merging(
    state: &State,
    metadata: &TableMetadata,
    from: usize,
) -> usize {
    let properties = metadata.properties();
    if !merges(properties) {
        return 0;
    }
    let files = state.manifests.iter().map(|(file, _)| file).collect();
    let saved = by_kind(files).into_iter().map(|group| {
        let count = group.len();
        count - bins(group, most_bytes(properties)).len()
    });
    // A few manifests that fit together are not worth a commit.
    saved.filter(|saved| saved + 1 >= from.max(2)).sum()
}

fn merges(properties: &HashMap<String, String>) -> bool {
    properties
        .get("commit.manifest-merge.enabled")
        .is_none_or(|value| value != "false")
}

fn most_bytes(properties: &HashMap<String, String>) -> i64 {
    property(properties, "commit.manifest.target-size-bytes").unwrap_or(MERGE_BYTES)
}

/// Manifests that can be put together.
fn by_kind(files: Vec<&ManifestFile>) -> Vec<Vec<&ManifestFile>> {
    let mut groups: BTreeMap<(i32, bool), Vec<&ManifestFile>> = BTreeMap::new();
    for file in files {
        let deletes = file.content == ManifestContentType::Deletes;
        let group = groups.entry((file.partition_spec_id, deletes));
        group.or_default().push(file);
    }
    groups.into_values().collect()
}

/// A new file takes its sequence number from the list.
const INHERITED: i64 = -1;

fn touched(listed: &Listed, removed: &BTreeSet<String>) -> usize {
    if removed.is_empty() {
        return 0;
    }
    let data = listed.data.iter().map(|file| &file.path);
    let deletes = listed.deletes.iter().map(|delete| &delete.file.path);
    data.chain(deletes)
        .filter(|path| removed.contains(*path))
        .count()
}

/// The entry's data and file sequence numbers.
fn numbers(entry: &ManifestEntry) -> IcebergResult<(i64, Option<i64>)> {
    let sequence = entry
        .sequence_number()
        .ok_or_else(|| invalid(format!("{} has no sequence number", entry.file_path())))?;
    // Written by tables of version 1 they are one.
    Ok((sequence, entry.file_sequence_number.or(Some(sequence))))
}

fn add_existing(writer: &mut ManifestWriter, entry: &ManifestEntry) -> IcebergResult<()> {
    let (sequence, file_sequence) = numbers(entry)?;
    let snapshot = entry
        .snapshot_id()
        .ok_or_else(|| invalid(format!("{} is of no snapshot", entry.file_path())))?;
    writer.add_existing_file(entry.data_file().clone(), snapshot, sequence, file_sequence)
}

fn property<T: std::str::FromStr>(properties: &HashMap<String, String>, name: &str) -> Option<T> {
    properties.get(name)?.parse().ok()
}

/// Neighbours together, up to `most` bytes.
fn bins(files: Vec<&ManifestFile>, most: i64) -> Vec<Vec<&ManifestFile>> {
    let mut bins: Vec<Vec<&ManifestFile>> = Vec::new();
    let mut bytes = most;
    for file in files {
        bytes = bytes.saturating_add(file.manifest_length);
        match bins.last_mut() {
            Some(bin) if bytes <= most => bin.push(file),
            _ => {
                bytes = file.manifest_length;
                bins.push(vec![file]);
            }
        }
    }
    bins
}

fn new_snapshot_id(table: &Table) -> i64 {
    loop {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let id = (high ^ low).cast_signed() & i64::MAX;
        let taken = table
            .metadata()
            .snapshots()
            .any(|snapshot| snapshot.snapshot_id() == id);
        if id != 0 && !taken {
            return id;
        }
    }
}

fn invalid(message: String) -> IcebergError {
    IcebergError::new(IcebergKind::DataInvalid, message)
}
