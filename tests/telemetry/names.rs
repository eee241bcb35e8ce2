//! Metric names follow the rules, and the page about them is complete.

use std::collections::HashSet;
use std::path::Path;

use engine::telemetry::names::{ALL, Kind, LABELS, UNITS};

#[test]
fn names_are_unique_and_made_of_prefix_name_unit_and_total() {
    let mut seen = HashSet::new();
    for metric in ALL {
        let name = metric.name;
        assert!(seen.insert(name), "{name} is there twice");
        let rest = name.strip_prefix("engine_").unwrap();
        assert!(
            rest.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !rest.contains("__"),
            "{name}"
        );
        let counted = rest.strip_suffix("_total");
        assert_eq!(counted.is_some(), metric.kind == Kind::Counter, "{name}");
        let (what, unit) = counted.unwrap_or(rest).rsplit_once('_').unwrap();
        assert!(UNITS.contains(&unit) && !what.is_empty(), "{name}");
    }
}

#[test]
fn labels_are_allowed_ones_and_every_metric_names_its_pipeline() {
    for metric in ALL {
        assert_eq!(metric.labels.first(), Some(&"pipeline"), "{}", metric.name);
        for label in metric.labels {
            assert!(LABELS.contains(label), "{}: {label}", metric.name);
        }
    }
}

#[test]
fn the_page_lists_every_metric_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let listed: Vec<&str> = page
        .lines()
        .filter(|l| l.starts_with("| `engine_"))
        .collect();
    let expected = ALL.map(|metric| {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        format!(
            "| `{}` | {kind} | {} | {} |",
            metric.name,
            labels.join(", "),
            metric.help
        )
    });
    assert_eq!(listed, expected);
}
