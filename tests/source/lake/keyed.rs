//! A target that is kept by key equals the table, whatever the batches and restarts.

use engine::source::lake::LakeOptions;
use engine::spec::model::LakeStart;
use sql::change::{Op, Position, RejectReason};
use sql::feed::ChangeFeed;
use sql::versioned::MemoryTable;
use tests::workload::Random;

use super::support::*;

async fn replicated(table: &MemoryTable, size: usize) -> Target {
    let mut target = Target::default();
    let mut feed = sought(table, keyed(), &Position::new()).await;
    while let Some(batch) = feed.next(&limit(size)).await.unwrap() {
        target.apply(&batch);
    }
    target
}

#[tokio::test]
async fn rows_that_exchange_keys_within_a_version_stay_two() {
    let table = table();
    commit(
        &table,
        &[("insert", 1, "a"), ("insert", 2, "b"), ("insert", 3, "c")],
    );
    // A swap.
    commit(
        &table,
        &[
            ("update_preimage", 1, "a"),
            ("update_postimage", 2, "a"),
            ("update_preimage", 2, "b"),
            ("update_postimage", 1, "b"),
        ],
    );
    // A chain: each takes the next one's key.
    commit(
        &table,
        &[
            ("update_preimage", 1, "b"),
            ("update_postimage", 2, "b"),
            ("update_preimage", 2, "a"),
            ("update_postimage", 3, "a"),
            ("update_preimage", 3, "c"),
            ("update_postimage", 4, "c"),
        ],
    );
    for size in [1, 2, 3, 4, 5, 6, 7, 100] {
        assert_eq!(
            replicated(&table, size).await,
            truth(&table).await,
            "batches of {size}"
        );
    }
}

#[tokio::test]
async fn an_image_before_is_a_delete_only_where_the_key_changes() {
    let table = table();
    commit(&table, &[("insert", 1, "a"), ("insert", 2, "b")]);
    commit(
        &table,
        &[
            ("update_preimage", 1, "a"),
            ("update_postimage", 1, "A"),
            ("update_preimage", 2, "b"),
            ("update_postimage", 5, "b"),
        ],
    );
    let mut feed = sought(&table, keyed(), &at(&[(0, 1)])).await;
    let batch = feed.next(&limit(100)).await.unwrap().unwrap();
    assert_eq!(batch.meta().ops, [Op::Delete, Op::Update, Op::Update]);
    assert_eq!(
        rows(&batch),
        [
            "2 update_preimage 2 b",
            "2 update_postimage 1 A",
            "2 update_postimage 5 b"
        ]
    );
    assert_eq!((batch.counts().records, batch.counts().control), (4, 1));
}

#[tokio::test]
async fn a_version_that_is_split_gives_its_removals_first() {
    let table = table();
    inserts(&table, 0..4);
    commit(
        &table,
        &[
            ("insert", 10, "n"),
            ("delete", 0, "x"),
            ("insert", 11, "n"),
            ("delete", 1, "x"),
            ("insert", 0, "again"),
        ],
    );
    let mut feed = sought(&table, keyed(), &at(&[(0, 1)])).await;
    let half = 1_i64 << 39;
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(batch.meta().ops, [Op::Delete; 2]);
    assert_eq!(batch.span().to(), &at(&[(1, 4)]));
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(batch.meta().ops, [Op::Create; 2]);
    assert!(batch.span().to().iter().all(|(_, value)| value > half));
    let batch = feed.next(&limit(2)).await.unwrap().unwrap();
    assert_eq!(rows(&batch), ["2 insert 0 again"]);
    assert_eq!(batch.span().to(), &at(&[(0, 2), (1, 2 * half)]));
}

