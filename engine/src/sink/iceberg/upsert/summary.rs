//! What a snapshot's summary says of it.

use std::collections::HashMap;
use std::fmt;

use iceberg::spec::{
    DataContentType, DataFile, Operation, PartitionSpecRef, SchemaRef, SnapshotSummaryCollector,
};
use iceberg::{Error as IcebergError, ErrorKind as IcebergKind, Result as IcebergResult};

use super::files::State;
use crate::lake::partition_values::is_writable;

/// The files of a table, counted from its manifests: what earlier summaries say may be missing or wrong.
#[derive(Default)]
pub(super) struct Totals {
    changes: SnapshotSummaryCollector,
    data_added: bool,
    rows_removed: bool,
    data_files: u64,
    delete_files: u64,
    records: u64,
    deletes: u64,
    bytes: u64,
}

impl fmt::Debug for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Totals")
            .field("data_files", &self.data_files)
            .field("delete_files", &self.delete_files)
            .finish_non_exhaustive()
    }
}

impl Totals {
    pub(super) fn of(state: &State) -> Self {
        let mut totals = Self::default();
        for file in state.data() {
            totals.data_files += 1;
            totals.records += file.rows;
            totals.bytes += file.size;
        }
        for delete in state.deletes() {
            totals.delete_files += 1;
            totals.deletes += delete.file.rows;
            totals.bytes += delete.file.size;
        }
        totals
    }

    /// # Errors
    /// If the library would panic over the file's partition.
    pub(super) fn add(
        &mut self,
        file: &DataFile,
        schema: &SchemaRef,
        spec: &PartitionSpecRef,
    ) -> IcebergResult<()> {
        check(file, schema, spec)?;
        self.changes.add_file(file, schema.clone(), spec.clone());
        if file.content_type() == DataContentType::Data {
            self.data_added = true;
            self.data_files += 1;
            self.records += file.record_count();
        } else {
            self.rows_removed = true;
            self.delete_files += 1;
            self.deletes += file.record_count();
        }
        self.bytes += file.file_size_in_bytes();
        Ok(())
    }

    /// # Errors
    /// As [`Totals::add`].
    pub(super) fn remove(
        &mut self,
        file: &DataFile,
        schema: &SchemaRef,
        spec: &PartitionSpecRef,
    ) -> IcebergResult<()> {
        check(file, schema, spec)?;
        self.changes.remove_file(file, schema.clone(), spec.clone());
        if file.content_type() == DataContentType::Data {
            self.rows_removed = true;
            self.data_files = self.data_files.saturating_sub(1);
            self.records = self.records.saturating_sub(file.record_count());
        } else {
            self.delete_files = self.delete_files.saturating_sub(1);
            self.deletes = self.deletes.saturating_sub(file.record_count());
        }
        self.bytes = self.bytes.saturating_sub(file.file_size_in_bytes());
        Ok(())
    }

    /// By the format: rows came, went, or both.
    pub(super) fn operation(&self) -> Operation {
        match (self.data_added, self.rows_removed) {
            (true, true) => Operation::Overwrite,
            (false, true) => Operation::Delete,
            _ => Operation::Append,
        }
    }

    pub(super) fn properties(&self) -> HashMap<String, String> {
        let mut properties = self.changes.build();
        let totals = [
            ("total-data-files", self.data_files),
            ("total-delete-files", self.delete_files),
            ("total-records", self.records),
            ("total-files-size", self.bytes),
            ("total-position-deletes", self.deletes),
            ("total-equality-deletes", 0),
        ];
        properties.extend(totals.map(|(name, value)| (name.to_owned(), value.to_string())));
        properties
    }
}

/// The library writes the partition's values into the summary.
fn check(file: &DataFile, schema: &SchemaRef, spec: &PartitionSpecRef) -> IcebergResult<()> {
    if is_writable(spec, schema, file.partition()) {
        return Ok(());
    }
    Err(IcebergError::new(
        IcebergKind::FeatureUnsupported,
        format!("{} is of a partition that has no name", file.file_path()),
    ))
}
