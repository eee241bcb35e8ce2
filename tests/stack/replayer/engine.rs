//! The engine before the judge: captures replayed by real pipelines, read by independent readers.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::capture::{self, Record};
use tests::engine::Engine;
use tests::judge::{self, Case, Figures, Resends, Subject};
use tests::need;
use tests::python::{Location, Reader, Readers};

use super::{CUSTOMERS, DOCS, ORDERS, columns, fixture};

const RUN: Duration = Duration::from_secs(300);

/// A pipeline file that writes everything that the judge looks at.
pub(super) fn pipeline(subject: &Subject, iceberg: bool) -> String {
    let declared = subject.columns.as_ref().map(|columns| {
        let columns: Vec<String> = columns.iter().map(|(n, t)| format!("{n} {t}")).collect();
        format!("  columns: |\n    {}\n", columns.join(", "))
    });
    let sink = if iceberg {
        "  type: iceberg\n  catalog: { type: sql, name: iceberg, uri: \"sqlite://${WAREHOUSE}/catalog.db\", \
         warehouse: \"${WAREHOUSE}\" }\n  table: judged.t\n"
    } else {
        "  type: delta\n  path: \"${WAREHOUSE}/t\"\n"
    };
    let before = if subject.before_image_full {
        "full"
    } else {
        "key"
    };
    format!(
        "pipeline:\n  name: judged\n  on_error: {{ policy: quarantine, table: {{ type: delta, path: \
         \"${{WAREHOUSE}}/quarantine\" }} }}\n\
         source:\n  type: kafka\n  name: t\n  bootstrap_servers: \"${{KAFKA_BROKERS}}\"\n  topics: [{}]\n  \
         group_id: judged\n  auto_offset_reset: earliest\n  format: debezium_json\n  key: [{}]\n  before_image: {before}\n{}\
         transform: |\n  SELECT *, _op, _topic, _partition, _offset, _unavailable_columns FROM t\n\
         sink:\n{sink}  mode: append\n",
        subject.topic,
        subject.key.join(", "),
        declared.unwrap_or_default(),
    )
}

/// Rows that the engine makes of `records`, and what it set aside.
pub(super) fn written(
    readers: &Readers,
    folder: &Path,
    subject: &Subject,
    records: &[Record],
    iceberg: bool,
) -> (Vec<Value>, Vec<Value>) {
    std::fs::write(folder.join("judged.yaml"), pipeline(subject, iceberg))
        .expect("a writable folder");
    let messages = folder.join("messages.jsonl");
    capture::write(&messages, &subject.topic, records);
    Engine::new(["run", "judged.yaml", "--once"])
        .current_dir(folder)
        .env("WAREHOUSE", folder)
        .env("KAFKA_BROKERS", format!("file:{}", messages.display()))
        .run(RUN)
        .expect_code(0);
    let (reader, location) = if iceberg {
        let catalog = Location::Iceberg {
            catalog: folder.join("catalog.db"),
            name: "iceberg".to_owned(),
            table: "judged.t".to_owned(),
        };
        (Reader::Pyiceberg, catalog)
    } else {
        (Reader::Deltalake, Location::Delta(folder.join("t")))
    };
    let quarantine = Location::Delta(folder.join("quarantine"));
    let rejects = match quarantine.exists() {
        true => readers.read(Reader::Deltalake, &quarantine).rows,
        false => Vec::new(),
    };
    (readers.read(reader, &location).rows, rejects)
}

fn judged(readers: &Readers, subject: &Subject, records: &[Record], iceberg: bool) -> Figures {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (rows, rejects) = written(readers, folder.path(), subject, records, iceberg);
    judge::assert_true(
        readers,
        &Case {
            subject,
            records,
            resends: Resends::Keep,
            rows: &rows,
            rejects: &rejects,
            truth: None,
        },
    )
}

