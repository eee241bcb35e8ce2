//! Where librdkafka's log lines go.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use tracing::{debug, error, info, warn};

/// Sends librdkafka's log lines to `tracing`. Errors are told by whoever polls.
pub(super) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level as i32, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "kafka error");
    }
}

impl ConsumerContext for Context {}

/// Sends one line to `tracing`; `level` is syslog's.
pub(super) fn log_line(level: i32, facility: &str, line: &str) {
    match (level, facility) {
        // These two come as error events as well, and are told from there.
        (_, "FAIL" | "ERROR") | (7.., _) => debug!(facility, line, "librdkafka"),
        (0..=3, _) => error!(facility, line, "librdkafka"),
        (4, _) => warn!(facility, line, "librdkafka"),
        _ => info!(facility, line, "librdkafka"),
    }
}
