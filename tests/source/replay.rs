//! Captured messages: what a file may hold, and what is said of one that is wrong.

use std::time::Duration;

use engine::source::{Flow, LogEvent};
use sql::change::Position;
use sql::feed::ChangeFeed;
use sql::{Error, ErrorKind};

use super::support::*;

fn line(offset: i64, rest: &str) -> String {
    format!(r#"{{"topic":"shop.customers","partition":0,"offset":{offset},{rest}}}"#)
}

fn text(offset: i64, value: &str) -> String {
    line(offset, &format!(r#""key":"k","payload":"{value}""#)) + "\n"
}

/// Everything of the file, by record; or the first error.
fn read(store: &FileStore) -> Result<Vec<String>, Error> {
    let mut log = store.open(names(&[TOPIC]))?;
    let start: Position = log
        .partitions()?
        .into_iter()
        .map(|marks| (marks.partition, marks.low))
        .collect();
    log.assign(&start)?;
    let (mut all, mut ended) = (Vec::new(), false);
    while !ended {
        log.poll(Duration::from_millis(10), &mut |event| {
            match event {
                LogEvent::Record(m) => {
                    let show = |b: &[u8]| b.escape_ascii().to_string();
                    let headers: Vec<String> = m
                        .headers
                        .iter()
                        .map(|(n, v)| format!("{n}:{}", v.map_or("null".to_owned(), show)))
                        .collect();
                    all.push(format!(
                        "{} {:?} {:?} {:?} {}",
                        m.offset,
                        m.timestamp_ms,
                        m.key.map(show),
                        m.value.map(show),
                        headers.join(",")
                    ));
                }
                _ => ended = true,
            }
            Ok(Flow::Continue)
        })?;
    }
    Ok(all)
}

fn error_of(text: &str) -> String {
    let store = FileStore::with(text);
    let error = read(&store).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let path = store.path().display().to_string();
    error.to_string().replace(&path, "FILE")
}

const FORM: &str = "expected one JSON object a line as `kcat -J` prints it: topic, partition, offset, key, payload";

#[test]
fn every_field_is_read() {
    let store = FileStore::with(&format!(
        "{}\n\n{}\n{}\n",
        line(
            3,
            r#""tstype":"create","broker":1,"ts":7,"headers":["a","1","b",null],"key":"k\u00e9","payload":"{\"x\":1}""#
        ),
        line(5, r#""key":null,"payload":null"#),
        line(
            9,
            r#""key_base64":"AAH/","payload_base64":"","headers":null"#
        ),
    ));
    assert_eq!(
        read(&store).unwrap(),
        [
            r#"3 Some(7) Some("k\\xc3\\xa9") Some("{\\\"x\\\":1}") a:1,b:null"#,
            "5 None None None ",
            r#"9 None Some("\\x00\\x01\\xff") Some("") "#,
        ]
    );
}

#[test]
fn errors_name_file_line_and_what_was_expected() {
    let good = text(0, "a");
    assert_eq!(
        error_of(&format!("{good}nonsense\n")),
        format!("the line is not JSON: expected ident, at FILE:2:2; {FORM}")
    );
    assert_eq!(
        error_of(&format!("{good}{{\"topic\":\"t\",\"partition\":0}}\n")),
        format!("missing field `offset`, at FILE:2:27; {FORM}")
    );
    assert_eq!(
        error_of(&format!("{}\n", line(0, r#""key":"k""#))),
        "missing field `payload`, at FILE:1; expected `payload` (a string or null) or `payload_base64`"
    );
    assert_eq!(
        error_of(&format!(
            "{}\n",
            line(0, r#""key":null,"payload_base64":"?""#)
        )),
        "`payload_base64` is not base64, at FILE:1; expected standard base64 with padding"
    );
    assert_eq!(
        error_of(&format!(
            "{}\n",
            line(0, r#""key":null,"payload":null,"headers":["a"]"#)
        )),
        "`headers` is a list of odd length, at FILE:1; expected a flat list: name, value, name, value; a value may be null"
    );
    assert_eq!(
        error_of(&format!("{}\n", line(-1, r#""key":null,"payload":null"#))),
        "offset -1 is out of range, at FILE:1; expected an offset from 0 on"
    );
    assert_eq!(
        error_of(&format!("{}{}{}", text(4, "a"), text(5, "b"), text(5, "c"))),
        "offset 5 of shop.customers/0 comes after offset 5, at FILE:3; expected offsets that grow in each partition"
    );
}

#[test]
fn a_file_that_is_missing_or_a_folder_is_said_so() {
    let store = FileStore::default();
    std::fs::remove_file(store.path()).unwrap();
    let missing = read(&store).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Config);
    assert_eq!(
        missing.message(),
        "there is no file of captured messages here"
    );
    assert_eq!(
        missing.place(),
        Some(store.path().display().to_string().as_str())
    );
    std::fs::create_dir(store.path()).unwrap();
    let folder = read(&store).unwrap_err();
    assert_eq!(folder.kind(), ErrorKind::Config);
    assert_eq!(
        folder.message(),
        "captured messages are a file, not a folder"
    );
}

#[tokio::test]
async fn an_incomplete_last_line_is_ignored_by_a_bounded_feed() {
    let store = FileStore::with(&(text(0, "a") + r#"{"topic":"shop.customers","part"#));
    let mut feed = feed(&store, options());
    feed.seek(&Position::new()).await.unwrap();
    let (all, end) = drain(&mut feed, &limit(10), &Position::new()).await;
    assert_eq!((all, end), (vec!["0@0=a".to_owned()], at(&[(0, 1)])));
}

#[tokio::test]
async fn an_incomplete_last_line_waits_for_its_rest() {
    let whole = text(1, "b");
    let (head, tail) = whole.split_at(30);
    let store = FileStore::with(&(text(0, "a") + head));
    let mut feed = feed(&store, unbounded());
    feed.seek(&Position::new()).await.unwrap();
    assert_eq!(
        rows(&feed.next(&limit(1)).await.unwrap().unwrap()),
        ["0@0=a"]
    );
    let one = limit(1);
    let (batch, ()) = futures::join!(feed.next(&one), async { store.write(tail) });
    assert_eq!(rows(&batch.unwrap().unwrap()), ["0@1=b"]);
}

#[test]
fn a_last_line_without_a_line_feed_counts_when_it_is_whole() {
    let store = FileStore::with(text(0, "a").trim_end());
    assert_eq!(read(&store).unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_that_shrank_is_data_loss() {
    let store = FileStore::with(&(text(0, "a") + &text(1, "b")));
    let mut feed = feed(&store, unbounded());
    feed.seek(&Position::new()).await.unwrap();
    feed.next(&limit(2)).await.unwrap().unwrap();
    std::fs::write(store.path(), text(0, "a")).unwrap();
    let error = feed.next(&limit(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert!(error.to_string().contains("a file that only grows"));
}

#[tokio::test]
async fn a_file_cut_between_two_runs_is_data_loss() {
    for content in [text(0, "a"), String::new()] {
        let store = FileStore::with(&content);
        let mut feed = feed(&store, options());
        let error = feed.seek(&at(&[(0, 2)])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    }
}

#[tokio::test]
async fn a_seek_in_a_large_file_starts_at_the_wanted_record() {
    let store = FileStore::default();
    let filler = "x".repeat(1000);
    let lines: String = (0..5000)
        .map(|i| text(i, &format!("{i}{filler}")))
        .collect();
    store.write(&lines);
    for start in [0, 1, 2500, 4999] {
        let mut feed = feed(&store, options());
        feed.seek(&at(&[(0, start)])).await.unwrap();
        let (all, end) = drain(&mut feed, &limit(700), &at(&[(0, start)])).await;
        assert_eq!(all.len() as i64, 5000 - start);
        assert!(all[0].starts_with(&format!("0@{start}={start}x")));
        assert_eq!(end, at(&[(0, 5000)]));
    }
}