#[test]
fn what_the_engine_writes_of_every_capture_is_the_replayers_log() {
    let readers = need!(Readers::ready());
    for (file, key, declared, iceberg) in [
        ("customers.jsonl", "customer_id", columns(CUSTOMERS), true),
        ("docs.jsonl", "id", columns(DOCS), false),
        ("docs.schema.jsonl", "id", None, true),
        ("orders.jsonl", "id", columns(ORDERS), false),
        ("all_types.schema.jsonl", "id", None, true),
        ("mysql.orders.schema.jsonl", "id", None, false),
    ] {
        let (subject, records) = fixture(file, &[key]);
        let subject = Subject {
            columns: declared,
            ..subject
        };
        let figures = judged(&readers, &subject, &records, iceberg);
        assert_eq!(figures.rows + figures.tombstones, records.len(), "{file}");
    }
}

/// Values that no column can hold, and messages that are none, among good ones.
#[test]
fn what_the_engine_sets_aside_is_what_the_replayer_cannot_read() {
    let readers = need!(Readers::ready());
    let topic = "postgres.public.oddities";
    let subject = Subject {
        topic: topic.to_owned(),
        columns: columns(
            "id BIGINT, day DATE, at TIMESTAMPTZ, ts TIMESTAMP(6), n DECIMAL(5,2), f DOUBLE, r REAL, i SMALLINT",
        ),
        key: vec!["id".to_owned()],
        before_image_full: false,
    };
    let after = [
        // Debezium's spellings of infinity, and years before and after those that a table can hold.
        (r#""day":-2147472692"#, Some("day")),
        (r#""day":2932896"#, None),
        (r#""day":2932897"#, Some("day")),
        (r#""at":"infinity""#, Some("at")),
        (r#""at":"0000-12-30T00:00:00Z""#, Some("at")),
        (r#""at":"+294276-12-31T23:59:59.999999Z""#, Some("at")),
        (r#""at":"9999-12-31T23:59:59.999999Z""#, None),
        (r#""ts":9223372036825200000"#, Some("ts")),
        (r#""ts":-62135596800000000"#, None),
        (r#""n":"fw==""#, None),
        (r#""n":"D0JA""#, Some("n")),
        (r#""n":"NaN""#, Some("n")),
        (r#""f":"NaN","r":"-Infinity""#, None),
        (r#""f":1e400"#, Some("f")),
        (r#""r":3.4028235E38"#, None),
        (r#""r":3.5E38"#, Some("r")),
        (r#""f":-0.0,"r":0.1"#, None),
        (r#""i":32768"#, Some("i")),
        (r#""i":1.5"#, Some("i")),
        (r#""i":"1""#, Some("i")),
        (r#""i":true"#, Some("i")),
    ];
    let record = |offset: usize, payload: &str| Record {
        partition: 0,
        offset: i64::try_from(offset).expect("a small number"),
        timestamp: 0,
        headers: Vec::new(),
        key: Some(format!(r#"{{"id":{offset}}}"#)),
        payload: Some(payload.to_owned()),
    };
    let mut records: Vec<Record> = after
        .iter()
        .enumerate()
        .map(|(offset, (after, _))| {
            record(
                offset,
                &format!(
                    r#"{{"before":null,"after":{{"id":{offset},{after}}},"source":{{"lsn":{offset}}},"op":"c","ts_ms":1}}"#
                ),
            )
        })
        .collect();
    for payload in [
        r#"{"before":null,"after":{"id":1},"source":{"lsn":1},"op":"x"}"#,
        r#"{"before":null,"after":null,"source":{"lsn":1},"op":"u"}"#,
        r#"{"before":null,"#,
        "[1]",
    ] {
        records.push(record(records.len(), payload));
    }
    records.push(Record {
        key: None,
        ..record(
            records.len(),
            r#"{"before":null,"after":null,"source":{"lsn":1},"op":"d"}"#,
        )
    });
    let bad = after.iter().filter(|(_, column)| column.is_some()).count() + 5;
    for iceberg in [false, true] {
        let figures = judged(&readers, &subject, &records, iceberg);
        assert_eq!(figures.rejects, bad);
        assert_eq!(figures.rows, records.len() - bad);
    }
}
