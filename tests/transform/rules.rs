//! Row rules, every action.

use engine::quality::rules::{Judged, Quarantined};
use engine::spec::model::{OnFail, RuleSpec};
use sql::ErrorKind;
use sql::change::Op;

use super::rows::{lines, located, meta, plan_with, rows};

fn rule(name: &str, expect: &str, on_fail: OnFail) -> RuleSpec {
    RuleSpec {
        name: name.to_owned(),
        expect: located(expect),
        on_fail,
    }
}

async fn judge(sql: &str, rules: &[RuleSpec], ops: &[Op]) -> sql::Result<Judged> {
    let transform = plan_with(sql, &[], rules).await?;
    let batch = rows(&transform, ops.len());
    let out = transform.run(&batch).await?;
    transform.rules().judge(out, &batch, &meta(ops))
}

const C: [Op; 6] = [Op::Create; 6];

#[tokio::test]
async fn warn_counts_and_keeps() {
    let judged = judge(
        "SELECT id FROM customers",
        &[rule("city", "city IS NOT NULL", OnFail::Warn)],
        &C,
    )
    .await
    .unwrap();
    assert_eq!(
        (judged.counts[0].failed, judged.counts[0].on_fail),
        (1, OnFail::Warn)
    );
    assert_eq!(judged.kept.source_rows.len(), 6);
}

#[tokio::test]
async fn drop_leaves_rows_out_and_a_null_condition_is_not_met() {
    let judged = judge(
        "SELECT id, amount FROM customers",
        &[rule("paid", "amount > 1", OnFail::Drop)],
        &C,
    )
    .await
    .unwrap();
    assert_eq!(
        lines(&judged.kept),
        ["0: 1|10.00", "1: 2|20.50", "4: 5|7.25", "5: 6|1.10"]
    );
    assert_eq!(judged.counts[0].failed, 2);
    assert!(judged.quarantined.is_empty());
}

#[tokio::test]
async fn quarantine_takes_the_whole_event() {
    let judged = judge(
        "SELECT id, unnest(tags) AS tag FROM customers",
        &[
            rule("no_b", "tag <> 'b'", OnFail::Quarantine),
            rule("no_e", "tag <> 'e'", OnFail::Quarantine),
        ],
        &C,
    )
    .await
    .unwrap();
    assert_eq!(lines(&judged.kept), ["3: 4|c", "4: 5|d"]);
    let expected = [(0, "no_b"), (5, "no_e")].map(|(row, rule)| Quarantined {
        row,
        rule: rule.to_owned(),
    });
    assert_eq!(judged.quarantined, expected);
    assert_eq!(
        judged.counts.iter().map(|c| c.failed).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[tokio::test]
async fn fail_names_rule_and_offset() {
    let error = judge(
        "SELECT id, tier AS level FROM customers WHERE id > 1",
        &[rule("known", "level <> 'gold'", OnFail::Fail)],
        &C,
    )
    .await
    .expect_err("gold and null");
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert_eq!(
        error.report(),
        "error: 2 rows of the batch do not meet the rule `known`\n  at: shop.customers/3@102\n  expected: level <> 'gold'\n  next: correct the row where it comes from, or set the rule's `on_fail` to quarantine"
    );
}

#[tokio::test]
async fn deletes_and_truncates_are_not_judged() {
    let ops = [
        Op::Read,
        Op::Delete,
        Op::Truncate,
        Op::Update,
        Op::Delete,
        Op::Create,
    ];
    let judged = judge(
        "SELECT id FROM customers",
        &[rule("never", "1 = 0", OnFail::Drop)],
        &ops,
    )
    .await
    .unwrap();
    assert_eq!(lines(&judged.kept), ["1: 2", "2: 3", "4: 5"]);
    assert_eq!(judged.counts[0].failed, 3);
}

#[tokio::test]
async fn rules_see_the_output_first_and_then_the_source() {
    // `city` of the output hides the source's; `country` and `_op` are the source's.
    let rules = [rule(
        "r",
        "city = 'USA' AND country = 'USA' AND _op = 'c'",
        OnFail::Drop,
    )];
    let sql = "SELECT id, country AS city FROM customers";
    let judged = judge(sql, &rules, &C).await.unwrap();
    assert_eq!(lines(&judged.kept), ["0: 1|USA"]);
    let transform = plan_with(sql, &[], &rules).await.unwrap();
    assert_eq!(transform.source_columns(), ["id", "country", "_op"]);
}

#[tokio::test]
async fn rules_may_call_the_pipelines_functions() {
    let f = "CREATE FUNCTION named(a TEXT, b TEXT) RETURNS BOOLEAN RETURN concat(a, b) <> ''";
    let transform = plan_with(
        "SELECT id FROM customers",
        &[f],
        &[rule("n", "named(first_name, last_name)", OnFail::Drop)],
    )
    .await
    .unwrap();
    let batch = rows(&transform, 6);
    let out = transform.run(&batch).await.unwrap();
    let judged = transform.rules().judge(out, &batch, &meta(&C)).unwrap();
    assert_eq!(
        lines(&judged.kept),
        ["0: 1", "1: 2", "2: 3", "4: 5", "5: 6"]
    );
}

#[tokio::test]
async fn wrong_rules_are_refused_when_they_are_planned() {
    for (expect, message) in [
        ("emial IS NOT NULL", "unknown column `emial`"),
        ("id + 1", "the condition of a rule is Int64"),
        (
            "max(id) > 1",
            "a rule judges one row and cannot hold an aggregate",
        ),
        (
            "now() > _ingested_at",
            "`now` reads the clock, and a pipeline's SQL is planned once for all batches",
        ),
    ] {
        let error = plan_with(
            "SELECT id FROM customers",
            &[],
            &[rule("r", expect, OnFail::Warn)],
        )
        .await
        .expect_err(expect);
        assert_eq!(error.message(), message, "{expect}");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error
                .place()
                .unwrap()
                .starts_with("pipelines/customers.yaml:11"),
            "{error}"
        );
    }
    for expect in ["id IN (SELECT id FROM vips)", "id >", "id > 1 2"] {
        let error = plan_with(
            "SELECT id FROM customers",
            &[],
            &[rule("r", expect, OnFail::Warn)],
        )
        .await
        .expect_err(expect);
        assert_eq!(error.kind(), ErrorKind::Config, "{expect}");
    }
}
