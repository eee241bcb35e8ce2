//! What reports add to the metrics, read back from the exposition text.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use engine::maintain::Report;
use engine::telemetry::{BatchReport, Metrics, names as metric_names};

use super::{full_report, names};

/// Values by `name{labels}`, and types by name. Panics on a line that is not of the format.
fn parse(text: &str) -> (BTreeMap<String, f64>, HashMap<String, String>) {
    let (mut values, mut types) = (BTreeMap::new(), HashMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            types.insert(name.to_owned(), kind.to_owned());
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(
                rest.split_once(' ')
                    .is_some_and(|(_, help)| !help.is_empty())
            );
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (_, labels) = series.split_once('{').unwrap();
            for label in labels.strip_suffix('}').unwrap().split(',') {
                let (_, quoted) = label.split_once('=').unwrap();
                assert!(quoted.starts_with('"') && quoted.ends_with('"'), "{line}");
            }
            let value = value.parse().unwrap();
            assert!(
                values.insert(series.to_owned(), value).is_none(),
                "{line} twice"
            );
        }
    }
    (values, types)
}

fn after(reports: &[BatchReport]) -> BTreeMap<String, f64> {
    let metrics = Metrics::try_new().unwrap();
    metrics.started(&names());
    for report in reports {
        metrics.batch(report);
    }
    parse(&metrics.text().unwrap()).0
}

/// The value of `metric` and its other labels than the pipeline's.
fn value(values: &BTreeMap<String, f64>, series: &str) -> Option<f64> {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels: BTreeSet<&str> = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|l| !l.is_empty())
        .collect();
    labels.insert("pipeline=\"customers\"");
    values.iter().find_map(|(key, value)| {
        let (key_name, key_labels) = key.split_once('{')?;
        let key_labels: BTreeSet<&str> = key_labels.trim_end_matches('}').split(',').collect();
        (key_name == name && key_labels == labels).then_some(*value)
    })
}

