//! Sources that are tables.

use std::time::Duration;

use engine::lake::versioned::{MissingFeed, VersionedSpec};
use engine::spec::model::{LakeEnd, LakePoint, LakeSpec, LakeStart, PipelineSpec, SourceSpec};
use engine::spec::show_defaults;

use super::{essence, good};

const DELTA: &str = "pipeline: { name: p }\nsource:\n  type: delta\n  name: t\n  path: in\n";
const ICEBERG: &str = "pipeline: { name: p }\nsource:\n  type: iceberg\n  name: t\n  catalog: { type: sql, uri: \"sqlite://c.db\", warehouse: w }\n  table: a.b\n";
const SINK: &str = "sink: { type: delta, path: out, mode: append }\n";

fn lake(spec: &PipelineSpec) -> &LakeSpec {
    let SourceSpec::Lake(lake) = &spec.source else {
        panic!("no table");
    };
    lake
}

#[test]
fn what_a_minimal_source_does_not_say() {
    let spec = good(&format!("{DELTA}{SINK}"));
    let lake = lake(&spec);
    assert_eq!(spec.source.name(), "t");
    let VersionedSpec::Delta(table) = &lake.table else {
        panic!("{:?}", lake.table);
    };
    let path = std::env::current_dir().unwrap().join("in");
    assert_eq!(table.path, path.display().to_string());
    assert!(lake.key.is_empty() && table.storage_options.is_empty());
    assert_eq!(lake.start, LakeStart::Snapshot);
    assert_eq!((lake.end, lake.max_versions), (None, None));
    assert_eq!(lake.change_types, None);
    assert_eq!(lake.poll_interval, Duration::from_secs(1));
    assert_eq!(lake.missing_feed, MissingFeed::Error);
    assert_eq!(lake.at, "test.yaml:3:3 (source)");
}

#[test]
fn the_effective_file_says_every_default_and_parses_again() {
    for (source, said) in [
        (DELTA, "  on_missing_feed: error  # default"),
        (ICEBERG, "  table: a.b"),
    ] {
        let spec = good(&format!("{source}{SINK}"));
        let shown = show_defaults(&spec);
        for line in [
            said,
            "  start: snapshot  # default",
            "  poll_interval: 1s  # default",
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
        for key in ["key", "end", "change_types", "max_versions"] {
            assert!(
                shown.contains(&format!("\n  {key}: null")),
                "{key}: {shown}"
            );
        }
        assert_eq!(essence(&good(&shown)), essence(&spec));
    }
}

#[test]
fn everything_that_can_be_said() {
    let more = "  key: [id, b]\n  start: { snapshot_id: 5781947118336215154 }\n  end: { timestamp: '2026-01-31T12:00:00+02:00' }\n  \
                change_types: [insert, delete]\n  max_versions: 3\n  poll_interval: 250ms\n";
    let spec = good(&format!("{ICEBERG}{more}{SINK}"));
    let lake = lake(&spec);
    assert_eq!(lake.key, ["id", "b"]);
    let snapshot = LakePoint::Snapshot(5_781_947_118_336_215_154);
    assert_eq!(lake.start, LakeStart::At(snapshot));
    let time = LakePoint::Time(1_769_853_600_000_000);
    assert_eq!(lake.end, Some(LakeEnd::At(time)));
    let types = ["insert", "delete"].map(str::to_owned).to_vec();
    assert_eq!(lake.change_types, Some(types));
    assert_eq!(lake.max_versions, Some(3));
    assert_eq!(lake.poll_interval, Duration::from_millis(250));
    assert_eq!(essence(&good(&show_defaults(&spec))), essence(&spec));
}

#[test]
fn starts_ends_and_times() {
    let of = |text: &str| lake(&good(&format!("{DELTA}  start: {text}\n{SINK}"))).start;
    assert_eq!(of("earliest"), LakeStart::Earliest);
    assert_eq!(of("latest"), LakeStart::Latest);
    assert_eq!(of("{ version: 0 }"), LakeStart::At(LakePoint::Version(0)));
    for (text, micros) in [
        ("2026-01-31", 1_769_817_600_000_000),
        ("'2026-01-31 12:00:00'", 1_769_860_800_000_000),
        ("'2026-01-31T12:00:00.5Z'", 1_769_860_800_500_000),
        ("'2026-01-31 12:00:00+02:00'", 1_769_853_600_000_000),
    ] {
        let time = LakeStart::At(LakePoint::Time(micros));
        assert_eq!(of(&format!("{{ timestamp: {text} }}")), time, "{text}");
    }
    let end = |text: &str| lake(&good(&format!("{DELTA}  end: {text}\n{SINK}"))).end;
    assert_eq!(end("latest"), Some(LakeEnd::Latest));
    assert_eq!(
        end("{ version: 9 }"),
        Some(LakeEnd::At(LakePoint::Version(9)))
    );
}

#[test]
fn a_delta_table_may_have_its_versions_compared() {
    let spec = good(&format!("{DELTA}  on_missing_feed: diff\n{SINK}"));
    assert_eq!(lake(&spec).missing_feed, MissingFeed::Diff);
}
