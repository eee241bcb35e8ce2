//! SQL functions of the pipeline's file.

use super::rows::{lines, plan_with, rows};

async fn six(function: &[&str], sql: &str) -> Vec<String> {
    let transform = plan_with(sql, function, &[])
        .await
        .unwrap_or_else(|e| panic!("{}", e.report()));
    lines(&transform.run(&rows(&transform, 6)).await.unwrap())
}

const INITIALS: &str =
    "CREATE FUNCTION initials(a TEXT, b TEXT) RETURNS TEXT RETURN concat(left(a, 1), left(b, 1))";

#[tokio::test]
async fn a_function_is_inlined() {
    let sql = "SELECT initials(first_name, last_name) AS i FROM customers WHERE id < 4";
    assert_eq!(six(&[INITIALS], sql).await, ["0: AL", "1: B", "2: R"]);
    let transform = plan_with(sql, &[INITIALS], &[]).await.unwrap();
    assert!(
        !transform.explain(false).contains("initials("),
        "{}",
        transform.explain(false)
    );
    assert_eq!(
        transform.source_columns(),
        ["id", "first_name", "last_name"]
    );
}

#[tokio::test]
async fn functions_take_numbers_positions_and_each_other() {
    assert_eq!(
        six(
            &["CREATE FUNCTION Tax(x DECIMAL(12,2)) RETURNS DECIMAL(12,2) RETURN x * 1.1"],
            "SELECT tax(amount) AS t FROM customers WHERE id < 3"
        )
        .await,
        ["0: 11.00", "1: 22.55"]
    );
    assert_eq!(
        six(
            &["CREATE FUNCTION plus(BIGINT, BIGINT) RETURNS BIGINT RETURN $1 + $2"],
            "SELECT plus(id, 10) AS p FROM customers WHERE plus(id, 0) = 2"
        )
        .await,
        ["1: 12"]
    );
    assert_eq!(
        six(
            &[
                INITIALS,
                "CREATE FUNCTION loud(t TEXT) RETURNS TEXT RETURN upper(initials(t, 'z'))"
            ],
            "SELECT loud(city) AS l FROM customers WHERE id = 1"
        )
        .await,
        ["0: SZ"]
    );
    assert_eq!(
        six(
            &[INITIALS],
            "SELECT initials(id, country) AS l FROM customers WHERE id = 5"
        )
        .await,
        ["4: 5G"]
    );
}

#[tokio::test]
async fn wrong_definitions_are_refused() {
    for (function, message) in [
        (
            "CREATE FUNCTION f(a TEXT) RETURNS TEXT RETURN upper(b)",
            "`b` is no argument of the function",
        ),
        (
            "CREATE FUNCTION f(a TEXT, A TEXT) RETURNS TEXT RETURN a",
            "two arguments are called `a`",
        ),
        (
            "CREATE FUNCTION upper(a TEXT) RETURNS TEXT RETURN a",
            "a function `upper` is there already",
        ),
        (
            "CREATE FUNCTION f(a TEXT) RETURNS TEXT AS 'SELECT 1'",
            "the function has no RETURN with an expression",
        ),
        (
            "CREATE FUNCTION f(a TEXT DEFAULT 'x') RETURNS TEXT RETURN a",
            "an argument of `f` has a DEFAULT, which is not supported",
        ),
        (
            "CREATE TABLE f (a TEXT)",
            "this statement defines no function",
        ),
        ("SELECT 1; SELECT 2", "2 statements stand here"),
        (
            "CREATE FUNCTION f(a TEXT) RETURNS TEXT RETURN nope(a)",
            "unknown function `nope`",
        ),
    ] {
        let error = plan_with("SELECT id FROM customers", &[function], &[])
            .await
            .expect_err(function);
        assert_eq!(error.message(), message, "{function}");
        assert_eq!(error.kind(), sql::ErrorKind::Config);
        assert!(
            error
                .place()
                .unwrap()
                .starts_with("pipelines/customers.yaml:11"),
            "{error}"
        );
    }
    let twice = plan_with("SELECT id FROM customers", &[INITIALS, INITIALS], &[])
        .await
        .expect_err("twice");
    assert_eq!(twice.message(), "the function `initials` is defined twice");
}

#[tokio::test]
async fn wrong_calls_are_refused() {
    let one = plan_with(
        "SELECT initials(city) AS x FROM customers",
        &[INITIALS],
        &[],
    )
    .await
    .expect_err("one argument");
    assert!(
        one.message()
            .contains("`initials` takes 2 arguments, but 1 were given"),
        "{one}"
    );
    let f = "CREATE FUNCTION f(n BIGINT) RETURNS BIGINT RETURN n + 1";
    let text = plan_with("SELECT f(city) AS x FROM customers", &[f], &[])
        .await
        .expect_err("text for a number");
    assert!(
        text.message()
            .contains("the argument `n` of `f` is Int64, but Utf8 was given"),
        "{text}"
    );
    let clock = "CREATE FUNCTION age(t TIMESTAMP) RETURNS INTERVAL RETURN now() - t";
    let clock = plan_with(
        "SELECT age(_ingested_at) AS x FROM customers",
        &[clock],
        &[],
    )
    .await
    .expect_err("clock");
    assert!(clock.message().contains("reads the clock"), "{clock}");
}
