//! A real MariaDB, or MySQL, with its binary log switched on, row by row and with full row images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::debian;
use crate::mysql;
use crate::note;
use crate::ports;
use crate::process::{self, Child};
use crate::skip::{Missing, Need};
use crate::sql::{self, Address, Console, LOCK_SECONDS, Manners, Session, Sql};

/// The database of a server of our own.
pub const DATABASE: &str = "shop";

/// The user of the URL of a server of our own; it may do everything. Good for the loopback interface only.
const USER: &str = "engine";
const PASSWORD: &str = "engine-secret";
/// The user that Debezium logs in as, with the grants that its manual asks for, and what signal tables need.
const CAPTURE_USER: &str = "debezium";
const CAPTURE_PASSWORD: &str = "debezium-secret";

const STARTING: Duration = Duration::from_secs(90);

/// Errors 2000 to 2999 are the client's own: the server is not there, the connection is gone.
const MANNERS: Manners = Manners {
    echo: ("SELECT '", "';"),
    is_error: |line| line.starts_with("ERROR "),
    is_loss: |line| line.starts_with("ERROR 2"),
};

/// A server: ours, or the one that `MYSQL_URL` names.
#[derive(Debug)]
pub struct Server {
    url: String,
    client: PathBuf,
    node: Option<Node>,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    MariaDb,
    MySql,
}

/// A server that this process started.
#[derive(Debug)]
struct Node {
    // Before the folder: the process must be gone when the folder goes.
    child: Child,
    kind: Kind,
    program: PathBuf,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// The server that `MYSQL_URL` names (`mysql://user:password@host:port/database`; row based binary log with full row
    /// images, and a user that may do everything), else one of our own.
    ///
    /// # Errors
    /// [`Missing`] if a server cannot be had here.
    pub fn given_or_start() -> Result<Self, Missing> {
        match std::env::var("MYSQL_URL") {
            Ok(url) if !url.is_empty() => {
                note::external("MYSQL_URL");
                Ok(Self {
                    url,
                    client: program("mariadb")?,
                    node: None,
                })
            }
            _ => Self::start(),
        }
    }

