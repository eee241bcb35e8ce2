//! The files of windows: what they hold, how many there are, and when they go.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use engine::resend::{Part, Retired, Segment, WindowStore};
use engine::sink::Sidecar;
use engine::sink::memory::MemoryTable;
use sql::change::{
    LastDelete, Mark, Partition, Position, Recollection, Remembered, SamePlace, Span, Tail,
};

fn partition() -> Partition {
    Partition::new("shop.public.items", 3)
}

fn at(next: i64) -> Position {
    Position::from_iter([(partition(), next)])
}

fn tail(lsn: u64) -> Tail {
    Tail {
        marks: [(9, Mark::Lsn { commit: 5, lsn })].into(),
        last_delete: Some(LastDelete {
            key: u128::MAX - 1,
            resend: true,
        }),
        same_place: SamePlace {
            run: u64::MAX,
            place: 3,
            counts: [(4, 2)].into(),
        },
        grace: 0,
        latest_micros: None,
        again: None,
    }
}

fn adds(identities: std::ops::Range<u128>, lsn: u64) -> Remembered {
    let recollection = Recollection {
        identities: identities.collect(),
        tail: tail(lsn),
        ..Recollection::default()
    };
    [(partition(), recollection)].into()
}

async fn load(table: &MemoryTable, window: usize, next: i64) -> (WindowStore, Vec<u128>, Tail) {
    let files: Arc<dyn Sidecar> = Arc::new(table.clone());
    let (store, known) = WindowStore::load(files, "p", window, &at(next))
        .await
        .unwrap();
    let recollection = known.get(&partition()).cloned().unwrap_or_default();
    (store, recollection.identities, recollection.tail)
}

async fn commit(store: &mut WindowStore, from: Option<i64>, to: i64, added: &Remembered) {
    let after = from.map_or_else(Position::new, at);
    let span = Span::try_new(&after, &at(to)).unwrap();
    store.write(&span, added).await.unwrap();
    store.committed().await;
}

fn table() -> MemoryTable {
    MemoryTable::new(Arc::new(Schema::empty()))
}

async fn empty(table: &MemoryTable, window: usize) -> WindowStore {
    let files: Arc<dyn Sidecar> = Arc::new(table.clone());
    let loaded = WindowStore::load(files, "p", window, &Position::new()).await;
    loaded.unwrap().0
}

#[test]
fn a_segment_is_read_as_it_was_written() {
    let segment = Segment {
        pipeline: "p".to_owned(),
        topic: "shop.public.items".to_owned(),
        partition: 3,
        to: 12,
        older: vec![Part {
            to: 7,
            identities: 3,
        }],
        retired: vec![Retired {
            last: 5,
            at_micros: 1_700_000_000_000_000,
        }],
        tail: Tail {
            marks: [
                (
                    u64::MAX,
                    Mark::Lsn {
                        commit: 5,
                        lsn: u64::MAX,
                    },
                ),
                (
                    1,
                    Mark::Binlog {
                        file: 3,
                        position: 4,
                        row: 5,
                    },
                ),
            ]
            .into(),
            ..tail(1)
        },
        identities: vec![0, 1, u128::MAX],
    };
    let bytes = segment.encode().unwrap();
    assert_eq!(Segment::decode(&bytes, "here").unwrap(), segment);
    // Whatever single byte is changed or wherever it is cut: it is noticed.
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        assert!(Segment::decode(&bad, "here").is_err(), "byte {at}");
        assert!(
            Segment::decode(&bytes[..at], "here").is_err(),
            "cut at {at}"
        );
    }
}

