//! Brokers that are not there, topics that do not exist, and properties that librdkafka refuses.

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::time::Duration;

use super::super::case::{Case, assert_says};

const TOPICS: &str = "  topics: [postgres.public.customers]\n";

fn brokers(address: &str) -> Case {
    Case::delta().env("KAFKA_BROKERS", address)
}

fn with_properties(properties: &str) -> Case {
    let line = format!("{TOPICS}  properties: {{ {properties} }}\n");
    brokers("127.0.0.1:1").edit(TOPICS, &line)
}

/// All at once: each takes the whole time that is given to a start.
#[test]
fn brokers_that_do_not_answer_are_named_after_the_grace() {
    let cases = [
        (brokers("127.0.0.1:1"), "127.0.0.1:1", "Connection refused"),
        (
            brokers("no-such-host.invalid:9092"),
            "no-such-host.invalid:9092",
            "Failed to resolve 'no-such-host.invalid:9092'",
        ),
        (
            brokers("127.0.0.1:1,127.0.0.1:2"),
            "127.0.0.1:1,127.0.0.1:2",
            "Connection refused",
        ),
    ];
    let running: Vec<_> = cases.iter().map(|(case, ..)| case.start()).collect();
    for (running, (case, place, cause)) in running.into_iter().zip(&cases) {
        let outcome = running.finish(Duration::from_secs(120));
        assert_says(
            &outcome,
            3,
            &[
                "error: kafka does not answer; tried for 30 s",
                &format!("\n  at: {place}\n"),
                "\n  expected: a broker that answers at `source.bootstrap_servers`",
                cause,
                "\n  next: Check the address, and that the broker runs",
                "kafka does not answer yet, retrying",
            ],
        );
        assert!(case.files().is_empty(), "a table was made");
    }
}

#[test]
fn a_topic_that_does_not_exist_is_named() {
    let cluster = MockCluster::new(1).unwrap();
    // The mock broker makes topics as they are asked for; this one it denies.
    cluster
        .topic_error(
            "postgres.public.customers",
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        )
        .unwrap();
    let case = brokers(&cluster.bootstrap_servers());
    case.runs(2, &["error: ", "postgres.public.customers", "\n  next: "]);
    assert!(case.files().is_empty(), "a table was made");
}

#[test]
fn a_broker_that_refuses_us_is_not_tried_again() {
    let cluster = MockCluster::new(1).unwrap();
    cluster
        .topic_error(
            "postgres.public.customers",
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        )
        .unwrap();
    let case = brokers(&cluster.bootstrap_servers());
    case.runs(3, &["error: ", "postgres.public.customers", "\n  next: "]);
    assert!(case.files().is_empty(), "a table was made");
}

#[test]
fn a_failing_request_is_asked_again() {
    let cluster = MockCluster::new(1).unwrap();
    cluster
        .create_topic("postgres.public.customers", 1, 1)
        .unwrap();
    cluster.request_errors(
        RDKafkaApiKey::Metadata,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE; 2],
    );
    let case = brokers(&cluster.bootstrap_servers());
    case.runs(0, &["there is no message yet"]);
}

#[test]
fn a_property_that_librdkafka_does_not_know_names_the_nearest() {
    with_properties("fetch.min.byte: \"1\"").runs(
        2,
        &[
            "error: librdkafka refuses `fetch.min.byte`: No such configuration property",
            "\n  at: pipeline.yaml:13:3 (source) properties.fetch.min.byte",
            "\n  expected: a property of librdkafka",
            "\n  next: Did you mean `fetch.min.bytes`?",
        ],
    );
    with_properties("fetch.min.bytes: many").runs(
        2,
        &[
            "error: librdkafka refuses `fetch.min.bytes`: Invalid value",
            "\n  next: Look its values up in librdkafka's CONFIGURATION.md.",
        ],
    );
}

#[test]
fn properties_that_the_engine_sets_are_refused_with_the_reason() {
    with_properties("enable.auto.commit: \"true\"").refused(&[
        "error: the engine sets `enable.auto.commit` itself",
        "\n  at: pipeline.yaml:17:17 (source.properties.enable.auto.commit)",
        "\n  next: remove it: the table is the checkpoint",
    ]);
    with_properties("group.id: mine").refused(&[
        "error: the engine sets `group.id` itself",
        "\n  next: use `group_id`",
    ]);
}

#[test]
fn sasl_options_that_do_not_fit_together_are_told_in_words() {
    const CANNOT: &str = "error: the Kafka client cannot be made from these properties";
    for (properties, says) in [
        (
            "security.protocol: SASL_PLAINTEXT, sasl.username: a, sasl.password: b",
            "\n  next: Set `sasl.mechanism` in `source.properties`: PLAIN, SCRAM-SHA-256",
        ),
        (
            "security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN",
            "\n  next: Set `sasl.username` and `sasl.password`",
        ),
        (
            "security.protocol: SSL, ssl.ca.location: /no/such/ca.pem",
            "\n  next: Check the path of the file that is named",
        ),
    ] {
        let case = with_properties(properties);
        let outcome = case.runs(
            2,
            &[
                CANNOT,
                "\n  at: pipeline.yaml:13:3 (source) properties",
                says,
            ],
        );
        assert!(!outcome.stderr.contains("retrying"), "{}", outcome.stderr);
        assert!(case.files().is_empty(), "a table was made");
    }
}
