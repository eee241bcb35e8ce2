//! A real Kafka Connect worker with Debezium's Postgres connector.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::kafka::{self, Broker};
use crate::maven;
use crate::ports;
use crate::postgres::Server;
use crate::process::Child;
use crate::skip::Missing;
use crate::wait;

/// The version that is downloaded.
pub const DEBEZIUM: &str = "3.4.0.Final";

const STARTING: Duration = Duration::from_secs(180);
const RUNNING: Duration = Duration::from_secs(120);

/// A worker: ours, or the one that `CONNECT_URL` names (which must have Debezium's Postgres connector).
#[derive(Debug)]
pub struct Worker {
    url: String,
    // Before the folder: the process must be gone when the folder goes.
    child: Option<Child>,
    _folder: Option<TempDir>,
}

impl Worker {
    /// The worker that `CONNECT_URL` names, else one of our own on `broker`.
    ///
    /// # Errors
    /// [`Missing`] if a worker cannot be had here.
    pub fn given_or_start(broker: &Broker) -> Result<Self, Missing> {
        match std::env::var("CONNECT_URL") {
            Ok(url) if !url.is_empty() => Ok(Self {
                url,
                child: None,
                _folder: None,
            }),
            _ => Self::start(broker),
        }
    }

    /// A worker of our own: JSON without schemas, its own topics on `broker`.
    ///
    /// # Errors
    /// [`Missing`] if its jars or Java cannot be had here.
    pub fn start(broker: &Broker) -> Result<Self, Missing> {
        let plugins = maven::unpacked(
            &format!("debezium-postgres-{DEBEZIUM}"),
            &format!("io.debezium:debezium-connector-postgres:{DEBEZIUM}:tar.gz:plugin"),
        )?;
        let folder = TempDir::with_prefix("engine-connect-").expect("a temporary folder");
        let port = ports::free();
        let properties = format!(
            "bootstrap.servers={}\ngroup.id=connect-{port}\nlisteners=http://127.0.0.1:{port}\n\
             plugin.path={}\nplugin.discovery=service_load\n\
             key.converter=org.apache.kafka.connect.json.JsonConverter\nkey.converter.schemas.enable=false\n\
             value.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter.schemas.enable=false\n\
             offset.storage.topic=connect-{port}-offsets\noffset.storage.replication.factor=1\n\
             offset.storage.partitions=1\noffset.flush.interval.ms=1000\n\
             config.storage.topic=connect-{port}-configs\nconfig.storage.replication.factor=1\n\
             status.storage.topic=connect-{port}-status\nstatus.storage.replication.factor=1\n\
             status.storage.partitions=1\n",
            broker.bootstrap(),
            plugins.display()
        );
        let config = folder.path().join("connect.properties");
        fs::write(&config, properties).expect("a temporary folder is writable");
        let mut java = kafka::java(folder.path(), "768m")?;
        java.args([
            "org.apache.kafka.connect.cli.ConnectDistributed",
            "connect.properties",
        ]);
        let log = folder.path().join("connect.log");
        let mut child = Child::start("connect", java, &log, "TERM");
        let url = format!("http://127.0.0.1:{port}");
        child.wait_until("the worker answers", STARTING, || {
            http::request("GET", &url, "/connectors", None).is_ok_and(|answer| answer.status == 200)
        });
        Ok(Self {
            url,
            child: Some(child),
            _folder: Some(folder),
        })
    }

    /// Registers a connector that captures `tables` (`schema.table`) of `server` into topics
    /// `<prefix>.<schema>.<table>`, and waits until it and its task run. Truncates are sent; `more` overrides.
    pub fn capture_postgres(
        &self,
        server: &Server,
        prefix: &str,
        tables: &str,
        more: &[(&str, &str)],
    ) {
        let address = server.address();
        let name = format!("{prefix}-connector");
        let slot = format!(
            "slot_{}",
            prefix.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        );
        let mut config = json!({
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "plugin.name": "pgoutput",
            "database.hostname": address.host,
            "database.port": address.port,
            "database.user": address.user,
            "database.password": address.password,
            "database.dbname": address.database,
            "topic.prefix": prefix,
            "table.include.list": tables,
            "slot.name": slot,
            "publication.name": slot,
            "publication.autocreate.mode": "filtered",
            "skipped.operations": "none",
            "poll.interval.ms": "100",
            "topic.creation.default.replication.factor": "1",
            "topic.creation.default.partitions": "1",
        });
        for (key, value) in more {
            config[*key] = json!(value);
        }
        let body = json!({"name": name, "config": config});
        let answer = self.ask("POST", "/connectors", Some(&body));
        assert!(
            answer.status == 201,
            "the worker refuses the connector: {}",
            answer.body
        );
        let path = format!("/connectors/{name}/status");
        let running = wait::until(RUNNING, || {
            let status = self.ask("GET", &path, None).json();
            if status["tasks"][0]["state"] == "FAILED" {
                self.fail(&format!("the task failed: {status}"));
            }
            let runs = |part: &Value| part["state"] == "RUNNING";
            (runs(&status["connector"]) && runs(&status["tasks"][0])).then_some(())
        });
        if running.is_none() {
            self.fail(&format!(
                "the connector does not run: {}",
                self.ask("GET", &path, None).body
            ));
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
        match &self.child {
            Some(child) => child.fail(sentence),
            None => panic!("connect at {}: {sentence}", self.url),
        }
    }
}