#[tokio::test]
async fn rows_without_a_key_are_set_aside() {
    use arrow::array::{Int64Array, StringArray};
    let table = table();
    let changes = changes(&[("insert", 1, "a"), ("insert", 2, "b")]);
    let columns = vec![
        std::sync::Arc::new(Int64Array::from(vec![Some(1), None])) as _,
        std::sync::Arc::clone(changes.column(1)),
        std::sync::Arc::new(StringArray::from(vec!["insert", "insert"])) as _,
    ];
    let changes = arrow::array::RecordBatch::try_new(changes.schema(), columns).unwrap();
    table.commit(changes, micros(1)).unwrap();
    let mut feed = sought(&table, keyed(), &Position::new()).await;
    let batch = feed.next(&limit(10)).await.unwrap().unwrap();
    assert_eq!(rows(&batch), ["1 insert 1 a"]);
    let reject = &batch.rejects()[0];
    assert_eq!(reject.reason, RejectReason::MissingKey);
    assert_eq!(
        reject.record.value.as_deref(),
        Some(&br#"{"id":null,"name":"b"}"#[..])
    );
    assert_eq!(reject.record.offset, (1 << 32) + 1);
}

/// Random versions: inserts, updates, deletes, changed keys, swapped keys, keys that come back, compactions.
fn workload(random: &mut Random, versions: usize) -> MemoryTable {
    let table = table();
    table.batches_of(1 + random.below(7));
    let mut rows: Vec<(i64, String)> = Vec::new();
    for version in 0..versions {
        if random.below(6) == 0 {
            table.compact(micros(0)).unwrap();
            continue;
        }
        let mut made: Vec<(&str, i64, String)> = Vec::new();
        let mut after: Vec<(i64, String)> = Vec::new();
        // The keys that are free once the version has taken away what it does.
        let mut free: Vec<i64> = (0..40)
            .filter(|id| rows.iter().all(|(used, _)| used != id))
            .collect();
        let mut moved = Vec::new();
        for (id, name) in rows.drain(..) {
            match random.below(8) {
                0 => {
                    made.push(("delete", id, name));
                    free.push(id);
                }
                1 => {
                    let name_after = format!("v{version}");
                    made.push(("update_preimage", id, name));
                    made.push(("update_postimage", id, name_after.clone()));
                    after.push((id, name_after));
                }
                2 => {
                    free.push(id);
                    moved.push((id, name));
                }
                _ => after.push((id, name)),
            }
        }
        for (id, name) in moved {
            let to = free.swap_remove(random.below(free.len()));
            made.push(("update_preimage", id, name.clone()));
            made.push(("update_postimage", to, name.clone()));
            after.push((to, name));
        }
        for _ in 0..random.below(8).min(free.len()) {
            let id = free.swap_remove(random.below(free.len()));
            made.push(("insert", id, format!("n{version}")));
            after.push((id, format!("n{version}")));
        }
        rows = after;
        if made.is_empty() {
            continue;
        }
        let shown: Vec<Change<'_>> = made
            .iter()
            .map(|(t, id, name)| (*t, *id, name.as_str()))
            .collect();
        table.commit(changes(&shown), micros(0)).unwrap();
    }
    table
}

#[tokio::test]
async fn random_versions_end_as_the_table_through_restarts() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let table = workload(&mut random, 25);
        let truth = truth(&table).await;
        let readable = sql::versioned::VersionedTable::refresh(&table)
            .await
            .unwrap();
        for _ in 0..3 {
            let start = if random.below(2) == 0 {
                LakeStart::Earliest
            } else {
                LakeStart::Snapshot
            };
            let options = || LakeOptions { start, ..keyed() };
            let (mut target, mut position) = (Target::default(), Position::new());
            let mut drained = false;
            while !drained {
                let mut feed = sought(&table, options(), &position).await;
                for _ in 0..=random.below(6) {
                    let size = [1, 2, 3, 5, 8, 40, 1000][random.below(7)];
                    let Some(batch) = feed.next(&limit(size)).await.unwrap() else {
                        drained = true;
                        break;
                    };
                    position.try_advance(batch.span()).unwrap();
                    target.apply(&batch);
                }
            }
            assert_eq!(target, truth, "seed {seed}, {start:?}");
            let done = position.iter().next().map(|(_, value)| value);
            assert_eq!(done, Some(readable.last), "seed {seed}");
        }
    }
}
