//! The exact words of errors, with the place in the user's file.

use arrow::array::RecordBatch;

use super::rows::{plan, rows};

async fn report(sql: &str) -> String {
    plan(sql).await.expect_err(sql).report()
}

#[tokio::test]
async fn an_unknown_column_is_placed_and_the_nearest_is_named() {
    let near = report("SELECT id,\n       frist_name\nFROM customers").await;
    assert!(
        near.starts_with(
            "error: unknown column `frist_name`\n  at: pipelines/customers.yaml:12 (transform), SQL column 8\n  expected: one of `id`, `first_name`, `last_name`"
        ) && near.ends_with("\n  next: did you mean `first_name`?"),
        "{near}"
    );
    let near = report("SELECT c.idd FROM customers c").await;
    assert!(
        near.starts_with(
            "error: unknown column `c.idd`\n  at: pipelines/customers.yaml:11 (transform), SQL column 8\n  expected: one of `id`"
        ) && near.ends_with("\n  next: did you mean `id`?"),
        "{near}"
    );
    let far = report("SELECT nothing_like_it FROM customers").await;
    assert!(
        far.contains("expected: one of `id`, `first_name`, `last_name`"),
        "{far}"
    );
}

#[tokio::test]
async fn unknown_tables_and_functions_are_placed() {
    assert_eq!(
        report("SELECT id\nFROM custmers").await,
        "error: unknown table `custmers`\n  at: pipelines/customers.yaml:12 (transform), SQL column 6\n  expected: the source's name or a name from `tables:`"
    );
    assert_eq!(
        report("SELECT uper(city) FROM customers").await,
        "error: unknown function `uper`\n  at: pipelines/customers.yaml:11 (transform), SQL column 8\n  next: did you mean 'upper'?"
    );
}

#[tokio::test]
async fn syntax_errors_are_placed() {
    assert_eq!(
        report("SELECT id,\n  FROM\n customers FOR BAR").await,
        "error: SQL syntax: expected: one of UPDATE or SHARE, found: BAR\n  at: pipelines/customers.yaml:13 (transform), SQL column 16"
    );
    assert_eq!(
        report("SELECT id FROM customers\n  WHERE").await,
        "error: SQL syntax: expected: an expression, found: EOF\n  at: pipelines/customers.yaml:12 (transform), SQL column 8"
    );
}

#[tokio::test]
async fn capital_letters_and_foreign_qualifiers_have_their_own_remedy() {
    assert_eq!(
        report("SELECT x.id FROM customers c").await,
        "error: unknown column `x.id`\n  at: pipelines/customers.yaml:11 (transform), SQL column 8\n  expected: `id`, without a table's name or with another one"
    );
    assert_eq!(
        report("SELECT y.firstname FROM (SELECT first_name AS \"firstName\" FROM customers) y")
            .await,
        "error: unknown column `y.firstname`\n  at: pipelines/customers.yaml:11 (transform), SQL column 8\n  expected: `\"firstName\"`\n  next: quote a name that has capital letters: names without quotes are read as lowercase"
    );
}

#[tokio::test]
async fn a_subquery_in_the_select_list_is_refused_in_words() {
    let error = plan("SELECT id IN (SELECT id FROM vips) AS vip FROM customers")
        .await
        .expect_err("IN as a value");
    assert_eq!(
        error.message(),
        "a subquery stands where it cannot be computed"
    );
    assert_eq!(error.next_step(), Some("write it as a LEFT JOIN"));
}

