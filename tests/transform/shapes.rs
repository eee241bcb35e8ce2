//! Shapes of SQL over the source: those that run, with what they return, and those that are refused, with what they say.

use super::rows::{plan, six};

/// Runs each query over the six rows; a line is `source row: values`.
async fn check(cases: &[(&str, &[&str])]) {
    for (sql, expected) in cases {
        assert_eq!(six(sql).await, *expected, "{sql}");
    }
}

#[tokio::test]
async fn filters_projections_and_ctes_return_rows_of_the_source() {
    check(&[
        (
            "SELECT id AS key, concat_ws(' ', first_name, last_name) AS name FROM customers WHERE country = 'USA'",
            &["0: 1|Ann Lee", "1: 2|Bob "],
        ),
        (
            "WITH a AS (SELECT id, amount FROM customers WHERE id > 2), b AS (SELECT id + 1 AS id2 FROM a) SELECT * FROM b ORDER BY id2 DESC",
            &["2: 4", "3: 5", "4: 6", "5: 7"],
        ),
        (
            "SELECT id FROM customers WHERE id = 1 UNION ALL SELECT x.id FROM (SELECT id FROM customers WHERE id >= 5) x",
            &["0: 1", "4: 5", "5: 6"],
        ),
        ("SELECT id FROM customers WHERE 1 = 0", &[]),
        ("SELECT id FROM customers WHERE NOT (NULL = id)", &[]),
        (
            "SELECT id, unnest(tags) AS tag FROM customers",
            &["0: 1|a", "0: 1|b", "3: 4|c", "4: 5|d", "5: 6|e", "5: 6|e"],
        ),
        (
            "SELECT id, amount * 2 AS twice, coalesce(tier, 'none') AS tier FROM customers WHERE id > 3",
            &["3: 4|0.00|none", "4: 5|14.50|bronze", "5: 6|2.20|tin"],
        ),
        ("SELECT id, random() < 2 AS yes FROM customers WHERE id = 3", &["2: 3|true"]),
        ("SELECT 1 AS one FROM customers WHERE id < 3", &["0: 1", "1: 1"]),
        ("SELECT 'x' AS x FROM customers", &["0: x", "1: x", "2: x", "3: x", "4: x", "5: x"]),
    ])
    .await;
}

#[tokio::test]
async fn lookups_are_joined_in_the_order_of_the_source() {
    check(&[
        (
            "SELECT c.id, t.discount FROM customers c LEFT JOIN tiers t ON c.tier = t.tier WHERE c.id <> 2",
            &["0: 1|10", "2: 3|10", "3: 4|NULL", "4: 5|1", "5: 6|NULL"],
        ),
        (
            "SELECT id, discount FROM tiers RIGHT JOIN customers USING (tier)",
            &["0: 1|10", "1: 2|5", "2: 3|10", "3: 4|NULL", "4: 5|1", "5: 6|NULL"],
        ),
        (
            "SELECT c.id, t.discount FROM customers c JOIN tiers t USING (tier)",
            &["0: 1|10", "1: 2|5", "2: 3|10", "4: 5|1"],
        ),
        ("SELECT id, discount FROM customers NATURAL JOIN tiers WHERE id < 3", &["0: 1|10", "1: 2|5"]),
        (
            "SELECT c.id, b.points FROM customers c JOIN bonus b ON b.tier = c.tier ORDER BY b.points",
            &["0: 1|7", "0: 1|8", "2: 3|7", "2: 3|8"],
        ),
        (
            "SELECT c.id, m.most FROM customers c LEFT JOIN (SELECT tier, max(points) AS most FROM bonus GROUP BY tier) m ON m.tier = c.tier AND c.id < m.most - 6 WHERE c.id < 4",
            &["0: 1|8", "1: 2|NULL", "2: 3|NULL"],
        ),
        (
            "SELECT c.id, v.x FROM customers c JOIN (VALUES ('gold', 1)) AS v(tier, x) USING (tier)",
            &["0: 1|1", "2: 3|1"],
        ),
        ("SELECT c.id FROM customers c LEFT SEMI JOIN tiers t ON c.tier = t.tier LEFT JOIN vips v ON v.id = c.id", &["0: 1", "1: 2", "2: 3", "4: 5"]),
        ("SELECT id, n FROM customers CROSS JOIN (SELECT count(*) AS n FROM tiers) WHERE id < 3", &["0: 1|3", "1: 2|3"]),
    ])
    .await;
}

