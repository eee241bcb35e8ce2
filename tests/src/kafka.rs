//! A real Kafka: one KRaft node on free ports, and a client's view of its topics.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::capture::Record;
use crate::maven;
use crate::note;
use crate::ports;
use crate::process::{self, Child};
use crate::proxy::Cutter;
use crate::skip::Missing;
use crate::slots::{Slot, Slots};
use crate::wait;

/// The version that is downloaded.
pub const VERSION: &str = "4.1.1";
/// The user of the SASL listener.
pub const USER: &str = "engine";
/// That user's password: good for a broker on the loopback interface only.
pub const PASSWORD: &str = "engine-secret";

/// Brokers of this process that run at once. A test takes one.
static SLOTS: Slots = Slots::new(2);

const STARTING: Duration = Duration::from_secs(90);
const ANSWERING: Duration = Duration::from_secs(30);

const LOGGING: &str = "\
appenders=out
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c: %m%n
rootLogger.level=WARN
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=OUT
";

/// Jars of the broker and of Connect's worker, in one folder.
pub(crate) fn libs() -> Result<PathBuf, Missing> {
    maven::jars(
        &format!("kafka-{VERSION}"),
        &[
            &format!("org.apache.kafka:kafka_2.13:{VERSION}"),
            &format!("org.apache.kafka:connect-runtime:{VERSION}"),
            "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
        ],
    )
}

/// A `java` command with the jars and the log settings in `folder`.
pub(crate) fn java(folder: &std::path::Path, heap: &str) -> Result<Command, Missing> {
    let libs = libs()?;
    let logging = folder.join("log4j2.properties");
    fs::write(&logging, LOGGING).expect("a temporary folder is writable");
    let mut java = Command::new(maven::java()?);
    java.arg(format!("-Xmx{heap}"))
        .arg("-XX:+UseSerialGC")
        .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
        .args(["-cp", &format!("{}/*", libs.display())])
        .current_dir(folder);
    Ok(java)
}

/// A record's key and value as they are in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// A broker: ours, or the one that `KAFKA_BROKERS` names.
#[derive(Debug)]
pub struct Broker {
    bootstrap: String,
    node: Option<Node>,
}

/// A node that this process started.
#[derive(Debug)]
struct Node {
    // Before the folder: the process must be gone when the folder goes.
    child: Child,
    sasl: String,
    folder: TempDir,
    _slot: Slot,
}

impl Broker {
    /// The broker that `KAFKA_BROKERS` names, else one of our own.
    ///
    /// # Errors
    /// [`Missing`] if a broker cannot be had here.
    pub fn given_or_start() -> Result<Self, Missing> {
        match std::env::var("KAFKA_BROKERS") {
            Ok(bootstrap) if !bootstrap.is_empty() && !bootstrap.starts_with("file:") => {
                note::external("KAFKA_BROKERS");
                Ok(Self {
                    bootstrap,
                    node: None,
                })
            }
            _ => Self::start(),
        }
    }

    /// A broker of our own, which a test may stop and kill: a plain listener and one with SASL/PLAIN.
    ///
    /// # Errors
    /// [`Missing`] if its jars or Java cannot be had here.
    pub fn start() -> Result<Self, Missing> {
        Self::start_with(None)
    }

    /// The same, with a third listener that is reached through a [`Cutter`] only: clients that are given
    /// [`Cutter::address`] stay behind it, because that is the address the broker tells them. The cutter's address
    /// outlives a restart of the broker.
    ///
    /// # Errors
    /// [`Missing`] if its jars or Java cannot be had here.
    pub fn start_behind_cutter() -> Result<(Self, Cutter), Missing> {
        let listens = format!("127.0.0.1:{}", ports::free());
        let cutter = Cutter::before(&listens);
        let told = cutter.address();
        Ok((Self::start_with(Some((&listens, &told)))?, cutter))
    }

