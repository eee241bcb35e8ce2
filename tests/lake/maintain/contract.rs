//! What holds for every format.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::maintain::{Policy, Report};
use engine::sink::open_existing;
use engine::spec::model::{Mode, SinkSpec, SinkTarget};
use tests::python::{Location, Readers};
use tests::rest_catalog::Catalog;
use tests::{full, need};

use super::{KINDS, eager, eager_later};
use crate::lake::harness::{delta_spec, iceberg_spec};
use crate::lake::upsert::feed::read_rows;
use crate::lake::upsert::harness::{Bench, Kind, Plain, Shape, Writer, change, files_under};
use crate::lake::upsert::iceberg::{location, runtime};

const REGIONS: [&str; 2] = ["eu", "us"];

/// Rows by id.
#[derive(Debug, Default)]
struct Model(BTreeMap<i64, Plain<'static>>);

impl Model {
    /// The `n`-th change: eight rows, three of which were there before, and one that goes.
    async fn step(&mut self, writer: &mut Writer, n: i64) -> u64 {
        let region = REGIONS[usize::try_from(n % 2).unwrap()];
        let rows: Vec<Plain<'static>> = (n * 5..n * 5 + 8)
            .map(|id| (id, Some(region), Some(n)))
            .collect();
        let gone = n * 5 - 7;
        self.0.remove(&gone);
        self.0.extend(rows.iter().map(|row| (row.0, *row)));
        writer.apply(&change(&rows, &[gone])).await.conflicts
    }

    fn rows(&self) -> Vec<String> {
        let mut rows: Vec<_> = self
            .0
            .values()
            .map(|(id, region, n)| format!("{id}|{}|{}", region.unwrap(), n.unwrap()))
            .collect();
        rows.sort();
        rows
    }
}

fn place(bench: &Bench) -> Location {
    match bench.kind {
        Kind::Iceberg => location(&bench.folder),
        _ => Location::Delta(bench.folder.clone()),
    }
}

fn read_by_all(readers: &Readers, bench: &Bench, rows: &[String]) {
    let location = place(bench);
    for reader in location.readers() {
        let read = read_rows(&readers.read(reader, &location));
        assert_eq!(read, rows, "{reader:?}");
    }
}

fn spec(bench: &Bench) -> SinkSpec {
    let target = match bench.kind {
        Kind::Iceberg => SinkTarget::Iceberg(iceberg_spec(&bench.folder)),
        _ => SinkTarget::Delta(delta_spec(&bench.folder)),
    };
    SinkSpec {
        target,
        mode: Mode::Append,
        partition_by: Vec::new(),
        at: "p.yaml:1:1 (sink)".to_owned(),
    }
}

/// Fills the table by small commits, compacts it, and goes on; returns what it holds.
async fn compacted(bench: &Bench) -> Model {
    let mut model = Model::default();
    let mut writer = bench.writer().await;
    for n in 0..24 {
        model.step(&mut writer, n).await;
    }
    let position = writer.sink.progress().await.unwrap();
    let report = writer.sink.maintain(&eager()).await.unwrap();
    assert!(report.files_after <= 2, "{report:?}");
    assert!(report.files_before >= 20, "{report:?}");
    assert_eq!(report.delete_files_after, 0, "{report:?}");
    assert!(
        report.rows <= model.0.len() as u64 && report.rows > 0,
        "{report:?}"
    );
    assert_eq!(report.versions_expired, 0, "nothing is old");
    assert_eq!(bench.rows().await, model.rows());
    assert_eq!(writer.sink.progress().await.unwrap(), position);
    let mut again = bench.writer().await;
    assert_eq!(again.sink.progress().await.unwrap(), position);
    let second = again.sink.maintain(&eager()).await.unwrap();
    assert!(second.is_nothing(), "{second:?}");
    // Both sinks go on, the one that did it and the one that came later.
    model.step(&mut writer, 24).await;
    model.step(&mut again, 25).await;
    assert_eq!(bench.rows().await, model.rows());
    model
}

#[test]
fn a_compacted_table_has_the_same_rows_for_every_reader() {
    let readers = need!(Readers::ready());
    for kind in KINDS {
        for shape in [
            Shape::plain(),
            Shape::partitioned(),
            Shape::plain().copied(),
        ] {
            let bench = Bench::new(kind, shape);
            let rows = runtime().block_on(compacted(&bench)).rows();
            read_by_all(&readers, &bench, &rows);
        }
    }
}

/// Compaction and expiry are commits as others are: the catalog takes them.
#[test]
fn a_table_of_a_rest_catalog_is_maintained() {
    full!();
    let catalog = need!(Catalog::start());
    for shape in [
        Shape::plain(),
        Shape::partitioned(),
        Shape::plain().copied(),
    ] {
        let bench = Bench::rest(&catalog, catalog.url(), shape);
        runtime().block_on(async {
            let mut model = compacted(&bench).await;
            let before = bench.data_files().len();
            let mut writer = bench.writer().await;
            let position = writer.sink.progress().await.unwrap();
            let report = writer.sink.maintain(&eager_later()).await.unwrap();
            assert!(report.versions_expired >= 24, "{report:?}");
            assert!(report.objects_deleted > 0, "{report:?}");
            assert!(bench.data_files().len() < before, "{report:?}");
            assert_eq!(writer.sink.progress().await.unwrap(), position);
            let mut other = bench.writer().await;
            assert_eq!(other.sink.progress().await.unwrap(), position);
            model.step(&mut other, 26).await;
            assert_eq!(bench.rows().await, model.rows());
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_it_and_does_nothing() {
    for kind in KINDS {
        let bench = Bench::new(kind, Shape::plain());
        let mut model = Model::default();
        let mut writer = bench.writer().await;
        for n in 0..12 {
            model.step(&mut writer, n).await;
        }
        let before = files_under(&bench.folder);
        let policy = Policy {
            dry_run: true,
            ..eager_later()
        };
        let foretold = writer.sink.maintain(&policy).await.unwrap();
        assert_eq!(files_under(&bench.folder), before);
        assert_eq!(foretold.commits, 0);
        assert!(foretold.versions_expired > 0, "{foretold:?}");
        let done = writer.sink.maintain(&eager_later()).await.unwrap();
        assert_eq!(foretold.files_compacted, done.files_compacted);
        assert_eq!(foretold.bytes_compacted, done.bytes_compacted);
        assert_eq!(foretold.rows, done.rows);
        assert_eq!(foretold.files_after, done.files_after);
        assert_eq!(bench.rows().await, model.rows());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_rewrites_no_more_than_it_may_and_says_so() {
    for kind in KINDS {
        let bench = Bench::new(kind, Shape::plain());
        let mut model = Model::default();
        let mut writer = bench.writer().await;
        for n in 0..12 {
            model.step(&mut writer, n).await;
        }
        // All are small, and a pass may read three or four of them.
        let file = std::fs::metadata(&bench.data_files()[0]).unwrap().len();
        let policy = Policy {
            target_file_size: file * 20,
            max_rewrite: file * 4,
            ..eager()
        };
        let mut passes = 0;
        let mut total = Report::default();
        loop {
            let report = writer.sink.maintain(&policy).await.unwrap();
            assert!(report.bytes_compacted <= policy.max_rewrite, "{report:?}");
            passes += 1;
            let more = report.more;
            total.add(report);
            assert_eq!(bench.rows().await, model.rows());
            if !more {
                break;
            }
            assert!(passes < 50, "{total:?}");
        }
        assert!(passes > 2, "{total:?}");
        assert!(total.files_after < total.files_before, "{total:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_maintained_without_its_pipelines_columns() {
    for kind in KINDS {
        let bench = Bench::new(kind, Shape::partitioned());
        assert!(
            matches!(
                open_existing(&spec(&bench), "any", &[]).await,
                Ok(None) | Err(_)
            ),
            "a table that is not there"
        );
        assert!(!bench.folder.exists(), "nothing is made");
        let mut model = Model::default();
        let mut writer = bench.writer().await;
        for n in 0..10 {
            model.step(&mut writer, n).await;
        }
        let mut sink = open_existing(&spec(&bench), "any", &[])
            .await
            .unwrap()
            .unwrap();
        let report = sink.maintain(&eager()).await.unwrap();
        assert!(report.files_after < report.files_before, "{report:?}");
        assert_eq!(bench.rows().await, model.rows());
        model.step(&mut writer, 10).await;
        assert_eq!(bench.rows().await, model.rows());
    }
}

/// Maintenance by another process while an engine writes: each meets the other, and neither loses anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_and_maintenance_race() {
    const ROUNDS: i64 = 12;
    const STEPS: i64 = 10;
    for kind in KINDS {
        for shape in [Shape::plain(), Shape::partitioned().copied()] {
            let bench = Bench::new(kind, shape);
            let mut model = Model::default();
            let mut writer = bench.writer().await;
            model.step(&mut writer, 0).await;
            let (mut lost, mut given_up, mut compacted) = (0, 0, 0);
            for round in 0..ROUNDS {
                let done = Arc::new(AtomicBool::new(false));
                let mut other = bench.try_open("other").await.unwrap();
                // On a thread of its own: the two must meet in the middle of what they do.
                let maintained = tokio::spawn({
                    let done = Arc::clone(&done);
                    async move {
                        let mut all = Report::default();
                        while !done.load(Ordering::Relaxed) {
                            all.add(other.maintain(&eager()).await.unwrap());
                        }
                        all
                    }
                });
                for n in round * STEPS + 1..(round + 1) * STEPS + 1 {
                    lost += model.step(&mut writer, n).await;
                }
                done.store(true, Ordering::Relaxed);
                let report = maintained.await.unwrap();
                given_up += report.conflicts;
                compacted += report.files_compacted;
                assert_eq!(bench.rows().await, model.rows());
                if lost + given_up > 0 && round > 1 {
                    break;
                }
            }
            // Where each upsert copies the files that a pass has chosen, the pass loses until there is a moment's peace.
            let mut other = bench.try_open("other").await.unwrap();
            compacted += other.maintain(&eager()).await.unwrap().files_compacted;
            assert_eq!(bench.rows().await, model.rows());
            assert!(
                compacted > 0 && lost + given_up > 0,
                "they never met: {compacted} files compacted, {lost} upserts and {given_up} compactions lost"
            );
        }
    }
}
