//! Which topics the entries of `topics` stand for.

use engine::source::TopicFilter;
use engine::spec::model::{Bootstrap, Topics};
use sql::{Error, ErrorKind};

use super::support::{FileStore, MemoryStore, Store, names, spec};

fn matching(topics: Topics, candidates: &[&'static str]) -> Vec<&'static str> {
    let filter = TopicFilter::try_new(&spec(topics, Bootstrap::Brokers(String::new()))).unwrap();
    let matched = candidates.iter().filter(|topic| filter.matches(topic));
    matched.copied().collect()
}

/// A connector's topics with its prefix, what Kafka and Connect keep, and topics of others with a similar name.
const TOPICS: [&str; 9] = [
    "cdc.postgres",
    "cdc.postgres.public.orders",
    "cdc.postgres.public.order_items",
    "cdc.postgres.sales.orders",
    "cdc.postgres.transaction",
    "cdc.postgresql.public.orders",
    "cdcxpostgres.public.orders",
    "__debezium-heartbeat.cdc.postgres",
    "orders",
];

#[test]
fn a_star_stands_for_any_characters_and_a_dot_for_a_dot() {
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["cdc.postgres.*"],
            &[
                "cdc.postgres.public.orders",
                "cdc.postgres.public.order_items",
                "cdc.postgres.sales.orders",
                "cdc.postgres.transaction",
            ],
        ),
        (
            &["cdc.postgres.public.*"],
            &[
                "cdc.postgres.public.orders",
                "cdc.postgres.public.order_items",
            ],
        ),
        (
            &["cdc.postgres.*.orders"],
            &["cdc.postgres.public.orders", "cdc.postgres.sales.orders"],
        ),
        (
            &["*.order_items", "orders"],
            &["cdc.postgres.public.order_items", "orders"],
        ),
        (&["cdc.postgres"], &["cdc.postgres"]),
        // Said in full it is read, reserved or not.
        (
            &["__debezium-heartbeat.cdc.postgres"],
            &["__debezium-heartbeat.cdc.postgres"],
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(matching(names(said), &TOPICS), expected, "{said:?}");
    }
}

#[test]
fn a_regular_expression_matches_whole_names() {
    let regex = |pattern: &str| matching(Topics::Regex(pattern.to_owned()), &TOPICS);
    assert_eq!(regex("orders"), ["orders"]);
    assert_eq!(
        regex(r"cdc\.postgres\.(public|sales)\.orders"),
        ["cdc.postgres.public.orders", "cdc.postgres.sales.orders"]
    );
    // What looks like a prefix is more than one: a dot is any character.
    assert_eq!(regex("cdc.postgres.*").len(), 7);
    assert!(!regex(".*").contains(&"__debezium-heartbeat.cdc.postgres"));
}

fn refused(store: &dyn Store, said: &[&str]) -> Error {
    let opened = store.open(names(said));
    opened.and_then(|mut log| log.partitions()).unwrap_err()
}

#[test]
fn each_name_and_each_pattern_must_find_a_topic() {
    let store = MemoryStore::default();
    store.create("shop.public.orders", 1);
    let mut log = store
        .open(names(&["shop.public.*", "shop.public.orders"]))
        .unwrap();
    assert_eq!(log.partitions().unwrap().len(), 1);

    let error = refused(&store, &["shop.public.*", "shop.sales.*"]);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), "no topic matches `shop.sales.*`");
    assert!(error.next_step().unwrap().contains("`shop.sales.`"));
    assert!(error.to_string().contains("shop.public.orders"), "{error}");

    let error = refused(&store, &["shop.public.*", "shop.public.order"]);
    assert_eq!(error.message(), "there is no topic `shop.public.order`");

    let file = FileStore::default();
    file.put("shop.public.orders", 0, Some("a"));
    let error = refused(&file, &["other.*"]);
    assert_eq!(error.message(), "no topic matches `other.*`");
}
