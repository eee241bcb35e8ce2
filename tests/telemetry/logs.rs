//! How events look and which are shown.

use engine::spec::model::LogFormat;
use engine::telemetry::BatchReport;
use engine::telemetry::logs::{Style, init, subscriber};
use serde_json::{Value, json};
use sql::ErrorKind;

use super::{Captured, full_report};

/// What `events` write in a style.
fn logged(style: Style, filter: Option<&str>, events: impl FnOnce()) -> String {
    let out = Captured::default();
    let writer = out.clone();
    let subscriber = subscriber(style, filter, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, events);
    out.text()
}

#[test]
fn a_batch_is_one_json_object_with_its_fields_at_the_top() {
    let text = logged(Style::Json, None, || full_report().to_log_event());
    assert_eq!(text.matches('\n').count(), 1);
    let mut event: Value = serde_json::from_str(&text).unwrap();
    let timestamp = event.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert!(
        timestamp.as_str().is_some_and(|t| t.ends_with('Z')),
        "{timestamp}"
    );
    assert_eq!(
        event,
        json!({
            "level": "INFO",
            "target": "engine::batch",
            "message": "batch committed",
            "pipeline": "customers",
            "source": "changes",
            "sink": "delta",
            "span": "postgres.public.customers/0@5..1246",
            "records": 1241,
            "bytes": 500000,
            "snapshot_rows": 1000,
            "inserts": 150,
            "updates": 40,
            "deletes": 13,
            "truncates": 0,
            "source_version": 41,
            "tombstones": 12,
            "control": 23,
            "resends": 0,
            "output_rows": 1201,
            "rejects": 3,
            "reject_reasons": "malformed=2 out_of_range=1",
            "failed_rules": "has_email=4",
            "quarantined": 5, "reapplied": 0,
            "version": 7,
            "files": 2,
            "sink_bytes": 1572864,
            "conflicts": 1,
            "already_landed": false,
            "fetch_ms": 200,
            "decode_ms": 30,
            "transform_ms": 7,
            "write_ms": 50,
            "commit_ms": 11,
            "freshness_ms": 5000,
            "lag_ms": 2000,
            "lag_records": 2500,
        })
    );
}

#[test]
fn what_is_not_known_is_not_in_the_event() {
    let report = BatchReport {
        receipt: None,
        source_times: None,
        lag_records: None,
        rejects: Default::default(),
        ..full_report()
    };
    let text = logged(Style::Json, None, || report.to_log_event());
    let event: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["message"], "batch had nothing to commit");
    for absent in [
        "version",
        "files",
        "freshness_ms",
        "lag_ms",
        "lag_records",
        "reject_reasons",
    ] {
        assert_eq!(event.get(absent), None, "{absent}");
    }
    assert_eq!(event["rejects"], 0);
}

#[test]
fn a_terminal_gets_sentences_over_the_progress_line_and_no_batches() {
    let text = logged(Style::Terminal, None, || {
        full_report().to_log_event();
        tracing::warn!(target: "engine::telemetry", wanted = "127.0.0.1:8000", "port is busy");
    });
    assert_eq!(
        text,
        "\r\u{1b}[K WARN port is busy wanted=\"127.0.0.1:8000\"\n"
    );
}

#[test]
fn sentences_without_a_progress_line_move_no_cursor() {
    let text = logged(Style::Sentences, None, || {
        tracing::warn!(target: "engine::telemetry", wanted = "127.0.0.1:8000", "port is busy");
    });
    assert_eq!(text, " WARN port is busy wanted=\"127.0.0.1:8000\"\n");
}

#[test]
fn plain_lines_have_time_level_and_origin() {
    let text = logged(Style::Lines, None, || full_report().to_log_event());
    let mut words = text.split_whitespace();
    assert!(words.next().is_some_and(|time| time.ends_with('Z')));
    assert_eq!(words.next(), Some("INFO"));
    assert_eq!(words.next(), Some("engine::batch:"));
    assert!(
        text.contains("batch committed pipeline=\"customers\""),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn libraries_are_quiet_and_a_filter_says_otherwise() {
    let events = || {
        tracing::info!(target: "engine::sink", "ours");
        tracing::debug!(target: "engine::sink", "ours in detail");
        tracing::info!(target: "deltalake_core", "chatter");
        tracing::warn!(target: "deltalake_core", "trouble");
        tracing::warn!(target: "librdkafka", "repeated");
    };
    let shown = |filter| {
        let text = logged(Style::Json, filter, events);
        let events = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let messages = events.map(|e| e["message"].as_str().unwrap().to_owned());
        messages.collect::<Vec<_>>()
    };
    assert_eq!(shown(None), ["ours", "trouble"]);
    assert_eq!(shown(Some(" ")), ["ours", "trouble"]);
    assert_eq!(shown(Some("error")), Vec::<String>::new());
    assert_eq!(
        shown(Some("error,engine=debug,deltalake_core=info")),
        ["ours", "ours in detail", "chatter", "trouble"]
    );
}

#[test]
fn a_filter_that_cannot_be_read_is_a_configuration_error() {
    let error = subscriber(Style::Json, Some("engine=loud"), std::io::sink)
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.place(), Some("RUST_LOG"));
}

#[test]
fn the_style_follows_the_format_and_the_terminal() {
    for (format, terminal, expected) in [
        (LogFormat::Auto, true, Style::Terminal),
        (LogFormat::Auto, false, Style::Json),
        (LogFormat::Json, true, Style::Json),
        (LogFormat::Json, false, Style::Json),
        (LogFormat::Text, true, Style::Lines),
        (LogFormat::Text, false, Style::Lines),
    ] {
        assert_eq!(
            Style::of(format, terminal),
            expected,
            "{format:?} {terminal}"
        );
    }
}

#[test]
fn starting_twice_keeps_the_first() {
    // Off, so that this process' other tests stay quiet; whoever was first, a second start changes nothing.
    init(Style::Json, Some("off")).unwrap();
    assert!(!init(Style::Lines, Some("trace")).unwrap());
}
