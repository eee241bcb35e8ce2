//! `engine sql` over live sources: what ends, what never would, and what a star means.

use super::case::{Case, assert_says};
use super::queries::{drawn, prints, refuses, sql};

#[test]
fn a_live_source_is_read_with_a_limit() {
    let case = Case::iceberg();
    prints(
        &case,
        &[
            "-c",
            "SELECT customer_id, tier, _op, _offset FROM customers.customers LIMIT 3",
        ],
        drawn(
            "
 customer_id | tier     | _op | _offset
-------------+----------+-----+---------
           1 | Bronze   | r   |       0
           2 | Platinum | r   |       1
           3 | Bronze   | r   |       2
(3 rows)
",
        ),
    );
    prints(
        &case,
        &[
            "--format",
            "json",
            "-c",
            "SELECT count(*) AS n FROM (SELECT * FROM customers.customers LIMIT 1000)",
        ],
        "[{\"n\":1000}]\n",
    );
    assert!(case.files().is_empty(), "reading a source made something");
}

#[test]
fn a_star_over_a_live_source_is_the_rows_own_columns() {
    const HEADER: &str = "customer_id,email,first_name,last_name,phone,city,state,country,tier,lifetime_value,created_at,updated_at\n";
    let case = Case::iceberg();
    for query in [
        "SELECT * FROM customers.customers LIMIT 2",
        "SELECT c.* FROM customers.customers AS c LIMIT 2",
        "SELECT * FROM (SELECT * FROM customers.customers) LIMIT 2",
        "WITH customers AS (SELECT * FROM customers.customers) SELECT * FROM customers LIMIT 2",
    ] {
        let outcome = sql(&case, &["--format", "csv", "-c", query]);
        assert_says(&outcome, 0, &[]);
        assert!(
            outcome.stdout.starts_with(HEADER),
            "{query}:\n{}",
            outcome.stdout
        );
        assert_eq!(
            outcome.stdout.lines().count(),
            3,
            "{query}:\n{}",
            outcome.stdout
        );
    }
    let named = sql(
        &case,
        &[
            "--format",
            "csv",
            "-c",
            "SELECT _op, * FROM customers.customers LIMIT 1",
        ],
    );
    assert!(
        named.stdout.starts_with(&format!("_op,{HEADER}")),
        "{}",
        named.stdout
    );
}

#[test]
fn a_star_over_a_table_is_all_of_it_even_beside_a_source_of_its_name() {
    let case = Case::iceberg();
    case.runs(0, &[]);
    let query = "SELECT t.* FROM (SELECT * FROM customers.customers LIMIT 1) s \
                 JOIN iceberg.analytics.customers t ON s.customer_id = t.customer_id LIMIT 1";
    let outcome = sql(&case, &["--format", "csv", "-c", query]);
    assert_says(&outcome, 0, &[]);
    let header = outcome.stdout.lines().next().unwrap();
    assert!(
        header.ends_with("_source_system,_topic,_partition,_offset"),
        "{header}"
    );
}

#[test]
fn what_needs_the_end_of_a_live_source_is_refused_in_words() {
    let case = Case::iceberg();
    for (query, what) in [
        ("SELECT count(*) FROM customers.customers", "an aggregate"),
        ("SELECT DISTINCT tier FROM customers.customers", "DISTINCT"),
        (
            "SELECT tier FROM customers.customers ORDER BY tier",
            "ORDER BY",
        ),
    ] {
        refuses(
            &case,
            query,
            &[
                "error: `customers.customers` never ends, and ",
                what,
                "answers only at the end",
                "\n  next: cut it, as in `FROM (SELECT * FROM customers.customers LIMIT 1000)`",
            ],
        );
    }
}
