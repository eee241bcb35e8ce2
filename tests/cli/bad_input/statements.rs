//! The pipeline's SQL and its rules.

use super::super::case::Case;

/// The SQL starts on line 60 of the shipped file.
fn of(sql: &str) -> Case {
    Case::iceberg().transform(sql)
}

#[test]
fn a_syntax_error_has_its_line() {
    of("SELECT customer_id,\n  (email AS e\nFROM customers").refused(&[
        "error: SQL syntax: expected: )",
        "\n  at: pipeline.yaml:61 (transform), SQL column 10",
        "\n  next: correct the pipeline file",
    ]);
    of("SELECT customer_id FROM customers WHERE")
        .refused(&["error: ", "\n  at: pipeline.yaml:60 (transform)"]);
    of("SELECT 'abc FROM customers").refused(&[
        "error: SQL syntax: unterminated string literal",
        "\n  at: pipeline.yaml:60 (transform), SQL column 8",
    ]);
}

#[test]
fn an_unknown_column_names_the_nearest() {
    of("SELECT customer_id,\n  emial\nFROM customers").refused(&[
        "error: unknown column `emial`",
        "\n  at: pipeline.yaml:61 (transform), SQL column 3",
        "\n  expected: one of `customer_id`, `email`",
        "\n  next: did you mean `email`?",
    ]);
    of("SELECT nothing_like_it FROM customers").refused(&[
        "error: unknown column `nothing_like_it`",
        "\n  expected: one of `customer_id`, `email`",
    ]);
}

#[test]
fn an_unknown_table_is_placed() {
    of("SELECT customer_id FROM customer").refused(&[
        "error: unknown table `customer`",
        "\n  at: pipeline.yaml:60 (transform), SQL column 25",
        "\n  expected: the source's name or a name from `tables:`",
    ]);
}

#[test]
fn an_unknown_function_names_the_nearest() {
    of("SELECT concat_nonblnk(' ', email) AS e FROM customers").refused(&[
        "error: unknown function `concat_nonblnk`",
        "\n  at: pipeline.yaml:60 (transform), SQL column 8",
        "\n  next: did you mean 'concat_nonblank'?",
    ]);
    of("SELECT no_such_thing_at_all(email) AS e FROM customers")
        .refused(&["error: unknown function `no_such_thing_at_all`"]);
}

#[test]
fn what_depends_on_where_batches_end_is_refused_with_advice() {
    const WHY: &str = "is refused: a pipeline's SQL sees one batch at a time";
    for (sql, what, advice) in [
        (
            "SELECT count(*) AS n FROM customers",
            "error: GROUP BY or an aggregate over `customers`",
            "aggregate in a query over the target table",
        ),
        (
            "SELECT tier, max(customer_id) AS m FROM customers GROUP BY tier",
            "error: ",
            "aggregate in a query over the target table",
        ),
        (
            "SELECT customer_id, row_number() OVER (ORDER BY customer_id) AS n FROM customers",
            "error: a window function over `customers`",
            "aggregate in a query over the target table",
        ),
        (
            "SELECT customer_id FROM customers LIMIT 3",
            "error: LIMIT over `customers`",
            "filter with WHERE instead",
        ),
        (
            "SELECT DISTINCT tier FROM customers",
            "error: DISTINCT",
            "remove duplicates in a query over the target table",
        ),
        (
            "SELECT tier FROM customers UNION SELECT city FROM customers",
            "UNION",
            "use UNION ALL",
        ),
    ] {
        of(sql).refused(&[what, WHY, "\n  at: pipeline.yaml:60 (transform)", advice]);
    }
}

#[test]
fn a_column_beside_an_aggregate_is_told_shortly() {
    of("SELECT tier, count(*) AS n FROM customers").refused(&[
        "error: `customers.tier` stands in SELECT beside an aggregate, but not in GROUP BY",
        "\n  at: pipeline.yaml:60 (transform)",
    ]);
}

#[test]
fn clocks_are_refused_with_what_to_use() {
    for clock in ["now()", "current_date", "current_timestamp"] {
        of(&format!("SELECT customer_id, {clock} AS t FROM customers")).refused(&[
            "reads the clock, and a pipeline's SQL is planned once for all batches",
            "\n  at: pipeline.yaml:60 (transform)",
            "\n  next: use `_ingested_at`",
        ]);
    }
}

#[test]
fn anything_but_one_select_is_refused() {
    for sql in [
        "DELETE FROM customers",
        "INSERT INTO customers SELECT * FROM customers",
        "CREATE TABLE t AS SELECT * FROM customers",
        "DROP TABLE customers",
        "COPY customers TO 'stolen.parquet'",
        "SET datafusion.execution.batch_size = 1",
    ] {
        of(sql).refused(&[
            "error: ",
            "\n  at: pipeline.yaml:60 (transform)",
            "\n  expected: one SELECT",
        ]);
    }
    of("SELECT customer_id FROM customers; SELECT email FROM customers").refused(&[
        "error: the SQL has 2 statements",
        "\n  expected: one SELECT",
    ]);
}

#[test]
fn two_columns_of_one_name_are_refused() {
    for (sql, name) in [
        ("SELECT email, city AS email FROM customers", "email"),
        ("SELECT city AS a, email AS a FROM customers", "a"),
        ("SELECT *, email FROM customers", "email"),
    ] {
        of(sql).refused(&[
            &format!("error: the SQL returns two columns named `{name}`"),
            "\n  at: pipeline.yaml:60 (transform)",
            "\n  expected: a name of its own for each column",
            "\n  next: rename one of them",
        ]);
    }
}

#[test]
fn a_cast_that_cannot_be_is_refused() {
    of("SELECT CAST(customer_id AS NO_SUCH_TYPE) AS c FROM customers")
        .refused(&["error: ", "\n  at: pipeline.yaml:60 (transform)"]);
    of("SELECT email + 1 AS c FROM customers").refused(&[
        "error: ",
        "Utf8",
        "\n  at: pipeline.yaml:60 (transform)",
    ]);
}

#[test]
fn a_rule_that_is_wrong_is_placed_at_its_key() {
    let rule = |expect: &str| Case::iceberg().edit("email IS NOT NULL", expect);
    rule("emial IS NOT NULL").refused(&[
        "error: unknown column `emial`",
        "\n  at: pipeline.yaml:80 (rules[0].expect), SQL column 1",
        "\n  next: did you mean `email`?",
    ]);
    rule("customer_id + 1").refused(&["error: ", "\n  at: pipeline.yaml:80 (rules[0].expect)"]);
    rule("email IS NOT").refused(&["error: ", "\n  at: pipeline.yaml:80 (rules[0].expect)"]);
    rule("count(*) > 1").refused(&["error: ", "\n  at: pipeline.yaml:80 (rules[0].expect)"]);
}
