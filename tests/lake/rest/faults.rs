//! Commits whose answer is lost, or says what is not so.

use std::path::Path;

use engine::sink::Receipt;
use sql::ErrorKind;
use sql::change::Partition;
use tests::meddler::{Fault, Meddler};
use tests::need;
use tests::rest_catalog::Catalog;

use crate::lake::harness::{Bench, fitted, position, rows, runtime, step};
use crate::lake::upsert::harness::{Bench as Upserts, Shape, change, files_under, many};

/// The commit was made, whatever the answer.
const MADE: [Fault; 7] = [
    Fault::Lost,
    Fault::LostAs(408),
    Fault::LostAs(500),
    Fault::LostAs(502),
    Fault::LostAs(503),
    Fault::LostAs(504),
    Fault::Twice,
];
/// It was not made, and the engine tries again by itself.
const NOT_MADE: [Fault; 4] = [
    Fault::Refused(409),
    Fault::Refused(500),
    Fault::Refused(503),
    Fault::Held,
];

async fn append(sink: &mut dyn engine::sink::Sink, from: i64) -> sql::Result<Receipt> {
    let batch = fitted(sink, &rows(from, from + 5));
    sink.write(&[batch], &step(from, from + 5)).await
}

/// Files of data and deletes, and manifests, that are under the table's folder.
fn written(folder: &Path) -> [usize; 2] {
    let files = files_under(folder);
    [".parquet", ".avro"].map(|end| {
        let names = files.iter().map(|path| path.to_string_lossy());
        names.filter(|name| name.ends_with(end)).count()
    })
}

#[test]
fn an_append_is_made_once_whatever_the_answer_says() {
    let catalog = need!(Catalog::start());
    let meddler = Meddler::before(catalog.url());
    runtime().block_on(async {
        for fault in MADE.into_iter().chain(NOT_MADE) {
            let bench = Bench::rest(&catalog, &meddler.url());
            let mut sink = bench.sink().await;
            append(sink.as_mut(), 0).await.unwrap();
            meddler.spoil(&[fault]);
            let receipt = append(sink.as_mut(), 5).await.unwrap();
            let conflicts = u64::from(NOT_MADE.contains(&fault));
            assert_eq!(
                (receipt.rows, receipt.already_landed, receipt.conflicts),
                (5, false, conflicts),
                "{fault:?}"
            );
            let late = meddler.release();
            let held = if fault == Fault::Held {
                vec![409]
            } else {
                vec![]
            };
            assert_eq!(late, held, "{fault:?}: a held commit comes too late");
            append(sink.as_mut(), 10).await.unwrap();
            assert_eq!(bench.ids().await, (0..15).collect::<Vec<_>>(), "{fault:?}");
            assert_eq!(bench.data_files().len(), 3, "{fault:?}: written once");
            let stored = bench.sink().await.progress().await.unwrap();
            assert_eq!(stored, position(&[("db.customers", 0, 15)]), "{fault:?}");
        }
    });
}

#[test]
fn an_upsert_is_made_once_whatever_the_answer_says() {
    let catalog = need!(Catalog::start());
    let meddler = Meddler::before(catalog.url());
    runtime().block_on(async {
        for fault in MADE.into_iter().chain(NOT_MADE) {
            let bench = Upserts::rest(&catalog, &meddler.url(), Shape::plain());
            let mut writer = bench.writer().await;
            writer.apply(&change(&many(0..6, "eu", 1), &[])).await;
            meddler.spoil(&[fault]);
            let rows = change(&many(4..8, "us", 2), &[1]);
            let receipt = writer.apply(&rows).await;
            let conflicts = u64::from(NOT_MADE.contains(&fault));
            assert_eq!(
                (receipt.rows, receipt.already_landed, receipt.conflicts),
                (4, false, conflicts),
                "{fault:?}"
            );
            meddler.release();
            writer.apply(&change(&many(8..9, "us", 2), &[2])).await;
            let expected = [
                "0|eu|0", "3|eu|3", "4|us|8", "5|us|10", "6|us|12", "7|us|14", "8|us|16",
            ];
            assert_eq!(bench.rows().await, expected, "{fault:?}");
            // Three of rows, one or two of deletes; another try takes the same.
            assert!(written(&bench.folder)[0] <= 5, "{fault:?}: written once");
        }
    });
}