#[test]
fn a_batch_is_counted_in_every_metric_that_it_concerns() {
    let values = after(&[full_report()]);
    for (series, expected) in [
        (r#"engine_source_records_total{source="changes"}"#, 1_241.0),
        (r#"engine_source_bytes_total{source="changes"}"#, 500_000.0),
        (
            r#"engine_source_rows_total{source="changes",op="r"}"#,
            1_000.0,
        ),
        (
            r#"engine_source_rows_total{source="changes",op="c"}"#,
            150.0,
        ),
        (r#"engine_source_rows_total{source="changes",op="u"}"#, 40.0),
        (r#"engine_source_rows_total{source="changes",op="d"}"#, 13.0),
        (r#"engine_source_rows_total{source="changes",op="t"}"#, 0.0),
        (
            r#"engine_rejects_records_total{source="changes",reason="malformed"}"#,
            2.0,
        ),
        (
            r#"engine_rejects_records_total{source="changes",reason="out_of_range"}"#,
            1.0,
        ),
        (r#"engine_source_version{source="changes"}"#, 41.0),
        (r#"engine_tombstones_records_total{source="changes"}"#, 12.0),
        (r#"engine_control_records_total{source="changes"}"#, 23.0),
        (r#"engine_rule_failed_rows_total{rule="has_email"}"#, 4.0),
        ("engine_quarantine_written_rows_total", 5.0),
        (r#"engine_sink_rows_total{sink="delta"}"#, 1_201.0),
        (r#"engine_sink_bytes_total{sink="delta"}"#, 1_572_864.0),
        (r#"engine_sink_files_total{sink="delta"}"#, 2.0),
        (r#"engine_sink_commits_total{sink="delta"}"#, 1.0),
        (r#"engine_sink_conflicts_total{sink="delta"}"#, 1.0),
        (
            r#"engine_last_commit_timestamp_seconds{sink="delta"}"#,
            1_704_067_205.0,
        ),
        (r#"engine_lag_records{source="changes"}"#, 2_500.0),
        (r#"engine_lag_seconds{source="changes"}"#, 2.0),
        ("engine_freshness_seconds_sum", 5.0),
        ("engine_freshness_seconds_count", 1.0),
        (r#"engine_freshness_seconds_bucket{le="2.5"}"#, 0.0),
        (r#"engine_freshness_seconds_bucket{le="5"}"#, 1.0),
        (r#"engine_batch_stage_seconds_sum{stage="fetch"}"#, 0.2),
        (r#"engine_batch_stage_seconds_sum{stage="decode"}"#, 0.03),
        (
            r#"engine_batch_stage_seconds_sum{stage="transform"}"#,
            0.007,
        ),
        (r#"engine_batch_stage_seconds_sum{stage="write"}"#, 0.05),
        (r#"engine_batch_stage_seconds_sum{stage="commit"}"#, 0.011),
        (
            r#"engine_pipeline_info{source="changes",sink="delta"}"#,
            1.0,
        ),
        ("engine_pipeline_up_ratio", 0.0),
    ] {
        assert_eq!(
            value(&values, series),
            Some(expected),
            "{series}\n{values:#?}"
        );
    }
}

#[test]
fn counters_add_up_and_gauges_are_replaced() {
    let second = BatchReport {
        records: 1,
        lag_records: Some(0),
        ..full_report()
    };
    let values = after(&[full_report(), second]);
    assert_eq!(
        value(&values, r#"engine_source_records_total{source="changes"}"#),
        Some(1_242.0)
    );
    assert_eq!(
        value(&values, r#"engine_sink_commits_total{sink="delta"}"#),
        Some(2.0)
    );
    assert_eq!(
        value(&values, r#"engine_lag_records{source="changes"}"#),
        Some(0.0)
    );
}

#[test]
fn a_batch_without_a_commit_leaves_the_sink_s_metrics_alone() {
    let idle = BatchReport {
        receipt: None,
        lag_records: None,
        ..full_report()
    };
    let values = after(&[idle]);
    assert_eq!(
        value(&values, r#"engine_source_records_total{source="changes"}"#),
        Some(1_241.0)
    );
    assert_eq!(
        value(&values, r#"engine_sink_commits_total{sink="delta"}"#),
        Some(0.0)
    );
    assert_eq!(value(&values, "engine_freshness_seconds_count"), None);
    assert_eq!(
        value(&values, r#"engine_lag_records{source="changes"}"#),
        None
    );
}

#[test]
fn a_started_pipeline_shows_zeros() {
    let values = after(&[]);
    for series in [
        r#"engine_source_rows_total{source="changes",op="d"}"#,
        r#"engine_sink_commits_total{sink="delta"}"#,
        "engine_quarantine_written_rows_total",
        "engine_pipeline_up_ratio",
    ] {
        assert_eq!(value(&values, series), Some(0.0), "{series}");
    }
}

#[test]
fn up_retries_and_lag_are_told_between_batches() {
    let metrics = Metrics::try_new().unwrap();
    metrics.up("customers", true);
    metrics.retry("customers", "unavailable");
    metrics.retry("customers", "unavailable");
    metrics.lag_records(&names(), 9);
    let (values, _) = parse(&metrics.text().unwrap());
    assert_eq!(value(&values, "engine_pipeline_up_ratio"), Some(1.0));
    assert_eq!(
        value(
            &values,
            r#"engine_retry_attempts_total{reason="unavailable"}"#
        ),
        Some(2.0)
    );
    assert_eq!(
        value(&values, r#"engine_lag_records{source="changes"}"#),
        Some(9.0)
    );
}

#[test]
fn the_text_holds_every_metric_with_its_type_once_all_were_used() {
    let metrics = Metrics::try_new().unwrap();
    metrics.started(&names());
    metrics.batch(&full_report());
    metrics.retry("customers", "conflict");
    metrics.maintained(&names(), &Report::default());
    metrics.not_maintained("customers", "storage");
    let (_, types) = parse(&metrics.text().unwrap());
    let expected: HashMap<String, String> = metric_names::ALL
        .iter()
        .map(|m| (m.name.to_owned(), format!("{:?}", m.kind).to_lowercase()))
        .collect();
    assert_eq!(types, expected);
}

#[test]
fn passes_of_maintenance_add_up() {
    let metrics = Metrics::try_new().unwrap();
    metrics.started(&names());
    let report = Report {
        files_compacted: 12,
        bytes_compacted: 4096,
        objects_deleted: 3,
        bytes_deleted: 100,
        took: Duration::from_millis(1500),
        ..Report::default()
    };
    metrics.maintained(&names(), &report);
    metrics.maintained(&names(), &report);
    metrics.not_maintained("customers", "conflict");
    let (values, _) = parse(&metrics.text().unwrap());
    for (series, expected) in [
        ("engine_maintenance_seconds_sum", 3.0),
        ("engine_maintenance_seconds_count", 2.0),
        ("engine_maintenance_compacted_files_total", 24.0),
        ("engine_maintenance_compacted_bytes_total", 8192.0),
        ("engine_maintenance_deleted_files_total", 6.0),
        ("engine_maintenance_deleted_bytes_total", 200.0),
    ] {
        let series = format!("{series}{{sink=\"delta\"}}");
        assert_eq!(value(&values, &series), Some(expected), "{series}");
    }
    assert_eq!(
        value(
            &values,
            r#"engine_maintenance_failed_attempts_total{reason="conflict"}"#
        ),
        Some(1.0)
    );
}

#[test]
fn two_registries_do_not_meet() {
    let (first, second) = (Metrics::try_new().unwrap(), Metrics::try_new().unwrap());
    first.batch(&full_report());
    assert_ne!(first.text().unwrap(), "");
    assert_eq!(second.text().unwrap(), "");
}