    /// A MariaDB of our own on a free port of the loopback interface, with an empty database [`DATABASE`].
    ///
    /// # Errors
    /// [`Missing`] if MariaDB's programs cannot be had here.
    pub fn start() -> Result<Self, Missing> {
        let install = program("mariadb-install-db")?;
        Self::start_own(Kind::MariaDb, &program("mariadbd")?, |data| {
            let mut make = Command::new(install);
            make.args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ])
            .arg(format!("--datadir={}", data.display()));
            make
        })
    }

    /// The same with a MySQL 8.0: see [`mysql`].
    ///
    /// # Errors
    /// [`Missing`] if its program, or MariaDB's client, cannot be had here.
    pub fn start_mysql() -> Result<Self, Missing> {
        let serve = mysql::server()?;
        Self::start_own(Kind::MySql, &serve, |data| mysql::make(&serve, data))
    }

    fn start_own(
        kind: Kind,
        serve: &Path,
        make: impl FnOnce(&Path) -> Command,
    ) -> Result<Self, Missing> {
        let client = program("mariadb")?;
        let folder = TempDir::with_prefix("engine-mariadb-").expect("a temporary folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a temporary folder is writable");
        if debian::is_root() && kind == Kind::MariaDb {
            let mut own = Command::new("sh");
            own.args(["-c", r#"chmod 755 "$1" && chown mysql "$2""#, "own"]);
            own.args([folder.path(), &data]);
            process::run(&mut own).map_err(|said| Missing::new(Need::MariaDb, said))?;
        }
        let mut make = make(&data);
        make.current_dir(folder.path());
        as_server_user(&mut make, kind);
        if let Err(said) = process::run(&mut make) {
            panic!("cannot make the server's data: {said}");
        }
        fs::write(folder.path().join("users.sql"), users(kind)).expect("a writable folder");
        let port = ports::free();
        let mut server = Self {
            url: format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}"),
            client,
            node: Some(Node {
                child: launch(kind, serve, folder.path(), port),
                kind,
                program: serve.to_owned(),
                port,
                folder,
            }),
        };
        server.wait_until_up();
        Ok(server)
    }

    /// Whether the tests started it, and may stop it.
    pub fn is_own(&self) -> bool {
        self.node.is_some()
    }

    /// Stops a server of our own in order and starts it again on its data and its port.
    pub fn restart(&mut self) {
        self.start_again(Child::stop);
    }

    /// `kill -9`, then starts it again on its data and its port. Nothing that was committed is lost.
    pub fn kill_and_restart(&mut self) {
        self.start_again(Child::kill);
    }

    fn start_again(&mut self, end: impl FnOnce(&mut Child)) {
        let node = self.node.as_mut().expect("a server of our own");
        end(&mut node.child);
        node.child = launch(node.kind, &node.program, node.folder.path(), node.port);
        self.wait_until_up();
    }

    fn wait_until_up(&mut self) {
        if let Some(mut node) = self.node.take() {
            let up = || self.try_execute("SELECT 1").is_ok();
            node.child.wait_until("the server answers", STARTING, up);
            self.node = Some(node);
        }
    }

    /// `mysql://user:password@host:port/database`; the user may do everything.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// User, password, host, port and database of the URL.
    pub fn address(&self) -> Address<'_> {
        Address::of(&self.url, "root", "3306", DATABASE)
    }

    /// The same with the user for Debezium. For a server that was given that is the URL's user.
    pub fn capture_address(&self) -> Address<'_> {
        let address = self.address();
        match self.node {
            None => address,
            Some(_) => Address {
                user: CAPTURE_USER,
                password: CAPTURE_PASSWORD,
                ..address
            },
        }
    }

    /// The client, logged in by TCP as the user of the URL.
    fn client(&self) -> Command {
        let address = self.address();
        let mut client = Command::new(&self.client);
        client
            .args([
                "--no-defaults",
                "--protocol=tcp",
                "--default-character-set=utf8mb4",
                "--connect-timeout=5",
                "--max-allowed-packet=256M",
                "--batch",
                "--raw",
            ])
            .args(["--host", address.host, "--port", address.port])
            .args(["--user", address.user, "--database", address.database])
            .env("MYSQL_PWD", address.password);
        client
    }

    fn try_execute(&self, sql: &str) -> Result<String, String> {
        sql::feed(self.client().arg("--skip-column-names"), sql)
    }

    /// Runs SQL statements in one transaction each. A body of several statements (of a procedure, a trigger) needs
    /// `DELIMITER` lines around it.
    ///
    /// # Panics
    /// With what the server said, if one fails.
    pub fn execute(&self, sql: &str) -> String {
        match self.try_execute(sql) {
            Ok(output) => output,
            Err(said) => panic!("mariadb: {said}\n{sql}"),
        }
    }

    /// The rows of a query, each as a JSON object, in the query's order. What MariaDB's `JSON_OBJECT` makes of a value is
    /// its JSON: booleans are numbers, and binary or `BIT` columns have to be cast (`hex(..)`, `+ 0`).
    pub fn rows(&self, query: &str) -> Vec<Value> {
        let query = query.trim_end().trim_end_matches(';');
        let members: Vec<String> = self
            .columns(query)
            .iter()
            .map(|name| {
                let key = name.replace('\\', r"\\").replace('\'', "''");
                format!("'{key}', q.`{}`", name.replace('`', "``"))
            })
            .collect();
        // Without a LIMIT the order of a derived table is lost.
        let rows = format!(
            "SELECT JSON_OBJECT({}) FROM (({query}\n) LIMIT {}) q",
            members.join(", "),
            u64::MAX
        );
        self.execute(&rows)
            .lines()
            .map(|line| match serde_json::from_str(line) {
                Ok(row) => row,
                Err(error) => panic!("cast this column, its row is no JSON ({error}): {line}"),
            })
            .collect()
    }

    /// The names of a query's columns, also if it has no rows.
    fn columns(&self, query: &str) -> Vec<String> {
        let header =
            format!("SELECT * FROM (SELECT 1) one_row LEFT JOIN ({query}\n) q ON FALSE LIMIT 1");
        let printed = match sql::feed(&mut self.client(), &header) {
            Ok(printed) => printed,
            Err(said) => panic!("mariadb: {said}\n{query}"),
        };
        let names = printed.lines().next().unwrap_or_default();
        names.split('\t').skip(1).map(str::to_owned).collect()
    }

    /// A connection that stays open.
    pub fn session(&self) -> Box<dyn Session> {
        let mut client = self.client();
        client.args([
            "--skip-column-names",
            "--force",
            "--unbuffered",
            "--skip-reconnect",
        ]);
        let mut session = Console::start(client, MANNERS);
        let waits = format!(
            "SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}, lock_wait_timeout = {LOCK_SECONDS}"
        );
        if let Err(said) = session.send(&waits) {
            panic!("mariadb: {said}");
        }
        Box::new(session)
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

/// What a server runs before it takes connections, one statement a line. MariaDB's anonymous users go: they would be
/// preferred to a user that may come from anywhere.
fn users(kind: Kind) -> String {
    let (first, identified, replication) = match kind {
        Kind::MariaDb => (
            "DELETE FROM mysql.global_priv WHERE User = '';\nFLUSH PRIVILEGES;\n",
            "IDENTIFIED BY",
            "REPLICATION SLAVE ADMIN, SLAVE MONITOR, BINLOG MONITOR",
        ),
        Kind::MySql => (
            "",
            "IDENTIFIED WITH mysql_native_password BY",
            "REPLICATION CLIENT",
        ),
    };
    format!(
        "{first}CREATE DATABASE IF NOT EXISTS {DATABASE};\n\
         CREATE USER IF NOT EXISTS {USER}@'%' {identified} '{PASSWORD}';\n\
         GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;\n\
         CREATE USER IF NOT EXISTS {CAPTURE_USER}@'%' {identified} '{CAPTURE_PASSWORD}';\n\
         GRANT SELECT, INSERT, UPDATE, DELETE, RELOAD, SHOW DATABASES, LOCK TABLES, REPLICATION SLAVE, \
         {replication} ON *.* TO {CAPTURE_USER}@'%';\n"
    )
}

fn launch(kind: Kind, program: &Path, folder: &Path, port: u16) -> Child {
    let mut serve = Command::new(program);
    let data = folder.join("data");
    serve.args([
        "--no-defaults",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--server-id=1",
        "--log-bin=binlog",
        "--binlog-format=ROW",
        "--binlog-row-image=FULL",
        "--character-set-server=utf8mb4",
        "--default-time-zone=+00:00",
        // Survives a killed process, not a killed machine.
        "--innodb-flush-log-at-trx-commit=2",
        "--innodb-flush-method=nosync",
        "--sync-binlog=0",
        "--innodb-use-native-aio=OFF",
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=32M",
        "--key-buffer-size=1M",
        "--performance-schema=OFF",
        "--max-allowed-packet=256M",
    ]);
    match kind {
        Kind::MariaDb => drop(serve.arg("--aria-pagecache-buffer-size=8M")),
        Kind::MySql => mysql::settings(program, &mut serve),
    }
    serve
        .arg(format!("--port={port}"))
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", data.join("socket").display()))
        .arg(format!("--pid-file={}", data.join("pid").display()))
        .arg(format!(
            "--init-file={}",
            folder.join("users.sql").display()
        ))
        .current_dir(folder);
    as_server_user(&mut serve, kind);
    Child::start("mariadbd", serve, &folder.join("mariadb.log"), "TERM")
}

/// A server runs as root only if it is told to. The MySQL is told: its program may lie where only root may look.
fn as_server_user(command: &mut Command, kind: Kind) {
    if debian::is_root() {
        command.arg(match kind {
            Kind::MariaDb => "--user=mysql",
            Kind::MySql => "--user=root",
        });
    }
}

/// Debian keeps the server off an ordinary user's `PATH`.
fn program(name: &str) -> Result<PathBuf, Missing> {
    let also = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    debian::program(name, &also, &["mariadb-server"], Need::MariaDb)
}
