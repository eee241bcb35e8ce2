//! The harness: an Iceberg REST catalog, on a folder and on an object store.

use serde_json::{Value, json};
use tests::python::{Readers, Table};
use tests::rest_catalog::Catalog;
use tests::{full, minio, need};

#[test]
fn a_table_of_the_rest_catalog_is_read_as_it_was_written() {
    full!();
    let readers = need!(Readers::ready());
    let catalog = need!(Catalog::given_or_start());
    let config = catalog.request("GET", "/v1/config", None);
    assert_eq!(config.status, 200, "{}", config.body);
    let commits = json!("POST /v1/{prefix}/transactions/commit");
    let endpoints = config.json()["endpoints"].take();
    assert!(
        endpoints
            .as_array()
            .is_some_and(|all| all.contains(&commits)),
        "no commits of several tables: {endpoints}"
    );
    assert_roundtrip(&readers, &catalog);
}

#[test]
fn the_rest_catalog_keeps_its_tables_in_an_object_store() {
    full!();
    let readers = need!(Readers::ready());
    let store = need!(minio::Server::given_or_start());
    store.create_bucket(&readers, "engine-warehouse");
    let catalog = need!(Catalog::start_on(&store, "engine-warehouse"));
    assert_roundtrip(&readers, &catalog);
    let listed = store.request(&readers, "GET", "/engine-warehouse?list-type=2", "", &[]);
    let files = |end: &str| listed.body.matches(&format!("{end}</Key>")).count();
    assert_eq!(
        [files(".parquet"), files(".metadata.json")],
        [1, 2],
        "one data file, made and appended to: {}",
        listed.body
    );
}

#[test]
fn the_rest_catalog_commits_to_several_tables_or_to_none() {
    full!();
    let readers = need!(Readers::ready());
    let catalog = need!(Catalog::given_or_start());
    let tables = ["both.a", "both.b"];
    for table in tables {
        catalog.write_sample(&readers, table);
    }
    let uuids = tables.map(|table| catalog.load(table)["metadata"]["table-uuid"].take());
    let epoch = |table: &str| catalog.load(table)["metadata"]["properties"]["epoch"].take();

    let committed = commit(&catalog, tables, &uuids, "1");
    // The protocol's answer is 204, this server's is 200.
    assert!(matches!(committed.0, 200 | 204), "{committed:?}");
    assert_eq!(tables.map(epoch), [json!("1"), json!("1")]);

    // The second table's requirement does not hold: the first must not change either.
    let other = [
        uuids[0].clone(),
        json!("00000000-0000-4000-8000-000000000000"),
    ];
    let refused = commit(&catalog, tables, &other, "2");
    assert_eq!(refused.0, 409, "{}", refused.1);
    assert_eq!(tables.map(epoch), [json!("1"), json!("1")]);
}

/// One commit that sets the property `epoch` of both tables.
fn commit(catalog: &Catalog, tables: [&str; 2], uuids: &[Value; 2], epoch: &str) -> (u16, String) {
    let change = |(table, uuid): (&str, &Value)| {
        let (namespace, name) = table.split_once('.').expect("namespace.table");
        json!({
            "identifier": {"namespace": [namespace], "name": name},
            "requirements": [{"type": "assert-table-uuid", "uuid": uuid}],
            "updates": [{"action": "set-properties", "updates": {"epoch": epoch}}],
        })
    };
    let changes: Vec<Value> = tables.into_iter().zip(uuids).map(change).collect();
    let body = json!({"table-changes": changes});
    let answer = catalog.request("POST", "/v1/transactions/commit", Some(&body));
    (answer.status, answer.body)
}

fn assert_roundtrip(readers: &Readers, catalog: &Catalog) {
    let written: Table = catalog.write_sample(readers, "sales.orders");
    let read = catalog.read(readers, "sales.orders");
    assert_eq!(read, written);
    let location = catalog.load("sales.orders")["metadata-location"].take();
    let location = location.as_str().expect("text");
    assert!(
        location.ends_with(read.version.as_str().expect("text")),
        "{location}"
    );
    assert_eq!(
        read.rows[1],
        json!({
            "id": 2, "amount": "-0.05", "at": "2026-11-22T10:07:32.270388Z",
            "local": "1969-12-31T23:59:59.999999", "_partition": 0, "_offset": 8,
        })
    );
}
