//! A real object store that speaks S3: MinIO, with conditional puts.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::cache::Cache;
use crate::debian;
use crate::http;
use crate::note;
use crate::ports;
use crate::process::{self, Child};
use crate::python::Readers;
use crate::skip::{Missing, Need};

/// The version that is built: MinIO's last one as a Go module.
pub const VERSION: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";

const STARTING: Duration = Duration::from_secs(60);
const USER: &str = "engine";
const PASSWORD: &str = "engine-secret";

/// A server: ours, or the one that `S3_ENDPOINT` and the usual AWS variables name.
#[derive(Debug)]
pub struct Server {
    endpoint: String,
    access_key: String,
    secret_key: String,
    region: String,
    // Before the folder: the process must be gone when the folder goes.
    _child: Option<Child>,
    _folder: Option<TempDir>,
}

/// What the store answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
    /// The object's tag, of answers that have one.
    pub etag: Option<String>,
}

impl Server {
    /// The store that `S3_ENDPOINT` names (with `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if it is not
    /// `us-east-1`, `AWS_REGION`), else one of our own.
    ///
    /// # Errors
    /// [`Missing`] if a store cannot be had here.
    ///
    /// # Panics
    /// If the endpoint is given without keys.
    pub fn given_or_start() -> Result<Self, Missing> {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let Some(endpoint) = given("S3_ENDPOINT") else {
            return Self::start();
        };
        let key = |name: &str| given(name).unwrap_or_else(|| panic!("S3_ENDPOINT needs {name}"));
        note::external("S3_ENDPOINT");
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            access_key: key("AWS_ACCESS_KEY_ID"),
            secret_key: key("AWS_SECRET_ACCESS_KEY"),
            region: given("AWS_REGION").unwrap_or_else(|| "us-east-1".to_owned()),
            _child: None,
            _folder: None,
        })
    }

    /// A store of our own on one folder, without buckets.
    ///
    /// # Errors
    /// [`Missing`] if MinIO is not in the cache and cannot be built here.
    pub fn start() -> Result<Self, Missing> {
        let program = program()?;
        let folder = TempDir::with_prefix("engine-minio-").expect("a temporary folder");
        let address = format!("127.0.0.1:{}", ports::free());
        let mut serve = Command::new(program);
        serve
            .arg("server")
            .arg(folder.path().join("data"))
            .args(["--address", &address])
            .arg("--certs-dir")
            .arg(folder.path().join("certs"))
            .current_dir(folder.path())
            .envs([("MINIO_ROOT_USER", USER), ("MINIO_ROOT_PASSWORD", PASSWORD)])
            .envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off")])
            .env("GOMEMLIMIT", "512MiB");
        let log = folder.path().join("minio.log");
        let mut child = Child::start("minio", serve, &log, "TERM");
        let endpoint = format!("http://{address}");
        child.wait_until("the store answers", STARTING, || {
            http::request("GET", &endpoint, "/minio/health/ready", None)
                .is_ok_and(|answer| answer.status == 200)
        });
        Ok(Self {
            endpoint,
            access_key: USER.to_owned(),
            secret_key: PASSWORD.to_owned(),
            region: "us-east-1".to_owned(),
            _child: Some(child),
            _folder: Some(folder),
        })
    }

    /// `http://host:port`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The variables by which AWS's libraries find the keys and the region.
    pub fn environment(&self) -> [(&'static str, &str); 3] {
        [
            ("AWS_ACCESS_KEY_ID", &self.access_key),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_key),
            ("AWS_REGION", &self.region),
        ]
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// With the store's answer if it does not.
    pub fn create_bucket(&self, readers: &Readers, bucket: &str) {
        let answer = self.request(readers, "PUT", &format!("/{bucket}"), "", &[]);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// One signed request. `path` is `/bucket/key`, with a query if need be; headers are `name:value`.
    pub fn request(
        &self,
        readers: &Readers,
        method: &str,
        path: &str,
        body: &str,
        headers: &[&str],
    ) -> Answer {
        let mut command = readers.script("tests/readers/s3.py");
        command
            .env("S3_ENDPOINT", &self.endpoint)
            .envs(self.environment())
            .args([method, path, body])
            .args(headers);
        let said = match process::run(&mut command) {
            Ok(said) => said,
            Err(said) => panic!("no answer from {}: {said}", self.endpoint),
        };
        let answer: Value = serde_json::from_str(&said).expect("the script prints JSON");
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        Answer {
            status: u16::try_from(answer["status"].as_u64().expect("a status")).expect("a status"),
            body: text("body").unwrap_or_default(),
            etag: text("etag"),
        }
    }
}

/// The program, built from the Go module if it is not in the cache.
fn program() -> Result<PathBuf, Missing> {
    let folder = Cache::open().entry(&format!("minio-{VERSION}"), |folder| {
        let go = debian::find("go", &[PathBuf::from("/usr/local/go/bin")]);
        let go = go.ok_or_else(|| {
            Missing::new(
                Need::Go,
                "MinIO is built from its Go module: install Go 1.24 or newer",
            )
        })?;
        let mut install = Command::new(go);
        install
            .args(["install", "-trimpath", "-ldflags", "-s -w"])
            .arg(format!("github.com/minio/minio@{VERSION}"))
            .env("GOBIN", folder)
            .current_dir(folder);
        process::run(&mut install).map(drop).map_err(|said| {
            Missing::new(Need::Network, format!("go could not build MinIO: {said}"))
        })
    })?;
    Ok(folder.join("minio"))
}
