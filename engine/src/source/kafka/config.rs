//! librdkafka's properties: ours, the user's, and those that the user may not set.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use sql::{Error, Result};
use tracing::warn;

use super::super::topics::nearest;
use super::native;
use crate::spec::model::KafkaSpec;

/// Properties with one right value, and why.
const FIXED: [(&str, &str, &str); 5] = [
    (
        "enable.auto.commit",
        "false",
        "the table holds the positions; group offsets follow its commits",
    ),
    (
        "enable.auto.offset.store",
        "false",
        "the table holds the positions; group offsets follow its commits",
    ),
    (
        "auto.offset.reset",
        "error",
        "lost records must not be skipped silently; use `source.auto_offset_reset` and `source.fail_on_data_loss`",
    ),
    (
        "enable.partition.eof",
        "true",
        "the ends of partitions decide when a bounded run is done",
    ),
    (
        "allow.auto.create.topics",
        "false",
        "reading must not create a topic",
    ),
];

/// Properties that have a key of their own in the pipeline file.
const ELSEWHERE: [(&str, &str); 3] = [
    ("bootstrap.servers", "source.bootstrap_servers"),
    ("metadata.broker.list", "source.bootstrap_servers"),
    ("group.id", "source.group_id"),
];

/// What measures best or is safest; the user may choose otherwise.
const DEFAULTS: [(&str, &str); 6] = [
    ("client.id", "engine"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("queued.max.messages.kbytes", "16384"),
    // librdkafka's default of a second stalls the fetch after every commit.
    ("fetch.queue.backoff.ms", "5"),
    ("socket.keepalive.enable", "true"),
];

/// The client's configuration for a source that reads from `brokers`.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for a property that would break delivery, that librdkafka does not know, or whose value it
/// refuses.
pub(super) fn client_config(spec: &KafkaSpec, brokers: &str) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    config.set("bootstrap.servers", brokers);
    config.set("group.id", &spec.group_id);
    for (name, value) in DEFAULTS {
        config.set(name, value);
    }
    for (name, value, _) in FIXED {
        config.set(name, value);
    }
    for (name, value) in &spec.properties {
        allowed(name, value).map_err(|error| error.at(place(spec, name)))?;
        config.set(name, value);
    }
    config
        .create_native_config()
        .map_err(|error| refused(spec, error))?;
    Ok(config)
}

fn allowed(name: &str, value: &str) -> Result<()> {
    if let Some((_, right, why)) = FIXED.iter().find(|(fixed, ..)| *fixed == name)
        && value != *right
    {
        return Err(
            Error::config(format!("`{name}` may not be `{value}`: {why}"))
                .expected(format!("`{right}`, which is set already"))
                .remedy(format!("Remove `{name}` from `source.properties`.")),
        );
    }
    if let Some((_, key)) = ELSEWHERE.iter().find(|(taken, _)| *taken == name) {
        return Err(
            Error::config(format!("`{name}` is not set among the properties"))
                .expected(format!("`{key}`"))
                .remedy(format!("Move the value to `{key}`.")),
        );
    }
    if name == "isolation.level" && value != "read_committed" {
        warn!(
            value,
            "`isolation.level` lets records of aborted transactions into the table"
        );
    }
    Ok(())
}

/// librdkafka's refusal of a property, with the nearest name that it knows.
pub(super) fn refused(spec: &KafkaSpec, error: KafkaError) -> Error {
    let KafkaError::ClientConfig(_, reason, name, _) = &error else {
        let text = error.to_string();
        return Error::config("the Kafka client cannot be made from these properties")
            .at(format!("{} properties", spec.at))
            .expected("properties that fit together, and files that can be read")
            .remedy(remedy(&text))
            .source(error);
    };
    let known = ClientConfig::new()
        .create_native_config()
        .map(|config| native::property_names(&config))
        .unwrap_or_default();
    let refusal =
        Error::config(format!("librdkafka refuses `{name}`: {reason}")).at(place(spec, name));
    let refusal = if known.contains(name) {
        refusal.expected(format!("a value that librdkafka takes for `{name}`"))
    } else {
        refusal.expected("a property of librdkafka")
    };
    match nearest(name, &known) {
        Some(near) if near != name => refusal.remedy(format!("Did you mean `{near}`?")),
        Some(_) => refusal.remedy("Look its values up in librdkafka's CONFIGURATION.md."),
        _ => refusal.remedy(
            "Look the property up in librdkafka's CONFIGURATION.md; the Java client's names differ in places.",
        ),
    }
}

/// The next thing to do about a client that cannot be made, where librdkafka's text tells it only to those who know.
fn remedy(text: &str) -> &'static str {
    // Kerberos is what librdkafka takes where no mechanism is named.
    if text.contains("GSSAPI") {
        return "Set `sasl.mechanism` in `source.properties`: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER. Kerberos is not built in.";
    }
    if text.contains("sasl.username") {
        return "Set `sasl.username` and `sasl.password` in `source.properties`, as in `\"${KAFKA_PASSWORD}\"`.";
    }
    if text.contains("location failed") {
        return "Check the path of the file that is named, and that it is a PEM file which this user may read.";
    }
    "Correct `source.properties`."
}

fn place(spec: &KafkaSpec, name: &str) -> String {
    format!("{} properties.{name}", spec.at)
}
