//! Who we are to a REST catalog, and what it or the engine refuses.

use engine::spec::model::Secret;
use serde_json::json;
use sql::{Error, ErrorKind};
use tests::meddler::Meddler;
use tests::rest_catalog::Catalog;
use tests::{need, ports};

use super::faults::{set, table_of};
use crate::lake::harness::{Bench, fitted, output, rows, runtime, step};

const CREDENTIAL: &str = "engine:swordfish";

async fn refused(bench: &Bench) -> Error {
    match bench.try_open("customers", &output()).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[test]
fn a_credential_is_exchanged_for_tokens_and_for_new_ones_when_they_expire() {
    let catalog = need!(Catalog::start());
    let meddler = Meddler::before(catalog.url());
    meddler.ask_for_tokens(CREDENTIAL);
    let mut bench = Bench::rest(&catalog, &meddler.url());
    bench.rest_mut().credential = Some(Secret::new(CREDENTIAL));
    runtime().block_on(async {
        let mut sink = bench.sink().await;
        let first = meddler.issued();
        for (at, status) in (0..).zip([419, 401, 419]) {
            let batch = fitted(sink.as_ref(), &rows(at, at + 1));
            let written = sink.write(&[batch], &step(at, at + 1)).await;
            assert_eq!(written.unwrap().conflicts, 0);
            meddler.expire(status);
        }
        sink.progress().await.unwrap();
        assert_eq!(meddler.issued(), first + 3);
        assert_eq!(bench.ids().await, [0, 1, 2]);
    });
}

#[test]
fn who_is_not_known_is_told_so_without_the_secret() {
    let catalog = need!(Catalog::start());
    let meddler = Meddler::before(catalog.url());
    meddler.ask_for_tokens(CREDENTIAL);
    let mut bench = Bench::rest(&catalog, &meddler.url());
    runtime().block_on(async {
        let error = refused(&bench).await;
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert_eq!(
            error.message(),
            "cannot open the Iceberg REST catalog: the catalog does not know who we are"
        );
        // The server repeats what it was told.
        bench.rest_mut().token = Some(Secret::new("sunfish"));
        let error = refused(&bench).await;
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.report().contains("who is ***"), "{}", error.report());
        assert!(!error.report().contains("sunfish"), "{}", error.report());
        bench.rest_mut().token = None;
        bench.rest_mut().credential = Some(Secret::new("engine:catfish"));
        let error = refused(&bench).await;
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert_eq!(
            error.message(),
            "cannot get a token for the Iceberg REST catalog: the credential is refused"
        );
        assert!(!error.report().contains("catfish"), "{}", error.report());
        // A token that is no good, and a credential that is.
        bench.rest_mut().token = Some(Secret::new("sunfish"));
        bench.rest_mut().credential = Some(Secret::new(CREDENTIAL));
        bench.sink().await;
        bench.rest_mut().credential = None;
        meddler.expire(419);
        let error = refused(&bench).await;
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert_eq!(
            error.next_step(),
            Some("Give the catalog a `credential` in place of a `token`: the engine then gets new tokens by itself.")
        );
    });
}

#[test]
fn an_address_without_a_catalog_says_so() {
    let catalog = need!(Catalog::start());
    let mut bench = Bench::rest(&catalog, catalog.url());
    runtime().block_on(async {
        bench.rest_mut().uri = format!("{}/elsewhere", catalog.url());
        let error = refused(&bench).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{}", error.report());
        bench.rest_mut().uri = format!("http://127.0.0.1:{}", ports::free());
        let error = refused(&bench).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(
            error.message(),
            "cannot connect to the Iceberg REST catalog"
        );
        assert_eq!(error.place(), Some(bench.rest_mut().uri.as_str()));
    });
}

#[test]
fn a_table_whose_files_are_out_of_reach_is_refused() {
    let catalog = need!(Catalog::start());
    let bench = Bench::rest(&catalog, catalog.url());
    runtime().block_on(async {
        bench.sink().await;
        set(
            &catalog,
            &table_of(&bench),
            "write.data.path",
            "s3://bucket/data",
        );
        let error = refused(&bench).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.message(),
            "the Iceberg table is at `s3://bucket/data`, and no storage for `s3:` is built in"
        );
    });
}

#[test]
fn a_table_that_was_dropped_is_missed() {
    let catalog = need!(Catalog::start());
    let bench = Bench::rest(&catalog, catalog.url());
    runtime().block_on(async {
        let mut sink = bench.sink().await;
        let path = format!(
            "/v1/namespaces/{}",
            table_of(&bench).replace('.', "/tables/")
        );
        let dropped = catalog.request("DELETE", &path, None);
        // The protocol's answer is 204, this server's is 200.
        assert!(matches!(dropped.status, 200 | 204), "{}", dropped.body);
        let error = sink.write(&[], &step(0, 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.message(), "the table is no longer in its catalog");
    });
}

#[test]
fn namespaces_have_levels() {
    let catalog = need!(Catalog::start());
    let mut bench = Bench::rest(&catalog, catalog.url());
    runtime().block_on(async {
        let engine::spec::model::SinkTarget::Iceberg(table) = &mut bench.spec.target else {
            panic!();
        };
        table.namespace = ["outer", "größe", "inner"].map(str::to_owned).to_vec();
        let mut sink = bench.sink().await;
        let batch = fitted(sink.as_ref(), &rows(0, 3));
        sink.write(&[batch], &step(0, 3)).await.unwrap();
        assert_eq!(bench.ids().await, [0, 1, 2]);
    });
    let listed = catalog.request("GET", "/v1/namespaces?parent=outer", None);
    assert_eq!(listed.json()["namespaces"], json!([["outer", "größe"]]));
}
