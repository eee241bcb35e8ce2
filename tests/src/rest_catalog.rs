//! A real Iceberg REST catalog: the server that Apache Iceberg tests its own clients with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Answer};
use crate::jdk;
use crate::maven;
use crate::minio;
use crate::note;
use crate::ports;
use crate::process::Child;
use crate::python::{Readers, Table};
use crate::skip::Missing;

/// The version that is downloaded.
pub const VERSION: &str = "1.10.1";

const STARTING: Duration = Duration::from_secs(90);

/// A catalog: ours, or the one that `ICEBERG_REST_URL` names.
#[derive(Debug)]
pub struct Catalog {
    url: String,
    properties: Vec<(String, String)>,
    // Before the folder: the process must be gone when the folder goes.
    child: Option<Child>,
    folder: Option<TempDir>,
}

impl Catalog {
    /// The catalog that `ICEBERG_REST_URL` names, which must say itself where its tables are and how they are
    /// reached; else one of our own on a folder.
    ///
    /// # Errors
    /// [`Missing`] if a catalog cannot be had here.
    pub fn given_or_start() -> Result<Self, Missing> {
        match std::env::var("ICEBERG_REST_URL") {
            Ok(url) if !url.is_empty() => {
                note::external("ICEBERG_REST_URL");
                Ok(Self {
                    url: url.trim_end_matches('/').to_owned(),
                    properties: Vec::new(),
                    child: None,
                    folder: None,
                })
            }
            _ => Self::start(),
        }
    }

    /// A catalog of our own whose warehouse is a folder of this machine.
    ///
    /// # Errors
    /// [`Missing`] if its jar or Java cannot be had here.
    pub fn start() -> Result<Self, Missing> {
        Self::launch(
            |folder| format!("file://{}", folder.join("warehouse").display()),
            None,
        )
    }

    /// A catalog of our own whose warehouse is a `bucket` that is there.
    ///
    /// # Errors
    /// [`Missing`] if its jar or Java cannot be had here.
    pub fn start_on(store: &minio::Server, bucket: &str) -> Result<Self, Missing> {
        Self::launch(|_| format!("s3://{bucket}/warehouse"), Some(store))
    }

    fn launch(
        warehouse: impl FnOnce(&Path) -> String,
        store: Option<&minio::Server>,
    ) -> Result<Self, Missing> {
        let artifact = format!("org.apache.iceberg:iceberg-open-api:{VERSION}");
        let jars = maven::alone(&format!("iceberg-open-api-{VERSION}"), &[&artifact])?;
        let folder = TempDir::with_prefix("engine-rest-").expect("a temporary folder");
        let port = ports::free();
        let database = folder.path().join("catalog.db");
        let mut serve = Command::new(jdk::java("Iceberg's REST server", &(17..=u32::MAX))?);
        serve
            .args(["-Xmx256m", "-XX:+UseSerialGC", "-jar"])
            .arg(jars.join(format!("iceberg-open-api-{VERSION}.jar")))
            .current_dir(folder.path())
            .env("CATALOG_WAREHOUSE", warehouse(folder.path()))
            .env("CATALOG_URI", format!("jdbc:sqlite:{}", database.display()))
            // SQLite takes one writer.
            .env("CATALOG_CLIENTS", "1")
            .env("CATALOG_REST_PORT", port.to_string());
        let mut properties = Vec::new();
        if let Some(store) = store {
            let [(_, key), (_, secret), (_, region)] = store.environment();
            serve
                .env("CATALOG_IO__IMPL", "org.apache.iceberg.aws.s3.S3FileIO")
                .env("CATALOG_S3_ENDPOINT", store.endpoint())
                .env("CATALOG_S3_PATH__STYLE__ACCESS", "true")
                .envs(store.environment());
            properties = [
                ("s3.endpoint", store.endpoint()),
                ("s3.access-key-id", key),
                ("s3.secret-access-key", secret),
                ("s3.region", region),
                ("s3.path-style-access", "true"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        }
        let log = folder.path().join("catalog.log");
        let mut child = Child::start("rest catalog", serve, &log, "TERM");
        let url = format!("http://127.0.0.1:{port}");
        child.wait_until("the catalog answers", STARTING, || {
            http::request("GET", &url, "/v1/config", None).is_ok_and(|answer| answer.status == 200)
        });
        Ok(Self {
            url,
            properties,
            child: Some(child),
            folder: Some(folder),
        })
    }

    /// `http://host:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder that our own catalog keeps its tables in: `NAMESPACE/TABLE` under it.
    ///
    /// # Panics
    /// For a catalog that is not ours, or is on an object store.
    pub fn warehouse(&self) -> PathBuf {
        let folder = self.folder.as_ref().expect("a catalog of our own");
        folder.path().join("warehouse")
    }

    /// What a client has to know beside the address: where the object store is, and the keys. Names as pyiceberg,
    /// iceberg-rust and the catalog itself spell them.
    pub fn properties(&self) -> &[(String, String)] {
        &self.properties
    }

    /// One request of the catalog's protocol.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        match http::request(method, &self.url, path, body) {
            Ok(answer) => answer,
            Err(error) => self.fail(&format!("{method} {path}: {error}")),
        }
    }

    /// What the catalog says of `namespace.table`: `metadata`, `metadata-location`, `config`.
    ///
    /// # Panics
    /// With the catalog's answer if there is no such table.
    pub fn load(&self, table: &str) -> Value {
        let (namespace, table) = table.rsplit_once('.').expect("namespace.table");
        let path = format!("/v1/namespaces/{namespace}/tables/{table}");
        let answer = self.request("GET", &path, None);
        if answer.status != 200 {
            self.fail(&format!("{path}: {} {}", answer.status, answer.body));
        }
        answer.json()
    }

    /// Makes `namespace.table` with the rows of `readers/samples.py`, by pyiceberg.
    pub fn write_sample(&self, readers: &Readers, table: &str) -> Table {
        self.script(readers, "write", table)
    }

    /// Reads `namespace.table` by pyiceberg.
    pub fn read(&self, readers: &Readers, table: &str) -> Table {
        self.script(readers, "read", table)
    }

    /// Reads `namespace.table` by DuckDB, from the metadata file that the catalog names.
    pub fn read_by_duckdb(&self, readers: &Readers, table: &str) -> Table {
        self.script(readers, "duckdb", table)
    }

    fn script(&self, readers: &Readers, verb: &str, table: &str) -> Table {
        let mut command = readers.script("tests/readers/rest_table.py");
        command.args([verb, &self.url, table]);
        for (name, value) in &self.properties {
            command.arg(format!("{name}={value}"));
        }
        readers.table(&mut command)
    }

    fn fail(&self, sentence: &str) -> ! {
        match &self.child {
            Some(child) => child.fail(sentence),
            None => panic!("the catalog at {}: {sentence}", self.url),
        }
    }
}
