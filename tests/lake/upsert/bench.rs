//! Not tests: what an upsert costs beside the MERGE of the Delta library, and what it costs to look for keys.
//!
//! `cargo test -p tests --test all lake::upsert::bench -- --ignored --nocapture`; `UPSERT_BENCH_ROWS` is the size of the table.
//! Only ratios within one run mean anything, and only those of an optimised build say much.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::{SessionContext, col, lit};
use deltalake::{DeltaTableBuilder, ensure_table_uri};
use engine::lake::keys::KeySet;
use engine::sink::delta::DeltaUpsert;
use engine::sink::{Missing, Sink as _, UpsertSink as _};
use sql::change::{NetChange, Partition};

use super::harness::{Bench, Kind, Shape, TOPIC, files_under, ids};
use crate::lake::harness::step;

const BATCH: i64 = 10_000;
const FILES: i64 = 10;
const ROUNDS: i64 = 3;

fn table_rows() -> i64 {
    std::env::var("UPSERT_BENCH_ROWS").map_or(200_000, |rows| rows.parse().unwrap())
}

fn shape() -> Shape {
    let mut shape = Shape::plain();
    let mut fields = shape.schema.fields().to_vec();
    fields.push(Arc::new(Field::new("name", DataType::Utf8, true)));
    fields.push(Arc::new(Field::new("amount", DataType::Float64, true)));
    fields.push(Arc::new(Field::new("note", DataType::Utf8, true)));
    shape.schema = Schema::new(fields);
    shape
}

/// Numbers that look random, and are the same in each run.
fn mixed(n: i64) -> i64 {
    let mut n = n.cast_unsigned().wrapping_add(0x9E37_79B9_7F4A_7C15);
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((n ^ (n >> 31)) >> 1).cast_signed()
}

fn rows(ids: &[i64], round: i64) -> RecordBatch {
    let text = |length: usize| -> ArrayRef {
        let texts = ids
            .iter()
            .map(|id| format!("{:016x}", mixed(id + round * 7)).repeat(length));
        Arc::new(StringArray::from_iter_values(texts))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(StringArray::from_iter_values(
            ids.iter().map(|id| ["eu", "us"][usize::from(id % 2 == 0)]),
        )),
        Arc::new(Int64Array::from_iter_values(ids.iter().map(|_| round))),
        text(1),
        Arc::new(Float64Array::from_iter_values(
            ids.iter().map(|id| mixed(*id) as f64 / 1e6),
        )),
        text(2),
    ];
    RecordBatch::try_new(Arc::new(shape().schema), columns).unwrap()
}

/// Keys of a batch: updated and deleted ones all over the table (or in its last hundredth), and new ones.
struct Batch {
    written: Vec<i64>,
    deleted: Vec<i64>,
}

fn batch(round: i64, newest_only: bool) -> Batch {
    let size = table_rows();
    let wanted = usize::try_from(BATCH * 9 / 10).unwrap();
    let mut old = std::collections::BTreeSet::new();
    let mut n = 0;
    while old.len() < wanted {
        n += 1;
        let place = mixed(round * 1_000_003 + n);
        old.insert(if newest_only {
            size - 1 - place % (size / 10)
        } else {
            place % size
        });
    }
    let old: Vec<_> = old.into_iter().collect();
    let (deleted, mut written): (Vec<i64>, Vec<i64>) =
        old.into_iter().partition(|id| mixed(*id) % 9 == 0);
    written.extend((0..BATCH / 10).map(|new| size + round * BATCH + new));
    Batch { written, deleted }
}

async fn open(bench: &Bench) -> DeltaUpsert {
    let Shape { schema, key, .. } = &bench.shape;
    DeltaUpsert::open(&bench.spec(), "bench", schema, &[], key, Missing::Refuse)
        .await
        .unwrap()
}

async fn fill(sink: &mut DeltaUpsert) {
    let part = table_rows() / FILES;
    for file in 0..FILES {
        let ids_of: Vec<_> = (file * part..(file + 1) * part).collect();
        let change = NetChange::try_new(false, rows(&ids_of, 0), ids(&[])).unwrap();
        sink.upsert(&change, &step(file, file + 1)).await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    for file in files_under(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, target).unwrap();
    }
}

async fn by_upsert(sink: &mut DeltaUpsert, batch: &Batch, round: i64) -> (Duration, u64) {
    let change =
        NetChange::try_new(false, rows(&batch.written, round), ids(&batch.deleted)).unwrap();
    let at = sink
        .progress()
        .await
        .unwrap()
        .get(&Partition::new(TOPIC, 0))
        .unwrap();
    let start = Instant::now();
    let receipt = sink.upsert(&change, &step(at, at + 1)).await.unwrap();
    (start.elapsed(), receipt.bytes)
}

