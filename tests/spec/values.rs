//! What values mean: variables, `--set`, units, paths, places.

use std::path::Path;
use std::time::Duration;

use engine::sink::quarantine::default_table;
use engine::spec::model::{
    Bootstrap, CatalogKind, PartitionTransform, RestSpec, SinkTarget, SourceSpec, TableKind,
    Topics, Trigger,
};
use engine::spec::{nearest, show_defaults};

use super::{env, good, minimal, parse};

fn kafka(spec: &engine::spec::model::PipelineSpec) -> &engine::spec::model::KafkaSpec {
    let SourceSpec::Kafka(kafka) = &spec.source else {
        panic!("no Kafka source");
    };
    kafka
}

#[test]
fn a_variable_without_quotes_is_read_as_yaml_and_in_quotes_as_text() {
    let file = minimal("").replace(
        "pipeline: { name: p }",
        "pipeline:\n  name: \"${NUMBER}\"\n  batch:\n    max_records: ${NUMBER}\n  trigger:\n    adaptive: ${TRUTH}",
    );
    let spec = good(&file);
    assert_eq!(spec.pipeline.name, "7");
    assert_eq!(spec.pipeline.batch.max_records, 7);
    let unquoted = minimal("").replace("name: p }", "name: \"x${NUMBER}\" }");
    assert_eq!(good(&unquoted).pipeline.name, "x7");
}

#[test]
fn a_variable_never_changes_the_structure_of_the_file() {
    let spec = good(&minimal("transform: ${WORD}\n"));
    assert_eq!(spec.transform.unwrap().value, "blue: green # grey");
}

#[test]
fn a_default_is_used_for_an_unset_and_for_an_empty_variable() {
    for (text, expected) in [
        ("${UNSET:-a.b}", "a.b"),
        ("${EMPTY:-a.b}", "a.b"),
        ("${NUMBER:-a.b}.x", "7.x"),
        ("a${UNSET:-}b", "ab"),
        ("$NUMBER", "$NUMBER"),
        ("$${NUMBER}", "${NUMBER}"),
        ("$$${NUMBER}", "$${NUMBER}"),
        ("{${NUMBER}}", "{7}"),
    ] {
        let spec = good(&minimal(&format!("transform: \"{text}\"\n")));
        assert_eq!(spec.transform.unwrap().value, expected, "{text}");
    }
}

#[test]
fn variables_work_inside_block_scalars_and_lists() {
    let file = minimal("transform: |\n  SELECT ${NUMBER}\n  AS a\n")
        .replace("topics: [a.b.c]", "topics: [\"a.${NUMBER}\", b]");
    let spec = good(&file);
    assert_eq!(spec.transform.unwrap().value, "SELECT 7\nAS a\n");
    let topics = &kafka(&good(&file)).topics.clone();
    assert_eq!(
        *topics,
        Topics::Names(vec!["a.7".to_owned(), "b".to_owned()])
    );
}

#[test]
fn set_overrides_adds_and_reaches_into_lists_and_dotted_keys() {
    let sets = [
        ("pipeline.batch.max_records", "100"),
        ("pipeline.trigger", "available_now"),
        ("source.properties.fetch.min.bytes", "65536"),
        ("source.topics[0]", "other"),
        ("rules.0.on_fail", "drop"),
        ("sink.partition_by", "[a, b]"),
        ("transform", "SELECT ${NUMBER} FROM t"),
        ("source.group_id", "42"),
    ];
    let file = minimal("rules:\n  - { name: r, expect: \"a > 1\" }\n");
    let spec = parse(&file, &sets).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(spec.pipeline.batch.max_records, 100);
    assert_eq!(spec.pipeline.trigger, Trigger::AvailableNow);
    assert_eq!(kafka(&spec).properties["fetch.min.bytes"], "65536");
    assert_eq!(kafka(&spec).topics, Topics::Names(vec!["other".to_owned()]));
    assert_eq!(kafka(&spec).group_id, "42");
    assert_eq!(spec.rules[0].on_fail, engine::spec::model::OnFail::Drop);
    assert_eq!(spec.sink.partition_by.len(), 2);
    let transform = spec.transform.unwrap();
    // The shell had its turn with variables.
    assert_eq!(transform.value, "SELECT ${NUMBER} FROM t");
    assert_eq!(transform.at, "--set transform (transform)");
}

