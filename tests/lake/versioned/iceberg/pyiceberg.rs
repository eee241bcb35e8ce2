//! A table that pyiceberg made.

use engine::lake::versioned::iceberg::IcebergVersions;
use sql::versioned::VersionedTable as _;
use tempfile::TempDir;
use tests::need;
use tests::python::Readers;

use super::{agrees, states};
use crate::lake::harness::{iceberg_spec, runtime};

#[test]
fn the_changes_of_a_table_by_pyiceberg_are_what_its_snapshots_differ_by() {
    let readers = need!(Readers::ready());
    for key in ["-", "id"] {
        let folder = TempDir::new().unwrap();
        let arguments = [folder.path().display().to_string(), key.to_owned()];
        let printed = readers.run("make_iceberg_history.py", arguments);
        runtime().block_on(async {
            let spec = iceberg_spec(folder.path());
            let table = IcebergVersions::open(&spec).await.unwrap();
            let expected: &[&str] = if key == "-" { &[] } else { &["id"] };
            assert_eq!(table.key(), expected);
            assert_eq!(table.name(), "lake.analytics.customers");
            agrees(&table, &states(&printed)).await;
        });
    }
}
