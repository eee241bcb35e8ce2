//! Any log, any crashes of the connector, any batches, any restarts and failures of the engine: `drop` writes the log
//! without what was sent again, `keep` writes everything.

use engine::sink::memory::Fault;
use proptest::prelude::*;
use sql::ErrorKind;
use tests::capture::Record;

use super::harness::{Bench, events};
use super::simulated::{Change, Topic};
use crate::run::doubles::{Script, Step};

/// What happens next at the source.
#[derive(Debug, Clone)]
enum Happens {
    /// A transaction of statements; a statement changes so many rows at one LSN (more than one: COPY).
    Transaction(Vec<(Statement, u8)>),
    /// The connector dies and goes on from so many changes before.
    Crash(u8),
    SnapshotRow(u8),
}

#[derive(Debug, Clone, Copy)]
enum Statement {
    Insert(u8),
    Update(u8),
    Delete(u8),
}

/// What the engine does between two pieces of the log.
#[derive(Debug, Clone)]
struct Run {
    /// Records that are in the topic by then, in thousandths.
    until: u16,
    batch: usize,
    fault: u8,
}

fn happens() -> impl Strategy<Value = Happens> {
    let statement = prop_oneof![
        (0..6u8).prop_map(Statement::Insert),
        (0..6u8).prop_map(Statement::Update),
        (0..6u8).prop_map(Statement::Delete),
    ];
    prop_oneof![
        6 => prop::collection::vec((statement, 1..4u8), 1..5).prop_map(Happens::Transaction),
        2 => (0..20u8).prop_map(Happens::Crash),
        1 => (0..6u8).prop_map(Happens::SnapshotRow),
    ]
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let run = (0..1000u16, 1..40usize, 0..6u8).prop_map(|(until, batch, fault)| Run {
        until,
        batch,
        fault,
    });
    prop::collection::vec(run, 0..5)
}

/// The topic that these happenings make. `keyed` or a table without a key, whose rows may be equal.
fn topic(happenings: &[Happens], keyed: bool) -> Topic {
    let mut topic = Topic::new(true);
    let mut sent: Vec<Change> = Vec::new();
    let (mut transaction, mut lsn, mut commit) = (500, 1_000, 900);
    for happening in happenings {
        match happening {
            Happens::SnapshotRow(key) => topic.send_snapshot_row(i64::from(*key)),
            Happens::Crash(back) => {
                topic.restart();
                let mut from = sent.len().saturating_sub(usize::from(*back));
                // A connector goes on at a position, not between two events of one.
                while from > 0 && from < sent.len() && sent[from].lsn == sent[from - 1].lsn {
                    from -= 1;
                }
                for change in &sent[from..] {
                    topic.send(change, true);
                }
            }
            Happens::Transaction(statements) => {
                transaction += 1;
                for (statement, rows) in statements {
                    lsn += 40;
                    let (op, key, rows) = match *statement {
                        Statement::Insert(key) => ("c", key, *rows),
                        Statement::Update(key) => ("u", key, 1),
                        Statement::Delete(key) => ("d", key, 1),
                    };
                    for row in 0..rows {
                        let key = i64::from(key) + if keyed { i64::from(row) } else { 0 };
                        let change = Change {
                            op,
                            key: keyed.then_some(key),
                            value: format!("v{}", lsn % 3),
                            transaction,
                            commit_before: commit,
                            lsn,
                        };
                        topic.send(&change, false);
                        sent.push(change);
                    }
                }
                commit = lsn + 10;
                lsn = commit;
            }
        }
    }
    topic
}

/// Feeds the topic piece by piece to one engine after the other.
async fn run(topic: &Topic, runs: &[Run], resends: &str) -> Bench {
    let mut bench = Bench::new();
    let mut runs = runs.to_vec();
    runs.sort_by_key(|run| run.until);
    let mut put = 0;
    for run in &runs {
        let until = topic.records.len() * usize::from(run.until) / 1000;
        bench.put(&topic.records[put..until.max(put)]);
        put = until.max(put);
        let died = match run.fault {
            // The commit fails and is tried again; or it landed and nobody knows; or the engine dies.
            1 => {
                fail_next(&bench, Fault::BeforeCommit);
                false
            }
            2 => {
                fail_next(&bench, Fault::LostAnswer);
                false
            }
            3 | 4 => {
                bench.script = Script::new(&[Step::Fail(ErrorKind::Storage)]);
                true
            }
            _ => false,
        };
        let ended = bench.run(resends, run.batch).await;
        bench.script = Script::new(&[]);
        if let Err(error) = ended {
            assert!(died, "{}", error.report());
        }
    }
    bench.put(&topic.records[put..]);
    bench.run(resends, 13).await.unwrap();
    bench
}

fn fail_next(bench: &Bench, fault: Fault) {
    if let Some(table) = &bench.table {
        table.fail_next(fault);
    }
}

fn check(topic: &Topic, runs: &[Run]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (dropped, kept) = runtime.block_on(async {
        let dropped = run(topic, runs, "resends: drop").await;
        (dropped, run(topic, runs, "resends: keep").await)
    });
    assert_eq!(dropped.offsets(), topic.expected_rows());
    let tombstones = |records: &mut dyn Iterator<Item = &Record>| {
        records.filter(|record| record.payload.is_none()).count() as u64
    };
    assert_eq!(dropped.resends(), topic.again());
    let first = |record: &&Record| topic.first.contains(&record.offset);
    assert_eq!(
        dropped.tombstones(),
        tombstones(&mut topic.records.iter().filter(first))
    );
    assert_eq!(dropped.jumps(), 0, "nothing went back but what is known");
    assert_eq!(kept.offsets(), events(&topic.records));
    assert_eq!(kept.resends(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn drop_is_the_log_without_what_was_sent_again(
        happenings in prop::collection::vec(happens(), 1..25), runs in runs(),
    ) {
        check(&topic(&happenings, true), &runs);
    }

    #[test]
    fn so_it_is_for_a_table_without_a_key(
        happenings in prop::collection::vec(happens(), 1..25), runs in runs(),
    ) {
        check(&topic(&happenings, false), &runs);
    }
}
