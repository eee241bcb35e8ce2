//! The quarantine: every reject once, whatever is replayed.

use std::path::Path;

use datafusion::prelude::SessionContext;
use engine::lake::delta::delta_provider;
use engine::sink::quarantine::{Quarantine, default_table};
use engine::spec::model::DeltaTableSpec;
use sql::change::{Partition, RawRecord, Reject, RejectReason};
use tempfile::TempDir;

use super::harness::{Bench, Kind, delta_spec, longs};

fn reject(number: i32, offset: i64) -> Reject {
    Reject {
        record: RawRecord {
            partition: Partition::new("db.customers", number),
            offset,
            timestamp_ms: Some(1_700_000_000_123),
            key: Some(b"{\"id\":1}".to_vec()),
            value: Some(vec![0xff, 0x00]),
            headers: vec![
                ("h".to_owned(), Some(b"v".to_vec())),
                ("n".to_owned(), None),
            ],
        },
        reason: RejectReason::Malformed,
        column: None,
        detail: "not JSON".to_owned(),
    }
}

async fn offsets(table: &DeltaTableSpec, number: i32) -> Vec<i64> {
    let context = SessionContext::new();
    context
        .register_table("q", delta_provider(table).await.unwrap())
        .unwrap();
    let sql = format!("SELECT \"offset\" FROM q WHERE \"partition\" = {number} ORDER BY 1");
    let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
    longs(&batches)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_adds_only_what_is_not_there() {
    let folder = TempDir::new().unwrap();
    let table = delta_spec(&folder.path().join("_quarantine/customers"));
    let mut quarantine = Quarantine::new(table.clone(), "customers");
    assert_eq!(quarantine.write(&[], 1).await.unwrap(), 0);
    assert!(!Path::new(&table.path).exists(), "made at the first reject");
    let first = [reject(0, 5), reject(0, 9), reject(1, 2)];
    assert_eq!(quarantine.write(&first, 1).await.unwrap(), 3);
    assert_eq!(quarantine.write(&first, 2).await.unwrap(), 0);
    let mut restarted = Quarantine::new(table.clone(), "customers");
    let more = [reject(0, 9), reject(0, 12), reject(1, 2), reject(2, 0)];
    assert_eq!(restarted.write(&more, 3).await.unwrap(), 2);
    assert_eq!(quarantine.write(&more, 4).await.unwrap(), 0);
    assert_eq!(offsets(&table, 0).await, [5, 9, 12]);
    assert_eq!(offsets(&table, 1).await, [2]);
    assert_eq!(offsets(&table, 2).await, [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_kept_as_it_came() {
    let folder = TempDir::new().unwrap();
    let table = delta_spec(&folder.path().join("q"));
    let mut quarantine = Quarantine::new(table.clone(), "customers");
    quarantine.write(&[reject(0, 5)], 1_000_000).await.unwrap();
    let context = SessionContext::new();
    context
        .register_table("q", delta_provider(&table).await.unwrap())
        .unwrap();
    let sql = "SELECT concat_ws('|', pipeline, topic, \"partition\", \"offset\", \"timestamp\", encode(key, 'hex'), \
               encode(value, 'hex'), cardinality(headers), headers[1]['key'], encode(headers[1]['value'], 'hex'), \
               headers[2]['value'] IS NULL, reason, \"column\" IS NULL, detail, ingested_at) FROM q";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let line = arrow::util::display::array_value_to_string(batches[0].column(0), 0).unwrap();
    assert_eq!(
        line,
        "customers|db.customers|0|5|2023-11-14T22:13:20.123Z|7b226964223a317d|ff00|2|h|76|true|malformed|true|not JSON|1970-01-01T00:00:01Z"
    );
}

#[test]
fn the_default_place_is_beside_the_target() {
    let delta = Bench::in_folder(Kind::Delta, Path::new("/lake"));
    let iceberg = Bench::in_folder(Kind::Iceberg, Path::new("/lake"));
    assert_eq!(
        default_table(&delta.spec, "customers").unwrap().path,
        "/lake/_quarantine/customers"
    );
    assert_eq!(
        default_table(&iceberg.spec, "customers").unwrap().path,
        "file:///lake/_quarantine/customers"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_place_of_an_iceberg_target_can_be_written() {
    let bench = Bench::new(Kind::Iceberg);
    let table = default_table(&bench.spec, "customers").unwrap();
    let mut quarantine = Quarantine::new(table.clone(), "customers");
    assert_eq!(quarantine.write(&[reject(0, 5)], 1).await.unwrap(), 1);
    assert_eq!(offsets(&table, 0).await, [5]);
    assert!(
        bench
            .folder
            .join("_quarantine/customers/_delta_log")
            .is_dir()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_add_each_reject_once() {
    let folder = TempDir::new().unwrap();
    let table = delta_spec(&folder.path().join("q"));
    let run = async || {
        let mut quarantine = Quarantine::new(table.clone(), "customers");
        let mut added = 0;
        for first in 0..10 {
            let rejects = [reject(0, first * 2), reject(0, first * 2 + 1)];
            added += quarantine.write(&rejects, 1).await.unwrap();
        }
        added
    };
    let (a, b) = tokio::join!(run(), run());
    assert_eq!(a + b, 20);
    assert_eq!(offsets(&table, 0).await, (0..20).collect::<Vec<_>>());
}
