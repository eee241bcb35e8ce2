//! A target that is kept by key, whose source went back to an event that is not known: everything from there on is
//! applied again, and the table ends as the source is.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use proptest::prelude::*;
use serde_json::{Value, json};
use sql::Result;
use tests::capture::Record;

use super::harness::Bench;

const COLUMNS: &str = "id BIGINT PRIMARY KEY, name TEXT, body TEXT";
const UNSENT: &str = "__debezium_unavailable_value";
const DROP: &str = "resends: drop";

/// Name and body.
type Row = (String, String);

/// What a client does to the source: one transaction.
#[derive(Debug, Clone, Copy)]
enum Step {
    Insert(i64),
    /// Changes the name alone.
    Rename(i64),
    /// Changes both.
    Rewrite(i64),
    Delete(i64),
    Move(i64, i64),
    Swap(i64, i64),
    Truncate,
}

use Step::{Delete, Insert, Move, Rename, Rewrite, Swap, Truncate};

/// A PostgreSQL table and its log: the records of each transaction, without offsets.
#[derive(Default)]
struct Source {
    table: BTreeMap<i64, Row>,
    log: Vec<Vec<Record>>,
    /// Whether bodies that did not change are sent.
    whole: bool,
    lsn: u64,
    /// Transactions before the first one, in the clock.
    later: u64,
}

impl Source {
    fn of(whole: bool, steps: &[Step]) -> Self {
        let mut source = Self {
            whole,
            ..Self::default()
        };
        for step in steps {
            source.take(*step);
        }
        source
    }

    fn take(&mut self, step: Step) {
        self.log.push(Vec::new());
        let value = |what: &str, n: usize| format!("{what}{n}");
        let now = self.log.len();
        let fresh = (value("name", now), value("body", now));
        match step {
            Insert(key) if !self.table.contains_key(&key) => {
                self.table.insert(key, fresh);
                self.send("c", key, true, &[]);
            }
            Rename(key) => {
                if let Some(row) = self.table.get_mut(&key) {
                    row.0 = fresh.0;
                    self.send("u", key, false, &[]);
                }
            }
            Rewrite(key) => {
                if let Some(row) = self.table.get_mut(&key) {
                    *row = fresh;
                    self.send("u", key, true, &[]);
                }
            }
            Delete(key) => {
                if self.table.remove(&key).is_some() {
                    self.gone(key, &[]);
                }
            }
            Move(from, to) => self.rekey(from, to),
            Swap(one, other) => {
                self.rekey(one, 99);
                self.rekey(other, one);
                self.rekey(99, other);
            }
            Truncate => {
                self.table.clear();
                self.lsn += 10;
                let event = json!({ "op": "t", "source": self.source() });
                self.record(None, Some(&event), &[]);
            }
            Insert(_) => {}
        }
    }

    fn rekey(&mut self, from: i64, to: i64) {
        if self.table.contains_key(&to) {
            return;
        }
        let Some(row) = self.table.remove(&from) else {
            return;
        };
        self.table.insert(to, row);
        let header = |name: &str, key: i64| (format!("__debezium.{name}"), id(key));
        self.gone(from, &[header("newkey", to)]);
        // The halves of a key change share their place.
        self.lsn -= 10;
        self.send("c", to, false, &[header("oldkey", from)]);
    }

    fn gone(&mut self, key: i64, headers: &[(String, String)]) {
        self.lsn += 10;
        let before = json!({ "id": key, "name": "", "body": "" });
        let event = json!({ "op": "d", "before": before, "after": null, "source": self.source() });
        self.record(Some(key), Some(&event), headers);
        self.record(Some(key), None, headers);
    }

    fn send(&mut self, op: &str, key: i64, body: bool, headers: &[(String, String)]) {
        self.lsn += 10;
        let (name, large) = &self.table[&key];
        let large = if body || self.whole { large } else { UNSENT };
        let after = json!({ "id": key, "name": name, "body": large });
        let event = json!({ "op": op, "before": null, "after": after, "source": self.source() });
        self.record(Some(key), Some(&event), headers);
    }

