//! Tables that Spark made: once, which are kept, and in the full tier now.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use engine::lake::versioned::iceberg::IcebergVersions;
use serde_json::Value;
use sql::versioned::VersionedTable as _;
use tempfile::TempDir;
use tests::spark::Spark;
use tests::{full, need, repository};

use super::{agrees, states};
use crate::lake::harness::runtime;

/// Iceberg's metadata holds absolute paths, so kept tables stand where they were made. Count it up when they are made anew.
const KEPT: &str = "/tmp/engine-kept-iceberg-1";

const TABLES: [&str; 7] = [
    "copied", "merged", "vectors", "evolved", "streamed", "parted", "upgraded",
];

/// Where the kept tables are.
fn kept() -> &'static Path {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        if Path::new(KEPT).exists() {
            return;
        }
        let archive = repository::path("tests/fixtures/iceberg/tables.tar.gz");
        let own = TempDir::with_prefix_in("engine-kept-", "/tmp").unwrap();
        let mut tar = Command::new("tar");
        let tar = tar.arg("xzf").arg(archive).arg("-C").arg(own.path());
        assert!(tar.status().unwrap().success());
        let folder = own.keep();
        // Whole or not at all; another process may have been faster.
        if std::fs::rename(&folder, KEPT).is_err() {
            std::fs::remove_dir_all(folder).unwrap();
        }
    });
    Path::new(KEPT)
}

fn check(folder: &Path, name: &str) {
    let kept = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    runtime().block_on(async {
        let location = kept["metadata"].as_str().unwrap();
        let table = IcebergVersions::from_metadata(location).await.unwrap();
        let key: Vec<&str> = kept["key"]
            .as_array()
            .unwrap()
            .iter()
            .map(|k| k.as_str().unwrap())
            .collect();
        assert_eq!(table.key(), key, "{name}");
        let mut expected = states(kept["states"].as_array().unwrap());
        // Of format version 1: they are no versions, but the state before them all.
        let unnumbered = expected.iter().filter(|state| state.version == 0).count();
        expected.drain(..unnumbered.saturating_sub(1));
        agrees(&table, &expected).await;
    });
}

#[test]
fn the_changes_of_spark_s_copy_on_write_are_what_its_snapshots_differ_by() {
    check(kept(), "copied");
}

#[test]
fn the_changes_of_spark_s_position_deletes_are_what_its_snapshots_differ_by() {
    check(kept(), "merged");
}

#[test]
fn the_changes_of_spark_s_deletion_vectors_are_what_its_snapshots_differ_by() {
    check(kept(), "vectors");
}

#[test]
fn the_changes_of_a_table_whose_schema_and_partitions_changed_are_what_its_snapshots_differ_by() {
    check(kept(), "evolved");
}

#[test]
fn the_changes_of_equality_deletes_are_what_its_snapshots_differ_by() {
    check(kept(), "streamed");
    check(kept(), "parted");
}

#[test]
fn the_changes_of_a_table_that_once_had_no_versions_are_what_its_snapshots_differ_by() {
    check(kept(), "upgraded");
}

#[test]
fn tables_that_spark_makes_now_are_as_the_kept_ones() {
    full!();
    let spark = need!(Spark::ready());
    let folder = TempDir::new().unwrap();
    spark.make_iceberg_tables(folder.path());
    for name in TABLES {
        check(folder.path(), name);
    }
}