#[test]
fn set_replaces_a_value_whose_variable_is_missing() {
    let file = minimal("transform: ${UNSET}\n");
    let spec =
        parse(&file, &[("transform", "SELECT 1")]).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(spec.transform.unwrap().value, "SELECT 1");
}

#[test]
fn an_error_about_a_set_value_does_not_repeat_it() {
    let sets = [
        ("source.properties.sasl.password", "swordfish"),
        ("pipeline.batch", "swordfish"),
    ];
    let error = parse(&minimal(""), &sets[..1]);
    assert!(error.is_ok());
    let place = parse(&minimal(""), &sets[1..]).unwrap_err();
    assert_eq!(place.place(), Some("--set pipeline.batch (pipeline.batch)"));
}

#[test]
fn durations_and_sizes() {
    let ms = Duration::from_millis;
    for (text, expected) in [
        ("500ms", Some(ms(500))),
        ("1s", Some(ms(1_000))),
        ("10m", Some(ms(600_000))),
        ("1h", Some(ms(3_600_000))),
        ("7d", Some(ms(604_800_000))),
        ("0s", None),
        ("1", None),
        ("s", None),
        ("-1s", None),
        ("1.5s", None),
        ("1S", None),
        ("99999999999999999999s", None),
        ("18446744073709551615d", None),
    ] {
        assert_eq!(engine::spec::duration(text), expected, "{text}");
    }
    for (text, expected) in [
        ("1024", Some(1024)),
        ("10MB", Some(10_000_000)),
        ("64MiB", Some(64 << 20)),
        ("64mib", Some(64 << 20)),
        ("1 KiB", Some(1024)),
        ("0", None),
        ("MB", None),
        ("1 M", None),
        ("18446744073709551615GiB", None),
    ] {
        assert_eq!(engine::spec::size(text), expected, "{text}");
    }
}

#[test]
fn files_are_relative_to_the_pipeline_and_tables_to_the_working_folder() {
    let file = minimal(
        "tables:\n  - { name: a, type: csv, path: ../a.csv }\n  - { name: b, type: delta, path: ./b }\n",
    )
    .replace("localhost:9092", "file:./data//c.jsonl");
    let path = Path::new("/srv/x/pipelines/p.yaml");
    let spec = engine::spec::parse_str(&file, path, &env, &[]).unwrap();
    let working = std::env::current_dir().unwrap();
    assert_eq!(spec.file, path);
    assert_eq!(
        kafka(&spec).bootstrap,
        Bootstrap::File("/srv/x/pipelines/data/c.jsonl".into())
    );
    let TableKind::Csv(csv) = &spec.tables[0].kind else {
        panic!();
    };
    assert_eq!(csv, "/srv/x/a.csv");
    let TableKind::Delta(delta) = &spec.tables[1].kind else {
        panic!();
    };
    assert_eq!(delta.path, working.join("b").display().to_string());
    let SinkTarget::Delta(sink) = &spec.sink.target else {
        panic!();
    };
    assert_eq!(sink.path, working.join("out").display().to_string());
}

/// The sink of a pipeline whose catalog is this.
fn with_catalog(catalog: &str) -> engine::spec::model::PipelineSpec {
    let sink =
        format!("sink:\n  type: iceberg\n  mode: append\n  table: a.b\n  catalog: {catalog}\n");
    good(&minimal("").replace("sink: { type: delta, path: out, mode: append }\n", &sink))
}

fn rest(spec: engine::spec::model::PipelineSpec) -> RestSpec {
    let SinkTarget::Iceberg(table) = spec.sink.target else {
        panic!();
    };
    let CatalogKind::Rest(rest) = table.catalog.kind else {
        panic!();
    };
    rest
}