#[tokio::test]
async fn every_position_that_was_committed_has_its_window() {
    let table = table();
    let mut store = empty(&table, 40).await;
    let mut from = None;
    // Batches of different sizes; one without events; more commits than one chain has.
    let mut ends = Vec::new();
    let mut identities = 0u128;
    for n in 0..130i64 {
        let to = (n + 1) * 10;
        let many = [3, 0, 1, 60, 0, 5][usize::try_from(n % 6).unwrap()];
        let added = if many == 0 && n % 12 == 1 {
            Remembered::new()
        } else {
            adds(identities..identities + many, u64::try_from(n).unwrap())
        };
        commit(&mut store, from, to, &added).await;
        identities += many;
        ends.push((to, identities));
        from = Some(to);
    }
    for (to, end) in ends {
        let (_, known, _) = load(&table, 40, to).await;
        let expected: Vec<u128> = (end.saturating_sub(40)..end).collect();
        assert_eq!(known, expected, "at {to}");
    }
    let (_, known, tail) = load(&table, 7, 1_300).await;
    assert_eq!(known.len(), 7, "a shorter window remembers less");
    assert_eq!(tail.marks.len(), 1);
    let (_, known, _) = load(&table, 10_000, 1_300).await;
    assert!(known.len() >= 40, "a longer one what there is");
}

#[tokio::test]
async fn what_a_commit_writes_follows_the_batch_and_not_the_window() {
    let table = table();
    let mut store = empty(&table, 100_000).await;
    commit(&mut store, None, 1, &adds(0..100_000, 1)).await;
    let mut sizes = Vec::new();
    for n in 1..=89i64 {
        let first = 100_000 + u128::try_from(n).unwrap();
        commit(&mut store, Some(n), n + 1, &adds(first..first + 1, 1)).await;
        let file = format!("_engine/p/resends/shop.public.items/3/{:020}.window", n + 1);
        sizes.push(table.files()[&file].len());
    }
    let whole = sizes.iter().filter(|size| **size > 1_000_000).count();
    assert_eq!(whole, 1, "one of a hundred is whole: {sizes:?}");
    let largest = sizes.iter().filter(|size| **size < 1_000_000).max();
    assert!(largest.is_some_and(|size| *size < 4_000), "{sizes:?}");
    // A restart in the middle of a chain goes on with it.
    let (mut store, known, _) = load(&table, 100_000, 90).await;
    assert_eq!(known.len(), 100_000);
    commit(&mut store, Some(90), 91, &adds(500_000..500_001, 1)).await;
    let file = format!("_engine/p/resends/shop.public.items/3/{:020}.window", 91);
    assert!(table.files()[&file].len() < 8_000);
}

#[tokio::test]
async fn files_that_no_window_needs_go_after_a_while_and_not_before() {
    let files = |table: &MemoryTable| {
        let files = table.files().into_keys();
        files.filter(|file| file.ends_with(".window")).count()
    };
    let (kept, gone) = (table(), table());
    let mut keeps = empty(&kept, 10).await;
    let mut tidies = empty(&gone, 10).await.keeping(Duration::ZERO);
    let mut from = None;
    for to in 1..=151i64 {
        let first = u128::try_from(to).unwrap();
        commit(&mut keeps, from, to, &adds(first..first + 1, 1)).await;
        commit(&mut tidies, from, to, &adds(first..first + 1, 1)).await;
        from = Some(to);
    }
    assert_eq!(files(&kept), 151, "for a table that is restored");
    assert_eq!(files(&gone), 1, "the last one is whole");
    let (_, known, _) = load(&gone, 10, 151).await;
    assert_eq!(known, (142..=151).collect::<Vec<u128>>());
    // The list of what may go some day survives a restart.
    let (store, ..) = load(&kept, 10, 151).await;
    let mut store = store.keeping(Duration::ZERO);
    for to in 152..=201i64 {
        let first = u128::try_from(to).unwrap();
        commit(&mut store, Some(to - 1), to, &adds(first..first + 1, 1)).await;
    }
    assert_eq!(files(&kept), 1);
}

#[tokio::test]
async fn a_part_that_is_gone_shortens_the_window() {
    let table = table();
    let mut store = empty(&table, 100).await;
    for to in 1..=10i64 {
        let first = u128::try_from(to).unwrap();
        let from = (to > 1).then_some(to - 1);
        commit(&mut store, from, to, &adds(first..first + 1, 1)).await;
    }
    let part = format!("_engine/p/resends/shop.public.items/3/{:020}.window", 6);
    table.delete(&part).await.unwrap();
    let (_, known, _) = load(&table, 100, 10).await;
    assert_eq!(known, (7..=10).collect::<Vec<u128>>());
}
