//! The harness: Debezium's events in Avro, with schemas in a registry.

use std::time::Duration;

use serde_json::{Value, json};
use tests::connect::Worker;
use tests::kafka::Broker;
use tests::postgres::Server;
use tests::registry;
use tests::{full, need};

const SEEN: Duration = Duration::from_secs(120);

#[test]
fn changes_in_avro_name_their_schema_in_the_registry() {
    full!();
    let registry = need!(registry::Server::given_or_start());
    let converter = need!(registry::converter());
    let server = need!(Server::given_or_start());
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::start_with(&broker, &[converter]));
    server.execute("CREATE TABLE avro (id int PRIMARY KEY, name text, amount numeric(12,2))");
    server.execute("INSERT INTO avro VALUES (1, 'Ünal', 12.34)");
    let settings = registry.avro();
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    worker.capture_postgres(&server, "avro", "public.avro", &settings);
    let topic = "avro.public.avro";
    broker.wait_for(topic, 1, SEEN);
    server.execute("DELETE FROM avro");
    broker.wait_for(topic, 3, SEEN);

    let messages = broker.read_bytes(topic);
    let [snapshot, delete, tombstone] = &messages[..] else {
        panic!("{} messages, not three", messages.len());
    };
    for message in [snapshot, delete] {
        let (id, body) = unframed(message.value.as_deref());
        let schema = registry.schema(id);
        assert_eq!(schema["name"], "Envelope");
        assert_eq!(schema["namespace"], "avro.public.avro");
        assert_eq!(names(&schema)[..2], ["before", "after"]);
        assert!(!body.is_empty());
    }
    let (_, body) = unframed(snapshot.value.as_deref());
    assert!(contains(body, "Ünal".as_bytes()), "{body:?}");
    // 12.34 is 1,234 hundredths: two bytes, before them their number as a zigzag.
    assert!(contains(body, &[4, 0x04, 0xd2]), "{body:?}");
    assert_eq!(tombstone.value, None);

    let (id, body) = unframed(snapshot.key.as_deref());
    assert_eq!(names(&registry.schema(id)), ["id"]);
    assert_eq!(body, [2], "1 as a zigzag");
    assert_eq!(unframed(delete.key.as_deref()), (id, body));
    let amount = field(&registry.schema(unframed(snapshot.value.as_deref()).0));
    assert_eq!(
        [&amount["logicalType"], &amount["scale"]],
        [&json!("decimal"), &json!(2)]
    );
}

/// The schema's id and the body of a message in Confluent's framing.
fn unframed(message: Option<&[u8]>) -> (u32, &[u8]) {
    let message = message.expect("no tombstone");
    let Some((&[0, a, b, c, d], body)) = message.split_first_chunk::<5>() else {
        panic!("no zero and four bytes: {message:?}");
    };
    (u32::from_be_bytes([a, b, c, d]), body)
}

fn names(record: &Value) -> Vec<&str> {
    let fields = record["fields"].as_array().expect("a record");
    fields
        .iter()
        .map(|field| field["name"].as_str().expect("a name"))
        .collect()
}

/// The type of `amount` in an envelope: of the record that `before` is, unless it is null.
fn field(envelope: &Value) -> Value {
    let row = &envelope["fields"][0]["type"][1];
    let fields = row["fields"].as_array().expect("a record");
    let amount = fields.iter().find(|field| field["name"] == "amount");
    amount.expect("the column")["type"][1].clone()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
