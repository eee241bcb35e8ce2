//! Random changes against a map.

use std::collections::BTreeMap;

use engine::spec::model::WriteMode;
use proptest::prelude::*;

use crate::lake::maintain::{eager, eager_later};

use super::harness::{Bench, Kind, Plain, Shape, Writer, change, plain, truncate};

#[derive(Debug, Clone)]
enum Event {
    /// Rows, as id, region and number, and ids that go.
    Change(BTreeMap<i64, (Option<usize>, Option<i64>)>, Vec<i64>),
    Truncate(BTreeMap<i64, (Option<usize>, Option<i64>)>),
    /// Another writer adds rows with keys that nobody has.
    Append(i64),
    /// Maintenance: of what there is now, or of what there will be in eight days.
    Maintain(bool),
    Reopen,
}

const REGIONS: [&str; 3] = ["eu", "us", "a/b c"];

fn rows(most: usize) -> impl Strategy<Value = BTreeMap<i64, (Option<usize>, Option<i64>)>> {
    let row = (
        prop::option::weighted(0.9, 0..REGIONS.len()),
        prop::option::weighted(0.9, 0_i64..3),
    );
    prop::collection::btree_map(0_i64..60, row, 0..most)
}

fn event() -> impl Strategy<Value = Event> {
    let deletes = prop::collection::btree_set(0_i64..60, 0..6);
    let change = (rows(25), deletes).prop_map(|(rows, deletes)| {
        let deletes = deletes
            .into_iter()
            .filter(|id| !rows.contains_key(id))
            .collect();
        Event::Change(rows, deletes)
    });
    prop_oneof![
        14 => change,
        1 => rows(10).prop_map(Event::Truncate),
        2 => (1_i64..5).prop_map(Event::Append),
        2 => any::<bool>().prop_map(Event::Maintain),
        1 => Just(Event::Reopen),
    ]
}

fn as_plain(rows: &BTreeMap<i64, (Option<usize>, Option<i64>)>) -> Vec<Plain<'static>> {
    rows.iter()
        .map(|(id, (region, n))| (*id, region.map(|at| REGIONS[at]), *n))
        .collect()
}

fn text(row: &Plain<'_>) -> String {
    let n = row.2.map_or("∅".to_owned(), |n| n.to_string());
    format!("{}|{}|{n}", row.0, row.1.unwrap_or("∅"))
}

/// An Iceberg table is written in one mode after the other.
async fn follows_the_model(kind: Kind, shape: Shape, modes: [WriteMode; 2], events: &[Event]) {
    let mut bench = Bench::new(kind, shape);
    let mut modes = modes.into_iter().cycle();
    bench.shape.write_mode = modes.next().unwrap();
    let mut writer = bench.writer().await;
    let mut other = Writer::of(bench.try_open("other").await.unwrap());
    let mut model: BTreeMap<i64, Plain<'static>> = BTreeMap::new();
    let mut foreign = 1_000;
    for event in events {
        let before = model.clone();
        let receipt = match event {
            Event::Change(rows, deletes) => {
                let rows = as_plain(rows);
                model.retain(|id, _| !deletes.contains(id));
                model.extend(rows.iter().map(|row| (row.0, *row)));
                Some((writer.apply(&change(&rows, deletes)).await, rows))
            }
            Event::Truncate(rows) => {
                let rows = as_plain(rows);
                model = rows.iter().map(|row| (row.0, *row)).collect();
                writer.apply(&truncate(&rows)).await;
                None
            }
            Event::Append(count) => {
                let rows: Vec<Plain<'_>> = (foreign..foreign + count)
                    .map(|id| (id, Some("us"), Some(0)))
                    .collect();
                foreign += count;
                model.extend(rows.iter().map(|row| (row.0, *row)));
                let span = other.next().await;
                other.sink.write(&[plain(&rows)], &span).await.unwrap();
                None
            }
            Event::Maintain(later) => {
                // Of a Delta table each version's change feed is read in the end: none may expire.
                let later = *later && kind != Kind::Delta;
                let policy = if later { eager_later() } else { eager() };
                writer.sink.maintain(&policy).await.unwrap();
                None
            }
            Event::Reopen => {
                bench.shape.write_mode = modes.next().unwrap();
                writer = bench.writer().await;
                None
            }
        };
        if let Some((receipt, rows)) = receipt {
            let changed = rows
                .iter()
                .filter(|row| bench.writes_blindly() || before.get(&row.0) != Some(row));
            assert_eq!(receipt.rows, changed.count() as u64);
        }
    }
    let mut expected: Vec<_> = model.values().map(text).collect();
    expected.sort();
    assert_eq!(bench.rows().await, expected);
    if kind == Kind::Delta {
        bench.feed_tells_every_version();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn fifty_random_changes(
        events in prop::collection::vec(event(), 50..51),
        kind in prop_oneof![
            1 => Just((Kind::Memory, false)),
            2 => Just((Kind::Delta, false)),
            2 => Just((Kind::Delta, true)),
            3 => Just((Kind::Iceberg, false)),
            3 => Just((Kind::Iceberg, true)),
        ],
        modes in prop::array::uniform2(prop_oneof![Just(WriteMode::MergeOnRead), Just(WriteMode::CopyOnWrite)]),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shape = if kind.1 { Shape::partitioned() } else { Shape::plain() };
        runtime.block_on(follows_the_model(kind.0, shape, modes, &events));
    }
}
