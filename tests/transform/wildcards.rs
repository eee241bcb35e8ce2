//! Over the source, `*` is the row's own columns; metadata is decoded only where it is named.

use super::rows::{located, lookups, names, plan, rows, source_schema};
use engine::transform::Transform;

const OWN: [&str; 8] = [
    "id",
    "first_name",
    "last_name",
    "city",
    "country",
    "tier",
    "amount",
    "tags",
];

async fn columns(sql: &str) -> Vec<String> {
    let transform = plan(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}\n{}", e.report()));
    names(transform.output_schema())
        .into_iter()
        .map(ToOwned::to_owned)
        .collect()
}

#[tokio::test]
async fn wildcards_mean_the_rows_own_columns() {
    for sql in [
        "SELECT * FROM customers",
        "SELECT c.* FROM customers AS c",
        "SELECT customers.* FROM customers",
        "SELECT * FROM (SELECT * FROM customers) x",
        "SELECT x.* FROM (SELECT C.* FROM Customers c) x",
        "WITH a AS (SELECT * FROM customers), b AS (WITH a2 AS (SELECT * FROM a) SELECT * FROM a2) SELECT * FROM b",
        "SELECT * FROM customers WHERE id > 1 UNION ALL SELECT c.* FROM customers c WHERE id <= 1",
        "SELECT c.* FROM customers c JOIN vips v ON v.id = c.id",
        "SELECT c.* FROM customers c LEFT JOIN tiers USING (tier)",
    ] {
        assert_eq!(columns(sql).await, OWN, "{sql}");
    }
}

#[tokio::test]
async fn other_tables_keep_their_columns_and_named_metadata_stays() {
    let with = |more: &[&str]| -> Vec<String> {
        OWN.iter().chain(more).map(|s| (*s).to_owned()).collect()
    };
    assert_eq!(
        columns("SELECT *, _op FROM customers").await,
        with(&["_op"])
    );
    assert_eq!(
        columns("SELECT * FROM (SELECT *, _op, _offset FROM customers) x").await,
        with(&["_op", "_offset"])
    );
    assert_eq!(
        columns("SELECT c.*, v._op FROM customers c JOIN vips v ON v.id = c.id").await,
        with(&["_op"])
    );
    assert_eq!(
        columns("SELECT * FROM customers JOIN (SELECT _op FROM vips) v ON v._op = first_name")
            .await,
        with(&["_op"])
    );
    assert_eq!(
        columns("SELECT * EXCEPT (tags, amount), _topic AS t FROM customers").await,
        [
            "id",
            "first_name",
            "last_name",
            "city",
            "country",
            "tier",
            "t"
        ]
    );
    assert_eq!(
        columns("SELECT * EXCLUDE (_op, id), 1 AS id FROM customers")
            .await
            .len(),
        8
    );
}

#[tokio::test]
async fn without_sql_the_row_is_written_as_it_is() {
    let transform = Transform::plan(None, "customers", &source_schema(), &[], lookups(), &[])
        .await
        .unwrap();
    assert_eq!(names(transform.output_schema()), OWN);
    assert_eq!(transform.source_columns(), OWN);
    let out = transform.run(&rows(&transform, 6)).await.unwrap();
    assert_eq!(out.rows[0].columns(), rows(&transform, 6).columns());
}

#[tokio::test]
async fn the_decoder_is_asked_only_for_columns_that_are_named() {
    let read = |sql: &'static str| async move { plan(sql).await.unwrap().source_columns() };
    assert_eq!(
        read("SELECT id, upper(city) AS c FROM customers WHERE tier = 'gold'").await,
        ["id", "city", "tier"]
    );
    assert_eq!(read("SELECT id, _op FROM customers").await, ["id", "_op"]);
    assert_eq!(
        read("SELECT x.id FROM (SELECT *, _source, _before FROM customers) x").await,
        ["id"]
    );
    assert_eq!(read("SELECT 1 AS one FROM customers").await, [""; 0]);
    assert_eq!(read("SELECT id FROM customers WHERE 1 = 0").await, [""; 0]);
    assert_eq!(
        read("SELECT c.amount FROM customers c JOIN tiers t ON t.tier = c.tier").await,
        ["tier", "amount"]
    );
}

#[tokio::test]
async fn a_cte_may_not_hide_the_source() {
    for sql in [
        "WITH customers AS (SELECT * FROM customers) SELECT * FROM customers",
        "SELECT * FROM (WITH Customers AS (SELECT 1 AS id) SELECT * FROM customers) x",
    ] {
        let error = plan(sql).await.expect_err(sql);
        assert_eq!(
            error.message(),
            "the WITH query `customers` hides the source of the same name"
        );
        assert_eq!(error.next_step(), Some("give the WITH query another name"));
    }
}

#[tokio::test]
async fn a_lookup_may_not_have_the_sources_name() {
    let tables = vec![("customers".to_owned(), lookups().remove(0).1)];
    let sql = located("SELECT id FROM customers");
    let error = Transform::plan(Some(&sql), "customers", &source_schema(), &[], tables, &[])
        .await
        .expect_err("two tables of one name");
    assert_eq!(
        error.message(),
        "the lookup `customers` has the name of the source"
    );
}