    /// `cut`: where a third listener listens, and what it tells clients.
    fn start_with(cut: Option<(&str, &str)>) -> Result<Self, Missing> {
        let slot = SLOTS.take();
        let folder = TempDir::with_prefix("engine-kafka-").expect("a temporary folder");
        let (plain, sasl, controller) = (ports::free(), ports::free(), ports::free());
        let bootstrap = format!("127.0.0.1:{plain}");
        let sasl = format!("127.0.0.1:{sasl}");
        let data = folder.path().join("data");
        let [listens, told] = match cut {
            Some((listens, told)) => [listens, told].map(|at| format!(",CUT://{at}")),
            None => [String::new(), String::new()],
        };
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://{bootstrap},SASL_PLAINTEXT://{sasl},CONTROLLER://127.0.0.1:{controller}{listens}\n\
             advertised.listeners=PLAINTEXT://{bootstrap},SASL_PLAINTEXT://{sasl}{told}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CUT:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\nsasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl_plaintext.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
             log.dirs={}\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=false\nlog.retention.check.interval.ms=500\n",
            data.display()
        );
        let config = folder.path().join("kafka.properties");
        fs::write(&config, properties).expect("a temporary folder is writable");
        let mut format = java(folder.path(), "256m")?;
        format
            .args([
                "kafka.tools.StorageTool",
                "format",
                "-t",
                "engine-tests-0123456789",
                "-c",
            ])
            .arg(&config);
        if let Err(said) = process::run(&mut format) {
            panic!("cannot format Kafka's storage: {said}");
        }
        let child = Self::launch(&folder)?;
        let mut broker = Self {
            bootstrap,
            node: Some(Node {
                child,
                sasl,
                folder,
                _slot: slot,
            }),
        };
        broker.wait_until_up();
        Ok(broker)
    }

    fn launch(folder: &TempDir) -> Result<Child, Missing> {
        let mut kafka = java(folder.path(), "512m")?;
        kafka.args(["kafka.Kafka", "kafka.properties"]);
        let log = folder.path().join("kafka.log");
        Ok(Child::start("kafka", kafka, &log, "TERM"))
    }

    fn wait_until_up(&mut self) {
        let probe: BaseConsumer = self.client().create().expect("a client's settings");
        let up = || probe.fetch_metadata(None, Duration::from_secs(1)).is_ok();
        if let Some(node) = &mut self.node {
            node.child.wait_until("the broker answers", STARTING, up);
        }
    }

    /// `host:port` of the plain listener.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `host:port` of the SASL/PLAIN listener ([`USER`], [`PASSWORD`]).
    pub fn sasl_bootstrap(&self) -> &str {
        &self.own().sasl
    }

    fn own(&self) -> &Node {
        self.node.as_ref().expect("a broker of our own")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.node
            .as_mut()
            .expect("a broker of our own")
            .child
            .kill();
    }

    /// An orderly stop.
    pub fn stop(&mut self) {
        self.node
            .as_mut()
            .expect("a broker of our own")
            .child
            .stop();
    }

    /// Starts a stopped or killed broker again on its data and its ports.
    pub fn restart(&mut self) {
        let node = self.node.as_mut().expect("a broker of our own");
        node.child.stop();
        match Self::launch(&node.folder) {
            Ok(child) => node.child = child,
            Err(missing) => panic!("what the broker was started with is gone: {missing}"),
        }
        self.wait_until_up();
    }

    /// Settings of a client of the plain listener.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config.set("log_level", "0");
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("a client's settings")
    }

    /// Makes a topic with `settings` (`retention.ms`, `cleanup.policy`, …).
    pub fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let made =
            block_on(self.admin().create_topics([&new], &options())).expect("the broker answers");
        for result in made {
            result.unwrap_or_else(|(topic, code)| panic!("cannot make the topic {topic}: {code}"));
        }
    }

    /// Removes the records of a partition below `before`, as retention would.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))
            .expect("an offset");
        block_on(self.admin().delete_records(&list, &options()))
            .expect("the broker removes records");
        assert_eq!(
            self.offsets(topic, partition).0,
            before,
            "the log's new start"
        );
    }

    /// First offset there is, and the end.
    pub fn offsets(&self, topic: &str, partition: i32) -> (i64, i64) {
        let client: BaseConsumer = self.client().create().expect("a client's settings");
        client
            .fetch_watermarks(topic, partition, ANSWERING)
            .expect("the broker knows the partition")
    }

    /// Writes records to their partitions of `topic`, in order, with keys, tombstones and headers as they are.
    pub fn produce(&self, topic: &str, records: &[Record]) {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "5");
        let producer: BaseProducer = config.create().expect("a client's settings");
        for record in records {
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                headers = headers.insert(Header {
                    key,
                    value: Some(value),
                });
            }
            let mut message = BaseRecord::<str, str>::to(topic)
                .partition(record.partition)
                .headers(headers);
            if let Some(key) = &record.key {
                message = message.key(key);
            }
            if let Some(payload) = &record.payload {
                message = message.payload(payload);
            }
            let mut unsent = Some(message);
            let sent = wait::until(ANSWERING, || {
                // A full queue gives the record back.
                unsent = unsent
                    .take()
                    .and_then(|next| producer.send(next).err())
                    .map(|(_, back)| back);
                producer.poll(Duration::ZERO);
                unsent.is_none().then_some(())
            });
            assert!(sent.is_some(), "the producer's queue stays full");
        }
        producer
            .flush(ANSWERING)
            .expect("the broker takes every record");
    }

    /// The records of a topic once there are at least `count`.
    ///
    /// # Panics
    /// If there are fewer after `limit`; with the offsets that are there.
    pub fn wait_for(&self, topic: &str, count: usize, limit: Duration) -> Vec<Record> {
        let mut last = Vec::new();
        let seen = wait::until(limit, || {
            last = self.read(topic);
            (last.len() >= count).then_some(())
        });
        let there = last.len();
        assert!(
            seen.is_some(),
            "{topic} holds {there} records after {limit:?}, not {count}"
        );
        last
    }

    /// Every committed record of a topic from its start to the ends it has now, by partition and offset.
    pub fn read(&self, topic: &str) -> Vec<Record> {
        self.read_each(topic, |message| record_of(message))
    }

    /// The same as keys and values of bytes, for messages that are no text.
    pub fn read_bytes(&self, topic: &str) -> Vec<Bytes> {
        self.read_each(topic, |message| Bytes {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
        })
    }

    fn read_each<T>(&self, topic: &str, of: impl Fn(&BorrowedMessage<'_>) -> T) -> Vec<T> {
        let mut config = self.client();
        config
            .set("group.id", "harness")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().expect("a client's settings");
        let metadata = consumer
            .fetch_metadata(Some(topic), ANSWERING)
            .expect("the broker answers");
        let partitions = metadata
            .topics()
            .first()
            .map_or(0, |topic| topic.partitions().len());
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions).expect("a partition count") {
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .expect("an offset");
        }
        consumer.assign(&list).expect("an assignment");
        let mut records = Vec::new();
        let mut ended = BTreeSet::new();
        while ended.len() < partitions {
            match consumer.poll(ANSWERING).expect("records before the ends") {
                Ok(message) => {
                    let place = (message.partition(), message.offset());
                    records.push((place, of(&message)));
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    ended.insert(partition);
                }
                Err(error) => panic!("{topic} cannot be read: {error}"),
            }
        }
        records.sort_by_key(|(place, _)| *place);
        records.into_iter().map(|(_, record)| record).collect()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWERING))
        .operation_timeout(Some(ANSWERING))
}

fn record_of(message: &impl Message) -> Record {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().map(|headers| {
        let pair = |header: Header<'_, &[u8]>| {
            (
                header.key.to_owned(),
                text(header.value.unwrap_or_default()),
            )
        };
        headers.iter().map(pair).collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(0),
        headers: headers.unwrap_or_default(),
        key: message.key().map(text),
        payload: message.payload().map(text),
    }
}
