//! Defaults, and the effective file.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::maintain::Policy;
use engine::spec::model::{
    Format, LogFormat, Mode, OffsetReset, OnErrorPolicy, SchemaChange, SourceSpec, Trigger,
};
use engine::spec::show_defaults;

use super::{essence, good, minimal};

#[test]
fn what_a_minimal_file_does_not_say() {
    let spec = good(&minimal(""));
    let pipeline = &spec.pipeline;
    assert_eq!(
        pipeline.trigger,
        Trigger::Interval {
            interval: Duration::from_secs(1),
            adaptive: true
        }
    );
    assert_eq!(pipeline.batch.max_records, 50_000);
    assert_eq!(pipeline.batch.max_bytes, 64 * 1024 * 1024);
    assert_eq!(pipeline.schema_change, SchemaChange::Evolve);
    assert_eq!(pipeline.on_error.policy, OnErrorPolicy::Quarantine);
    assert_eq!(pipeline.on_error.max_rate, None);
    assert_eq!(pipeline.on_error.table, None);
    let SourceSpec::Kafka(kafka) = &spec.source else {
        panic!("no Kafka source");
    };
    assert_eq!(kafka.group_id, "engine-p");
    assert_eq!(kafka.auto_offset_reset, OffsetReset::Earliest);
    assert!(kafka.fail_on_data_loss);
    assert_eq!(kafka.format, Format::DebeziumJson);
    assert_eq!(kafka.columns, None);
    assert!(kafka.key.is_empty());
    assert!(!kafka.before_image_full);
    assert_eq!(
        kafka.unavailable_placeholder,
        "__debezium_unavailable_value"
    );
    assert_eq!(kafka.properties, BTreeMap::new());
    assert_eq!(kafka.at, "test.yaml:3:3 (source)");
    assert_eq!(spec.transform, None);
    assert!(spec.rules.is_empty() && spec.tables.is_empty() && spec.functions.is_empty());
    assert_eq!(spec.sink.mode, Mode::Append);
    assert!(spec.sink.partition_by.is_empty());
    assert!(spec.maintenance.enabled);
    assert_policies(&Policy::from(&spec.maintenance), &Policy::default());
    let observability = &spec.observability;
    assert_eq!(
        observability.metrics.address.as_deref(),
        Some("127.0.0.1:8000")
    );
    assert_eq!(
        observability.health.address.as_deref(),
        Some("127.0.0.1:8001")
    );
    assert!(!observability.metrics.configured && !observability.health.configured);
    assert_eq!(observability.log, LogFormat::Auto);
}

fn assert_policies(one: &Policy, other: &Policy) {
    assert_eq!(one.every, other.every);
    assert_eq!(one.retention, other.retention);
    assert_eq!(one.target_file_size, other.target_file_size);
    assert_eq!(one.max_rewrite, other.max_rewrite);
    assert_eq!(one.min_files, other.min_files);
    assert_eq!(one.max_deleted.to_bits(), other.max_deleted.to_bits());
    assert!(!one.dry_run && !other.dry_run);
}

#[test]
fn the_effective_file_marks_each_line_that_was_not_said() {
    let spec = good(&minimal(""));
    let out = std::env::current_dir().unwrap().join("out");
    let expected = format!(
        r#"pipeline:
  name: p
  trigger:  # default
    interval: 1s  # default
    adaptive: true  # default
  batch:  # default
    max_records: 50000  # default
    max_bytes: 64MiB  # default
  schema_change: evolve  # default
  on_error:  # default
    policy: quarantine  # default
    max_rate: null  # default: off
    table: null  # default: a Delta table beside the target
source:
  type: kafka
  name: t
  bootstrap_servers: localhost:9092
  topics: [a.b.c]
  tables: null  # default: whatever is in the topics
  group_id: engine-p  # default
  auto_offset_reset: earliest  # default
  fail_on_data_loss: true  # default
  format: debezium_json  # default
  columns: null  # default: typed by the messages' schemas
  key: null  # default: the Kafka key's columns
  decimal_handling: auto  # default
  before_image: key  # default
  unavailable_placeholder: __debezium_unavailable_value  # default
  resends: keep  # default
  properties: {{}}  # default
transform: null  # default: the row's columns as they are
rules: []  # default
tables: []  # default
functions: []  # default
sink:
  type: delta
  mode: append
  path: {}
  storage_options: {{}}  # default
  table_properties: {{}}  # default
  partition_by: []  # default
maintenance:  # default
  enabled: true  # default
  every: 5m  # default
  retention: 7d  # default
  target_file_size: 128MiB  # default
  max_rewrite: 512MiB  # default
  min_files: 10  # default
  max_deleted: 0.2  # default
observability:  # default
  metrics: null  # default: 127.0.0.1:8000, or a free port if that is busy
  health: null  # default: 127.0.0.1:8001, or a free port if that is busy
  log:  # default
    format: auto  # default
"#,
        out.display()
    );
    assert_eq!(show_defaults(&spec), expected);
}

