//! A real Kafka Connect worker with Debezium's connectors.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::kafka::{self, Broker};
use crate::mariadb;
use crate::maven;
use crate::note;
use crate::ports;
use crate::postgres;
use crate::process::Child;
use crate::skip::Missing;
use crate::wait;

/// The version that is downloaded.
pub const DEBEZIUM: &str = "3.4.0.Final";

/// The connectors that a worker of our own has.
const CONNECTORS: [&str; 3] = ["postgres", "mysql", "mariadb"];

/// For the `more` of a connector: keys and values are JSON with schemas.
pub const WITH_SCHEMAS: [(&str, &str); 4] = converters("true");
/// For the `more` of a connector: keys and values are JSON without schemas, which is a worker's own default.
pub const WITHOUT_SCHEMAS: [(&str, &str); 4] = converters("false");

/// How often a worker stores how far its connectors are, unless a test says otherwise.
pub const OFTEN: Duration = Duration::from_secs(1);
/// So rarely that it does not while a test runs: only an orderly stop does.
pub const RARELY: Duration = Duration::from_hours(24);

const STARTING: Duration = Duration::from_secs(180);
const RUNNING: Duration = Duration::from_secs(120);

/// A replica's number has to differ from those of all other clients of the binary log.
static REPLICAS: AtomicU32 = AtomicU32::new(0);

const fn converters(schemas: &'static str) -> [(&'static str, &'static str); 4] {
    const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
    [
        ("key.converter", JSON),
        ("key.converter.schemas.enable", schemas),
        ("value.converter", JSON),
        ("value.converter.schemas.enable", schemas),
    ]
}

/// A worker: ours, or the one that `CONNECT_URL` names (which must have Debezium's connectors).
#[derive(Debug)]
pub struct Worker {
    url: String,
    bootstrap: String,
    node: Option<Node>,
}

/// A worker that this process started.
#[derive(Debug)]
struct Node {
    // Before the folder: the process must be gone when the folder goes.
    child: Child,
    plugins: Plugins,
    port: u16,
    starts: u8,
    folder: TempDir,
}

/// Where a worker's plugins are, and how it finds them.
#[derive(Debug)]
struct Plugins {
    path: String,
    discovery: &'static str,
}

impl Worker {
    /// The worker that `CONNECT_URL` names, else one of our own on `broker`.
    ///
    /// # Errors
    /// [`Missing`] if a worker cannot be had here.
    pub fn given_or_start(broker: &Broker) -> Result<Self, Missing> {
        match std::env::var("CONNECT_URL") {
            Ok(url) if !url.is_empty() => {
                note::external("CONNECT_URL");
                Ok(Self {
                    url,
                    bootstrap: broker.bootstrap().to_owned(),
                    node: None,
                })
            }
            _ => Self::start(broker),
        }
    }

    /// A worker of our own: JSON without schemas, its own topics on `broker`, positions stored [`OFTEN`].
    ///
    /// # Errors
    /// [`Missing`] if its jars or Java cannot be had here.
    pub fn start(broker: &Broker) -> Result<Self, Missing> {
        Self::start_flushing(broker, OFTEN)
    }

    /// The same, which stores every `flush` how far its connectors are. What they sent since then they send again after
    /// [`kill9`](Self::kill9).
    ///
    /// # Errors
    /// [`Missing`] if its jars or Java cannot be had here.
    pub fn start_flushing(broker: &Broker, flush: Duration) -> Result<Self, Missing> {
        Self::start_own(broker, flush, Plugins::debezium()?)
    }

    /// The same as [`start`](Self::start) with more plugins: folders that hold a folder for each. They need not say
    /// what they provide: the worker looks into every class, so it starts later.
    ///
    /// # Errors
    /// [`Missing`] if its jars or Java cannot be had here.
    pub fn start_with(broker: &Broker, folders: &[PathBuf]) -> Result<Self, Missing> {
        let mut plugins = Plugins::debezium()?;
        for folder in folders {
            plugins.path += &format!(",{}", folder.display());
        }
        plugins.discovery = "hybrid_warn";
        Self::start_own(broker, OFTEN, plugins)
    }

    fn start_own(broker: &Broker, flush: Duration, plugins: Plugins) -> Result<Self, Missing> {
        let folder = TempDir::with_prefix("engine-connect-").expect("a temporary folder");
        let port = ports::free();
        let properties = properties(broker.bootstrap(), &plugins, port, flush, 1);
        let mut worker = Self {
            url: format!("http://127.0.0.1:{port}"),
            bootstrap: broker.bootstrap().to_owned(),
            node: Some(Node {
                child: launch(folder.path(), &properties)?,
                plugins,
                port,
                starts: 1,
                folder,
            }),
        };
        worker.wait_until_up();
        Ok(worker)
    }

    /// An orderly stop: it stores how far its connectors are.
    pub fn stop(&mut self) {
        self.own().child.stop();
    }

    /// `kill -9`: how far its connectors are stays as it was stored last.
    pub fn kill9(&mut self) {
        self.own().child.kill();
    }