#[tokio::test]
async fn anything_but_one_select_is_refused() {
    for (sql, message) in [
        ("", "the SQL is empty"),
        ("-- nothing", "the SQL is empty"),
        ("SELECT 1; SELECT 2", "the SQL has 2 statements"),
        (
            "INSERT INTO customers VALUES (1)",
            "the SQL is an INSERT, and a pipeline's SQL only reads",
        ),
        (
            "DELETE FROM customers",
            "the SQL is a DELETE, and a pipeline's SQL only reads",
        ),
        (
            "CREATE TABLE t AS SELECT * FROM customers",
            "the SQL is a CREATE, and a pipeline's SQL only reads",
        ),
        (
            "DROP TABLE customers",
            "the SQL is a DROP, and a pipeline's SQL only reads",
        ),
        (
            "EXPLAIN SELECT * FROM customers",
            "the SQL is an EXPLAIN, and a pipeline's SQL only reads",
        ),
        (
            "COPY customers TO 'x.csv'",
            "the SQL is a COPY, and a pipeline's SQL only reads",
        ),
        (
            "SET x = 1",
            "the SQL is a SET, and a pipeline's SQL only reads",
        ),
        (
            "SELECT id INTO t FROM customers",
            "the SQL is a SELECT INTO, and a pipeline's SQL only reads",
        ),
        (
            "WITH a AS (SELECT 1) INSERT INTO customers SELECT * FROM a",
            "the SQL is an INSERT, and a pipeline's SQL only reads",
        ),
    ] {
        let error = plan(sql).await.expect_err(sql);
        assert_eq!(error.message(), message, "{sql}");
        assert!(
            error.to_string().ends_with("expected one SELECT"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_wall_clock_is_refused_where_it_is_read() {
    for (sql, name, place) in [
        (
            "SELECT id, now() AS t FROM customers",
            "now",
            "11 (transform), SQL column 12",
        ),
        (
            "SELECT id FROM customers\nWHERE _ingested_at < current_timestamp",
            "current_timestamp",
            "12 (transform), SQL column 22",
        ),
        (
            "SELECT id, current_date AS d FROM customers",
            "current_date",
            "11 (transform), SQL column 12",
        ),
        (
            "SELECT id FROM customers WHERE id IN (SELECT id FROM vips WHERE now() > '2020-01-01')",
            "now",
            "11 (transform), SQL column 65",
        ),
    ] {
        let error = plan(sql).await.expect_err(sql);
        assert_eq!(
            error.message(),
            format!(
                "`{name}` reads the clock, and a pipeline's SQL is planned once for all batches"
            )
        );
        assert_eq!(
            error.place(),
            Some(format!("pipelines/customers.yaml:{place}").as_str())
        );
        assert_eq!(
            error.next_step(),
            Some("use `_ingested_at`, the time at which the engine read the row")
        );
    }
}

#[tokio::test]
async fn a_type_error_is_a_sentence_with_a_place() {
    let error = plan("SELECT city + 1 AS x FROM customers WHERE abs('a', 2) > 1")
        .await
        .expect_err("types");
    assert_eq!(error.kind(), sql::ErrorKind::Config);
    assert!(
        error
            .place()
            .unwrap()
            .starts_with("pipelines/customers.yaml:11 (transform)")
    );
}

#[tokio::test]
async fn an_expression_that_fails_on_a_row_stops_by_policy() {
    let transform = plan("SELECT CAST(city AS BIGINT) AS n FROM customers")
        .await
        .unwrap();
    let error = transform
        .run(&rows(&transform, 6))
        .await
        .expect_err("Seattle is no number");
    assert_eq!(error.kind(), sql::ErrorKind::Policy);
    assert!(
        error.message().starts_with("the SQL failed on a row: "),
        "{error}"
    );
    assert!(error.next_step().unwrap().contains("TRY_CAST"));
}

#[tokio::test]
async fn columns_of_several_tables_and_joins_on_metadata_are_refused_in_words() {
    let ambiguous = "expected: a table's name before it, as in `t.id`\n  next: with `*`, write `t.*` for each table";
    assert_eq!(
        report("SELECT id FROM customers c JOIN vips v ON c.id = v.id").await,
        format!(
            "error: the column `id` is in several tables\n  at: pipelines/customers.yaml:11 (transform), SQL column 8\n  {ambiguous}"
        )
    );
    let star = report("SELECT * FROM customers JOIN vips USING (id)").await;
    assert!(
        star.starts_with("error: the column `_op` is in several tables"),
        "{star}"
    );
    for join in ["NATURAL JOIN vips", "JOIN vips USING (id, _op)"] {
        let error = plan(&format!("SELECT id FROM customers {join}"))
            .await
            .expect_err(join);
        assert_eq!(
            error.message(),
            "NATURAL JOIN or USING joins `customers` on its metadata column `_op`"
        );
        assert_eq!(
            error.next_step(),
            Some("write the condition, as in `JOIN t ON t.id = customers.id`")
        );
    }
}

#[tokio::test]
async fn a_batch_that_does_not_fit_the_plan_is_a_bug_and_not_the_users_mistake() {
    let transform = plan("SELECT id, city FROM customers").await.unwrap();
    let wrong = plan("SELECT id, tier FROM customers").await.unwrap();
    let missing = transform.run(&rows(&wrong, 3)).await.expect_err("no city");
    assert_eq!(missing.kind(), sql::ErrorKind::Internal);
    let ids = rows(&transform, 3).column(0).clone();
    let retyped = RecordBatch::try_from_iter([("id", ids.clone()), ("city", ids)]).unwrap();
    let other_type = transform.run(&retyped).await.expect_err("city is a number");
    assert_eq!(other_type.kind(), sql::ErrorKind::Internal);
    let text = std::error::Error::source(&other_type).unwrap().to_string();
    assert!(
        text.contains("column city was decoded as Int64, and the plan reads Utf8"),
        "{text}"
    );
}