async fn by_merge(folder: &Path, batch: &Batch, round: i64) -> (Duration, u64) {
    let all: Vec<i64> = batch
        .written
        .iter()
        .chain(&batch.deleted)
        .copied()
        .collect();
    let source = rows(&all, round);
    let gone = (0..all.len()).map(|at| Some(at >= batch.written.len()));
    let mut columns = source.columns().to_vec();
    columns.push(Arc::new(gone.collect::<arrow::array::BooleanArray>()));
    let mut fields = source.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("gone", DataType::Boolean, true)));
    let source = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let source = SessionContext::new().read_batch(source).unwrap();
    let url = ensure_table_uri(folder.to_str().unwrap()).unwrap();
    let mut table = DeltaTableBuilder::from_url(url).unwrap().build().unwrap();
    table.load().await.unwrap();
    let names: Vec<String> = shape()
        .schema
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    let before = files_under(folder).len();
    let start = Instant::now();
    let (_, metrics) = table
        .merge(source, col("target.id").eq(col("source.id")))
        .with_source_alias("source")
        .with_target_alias("target")
        .when_matched_delete(|delete| delete.predicate(col("source.gone").eq(lit(true))))
        .unwrap()
        .when_matched_update(|mut update| {
            for name in &names {
                update = update.update(name.as_str(), col(format!("source.{name}")));
            }
            update
        })
        .unwrap()
        .when_not_matched_insert(|mut insert| {
            insert = insert.predicate(col("source.gone").eq(lit(false)));
            for name in &names {
                insert = insert.set(name.as_str(), col(format!("source.{name}")));
            }
            insert
        })
        .unwrap()
        .await
        .unwrap();
    assert!(files_under(folder).len() > before);
    (start.elapsed(), metrics.num_output_rows as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn beside_merge() {
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "optimised"
    };
    for newest_only in [false, true] {
        let ours = Bench::new(Kind::Delta, shape());
        let mut sink = open(&ours).await;
        fill(&mut sink).await;
        let theirs = Bench::new(Kind::Delta, shape());
        copy(&ours.folder, &theirs.folder);
        let keys = if newest_only { "newest" } else { "uniform" };
        for round in 1..=ROUNDS {
            let batch = batch(round, newest_only);
            let (upsert, bytes) = by_upsert(&mut sink, &batch, round).await;
            let (merge, _) = by_merge(&theirs.folder, &batch, round).await;
            let ratio = merge.as_secs_f64() / upsert.as_secs_f64();
            println!(
                "{build}, {} rows, {keys} keys, round {round}: upsert {upsert:.2?} ({bytes} bytes), merge {merge:.2?}, {ratio:.2} times as long",
                table_rows()
            );
        }
        let sql = "SELECT count(*), sum(n), sum(id) FROM t";
        let (ours, theirs) = (ours.query(sql).await, theirs.query(sql).await);
        assert_eq!(ours, theirs);
    }
}

#[test]
#[ignore = "a measurement"]
fn probing() {
    let values: Vec<i64> = (0..16_384_i64).map(|n| mixed(n) % 10_000_000).collect();
    let keys: Vec<i64> = (0..10_000)
        .map(|n| mixed(n + 99_999) % 10_000_000)
        .collect();
    let keys: Vec<i64> = std::collections::BTreeSet::from_iter(keys)
        .into_iter()
        .collect();
    let long = |values: &[i64]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let text = |values: &[i64]| {
        Arc::new(StringArray::from_iter_values(
            values.iter().map(|v| format!("{v:032x}")),
        )) as ArrayRef
    };
    for (name, key, column) in [
        ("one integer", vec![long(&keys)], vec![long(&values)]),
        (
            "two integers",
            vec![long(&keys), long(&keys)],
            vec![long(&values), long(&values)],
        ),
        ("one text", vec![text(&keys)], vec![text(&values)]),
    ] {
        let named = key
            .into_iter()
            .enumerate()
            .map(|(at, key)| (format!("k{at}"), key));
        let set = KeySet::try_new(&RecordBatch::try_from_iter(named).unwrap()).unwrap();
        let (start, mut hits) = (Instant::now(), 0);
        for _ in 0..64 {
            set.probe(&column, |_, _| hits += 1).unwrap();
        }
        let rows = 64 * values.len();
        let each = start.elapsed().as_secs_f64() * 1e9 / rows as f64;
        println!("{name}: {each:.1} ns a row, {hits} of {rows} rows hit");
    }
}