    /// Starts a stopped or killed worker again, with the same group, topics and port, and another interval at which it
    /// stores how far its connectors are. They come back by themselves: [`wait_running`](Self::wait_running).
    pub fn restart(&mut self, flush: Duration) {
        let bootstrap = self.bootstrap.clone();
        let node = self.own();
        node.child.stop();
        node.starts += 1;
        let properties = properties(&bootstrap, &node.plugins, node.port, flush, node.starts);
        match launch(node.folder.path(), &properties) {
            Ok(child) => node.child = child,
            Err(missing) => panic!("what the worker was started with is gone: {missing}"),
        }
        self.wait_until_up();
    }

    fn own(&mut self) -> &mut Node {
        self.node.as_mut().expect("a worker of our own")
    }

    fn wait_until_up(&mut self) {
        let url = self.url.clone();
        let up = || {
            http::request("GET", &url, "/connectors", None).is_ok_and(|answer| answer.status == 200)
        };
        self.own()
            .child
            .wait_until("the worker answers", STARTING, up);
    }

    /// Registers a connector that captures `tables` (`schema.table,…`) of `server` into topics
    /// `<prefix>.<schema>.<table>`, and waits until it and its task run. Truncates are sent; `more` overrides. Its name
    /// is [`connector(prefix)`](connector).
    pub fn capture_postgres(
        &self,
        server: &postgres::Server,
        prefix: &str,
        tables: &str,
        more: &[(&str, &str)],
    ) {
        let address = server.address();
        let slot = format!(
            "slot_{}",
            prefix.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        );
        let config = json!({
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "plugin.name": "pgoutput",
            "database.hostname": address.host,
            "database.port": address.port,
            "database.user": address.user,
            "database.password": address.password,
            "database.dbname": address.database,
            "slot.name": slot,
            // A slot may stay taken for a moment after its connection was cut.
            "slot.max.retries": "120",
            "slot.retry.delay.ms": "500",
            "publication.name": slot,
            "publication.autocreate.mode": "filtered",
        });
        self.capture(config, prefix, tables, more);
    }

    /// Registers a `MariaDbConnector` that captures `tables` (`database.table,…`) of `server` into topics
    /// `<prefix>.<database>.<table>`, and waits until it and its task run. Truncates are sent; `more` overrides. Its
    /// name is [`connector(prefix)`](connector).
    pub fn capture_mariadb(
        &self,
        server: &mariadb::Server,
        prefix: &str,
        tables: &str,
        more: &[(&str, &str)],
    ) {
        let class = "io.debezium.connector.mariadb.MariaDbConnector";
        self.capture_binlog(class, server, prefix, tables, more);
    }

    /// The same with Debezium's `MySqlConnector`, for a `MYSQL_URL` that names a MySQL.
    pub fn capture_mysql(
        &self,
        server: &mariadb::Server,
        prefix: &str,
        tables: &str,
        more: &[(&str, &str)],
    ) {
        let class = "io.debezium.connector.mysql.MySqlConnector";
        self.capture_binlog(class, server, prefix, tables, more);
    }

    fn capture_binlog(
        &self,
        class: &str,
        server: &mariadb::Server,
        prefix: &str,
        tables: &str,
        more: &[(&str, &str)],
    ) {
        let address = server.capture_address();
        let replica = (std::process::id() % 10_000 + 1) * 1_000
            + REPLICAS.fetch_add(1, Ordering::Relaxed) % 1_000;
        let config = json!({
            "connector.class": class,
            "database.hostname": address.host,
            "database.port": address.port,
            "database.user": address.user,
            "database.password": address.password,
            "database.server.id": replica.to_string(),
            "connect.timeout.ms": "5000",
            "connect.keep.alive.interval.ms": "1000",
            "include.schema.changes": "false",
            "schema.history.internal.kafka.bootstrap.servers": self.bootstrap,
            "schema.history.internal.kafka.topic": format!("{prefix}-schema-history"),
        });
        self.capture(config, prefix, tables, more);
    }

    fn capture(&self, mut config: Value, prefix: &str, tables: &str, more: &[(&str, &str)]) {
        for (key, value) in [
            ("topic.prefix", prefix),
            ("table.include.list", tables),
            ("skipped.operations", "none"),
            ("poll.interval.ms", "100"),
            ("retriable.restart.connector.wait.ms", "500"),
            ("topic.creation.default.replication.factor", "1"),
            ("topic.creation.default.partitions", "1"),
        ]
        .iter()
        .chain(more)
        {
            config[*key] = json!(value);
        }
        let name = connector(prefix);
        let body = json!({"name": name, "config": config});
        // 409: the worker's group is not settled yet.
        let settled = wait::until(RUNNING, || {
            let answer = self.ask("POST", "/connectors", Some(&body));
            (answer.status != 409).then_some(answer)
        });
        match settled {
            Some(answer) if answer.status == 201 => self.wait_running(&name),
            Some(answer) => self.fail(&format!("refuses the connector: {}", answer.body)),
            None => self.fail("its group does not settle"),
        }
    }

