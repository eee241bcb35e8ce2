//! The window across restarts, changes of the option, and files that are gone or damaged.

use sql::ErrorKind;

use super::harness::{Bench, TOPIC};
use super::simulated::{Topic, changes};
use engine::sink::Sidecar as _;

const DROP: &str = "resends: drop";

/// A topic whose second half is the first one sent again, and a bench that has run over the first half.
async fn half_way(resends: &str) -> (Topic, Bench, usize) {
    let changes = changes(20);
    let mut topic = Topic::new(true);
    for change in &changes {
        topic.send(change, false);
    }
    let half = topic.records.len();
    topic.restart();
    for change in &changes {
        topic.send(change, true);
    }
    let mut bench = Bench::new();
    bench.put(&topic.records[..half]);
    bench.run(resends, 6).await.unwrap();
    (topic, bench, half)
}

fn newest(bench: &Bench) -> String {
    let files = bench.files().into_iter();
    files
        .filter(|file| file.ends_with(".window"))
        .max()
        .unwrap()
}

#[tokio::test]
async fn a_restart_knows_what_was_there_before() {
    let (topic, mut bench, half) = half_way(DROP).await;
    bench.put(&topic.records[half..]);
    bench.run(DROP, 9).await.unwrap();
    assert_eq!(bench.offsets(), topic.expected_rows());
    assert_eq!((bench.resends(), bench.jumps()), (topic.again(), 0));
}

#[tokio::test]
async fn the_files_are_named_after_the_positions_of_commits_in_a_hidden_folder() {
    let (_, bench, half) = half_way(DROP).await;
    let folder = format!("_engine/items/resends/{TOPIC}/0");
    let mut expected: Vec<String> = (1..=half / 6)
        .map(|batch| format!("{folder}/{:020}.window", batch * 6))
        .collect();
    if !half.is_multiple_of(6) {
        expected.push(format!("{folder}/{half:020}.window"));
    }
    expected.push(format!("{folder}/on"));
    assert_eq!(bench.files(), expected);
}

#[tokio::test]
async fn drop_after_keep_starts_empty_and_remembers_from_there() {
    let (topic, mut bench, half) = half_way("resends: keep").await;
    bench.put(&topic.records[half..]);
    bench.run(DROP, 1_000).await.unwrap();
    // Nobody knew the first half: the second one is new, once.
    let rows = bench.offsets();
    assert_eq!(bench.resends(), 0);
    let mut more = topic.clone();
    more.restart();
    for change in changes(20) {
        more.send(&change, true);
    }
    bench.put(&more.records[topic.records.len()..]);
    bench.run(DROP, 1_000).await.unwrap();
    assert_eq!(bench.offsets(), rows, "the third time is known");
}

#[tokio::test]
async fn a_window_that_is_gone_starts_empty_and_loud() {
    let (topic, mut bench, half) = half_way(DROP).await;
    let file = newest(&bench);
    bench.table.as_ref().unwrap().delete(&file).await.unwrap();
    bench.put(&topic.records[half..]);
    bench.run(DROP, 1_000).await.unwrap();
    assert_eq!(bench.resends(), 0);
    assert_eq!(bench.offsets().len(), 40);
}

#[tokio::test]
async fn a_damaged_window_stops_the_pipeline_before_it_reads() {
    let (topic, mut bench, half) = half_way(DROP).await;
    bench.put(&topic.records[half..]);
    let rows = bench.offsets();
    let file = newest(&bench);
    let table = bench.table.clone().unwrap();
    let good = table.read(&file).await.unwrap().unwrap();
    let mut flipped = good.to_vec();
    let last_identity = flipped.len() - 12;
    flipped[last_identity] ^= 1;
    let mut cut = good.to_vec();
    cut.truncate(good.len() - 20);
    for (bad, what) in [
        (flipped, "its checksum is wrong"),
        (cut, "its checksum is wrong"),
        (
            b"ENGINE-WINDOW-2\n{}".to_vec(),
            "it does not start as version 1 does",
        ),
        (Vec::new(), "it does not start as version 1 does"),
    ] {
        table.write(&file, bad.into()).await.unwrap();
        let error = bench.run(DROP, 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        let report = error.report();
        assert!(report.contains(what), "{report}");
        assert!(
            report.contains(&file) && report.contains("Or delete it"),
            "{report}"
        );
        assert_eq!(bench.offsets(), rows);
    }
    // Another partition's file is as bad as none.
    let other = file.replace("/0/", "/1/");
    table.write(&other, good.clone()).await.unwrap();
    table.write(&file, good).await.unwrap();
    bench.run(DROP, 10).await.unwrap();
    assert_eq!(bench.offsets(), topic.expected_rows());
}

#[tokio::test]
async fn an_engine_that_comes_too_late_is_fenced_and_spoils_nothing() {
    let (topic, mut bench, half) = half_way(DROP).await;
    // The second engine starts where the first one has been all along, with other batches, and dies before its commit.
    bench.put(&topic.records[half..]);
    bench.script =
        crate::run::doubles::Script::new(&[crate::run::doubles::Step::Fail(ErrorKind::Fenced)]);
    let error = bench.run(DROP, 4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    bench.script = crate::run::doubles::Script::new(&[]);
    bench.run(DROP, 11).await.unwrap();
    assert_eq!(bench.offsets(), topic.expected_rows());
    assert_eq!(bench.resends(), topic.again());
}

#[tokio::test]
async fn rejects_are_rejects_every_time() {
    let mut topic = Topic::new(true);
    for change in changes(6) {
        topic.send(&change, false);
    }
    let mut bad = topic.records[0].clone();
    let payload = bad.payload.take().unwrap();
    bad.payload = Some(payload[..payload.len() - 1].to_owned());
    for _ in 0..2 {
        bad.offset = i64::try_from(topic.records.len()).unwrap();
        topic.records.push(bad.clone());
    }
    let mut bench = Bench::new();
    bench.put(&topic.records);
    bench.run(DROP, 100).await.unwrap();
    assert_eq!(bench.offsets(), topic.expected_rows());
    let text = bench.metrics.text().unwrap();
    assert!(
        text.contains("engine_rejects_records_total{pipeline=\"items\",reason=\"malformed\",source=\"items\"} 2"),
        "{text}"
    );
    assert_eq!(bench.resends(), 0);
}