#[test]
fn a_rest_catalog_is_taken_as_it_is_said() {
    let spec = with_catalog(
        "{ type: rest, uri: \"http://Localhost:8181/cat/\", warehouse: /wh, prefix: p, token: swordfish1, \
         credential: \"id:swordfish2\", properties: { scope: all, header.Authorization: swordfish3 } }",
    );
    let shown = show_defaults(&spec);
    assert!(!shown.contains("swordfish"), "{shown}");
    assert!(shown.contains("scope: all"), "{shown}");
    assert!(!format!("{spec:?}").contains("swordfish"), "{spec:?}");
    let rest = rest(spec);
    assert_eq!(rest.uri, "http://localhost:8181/cat");
    assert_eq!(rest.warehouse.as_deref(), Some("/wh"));
    assert_eq!(rest.prefix.as_deref(), Some("p"));
    assert_eq!(rest.token.unwrap().expose(), "swordfish1");
    assert_eq!(rest.credential.unwrap().expose(), "id:swordfish2");
    let properties: Vec<_> = rest
        .properties
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(
        properties,
        [("header.Authorization", "swordfish3"), ("scope", "all")]
    );
}

#[test]
fn a_rest_catalog_needs_only_its_address_and_a_place_for_rejects() {
    let spec = with_catalog("{ type: rest, uri: \"https://catalog\", warehouse: \"file:///wh\" }");
    assert_eq!(
        default_table(&spec.sink, "p").unwrap().path,
        "file:///wh/_quarantine/p"
    );
    // What was filled in parses again, to the same.
    let shown = show_defaults(&spec);
    assert_eq!(rest(good(&shown)), rest(spec));
    let elsewhere = minimal("")
        .replace("{ name: p }", "{ name: p, on_error: { table: { type: delta, path: /rejects } } }")
        .replace(
            "sink: { type: delta, path: out, mode: append }\n",
            "sink: { type: iceberg, mode: append, table: a.b, catalog: { type: rest, uri: \"http://c\" } }\n",
        );
    let spec = good(&elsewhere);
    let rejects = spec.pipeline.on_error.table.clone().unwrap().path;
    assert_eq!(rejects, "/rejects");
    let rest = rest(spec);
    assert_eq!((rest.uri.as_str(), rest.warehouse), ("http://c", None));
    assert_eq!((rest.token, rest.credential), (None, None));
}

#[test]
fn a_sqlite_catalog_is_absolute_encoded_and_writable() {
    let uri = |uri: &str| {
        let sink = format!(
            "sink:\n  type: iceberg\n  mode: append\n  table: a.b\n  \
             catalog: {{ type: sql, uri: \"{uri}\", warehouse: \"file:///wh/./x\" }}\n"
        );
        let file = minimal("").replace("sink: { type: delta, path: out, mode: append }\n", &sink);
        let spec = good(&file);
        let SinkTarget::Iceberg(table) = spec.sink.target else {
            panic!();
        };
        let CatalogKind::Sql { uri, warehouse } = table.catalog.kind else {
            panic!();
        };
        assert_eq!(warehouse, "file:///wh/x");
        uri
    };
    let working = std::env::current_dir().unwrap().display().to_string();
    assert_eq!(
        uri("sqlite://c.db"),
        format!("sqlite://{working}/c.db?mode=rwc")
    );
    assert_eq!(uri("sqlite:///abs/c.db"), "sqlite:///abs/c.db?mode=rwc");
    assert_eq!(
        uri("sqlite:/abs/c.db?mode=ro"),
        "sqlite:///abs/c.db?mode=ro"
    );
    assert_eq!(
        uri("sqlite://file:///abs/c.db"),
        "sqlite:///abs/c.db?mode=rwc"
    );
    assert_eq!(
        uri("sqlite:///a%b/c.db?cache=shared"),
        "sqlite:///a%25b/c.db?cache=shared&mode=rwc"
    );
}