#[tokio::test]
async fn subqueries_over_lookups_run() {
    check(&[
        ("SELECT id FROM customers WHERE id IN (SELECT id FROM vips) AND EXISTS (SELECT 1 FROM tiers t WHERE t.tier = customers.tier)", &["0: 1", "4: 5"]),
        ("SELECT id FROM customers WHERE id NOT IN (SELECT id FROM vips)", &["1: 2", "2: 3", "3: 4", "5: 6"]),
        (
            "SELECT id, (SELECT max(discount) FROM tiers t WHERE t.tier = c.tier) AS d FROM customers c WHERE id > 3",
            &["3: 4|NULL", "4: 5|1", "5: 6|NULL"],
        ),
        ("SELECT id FROM customers WHERE tier IN (SELECT DISTINCT tier FROM bonus ORDER BY tier LIMIT 1)", &["0: 1", "2: 3"]),
    ])
    .await;
}

#[tokio::test]
async fn what_loses_a_rows_identity_is_refused_with_a_way_out() {
    let cases = [
        (
            "SELECT tier, count(*) FROM customers GROUP BY tier",
            "GROUP BY or an aggregate over `customers` is refused",
        ),
        (
            "SELECT max(id) FROM customers",
            "GROUP BY or an aggregate over `customers` is refused",
        ),
        (
            "SELECT DISTINCT tier FROM customers",
            "DISTINCT, or a UNION, INTERSECT or EXCEPT, over `customers` is refused",
        ),
        (
            "SELECT DISTINCT ON (tier) id FROM customers",
            "DISTINCT ON over `customers` is refused",
        ),
        (
            "SELECT id FROM customers LIMIT 3",
            "LIMIT over `customers` is refused",
        ),
        (
            "SELECT id FROM (SELECT id FROM customers LIMIT 3)",
            "LIMIT over `customers` is refused",
        ),
        (
            "SELECT id, row_number() OVER (ORDER BY id) FROM customers",
            "a window function over `customers` is refused",
        ),
        (
            "SELECT id FROM customers QUALIFY row_number() OVER (ORDER BY id) = 1",
            "a window function over `customers` is refused",
        ),
        (
            "SELECT a.id FROM customers a JOIN customers b ON a.id = b.id",
            "`customers` is joined with itself",
        ),
        (
            "SELECT id, (SELECT max(id) FROM customers) FROM customers",
            "a subquery in an expression reads `customers`",
        ),
        (
            "SELECT id FROM vips WHERE id IN (SELECT id FROM customers)",
            "a subquery in an expression reads `customers`",
        ),
        (
            "SELECT v.id FROM vips v LEFT JOIN customers c ON c.id = v.id",
            "a LEFT JOIN with `customers` on its right",
        ),
        (
            "SELECT c.id FROM customers c RIGHT JOIN vips v ON c.id = v.id",
            "a RIGHT JOIN with `customers` on its left",
        ),
        (
            "SELECT c.id FROM customers c FULL JOIN vips v ON c.id = v.id",
            "a FULL JOIN with `customers` on its left",
        ),
        (
            "SELECT v.id FROM vips v LEFT SEMI JOIN customers c ON c.id = v.id",
            "a LEFT SEMI JOIN with `customers` on its right",
        ),
        (
            "SELECT id FROM customers UNION SELECT id FROM customers",
            "DISTINCT, or a UNION, INTERSECT or EXCEPT, over `customers` is refused",
        ),
        (
            "SELECT id FROM customers INTERSECT SELECT id FROM vips",
            "DISTINCT, or a UNION, INTERSECT or EXCEPT, over `customers` is refused",
        ),
        (
            "SELECT id FROM customers UNION ALL SELECT id FROM vips",
            "a branch of the UNION ALL does not read `customers`",
        ),
        (
            "WITH RECURSIVE r AS (SELECT id FROM customers UNION ALL SELECT id + 1 FROM r WHERE id < 9) SELECT id FROM r",
            "WITH RECURSIVE over `customers` is refused",
        ),
        (
            "SELECT id FROM vips",
            "the SQL does not read the source `customers`",
        ),
        ("SELECT 1", "the SQL does not read the source `customers`"),
        (
            "SELECT id AS __row FROM customers",
            "the name `__row` is reserved",
        ),
        (
            "SELECT c.id, v.id FROM customers c JOIN vips v ON v.id = c.id",
            "two output columns are called `id`",
        ),
    ];
    for (sql, expected) in cases {
        let error = plan(sql).await.expect_err(sql);
        assert_eq!(error.kind(), sql::ErrorKind::Config, "{sql}");
        assert!(
            error.message().starts_with(expected),
            "{sql}\n{}",
            error.report()
        );
        assert!(error.next_step().is_some(), "{sql}: no way out");
        let place = error.place().unwrap_or_default();
        assert!(
            place.starts_with("pipelines/customers.yaml:11 (transform)"),
            "{sql}: {place}"
        );
    }
}

