//! Logs of real connectors: nothing in them is taken for sent again, and what is put behind them is.

use std::path::Path;

use tests::capture::{self, Record};

use super::harness::{Bench, events};

const CUSTOMERS: &str = "customer_id BIGINT NOT NULL, email TEXT";
const DROP: &str = "resends: drop";

fn fixture(name: &str) -> Vec<Record> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut records = capture::read(&folder.join(format!("{name}.jsonl")));
    for (offset, record) in records.iter_mut().enumerate() {
        record.partition = 0;
        record.offset = i64::try_from(offset).unwrap();
    }
    records
}

fn columns(name: &str) -> &'static str {
    match name {
        "customers" => CUSTOMERS,
        "docs" => "id BIGINT NOT NULL, title TEXT",
        "orders" => "id BIGINT NOT NULL, status TEXT",
        _ => "id BIGINT NOT NULL, t TEXT",
    }
}

/// `records` sent again behind `log`, as a connector does after a crash: only its own clock and the run differ.
fn sent_again(log: &mut Vec<Record>, records: &[Record]) {
    for record in records {
        let mut again = record.clone();
        again.offset = i64::try_from(log.len()).unwrap();
        again.payload = record.payload.as_ref().map(|text| {
            // In place: the rest of the text stays as the converter wrote it.
            let own = text.rfind("\"ts_ms\":").unwrap();
            let end = own + text[own..].find([',', '}']).unwrap();
            format!("{}\"ts_ms\":1{}", &text[..own], &text[end..])
        });
        for (name, value) in &mut again.headers {
            if name == "__debezium.context.runId" {
                value.push_str("-again");
            }
        }
        log.push(again);
    }
}

/// What of a suffix is sent again: everything but snapshot rows.
fn streamed(record: &Record) -> bool {
    record.payload.is_none() || record.event()["op"] != "r"
}

async fn bench(name: &str, log: &[Record], resends: &str, batch: usize) -> Bench {
    let mut bench = Bench::new();
    bench.columns = columns(name).to_owned();
    bench.put(log);
    bench.run(resends, batch).await.unwrap();
    bench
}

#[tokio::test]
async fn nothing_in_a_captured_log_is_taken_for_sent_again() {
    let mut streaming = 0;
    for name in ["customers", "docs", "orders", "all_types"] {
        let log = fixture(name);
        streaming += log.iter().filter(|record| streamed(record)).count();
        let bench = bench(name, &log, DROP, 100).await;
        assert_eq!(bench.offsets(), events(&log), "{name}");
        assert_eq!((bench.resends(), bench.jumps()), (0, 0), "{name}");
    }
    tests::note::figure(&format!(
        "resends: 0 of {streaming} streamed records of captured logs dropped"
    ));
}

#[tokio::test]
async fn a_suffix_sent_again_is_dropped_with_its_tombstones_whatever_the_batches() {
    let log = fixture("customers");
    for (length, batch) in [(1, 64), (2, 1_000), (37, 7), (300, 50), (1_327, 400)] {
        let mut all = log.clone();
        let suffix: Vec<Record> = (log[log.len() - length..].iter())
            .filter(|record| streamed(record))
            .cloned()
            .collect();
        // A tombstone alone is not known: the connector never sends one without its delete.
        let lone = usize::from(suffix[0].payload.is_none());
        sent_again(&mut all, &suffix[lone..]);
        let bench = bench("customers", &all, DROP, batch).await;
        assert_eq!(bench.offsets(), events(&log), "{length} by {batch}");
        let again = (suffix.len() - lone) as u64;
        assert_eq!((bench.resends(), bench.jumps()), (again, 0), "{length}");
        let tombstones = log.iter().filter(|r| r.payload.is_none()).count() as u64;
        assert_eq!(bench.tombstones(), tombstones, "{length}");
    }
}

#[tokio::test]
async fn a_crash_at_every_place_of_a_small_log_changes_nothing() {
    for name in ["docs", "orders"] {
        let log = fixture(name);
        // Never between a delete and its tombstone: they are one step of the connector.
        let ends =
            (1..=log.len()).filter(|died| log.get(*died).is_none_or(|next| next.payload.is_some()));
        for died in ends {
            let from = (0..died).filter(|at| log[*at].payload.is_some());
            for from in from.step_by(3) {
                let mut all = log[..died].to_vec();
                let before = all.len();
                sent_again(&mut all, &log[from..died]);
                let again = (all.len() - before) as u64;
                // Then it goes on where it died.
                let rest = all.len();
                all.extend_from_slice(&log[died..]);
                for (offset, record) in all.iter_mut().enumerate().skip(rest) {
                    record.offset = i64::try_from(offset).unwrap();
                }
                let expected: Vec<i64> = (events(&all).into_iter())
                    .filter(|offset| {
                        let at = usize::try_from(*offset).unwrap();
                        at < before || at >= rest
                    })
                    .collect();
                let bench = bench(name, &all, DROP, 5).await;
                assert_eq!(bench.offsets(), expected, "{name} {from}..{died}");
                assert_eq!((bench.resends(), bench.jumps()), (again, 0));
            }
        }
    }
}

#[tokio::test]
async fn keep_keeps_everything_and_leaves_nothing_beside_the_table() {
    let mut log = fixture("docs");
    let again = log.clone();
    sent_again(&mut log, &again);
    let bench = bench("docs", &log, "resends: keep", 4).await;
    assert_eq!(bench.offsets(), events(&log));
    assert_eq!(bench.resends(), 0);
    assert_eq!(bench.files(), Vec::<String>::new());
}