    fn source(&self) -> Value {
        let transaction = self.log.len() as u64;
        let commit = 100_000 * transaction;
        json!({
            "connector": "postgresql", "name": "shop", "ts_ms": (self.later + transaction) * 1_000, "snapshot": "false",
            "db": "shop", "schema": "public", "table": "items", "txId": transaction, "lsn": commit + self.lsn % 100_000,
            "sequence": json!([commit.to_string(), self.lsn.to_string()]).to_string(),
        })
    }

    fn record(&mut self, key: Option<i64>, event: Option<&Value>, headers: &[(String, String)]) {
        let record = Record {
            partition: 0,
            offset: 0,
            timestamp: 1_700_000_000_000,
            headers: headers.to_vec(),
            key: key.map(id),
            payload: event.map(Value::to_string),
        };
        self.log.last_mut().unwrap().push(record);
    }
}

fn id(key: i64) -> String {
    json!({ "id": key }).to_string()
}

/// What the topic holds if the connector sends these stretches of the log, one after the other.
fn topic(source: &Source, stretches: &[Range<usize>]) -> Vec<Record> {
    let stretches = stretches.iter().cloned();
    let sent = stretches.flat_map(|stretch| source.log[stretch].iter().flatten().cloned());
    let numbered = (0_i64..).zip(sent);
    numbered
        .map(|(offset, record)| Record { offset, ..record })
        .collect()
}

fn rows(bench: &Bench) -> BTreeMap<i64, Row> {
    let mut rows = BTreeMap::new();
    for batch in bench.table.as_ref().unwrap().rows() {
        let text = |column: usize, row: usize| {
            let cast =
                arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Utf8);
            cast.unwrap().as_string::<i32>().value(row).to_owned()
        };
        let keys = batch.column(0).as_primitive::<Int64Type>();
        for (row, key) in keys.values().iter().enumerate() {
            let known = rows.insert(*key, (text(1, row), text(2, row)));
            assert_eq!(known, None, "the key {key} is there twice");
        }
    }
    rows
}

/// Runs it in batches of `batch` records, by an engine that is started again after every `life` records.
async fn run(records: &[Record], resends: &str, batch: usize, life: usize) -> Result<Bench> {
    let mut bench = Bench::keyed(COLUMNS);
    for some in records.chunks(life) {
        bench.put(some);
        bench.run(resends, batch).await?;
    }
    Ok(bench)
}

/// Insert, then changes of four rows again and again.
fn busy() -> Vec<Step> {
    let mut steps: Vec<Step> = (0..4).map(Insert).collect();
    for n in 0..6 {
        steps.extend([Rewrite(n % 4), Delete((n + 1) % 4), Rename((n + 2) % 4)]);
        steps.extend([Insert((n + 1) % 4), Move(n % 4, 10 + n), Insert(n % 4)]);
    }
    steps
}

/// MariaDB's connector did so: the rest of a transaction was not sent before the connector was started again.
#[tokio::test]
async fn a_gap_that_is_filled_late_leaves_no_row_that_the_source_deleted() {
    let source = Source::of(
        true,
        &[Insert(1), Rename(1), Rename(1), Delete(1), Insert(2)],
    );
    // The second update is skipped at first.
    let records = topic(&source, &[0..2, 3..4, 1..5]);
    for (batch, life) in [(100, 100), (1, 100), (1, 1), (3, 2)] {
        let bench = run(&records, DROP, batch, life).await.unwrap();
        assert_eq!(
            rows(&bench),
            source.table,
            "batches of {batch}, lives of {life}"
        );
        // The first update, which is known, is dropped; the second one and the delete are applied.
        assert_eq!(
            (bench.resends(), bench.jumps(), bench.reapplied()),
            (1, 1, 2)
        );
    }
}