    /// Waits until a connector and its task run, in this start of the worker.
    ///
    /// # Panics
    /// If the task failed, or they do not run in time; with what the worker says.
    pub fn wait_running(&self, connector: &str) {
        let path = format!("/connectors/{connector}/status");
        let host = self.node.as_ref().map(|node| advertised(node.starts));
        // After a kill the worker repeats what it knew before, of the start before.
        let is_of_this_start = |part: &Value| {
            let id = part["worker_id"].as_str().unwrap_or_default();
            host.as_ref()
                .is_none_or(|host| id.split(':').next() == Some(host))
        };
        let mut last = Value::Null;
        let running = wait::until(RUNNING, || {
            last = http::request("GET", &self.url, &path, None).ok()?.json();
            let (whole, task) = (&last["connector"], &last["tasks"][0]);
            if !is_of_this_start(whole) || !is_of_this_start(task) {
                return None;
            }
            if task["state"] == "FAILED" {
                self.fail(&format!("the task failed: {last}"));
            }
            (whole["state"] == "RUNNING" && task["state"] == "RUNNING").then_some(())
        });
        if running.is_none() {
            self.fail(&format!("the connector does not run: {last}"));
        }
    }

    /// The state of a connector's task: `RUNNING`, `FAILED`, …; `None` while the worker does not know.
    pub fn task_state(&self, connector: &str) -> Option<String> {
        let path = format!("/connectors/{connector}/status");
        let status = http::request("GET", &self.url, &path, None).ok()?.json();
        status["tasks"][0]["state"].as_str().map(str::to_owned)
    }

    /// Starts what failed of a connector again, as an operator would after an outage that was longer than it retries.
    pub fn restart_failed(&self, connector: &str) {
        let path = format!("/connectors/{connector}/restart?includeTasks=true&onlyFailed=true");
        let answer = self.ask("POST", &path, None);
        if !(200..300).contains(&answer.status) {
            self.fail(&format!("does not restart {connector}: {}", answer.body));
        }
    }

    /// The worker's REST address.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> http::Answer {
        match http::request(method, &self.url, path, body) {
            Ok(answer) => answer,
            Err(error) => self.fail(&format!("{method} {path}: {error}")),
        }
    }

    fn fail(&self, sentence: &str) -> ! {
        match &self.node {
            Some(node) => node.child.fail(sentence),
            None => panic!("connect at {}: {sentence}", self.url),
        }
    }
}

impl Plugins {
    fn debezium() -> Result<Self, Missing> {
        let folders: Result<Vec<String>, Missing> = CONNECTORS
            .iter()
            .map(|name| {
                let folder = maven::unpacked(
                    &format!("debezium-{name}-{DEBEZIUM}"),
                    &format!("io.debezium:debezium-connector-{name}:{DEBEZIUM}:tar.gz:plugin"),
                )?;
                Ok(folder.display().to_string())
            })
            .collect();
        Ok(Self {
            path: folders?.join(","),
            discovery: "service_load",
        })
    }
}

/// The name of the connector that captures into topics with `prefix`.
pub fn connector(prefix: &str) -> String {
    format!("{prefix}-connector")
}

/// The host that a worker calls itself by, another at each start: the only mark in a connector's status that tells
/// whether it is of this start. All of them are the loopback interface.
fn advertised(start: u8) -> String {
    format!("127.0.0.{start}")
}

fn properties(bootstrap: &str, plugins: &Plugins, port: u16, flush: Duration, start: u8) -> String {
    let host = advertised(start);
    let Plugins { path, discovery } = plugins;
    format!(
        "bootstrap.servers={bootstrap}\ngroup.id=connect-{port}\nlisteners=http://127.0.0.1:{port}\n\
         rest.advertised.host.name={host}\nrest.advertised.port={port}\n\
         plugin.path={path}\nplugin.discovery={discovery}\n\
         key.converter=org.apache.kafka.connect.json.JsonConverter\nkey.converter.schemas.enable=false\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter.schemas.enable=false\n\
         session.timeout.ms=6000\nheartbeat.interval.ms=1000\nscheduled.rebalance.max.delay.ms=0\n\
         offset.flush.interval.ms={}\n\
         offset.storage.topic=connect-{port}-offsets\noffset.storage.replication.factor=1\n\
         offset.storage.partitions=1\n\
         config.storage.topic=connect-{port}-configs\nconfig.storage.replication.factor=1\n\
         status.storage.topic=connect-{port}-status\nstatus.storage.replication.factor=1\n\
         status.storage.partitions=1\n",
        flush.as_millis()
    )
}

fn launch(folder: &Path, properties: &str) -> Result<Child, Missing> {
    let config = folder.join("connect.properties");
    fs::write(&config, properties).expect("a temporary folder is writable");
    let mut java = kafka::java(folder, "768m")?;
    java.args([
        "org.apache.kafka.connect.cli.ConnectDistributed",
        "connect.properties",
    ]);
    Ok(Child::start(
        "connect",
        java,
        &folder.join("connect.log"),
        "TERM",
    ))
}
