//! What a commit costs when the table is older, with maintenance and without.

use engine::maintain::{Policy, Report};
use engine::sink::{Sink as _, UpsertSink as _};

use crate::lake::harness::step;
use crate::lake::upsert::harness::{Bench, Kind, PIPELINE, Plain, Shape, change, many};

const ROWS: i64 = 20_000;
const CYCLE: usize = 20;
const COMMITS: usize = 200;

/// Ids that lie over the whole table, others in each commit.
fn scattered(commit: usize) -> Vec<Plain<'static>> {
    let commit = i64::try_from(commit).unwrap();
    let ids = (0..50).map(|at| (at * 397 + commit * 7919) % ROWS);
    let ids: std::collections::BTreeSet<i64> = ids.collect();
    ids.into_iter()
        .map(|id| (id, Some("us"), Some(commit)))
        .collect()
}

/// The bytes that each of the commits read, and what maintenance did after each cycle of them.
async fn costs(maintained: bool) -> (Vec<u64>, Report) {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut sink = bench.iceberg(PIPELINE).await.unwrap();
    let first = change(&many(0..ROWS, "eu", 1), &[]);
    sink.upsert(&first, &step(0, 1)).await.unwrap();
    let (mut costs, mut total) = (Vec::new(), Report::default());
    for commit in 0..COMMITS {
        let before = sink.bytes_read();
        let at = i64::try_from(commit).unwrap() + 1;
        let rows = scattered(commit);
        sink.upsert(&change(&rows, &[]), &step(at, at + 1))
            .await
            .unwrap();
        costs.push(sink.bytes_read() - before);
        if maintained && commit % CYCLE == CYCLE - 1 {
            total.add(sink.maintain(&Policy::default()).await.unwrap());
        }
    }
    let count = bench
        .query("SELECT count(*), count(DISTINCT id) FROM t")
        .await;
    assert_eq!(count, [format!("{ROWS}|{ROWS}")]);
    (costs, total)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_two_hundred_commits_a_commit_reads_what_it_read() {
    let sums = |costs: &[u64]| {
        let sum = |part: &[u64]| part.iter().sum::<u64>();
        (sum(&costs[..CYCLE]), sum(&costs[COMMITS - CYCLE..]))
    };
    let (maintained, report) = costs(true).await;
    let (early, late) = sums(&maintained);
    let (_, left_alone) = sums(&costs(false).await.0);
    let figures = format!(
        "iceberg: {CYCLE} commits of 50 rows read {early} bytes at first, {late} after {COMMITS} commits with maintenance, \
         {left_alone} without; maintenance rewrote {} bytes in {} commits",
        report.bytes_compacted, report.commits
    );
    println!("{figures}");
    assert!(late < early * 3 / 2, "{figures}");
    assert!(left_alone > early * 2, "{figures}");
}