#[tokio::test]
async fn more_sent_again_than_is_remembered_ends_as_the_source_is() {
    let source = Source::of(true, &busy());
    let all = source.log.len();
    let records = topic(&source, &[0..all, 5..all]);
    for (batch, life) in [(1_000, 1_000), (7, 1_000), (1, 9)] {
        let window = "resends: drop\n  resends_window: 5";
        let bench = run(&records, window, batch, life).await.unwrap();
        assert_eq!(
            rows(&bench),
            source.table,
            "batches of {batch}, lives of {life}"
        );
        assert_eq!((bench.resends(), bench.jumps()), (0, 1));
    }
}

#[tokio::test]
async fn a_connector_that_dies_while_it_sends_again_goes_back_once_more() {
    let source = Source::of(true, &busy());
    let all = source.log.len();
    // From before the gap, from after it, and from before it once more.
    for again in [
        vec![6..20, 4..all],
        vec![8..20, 9..all],
        vec![6..20, 12..all],
    ] {
        let mut stretches = vec![0..8, 10..all];
        stretches.extend(again);
        let records = topic(&source, &stretches);
        for (batch, life) in [(1_000, 1_000), (3, 11)] {
            let bench = run(&records, DROP, batch, life).await.unwrap();
            assert_eq!(
                rows(&bench),
                source.table,
                "{stretches:?}, batches of {batch}"
            );
        }
    }
}

/// After the way back is over, what is sent again is dropped as before.
#[tokio::test]
async fn afterwards_events_sent_again_are_dropped() {
    let source = Source::of(
        false,
        &[
            Insert(1),
            Insert(2),
            Rename(1),
            Rename(2),
            Swap(1, 2),
            Rename(1),
        ],
    );
    let records = topic(&source, &[0..2, 3..4, 2..6, 2..6, 3..6]);
    for (batch, life) in [(100, 100), (2, 5)] {
        let bench = run(&records, DROP, batch, life).await.unwrap();
        assert_eq!(rows(&bench), source.table);
        // The skipped update, and the one after it.
        assert_eq!((bench.jumps(), bench.reapplied()), (1, 2));
    }
}

/// To apply the swap again would exchange the two bodies, which are not sent: nobody would notice.
#[tokio::test]
async fn a_swap_with_unsent_values_is_refused_rather_than_exchanged() {
    let steps = [Insert(1), Insert(2), Insert(3), Swap(1, 2), Rename(3)];
    let source = Source::of(false, &steps);
    let records = topic(&source, &[0..2, 3..4, 2..5]);
    for life in [1, 100] {
        let Err(error) = run(&records, DROP, 1, life).await else {
            panic!("two rows are exchanged");
        };
        let report = error.report();
        for words in [
            "`body`",
            "sent again",
            "incremental snapshot",
            "sink.unavailable",
        ] {
            assert!(report.contains(words), "{words} is not in\n{report}");
        }
    }
    // Whole rows can be applied again.
    let source = Source::of(true, &steps);
    let records = topic(&source, &[0..2, 3..4, 2..5]);
    let bench = run(&records, DROP, 1, 1).await.unwrap();
    assert_eq!(rows(&bench), source.table);
}

/// What is applied again in the same batch has its values there.
#[tokio::test]
async fn a_key_change_takes_values_along_that_came_again_in_its_batch() {
    let source = Source::of(
        false,
        &[Insert(1), Insert(2), Rewrite(1), Move(1, 5), Rename(5)],
    );
    let records = topic(&source, &[0..1, 2..4, 1..5]);
    let bench = run(&records, DROP, 100, 100).await.unwrap();
    assert_eq!(rows(&bench), source.table);
}

/// The update is older than the delete that took its row away.
#[tokio::test]
async fn an_update_with_unsent_values_of_a_row_that_is_gone_by_now_does_not_stop_the_pipeline() {
    let source = Source::of(
        false,
        &[
            Insert(1),
            Insert(2),
            Rename(1),
            Rename(1),
            Delete(1),
            Rename(2),
        ],
    );
    let records = topic(&source, &[0..1, 2..5, 1..6]);
    for batch in [1, 2, 3, 100] {
        let bench = run(&records, DROP, batch, 100).await.unwrap();
        assert_eq!(rows(&bench), source.table, "batches of {batch}");
    }
}

