//! What is said, and how often, while brokers do not answer; and which error an answer is.

use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;
use sql::{Error, ErrorKind};
use tracing::{debug, info, warn};

/// How often a lasting outage is mentioned.
const REMIND: Duration = Duration::from_secs(30);

/// Tells of an outage once, then now and then, and of its end.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    mentioned: Option<Instant>,
    unmentioned: u64,
}

impl Outage {
    /// An error that librdkafka goes on from by itself.
    pub(super) fn note(&mut self, code: Code, reason: &str) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.mentioned.is_some_and(|last| last.elapsed() < REMIND) {
            self.unmentioned += 1;
            debug!(%code, reason, "kafka error");
            return;
        }
        warn!(
            %code,
            reason,
            for_seconds = since.elapsed().as_secs(),
            more_errors = self.unmentioned,
            "kafka does not answer, retrying"
        );
        self.mentioned = Some(Instant::now());
        self.unmentioned = 0;
    }

    /// Something was read.
    pub(super) fn over(&mut self) {
        if let Some(since) = self.since.take() {
            info!(
                after_seconds = since.elapsed().as_secs(),
                "kafka answers again"
            );
            // A connection that flaps is not mentioned every time.
            self.unmentioned = 0;
        }
    }
}

/// The error that a refusal is; `None` if `code` is none.
pub(super) fn denied(code: Code, reason: &str, brokers: &str) -> Option<Error> {
    let (message, remedy) = match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => (
            "kafka refused the authentication",
            "Check `sasl.mechanisms`, `sasl.username` and `sasl.password` in `source.properties`.",
        ),
        Code::SSL => (
            "the TLS handshake with kafka failed",
            "Check `security.protocol`, `ssl.ca.location` and the client's certificate in `source.properties`, and that the \
             port speaks TLS.",
        ),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed => (
            "kafka does not allow this user to read",
            "Grant READ and DESCRIBE on the topics, and READ on the group `source.group_id`.",
        ),
        _ => return None,
    };
    Some(
        Error::new(ErrorKind::Denied, message)
            .at(brokers)
            .expected("a user that may read the topics")
            .remedy(remedy)
            .source(reason.to_owned()),
    )
}
