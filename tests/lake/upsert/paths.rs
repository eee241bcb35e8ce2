//! Delta only: files whose paths other writers spell in the log in their own way.
//!
//! A path of the log is a URI. Spark escapes the space and leaves other letters as they are, the Delta library does it the other
//! way round; readers compare the texts. A remove in other words than the add's leaves the file in the table.

use std::path::Path;

use serde_json::{Value, json};

use super::harness::{Bench, Kind, Shape, change, many};
use crate::lake::maintain::delta::{maintained, policy};

/// Folders as they are on disk, and as a log spells them.
const SPELT: [(&str, &str); 5] = [
    ("region=a b", "region=a%20b"),
    ("region=c%2Fd e", "region=c%252Fd%20e"),
    ("region=ä", "region=ä"),
    ("region=ö", "region=%C3%B6"),
    ("region=x y", "region=x y"),
];

/// A table whose rows lie in such folders: one row each, then one in a file that the engine named.
async fn table() -> Bench {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    for (id, (folder, spelt)) in (0..).zip(SPELT) {
        let receipt = writer
            .apply(&change(&[(id, Some("eu"), Some(id))], &[]))
            .await;
        rename(&bench, receipt.version, folder, spelt);
    }
    writer
        .apply(&change(&[(5, Some("eu"), Some(5))], &[]))
        .await;
    assert_eq!(bench.rows().await.len(), 6);
    bench
}

/// Moves the file that a commit added, and says so in the commit.
fn rename(bench: &Bench, version: i64, folder: &str, spelt: &str) {
    let mut actions = bench.commit(version);
    for action in &mut actions {
        let Some(Value::String(path)) = action.pointer_mut("/add/path") else {
            continue;
        };
        std::fs::create_dir_all(bench.folder.join(folder)).unwrap();
        let to = Path::new(folder).join(&*path);
        std::fs::rename(bench.folder.join(&*path), bench.folder.join(to)).unwrap();
        *path = format!("{spelt}/{path}");
    }
    let lines: Vec<_> = actions.iter().map(Value::to_string).collect();
    std::fs::write(bench.log(version), lines.join("\n")).unwrap();
}

/// All paths that commits name under `action`, in their order.
fn texts(bench: &Bench, versions: std::ops::RangeInclusive<i64>, action: &str) -> Vec<String> {
    let mut paths: Vec<_> = versions
        .flat_map(|version| bench.actions(version, action))
        .map(|action| action["path"].as_str().unwrap().to_owned())
        .collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removes_repeat_the_words_of_the_log() {
    let bench = table().await;
    let mut writer = bench.writer().await;
    let receipt = writer.apply(&change(&many(0..6, "us", 10), &[])).await;
    assert_eq!(
        texts(&bench, receipt.version..=receipt.version, "remove"),
        texts(&bench, 0..=receipt.version - 1, "add")
    );
    let expected = [0, 1, 2, 3, 4, 5].map(|id| format!("{id}|us|{}", id * 10));
    assert_eq!(bench.rows().await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_do_removes_of_files_that_came_while_the_sink_was_open() {
    let bench = table().await;
    let mut writer = bench.writer().await;
    let last = writer.apply(&change(&[(9, None, None)], &[])).await.version;
    // Another writer puts the rows of the first file elsewhere.
    let (from, to) = ("region=a b", "region=ü %");
    let mut add = bench
        .actions(1, "add")
        .pop()
        .filter(|add| add["path"].as_str().unwrap().starts_with("region=a%20b/"))
        .unwrap();
    let old = add["path"].as_str().unwrap().to_owned();
    let name = old.rsplit('/').next().unwrap();
    let new = format!("region=ü%20%25/{name}");
    std::fs::rename(bench.folder.join(from), bench.folder.join(to)).unwrap();
    add["path"] = Value::String(new.clone());
    let remove = json!({"remove": {"path": old, "dataChange": true, "deletionTimestamp": 0}});
    let lines = [remove.to_string(), json!({ "add": add }).to_string()];
    std::fs::write(bench.log(last + 1), lines.join("\n")).unwrap();

    let receipt = writer.apply(&change(&[(0, Some("us"), None)], &[1])).await;
    let mut expected = vec![new, texts(&bench, 2..=2, "add").pop().unwrap()];
    expected.sort();
    assert_eq!(
        texts(&bench, receipt.version..=receipt.version, "remove"),
        expected
    );
    let rows = ["0|us|∅", "2|eu|2", "3|eu|3", "4|eu|4", "5|eu|5", "9|∅|∅"];
    assert_eq!(bench.rows().await, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_repeats_them_too() {
    let bench = table().await;
    let before = bench.rows().await;
    let mut writer = bench.writer().await;
    let report = maintained(&mut writer, &policy(2)).await;
    assert_eq!((report.files_compacted, report.files_added), (6, 1));
    let commit = bench.newest();
    assert_eq!(
        texts(&bench, commit..=commit, "remove"),
        texts(&bench, 0..=commit - 1, "add")
    );
    assert_eq!(bench.rows().await, before);
}