const FULL: &str = r#"
pipeline:
  name: everything
  trigger: available_now
  batch: { max_records: 10, max_bytes: 10MB }
  schema_change: fail
  on_error: { policy: skip, max_rate: 0.01, table: { type: delta, path: q, storage_options: { a.b: "1" } } }
source:
  type: kafka
  name: t
  bootstrap_servers: "${NOT_SET:-a:1,b:2}"
  topics_regex: "^a\\.(b|c) #x$"
  group_id: "12"
  columns: |+

    -- the key
    id BIGINT NOT NULL, "Odd Name" NUMERIC(10,2),

      u UUID, PRIMARY KEY (id, "Odd Name")


  before_image: full
  properties: { fetch.min.bytes: 65536, flag: true, empty: "", odd: "a: b # c", "odd key": '$${x}', "two\nlines": "a\nb" }
transform: |
  SELECT id, 'tab	here' AS a, '$${literal}' AS b, "Odd Name"
  FROM t   
  WHERE u IS NOT NULL
rules:
  - { name: one, expect: "id > 0", on_fail: drop }
  - name: two
    expect: |
      id < 10
      AND id <> 5
maintenance: { enabled: false, every: 1h, retention: 30d, target_file_size: 1MiB, max_rewrite: 1GiB, min_files: 2, max_deleted: 1 }
tables:
  - { name: a, type: csv, path: a.csv, refresh: 10m }
  - { name: b, type: parquet, path: ./sub/../b }
  - { name: c, type: delta, path: "file:///tmp/c" }
  - name: d
    type: iceberg
    catalog: &catalog { type: sql, name: lake, uri: "sqlite://a b/c%20.db?immutable=1", warehouse: wh }
    table: n.m.d
functions:
  - CREATE FUNCTION f(a TEXT) RETURNS TEXT RETURN upper(a)
  - |-
    CREATE FUNCTION g(a TEXT)
    RETURNS TEXT RETURN lower(a)
sink:
  type: iceberg
  catalog: *catalog
  table: n.sink
  mode: append
  partition_by: [a, "year(b)", "bucket(16, c)", "truncate(d, 4)"]
  storage_options: { x: y }
observability: { metrics: "0.0.0.0:0", health: off, log: { format: json } }
"#;

#[test]
fn the_effective_file_parses_to_the_same_spec() {
    let spec = good(FULL);
    let shown = show_defaults(&spec);
    let again = good(&shown);
    assert_eq!(essence(&again), essence(&spec), "{shown}");
    // Everything was resolved the first time.
    assert_eq!(
        show_defaults(&again).replace("  # default", ""),
        shown.replace("  # default", "")
    );
}

#[test]
fn null_stands_for_the_default_everywhere() {
    let shown = show_defaults(&good(&minimal("")));
    let again = good(&shown);
    assert_eq!(essence(&again), essence(&good(&minimal(""))));
    assert!(!again.observability.metrics.configured);
}

#[test]
fn secrets_are_not_shown() {
    let spec = good(&minimal("").replace(
        "sink: { type: delta,",
        "  properties:\n    sasl.password: swordfish1\n    ssl.key.password: swordfish2\n    \
         sasl.oauthbearer.client.secret: swordfish3\n    sasl.jaas.config: swordfish4\n    \
         sasl.username: alice\n\
         sink: { storage_options: { AWS_SECRET_ACCESS_KEY: swordfish5, AWS_SESSION_TOKEN: swordfish6 }, type: delta,",
    ));
    let shown = show_defaults(&spec);
    assert!(!shown.contains("swordfish"), "{shown}");
    assert!(shown.contains("sasl.password: \"***\""), "{shown}");
    assert!(shown.contains("sasl.username: alice"), "{shown}");
    let debug = format!("{:?}", spec.effective);
    assert!(!debug.contains("swordfish"), "{debug}");
}