#[tokio::test]
async fn output_types_are_those_of_the_plan_that_runs() {
    let transform = plan(
        "SELECT CASE WHEN id > 1 THEN amount ELSE 0 END AS a, amount * 1.1 AS b FROM customers",
    )
    .await
    .unwrap();
    let types: Vec<String> = transform
        .output_schema()
        .fields()
        .iter()
        .map(|f| f.data_type().to_string())
        .collect();
    assert_eq!(types, ["Decimal128(22, 2)", "Decimal128(15, 3)"]);
}

#[tokio::test]
async fn lineage_names_the_columns_behind_each_output_and_those_that_decide() {
    let transform = plan(
        "SELECT c.id AS key, upper(c.city) AS city, t.discount FROM customers c LEFT JOIN tiers t ON c.tier = t.tier WHERE c.country = 'USA'",
    )
    .await
    .unwrap();
    let lineage = transform.lineage().unwrap();
    let columns: Vec<Vec<&str>> = lineage
        .output
        .iter()
        .map(|o| o.columns.iter().map(String::as_str).collect())
        .collect();
    assert_eq!(columns, [vec!["id"], vec!["city"], vec!["tier"]]);
    let plain: Vec<_> = lineage.output.iter().map(|o| o.plain.as_deref()).collect();
    assert_eq!(plain, [Some("id"), None, None]);
    let decide: Vec<&str> = lineage.decide.iter().map(String::as_str).collect();
    assert_eq!(decide, ["country", "tier"]);
}

/// `output columns: source columns (=plain)`, then what decides.
async fn traced(sql: &str) -> (Vec<String>, Vec<String>) {
    let transform = plan(sql).await.unwrap();
    let lineage = transform
        .lineage()
        .unwrap_or_else(|e| panic!("{sql}\n{}", e.report()));
    let output = lineage.output.into_iter().map(|origin| {
        let columns: Vec<String> = origin.columns.into_iter().collect();
        let plain = origin
            .plain
            .map_or_else(String::new, |plain| format!("={plain}"));
        format!("{}{plain}", columns.join("+"))
    });
    (output.collect(), lineage.decide.into_iter().collect())
}

#[tokio::test]
async fn lineage_goes_through_unions_unnest_subqueries_and_computation() {
    for (sql, output, decide) in [
        (
            "SELECT id + 0 AS a, id AS b, CAST(id AS BIGINT) AS c FROM customers",
            vec!["id", "id=id", "id"],
            vec![],
        ),
        (
            "SELECT id, city FROM customers WHERE id = 1 UNION ALL SELECT id, country FROM customers",
            vec!["id=id", "city+country"],
            vec!["id"],
        ),
        (
            "SELECT id, unnest(tags) AS tag FROM customers",
            vec!["id=id", "tags"],
            vec!["tags"],
        ),
        (
            "SELECT id, (SELECT max(discount) FROM tiers t WHERE t.tier = c.tier) AS d FROM customers c",
            vec!["id=id", "tier"],
            vec![],
        ),
        (
            "SELECT id FROM customers c WHERE EXISTS (SELECT 1 FROM tiers t WHERE t.tier = c.tier)",
            vec!["id=id"],
            vec!["tier"],
        ),
        (
            "WITH a AS (SELECT id AS k, city FROM customers) SELECT x.k AS key, 'z' AS z, _op FROM (SELECT a.*, 'u' AS _op FROM a) x",
            vec!["id=id", "", ""],
            vec![],
        ),
        (
            "SELECT * FROM (SELECT id, concat(city, country) AS place FROM customers) p JOIN tiers t ON t.tier = p.place",
            vec!["id=id", "city+country", "city+country", "city+country"],
            vec!["city", "country"],
        ),
    ] {
        let (got, by) = traced(sql).await;
        assert_eq!(
            (got, by),
            (
                output.iter().map(ToString::to_string).collect(),
                decide.iter().map(ToString::to_string).collect::<Vec<_>>()
            ),
            "{sql}"
        );
    }
}