/// Other times: the changes are new, whatever their positions say, and key changes take their values from the table.
#[tokio::test]
async fn a_restored_source_goes_on_from_a_lower_position() {
    let mut source = Source::of(
        false,
        &[Insert(1), Insert(2), Rename(1), Rename(2), Rename(1)],
    );
    let mut records = topic(&source, &[0..2, 2..5]);
    source.log.truncate(2);
    source.later = 1_000;
    for step in [Swap(1, 2), Rename(1), Move(2, 7)] {
        source.take(step);
    }
    let after = topic(&source, &[2..3, 3..5]);
    let first = records.len() as i64;
    records.extend(after.into_iter().map(|record| Record {
        offset: first + record.offset,
        ..record
    }));
    let bench = run(&records, DROP, 1, 100).await.unwrap();
    assert_eq!(rows(&bench), source.table);
    assert_eq!((bench.jumps(), bench.reapplied()), (1, 0));
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..6_i64;
    let step = prop_oneof![
        5 => key.clone().prop_map(Insert),
        3 => key.clone().prop_map(Rename),
        3 => key.clone().prop_map(Rewrite),
        2 => key.clone().prop_map(Delete),
        2 => (key.clone(), key.clone()).prop_map(|(a, b)| Move(a, b)),
        2 => (key.clone(), key).prop_map(|(a, b)| Swap(a, b)),
        1 => Just(Truncate),
    ];
    prop::collection::vec(step, 1..40)
}

/// What the connector does next.
#[derive(Debug, Clone, Copy)]
enum Moves {
    Sends(usize),
    Skips(usize),
    GoesBack(usize),
}

fn moves() -> impl Strategy<Value = Vec<Moves>> {
    let next = prop_oneof![
        4 => (1..12usize).prop_map(Moves::Sends),
        1 => (1..4usize).prop_map(Moves::Skips),
        2 => (1..15usize).prop_map(Moves::GoesBack),
    ];
    prop::collection::vec(next, 0..12)
}

/// The stretches that the connector sends; in the end it has filled all its gaps.
fn sent(moves: &[Moves], all: usize, back: usize) -> Vec<Range<usize>> {
    let (mut at, mut gap, mut sent) = (0, all, Vec::new());
    for next in moves {
        match *next {
            Moves::Sends(some) => {
                let to = all.min(at + some);
                sent.push(at..to);
                at = to;
            }
            Moves::Skips(some) => {
                gap = gap.min(at);
                at = all.min(at + some);
            }
            Moves::GoesBack(some) => at = at.saturating_sub(some),
        }
    }
    sent.push(at.min(gap).saturating_sub(back)..all);
    sent
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whole_rows_end_as_the_source_is(
        steps in steps(), moves in moves(), back in 0..9usize, window in 1..30usize, batch in 1..30usize,
        life in 1..60usize,
    ) {
        let source = Source::of(true, &steps);
        let records = topic(&source, &sent(&moves, source.log.len(), back));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let resends = format!("resends: drop\n  resends_window: {window}");
        if !records.is_empty() {
            let bench = runtime.block_on(run(&records, &resends, batch, life)).unwrap();
            prop_assert_eq!(rows(&bench), source.table);
        }
    }

    /// Values that are not sent are right or refused, but never another row's.
    #[test]
    fn unsent_values_are_right_or_refused(
        steps in steps(), moves in moves(), back in 0..9usize, batch in 1..30usize, life in 1..60usize,
    ) {
        let source = Source::of(false, &steps);
        let records = topic(&source, &sent(&moves, source.log.len(), back));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        if !records.is_empty() {
            match runtime.block_on(run(&records, DROP, batch, life)) {
                Ok(bench) => prop_assert_eq!(rows(&bench), source.table),
                Err(error) => prop_assert!(error.report().contains("`body`"), "{}", error.report()),
            }
        }
    }
}