#[test]
fn partition_fields() {
    let fields = "[a, \"Year( b )\", month(c), day(d), hour(e), \"bucket(16, f)\", \"bucket(g, 8)\", \
                  \"truncate(4, h)\", \"day(\\\"Odd Name\\\")\"]";
    let sink = format!(
        "sink:\n  type: iceberg\n  mode: append\n  table: a.b\n  \
         catalog: {{ type: sql, uri: \"sqlite://c\", warehouse: wh }}\n  partition_by: {fields}\n"
    );
    let file = minimal("").replace("sink: { type: delta, path: out, mode: append }\n", &sink);
    let found: Vec<_> = (good(&file).sink.partition_by.into_iter())
        .map(|field| (field.column, field.transform))
        .collect();
    let expected = [
        ("a", PartitionTransform::Identity),
        ("b", PartitionTransform::Year),
        ("c", PartitionTransform::Month),
        ("d", PartitionTransform::Day),
        ("e", PartitionTransform::Hour),
        ("f", PartitionTransform::Bucket(16)),
        ("g", PartitionTransform::Bucket(8)),
        ("h", PartitionTransform::Truncate(4)),
        ("Odd Name", PartitionTransform::Day),
    ];
    assert_eq!(
        found,
        expected.map(|(name, transform)| (name.to_owned(), transform))
    );
}

#[test]
fn addresses_can_be_chosen_and_turned_off() {
    let spec = good(&minimal(
        "observability: { metrics: \"0.0.0.0:9000\", health: off }\n",
    ));
    assert_eq!(
        spec.observability.metrics.address.as_deref(),
        Some("0.0.0.0:9000")
    );
    assert!(spec.observability.metrics.configured);
    assert_eq!(spec.observability.health.address, None);
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_a_configuration_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.yaml");
    let error = engine::spec::parse(&path, &env, &[]).unwrap_err();
    assert_eq!(error.kind(), sql::ErrorKind::Config);
    assert_eq!(error.place(), path.to_str());
    std::fs::write(&path, b"pipeline:\n  name: \xff\n").unwrap();
    let error = engine::spec::parse(&path, &env, &[]).unwrap_err();
    assert_eq!(error.place().unwrap(), format!("{}:2", path.display()));
    std::fs::write(&path, minimal("")).unwrap();
    assert_eq!(engine::spec::parse(&path, &env, &[]).unwrap().file, path);
}

#[test]
fn the_nearest_name_is_near_or_nothing() {
    let known = ["topics", "topics_regex", "type"];
    assert_eq!(nearest("topcis", known), Some("topics"));
    assert_eq!(nearest("Topics", known), Some("topics"));
    assert_eq!(nearest("topic_regex", known), Some("topics_regex"));
    assert_eq!(nearest("frobnicate", known), None);
    assert_eq!(nearest("", known), None);
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark_change_nothing() {
    let file = minimal("transform: |\n  SELECT a,\n    b\n  FROM t\n");
    let windows = format!("\u{feff}{}", file.replace('\n', "\r\n"));
    assert_eq!(
        super::essence(&good(&windows)),
        super::essence(&good(&file))
    );
    let transform = good(&windows).transform.unwrap();
    assert_eq!(
        (transform.first_line, transform.at.as_str()),
        (9, "test.yaml:9:3 (transform)")
    );
}

#[test]
fn places_count_characters_in_block_scalars_that_start_with_blank_lines() {
    let file = minimal("").replace(
        "sink:",
        "  columns: |\n\n\n      größe BIGINT, größe TEXT\nsink:",
    );
    let error = parse(&file, &[]).unwrap_err();
    assert_eq!(error.place(), Some("test.yaml:10:21 (source.columns)"));
}

#[test]
fn an_alias_is_a_copy_of_what_it_names() {
    let catalog = "{ type: sql, uri: \"sqlite://c\", warehouse: wh }";
    let file = minimal(&format!(
        "tables:\n  - {{ name: u, type: iceberg, catalog: &lake {catalog}, table: a.b }}\n\
         sink:\n  type: iceberg\n  catalog: *lake\n  table: a.c\n  mode: append\n"
    ))
    .replace("sink: { type: delta, path: out, mode: append }\n", "");
    let spec = good(&file);
    let (TableKind::Iceberg(table), SinkTarget::Iceberg(sink)) =
        (&spec.tables[0].kind, &spec.sink.target)
    else {
        panic!();
    };
    assert_eq!(table.catalog, sink.catalog);
}