/// Each attempt of a call is held somewhere in between; then they all arrive.
#[test]
fn attempts_that_all_arrive_late_are_one_commit() {
    let catalog = need!(Catalog::start());
    let meddler = Meddler::before(catalog.url());
    runtime().block_on(async {
        let bench = Bench::rest(&catalog, &meddler.url());
        let mut sink = bench.sink().await;
        append(sink.as_mut(), 0).await.unwrap();
        meddler.spoil(&[Fault::Held; 5]);
        let error = append(sink.as_mut(), 5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
        assert_eq!(meddler.release(), [200, 409, 409, 409, 409]);
        let receipt = append(sink.as_mut(), 5).await.unwrap();
        assert!(receipt.already_landed);
        append(sink.as_mut(), 10).await.unwrap();
        assert_eq!(bench.ids().await, (0..15).collect::<Vec<_>>());
    });
}

#[test]
fn a_commit_that_is_refused_leaves_nothing() {
    let catalog = need!(Catalog::start());
    let meddler = Meddler::before(catalog.url());
    let cases = [
        (
            429,
            ErrorKind::Unavailable,
            "cannot commit to the Iceberg table: the catalog cannot do it now",
        ),
        (
            400,
            ErrorKind::Config,
            "cannot commit to the Iceberg table: the catalog refuses it",
        ),
        (
            403,
            ErrorKind::Denied,
            "cannot commit to the Iceberg table: the catalog does not allow it",
        ),
        (
            404,
            ErrorKind::Config,
            "cannot commit to the Iceberg table: the catalog does not have it",
        ),
        (
            419,
            ErrorKind::Denied,
            "cannot commit to the Iceberg table: the catalog's token has expired",
        ),
    ];
    runtime().block_on(async {
        for (status, kind, message) in cases {
            let bench = Bench::rest(&catalog, &meddler.url());
            let mut sink = bench.sink().await;
            append(sink.as_mut(), 0).await.unwrap();
            let before = bench.data_files();
            meddler.spoil(&[Fault::Refused(status)]);
            let error = append(sink.as_mut(), 5).await.unwrap_err();
            assert_eq!((error.kind(), error.message()), (kind, message));
            assert!(
                error.report().contains("spoilt on purpose"),
                "{}",
                error.report()
            );
            assert_eq!(
                bench.data_files(),
                before,
                "{status}: its files are deleted"
            );
            append(sink.as_mut(), 5).await.unwrap();
            assert_eq!(bench.ids().await, (0..10).collect::<Vec<_>>(), "{status}");

            let bench = Upserts::rest(&catalog, &meddler.url(), Shape::plain());
            let mut writer = bench.writer().await;
            writer.apply(&change(&many(0..6, "eu", 1), &[])).await;
            let before = written(&bench.folder);
            meddler.spoil(&[Fault::Refused(status)]);
            let span = writer.next().await;
            let rows = change(&many(4..8, "us", 2), &[1]);
            let error = writer.sink.upsert(&rows, &span).await.unwrap_err();
            assert_eq!((error.kind(), error.message()), (kind, message));
            assert_eq!(
                written(&bench.folder),
                before,
                "{status}: its files are deleted"
            );
        }
    });
}

/// Two engines of one pipeline, both of whose answers get lost in all ways.
#[test]
fn two_writers_whose_answers_get_lost_write_each_span_once() {
    const END: i64 = 60;
    let catalog = need!(Catalog::start());
    runtime().block_on(async {
        let meddlers = [0, 1].map(|_| Meddler::before(catalog.url()));
        let bench = Bench::rest(&catalog, &meddlers[0].url());
        let mut other = Bench::rest(&catalog, &meddlers[1].url());
        other.spec = bench.spec.clone();
        other.rest_mut().uri = meddlers[1].url();
        for (at, meddler) in meddlers.iter().enumerate() {
            let faults = MADE.into_iter().chain(NOT_MADE).cycle().skip(at * 3);
            meddler.spoil(&faults.take(60).collect::<Vec<_>>());
        }
        let race = async |bench: &Bench| {
            let mut sink = bench.sink().await;
            let partition = Partition::new("db.customers", 0);
            loop {
                let from = sink.progress().await.unwrap().get(&partition).unwrap_or(0);
                if from == END {
                    return;
                }
                match append(sink.as_mut(), from).await {
                    Ok(_) => {}
                    Err(error) => assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::Fenced | ErrorKind::Conflict | ErrorKind::Unavailable
                        ),
                        "{}",
                        error.report()
                    ),
                }
            }
        };
        tokio::join!(race(&bench), race(&other));
        for meddler in &meddlers {
            meddler.release();
        }
        assert_eq!(bench.ids().await, (0..END).collect::<Vec<_>>());
    });
}

