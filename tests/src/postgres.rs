//! A real PostgreSQL with logical decoding switched on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::debian;
use crate::note;
use crate::ports;
use crate::process::{self, Child};
use crate::skip::{Missing, Need};
use crate::sql::{self, Address, Console, LOCK_SECONDS, Manners, Session, Sql};

const STARTING: Duration = Duration::from_secs(60);

/// psql ends by itself when its connection is gone.
const MANNERS: Manners = Manners {
    echo: ("\\warn ", ""),
    is_error: |line| {
        ["ERROR:", "FATAL:", "PANIC:"]
            .iter()
            .any(|level| line.starts_with(level))
    },
    is_loss: |_| false,
};

/// A server: ours, or the one that `POSTGRES_URL` names (which must have `wal_level=logical`).
#[derive(Debug)]
pub struct Server {
    url: String,
    psql: PathBuf,
    // Before the folder: the process must be gone when the folder goes.
    child: Option<Child>,
    _folder: Option<TempDir>,
}

impl Server {
    /// The server that `POSTGRES_URL` names, else one of our own.
    ///
    /// # Errors
    /// [`Missing`] if a server cannot be had here.
    pub fn given_or_start() -> Result<Self, Missing> {
        match std::env::var("POSTGRES_URL") {
            Ok(url) if !url.is_empty() => {
                note::external("POSTGRES_URL");
                Ok(Self {
                    url,
                    psql: program("psql")?,
                    child: None,
                    _folder: None,
                })
            }
            _ => Self::start(),
        }
    }

    /// A server of our own on a free port of the loopback interface, with an empty cluster.
    ///
    /// # Errors
    /// [`Missing`] if PostgreSQL's programs cannot be had here.
    pub fn start() -> Result<Self, Missing> {
        let (initdb, postgres) = (program("initdb")?, program("postgres")?);
        let folder = TempDir::with_prefix("engine-postgres-").expect("a temporary folder");
        let data = folder.path().join("data");
        if debian::is_root() {
            // The server refuses to run as root; the folder must be its user's.
            fs::create_dir(&data).expect("a temporary folder is writable");
            let mut own = Command::new("sh");
            own.args(["-c", r#"chmod 755 "$1" && chown postgres "$2""#, "own"]);
            own.args([folder.path(), &data]);
            process::run(&mut own).map_err(|said| Missing::new(Need::Postgres, said))?;
        }
        let mut make = as_server_user(&initdb, folder.path());
        make.args([
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
            "-D",
        ])
        .arg(&data);
        if let Err(said) = process::run(&mut make) {
            panic!("cannot make a PostgreSQL cluster: {said}");
        }
        let port = ports::free();
        let mut serve = as_server_user(&postgres, folder.path());
        serve.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "wal_level=logical",
            "fsync=off",
            "shared_buffers=32MB",
            "max_connections=30",
            "timezone=UTC",
        ] {
            serve.args(["-c", setting]);
        }
        // SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        let child = Child::start(
            "postgres",
            serve,
            &folder.path().join("postgres.log"),
            "INT",
        );
        let mut server = Self {
            url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            psql: program("psql")?,
            child: Some(child),
            _folder: Some(folder),
        };
        server.wait_until_up();
        Ok(server)
    }

    fn wait_until_up(&mut self) {
        if let Some(mut child) = self.child.take() {
            let up = || self.try_execute("SELECT 1").is_ok();
            child.wait_until("the server answers", STARTING, up);
            self.child = Some(child);
        }
    }

    /// `postgres://user[:password]@host:port/database`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// User, password, host, port and database of the URL, as Debezium wants them.
    pub fn address(&self) -> Address<'_> {
        Address::of(&self.url, "postgres", "5432", "postgres")
    }

    /// Runs SQL statements in one transaction each.
    ///
    /// # Panics
    /// With what the server said, if one fails.
    pub fn execute(&self, sql: &str) -> String {
        match self.try_execute(sql) {
            Ok(output) => output,
            Err(said) => panic!("postgres: {said}\n{sql}"),
        }
    }

    /// The rows of a query, each as a JSON object, in the query's order.
    pub fn rows(&self, query: &str) -> Vec<Value> {
        self.execute(&format!("SELECT row_to_json(q) FROM ({query}) q"))
            .lines()
            .map(|line| serde_json::from_str(line).expect("row_to_json returns JSON"))
            .collect()
    }

    /// A connection that stays open.
    pub fn session(&self) -> Box<dyn Session> {
        let mut psql = self.psql();
        // Errors with their SQLSTATE.
        psql.args(["-v", "VERBOSITY=verbose"]);
        let mut session = Console::start(psql, MANNERS);
        let settings =
            format!("SET client_min_messages = error; SET lock_timeout = '{LOCK_SECONDS}s'");
        if let Err(said) = session.send(&settings) {
            panic!("postgres: {said}");
        }
        // Deadlocks are told before the lock's timeout. Only a superuser may say so.
        drop(session.send("SET deadlock_timeout = '200ms'"));
        Box::new(session)
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new(&self.psql);
        psql.args(["-X", "-q", "-A", "-t", "-d", &self.url])
            .env("PGCONNECT_TIMEOUT", "5");
        psql
    }

    fn try_execute(&self, sql: &str) -> Result<String, String> {
        let mut psql = self.psql();
        psql.args(["-v", "ON_ERROR_STOP=1", "-f", "-"]);
        sql::feed(&mut psql, sql)
    }
}

impl Sql for Server {
    fn execute(&self, sql: &str) -> String {
        Self::execute(self, sql)
    }

    fn rows(&self, query: &str) -> Vec<Value> {
        Self::rows(self, query)
    }

    fn session(&self) -> Box<dyn Session> {
        Self::session(self)
    }
}

fn program(name: &str) -> Result<PathBuf, Missing> {
    if let Some(found) = debian::find(name, &server_folders()) {
        return Ok(found);
    }
    debian::install(&["postgresql"], Need::Postgres)?;
    debian::find(name, &server_folders()).ok_or_else(|| {
        let sentence = format!("`{name}` is not there after installing postgresql");
        Missing::new(Need::Postgres, sentence)
    })
}

/// Debian keeps server programs by major version, off the `PATH`; the newest first.
fn server_folders() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, bin)| bin).collect()
}

fn as_server_user(program: &Path, folder: &Path) -> Command {
    let mut command = if debian::is_root() {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                "--",
            ])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("LC_ALL", "C").current_dir(folder);
    command
}
