//! A real schema registry that speaks Confluent's API, and the Avro converter for Kafka Connect.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::http;
use crate::jdk;
use crate::maven;
use crate::note;
use crate::ports;
use crate::process::Child;
use crate::skip::Missing;

/// The registry's version that is downloaded.
pub const VERSION: &str = "3.3.3";
/// The converter's version that is downloaded: the last that writes Confluent's framing by the registry's older API.
pub const CONVERTER: &str = "2.6.13.Final";

const STARTING: Duration = Duration::from_secs(120);

/// A registry: ours, or the one that `SCHEMA_REGISTRY_URL` names (an Apicurio Registry).
#[derive(Debug)]
pub struct Server {
    url: String,
    // Before the folder: the process must be gone when the folder goes.
    child: Option<Child>,
    _folder: Option<TempDir>,
}

impl Server {
    /// The registry that `SCHEMA_REGISTRY_URL` names (`http://host:port`), else one of our own.
    ///
    /// # Errors
    /// [`Missing`] if a registry cannot be had here.
    pub fn given_or_start() -> Result<Self, Missing> {
        match std::env::var("SCHEMA_REGISTRY_URL") {
            Ok(url) if !url.is_empty() => {
                note::external("SCHEMA_REGISTRY_URL");
                Ok(Self {
                    url: url.trim_end_matches('/').to_owned(),
                    child: None,
                    _folder: None,
                })
            }
            _ => Self::start(),
        }
    }

    /// A registry of our own, empty, kept in memory.
    ///
    /// # Errors
    /// [`Missing`] if its program or a Java 21 cannot be had here.
    pub fn start() -> Result<Self, Missing> {
        let java = jdk::java("the schema registry", &(21..=u32::MAX))?;
        let program = maven::unpacked(
            &format!("apicurio-registry-{VERSION}"),
            &format!("io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"),
        )?;
        let folder = TempDir::with_prefix("engine-registry-").expect("a temporary folder");
        let (port, management) = (ports::free(), ports::free());
        let mut serve = Command::new(java);
        serve
            .args(["-Xmx384m", "-XX:+UseSerialGC"])
            .arg("-Dquarkus.http.host=127.0.0.1")
            .arg(format!("-Dquarkus.http.port={port}"))
            // Health and metrics have a port of their own, which is 9000 if it is not said.
            .arg("-Dquarkus.management.host=127.0.0.1")
            .arg(format!("-Dquarkus.management.port={management}"))
            .arg("-jar")
            .arg(program.join("quarkus-run.jar"))
            .current_dir(folder.path());
        let log = folder.path().join("registry.log");
        let mut child = Child::start("schema registry", serve, &log, "TERM");
        let url = format!("http://127.0.0.1:{port}");
        child.wait_until("the registry answers", STARTING, || {
            http::request("GET", &url, "/apis/ccompat/v7/subjects", None)
                .is_ok_and(|answer| answer.status == 200)
        });
        Ok(Self {
            url,
            child: Some(child),
            _folder: Some(folder),
        })
    }

    /// The address for clients of Confluent's API: `/subjects`, `/schemas/ids/N` and so on follow.
    pub fn confluent_url(&self) -> String {
        format!("{}/apis/ccompat/v7", self.url)
    }

    /// The writer's schema that messages name by `id`.
    ///
    /// # Panics
    /// With the registry's answer if there is none.
    pub fn schema(&self, id: u32) -> Value {
        let path = format!("/apis/ccompat/v7/schemas/ids/{id}");
        let answer = match http::request("GET", &self.url, &path, None) {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => self.fail(&format!("{path}: {} {}", answer.status, answer.body)),
            Err(error) => self.fail(&format!("{path}: {error}")),
        };
        let schema = answer.json()["schema"].take();
        let text = schema.as_str().expect("a schema is text");
        serde_json::from_str(text).expect("Avro's schemas are JSON")
    }

    /// Settings of a connector whose keys and values go to Kafka as Avro: a zero, the schema's id in four bytes, the
    /// body. Its worker needs the plugin of [`converter`].
    pub fn avro(&self) -> Vec<(String, String)> {
        let api = format!("{}/apis/registry/v2", self.url);
        let mut settings = vec![("schema.name.adjustment.mode".to_owned(), "avro".to_owned())];
        for part in ["key", "value"] {
            let class = "io.apicurio.registry.utils.converter.AvroConverter";
            settings.push((format!("{part}.converter"), class.to_owned()));
            for (name, value) in [
                ("apicurio.registry.url", api.as_str()),
                ("apicurio.registry.auto-register", "true"),
                ("apicurio.registry.find-latest", "true"),
                ("apicurio.registry.as-confluent", "true"),
                // Else the id goes into a header and the message is the body alone.
                ("apicurio.registry.headers.enabled", "false"),
            ] {
                settings.push((format!("{part}.converter.{name}"), value.to_owned()));
            }
        }
        settings
    }

    fn fail(&self, sentence: &str) -> ! {
        match &self.child {
            Some(child) => child.fail(sentence),
            None => panic!("the registry at {}: {sentence}", self.url),
        }
    }
}

/// A folder for a worker's `plugin.path` with the Avro converter. It is found by a scan, not as a service.
///
/// # Errors
/// [`Missing`] if its jars cannot be had here.
pub fn converter() -> Result<PathBuf, Missing> {
    maven::plugin(
        &format!("apicurio-converter-{CONVERTER}"),
        &[&format!(
            "io.apicurio:apicurio-registry-utils-converter:{CONVERTER}"
        )],
    )
}
