//! One plan, many batches: the second batch may not see anything of the first.

use super::rows::{lines, plan, rows};

const QUERIES: [&str; 16] = [
    "SELECT id, upper(city) AS city FROM customers WHERE tier = 'gold'",
    "SELECT c.id, t.discount FROM customers c LEFT JOIN tiers t ON c.tier = t.tier",
    "SELECT c.id, t.discount FROM customers c JOIN tiers t ON c.tier = t.tier",
    "SELECT c.id, t.discount FROM tiers t RIGHT JOIN customers c ON c.tier = t.tier",
    "SELECT id FROM customers WHERE id IN (SELECT id FROM vips)",
    "SELECT id FROM customers WHERE id NOT IN (SELECT id FROM vips)",
    "SELECT id FROM customers c WHERE NOT EXISTS (SELECT 1 FROM vips v WHERE v.id = c.id)",
    "SELECT id, tiers.tier AS other FROM customers CROSS JOIN tiers",
    "SELECT c.id, t.discount FROM customers c LEFT JOIN tiers t ON c.id < t.discount",
    "SELECT c.id, b.points FROM customers c JOIN bonus b ON b.tier = c.tier",
    "SELECT id, (SELECT max(discount) FROM tiers t WHERE t.tier = c.tier) AS d FROM customers c",
    "SELECT id FROM customers WHERE tier = 'gold' OR id IN (SELECT id FROM vips)",
    "SELECT id FROM customers WHERE id % 2 = 0 UNION ALL SELECT id FROM customers WHERE id % 2 = 1",
    "SELECT id, unnest(tags) AS tag FROM customers",
    "SELECT c.id, m.n FROM customers c LEFT JOIN (SELECT tier, count(*) AS n FROM bonus GROUP BY tier) m ON m.tier = c.tier",
    "SELECT id, amount FROM customers ORDER BY amount",
];

#[tokio::test]
async fn a_plan_that_ran_before_returns_what_a_fresh_one_does() {
    for sql in QUERIES {
        let kept = plan(sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}\n{}", e.report()));
        for n in [9000, 40, 8192, 0, 1200] {
            let batch = rows(&kept, n);
            let again = lines(&kept.run(&batch).await.unwrap());
            let fresh = lines(&plan(sql).await.unwrap().run(&batch).await.unwrap());
            assert_eq!(again.len(), fresh.len(), "{sql} over {n} rows");
            // Rows that a lookup made of one source row have no order among themselves.
            let sorted = |mut lines: Vec<String>| {
                lines.sort();
                lines
            };
            assert!(
                sorted(again) == sorted(fresh),
                "{sql} over {n} rows returns other rows"
            );
        }
    }
}

#[tokio::test]
async fn output_comes_in_the_order_of_the_source() {
    for sql in QUERIES {
        let transform = plan(sql).await.unwrap();
        let out = transform.run(&rows(&transform, 9000)).await.unwrap();
        assert!(out.source_rows.values().is_sorted(), "{sql}");
        assert!(
            out.source_rows.iter().flatten().all(|row| row < 9000),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn every_row_of_a_batch_is_found_again_by_its_index() {
    let transform = plan("SELECT id FROM customers c LEFT JOIN tiers t USING (tier)")
        .await
        .unwrap();
    let out = transform.run(&rows(&transform, 20_000)).await.unwrap();
    let expected: Vec<String> = (0..20_000).map(|i| format!("{i}: {}", i + 1)).collect();
    assert!(
        lines(&out) == expected,
        "ids and source rows are not in step"
    );
}

#[tokio::test]
async fn batches_run_side_by_side_do_not_mix() {
    let transform = plan("SELECT c.id, t.discount FROM customers c JOIN tiers t USING (tier)")
        .await
        .unwrap();
    let (small, big) = (rows(&transform, 6), rows(&transform, 6000));
    let (a, b, c) = tokio::join!(
        transform.run(&small),
        transform.run(&big),
        transform.run(&small)
    );
    assert_eq!(lines(&a.unwrap()), lines(&c.unwrap()));
    assert_eq!(b.unwrap().source_rows.len(), 4000);
}