/// Changes of the table that move no snapshot: the server compares the snapshot alone.
#[test]
fn another_writers_property_is_kept_and_in_nobodys_way() {
    let catalog = need!(Catalog::start());
    runtime().block_on(async {
        let bench = Bench::rest(&catalog, catalog.url());
        let mut sink = bench.sink().await;
        append(sink.as_mut(), 0).await.unwrap();
        let table = table_of(&bench);
        set(&catalog, &table, "owner", "somebody");
        let receipt = append(sink.as_mut(), 5).await.unwrap();
        assert_eq!(receipt.conflicts, 0);
        let properties = catalog.load(&table)["metadata"]["properties"].take();
        assert_eq!(properties["owner"], "somebody");
        assert_eq!(properties["engine.customers.pos.db.customers.0"], "10");
        assert_eq!(bench.ids().await, (0..10).collect::<Vec<_>>());
    });
}

/// A server that tags its answers is not asked for the whole metadata again.
#[test]
fn a_table_that_has_not_changed_is_not_sent_again() {
    let catalog = need!(Catalog::start());
    let meddler = Meddler::before(catalog.url());
    meddler.tag_answers();
    runtime().block_on(async {
        let bench = Bench::rest(&catalog, &meddler.url());
        let mut sink = bench.sink().await;
        append(sink.as_mut(), 0).await.unwrap();
        sink.progress().await.unwrap();
        let before = meddler.log().len();
        sink.progress().await.unwrap();
        append(sink.as_mut(), 5).await.unwrap();
        let log = meddler.log();
        let path = format!(
            "/v1/namespaces/{}",
            table_of(&bench).replace('.', "/tables/")
        );
        let expected = [
            format!("GET {path} 304"),
            format!("GET {path} 304"),
            format!("POST {path} 200"),
        ];
        assert_eq!(log[before..], expected);
        // Another writer changed it.
        let mut other = bench
            .try_open("other", &crate::lake::harness::output())
            .await
            .unwrap();
        append(other.as_mut(), 0).await.unwrap();
        append(sink.as_mut(), 10).await.unwrap();
        assert_eq!(bench.ids().await.len(), 20);
    });
}

/// `namespace.table` of a bench.
pub fn table_of(bench: &Bench) -> String {
    let namespace = bench.folder.file_name().unwrap().to_str().unwrap();
    format!("{namespace}.customers")
}

/// Sets a property of a table, as another client would.
pub fn set(catalog: &Catalog, table: &str, name: &str, value: &str) {
    let (namespace, table) = table.split_once('.').unwrap();
    let body = serde_json::json!({
        "requirements": [],
        "updates": [{"action": "set-properties", "updates": {name: value}}],
    });
    let path = format!("/v1/namespaces/{namespace}/tables/{table}");
    let answer = catalog.request("POST", &path, Some(&body));
    assert_eq!(answer.status, 200, "{}", answer.body);
}
