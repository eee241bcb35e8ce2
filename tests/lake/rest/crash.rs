//! Real crashes of writers to a REST catalog.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use tests::rest_catalog::Catalog;
use tests::{full, need};

use crate::lake::crash::END;
use crate::lake::harness::{Bench, fresh, runtime};
use crate::lake::upsert::crash as upsert;
use crate::lake::upsert::harness::Bench as Upserts;

/// A process of its own that writes to the table in `folder`: appends (`lake::crash`) or upserts (`lake::upsert::crash`).
fn run(catalog: &Catalog, test: &str, folder: &Path, variable: &str, value: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    for prefix in ["LAKE_TEST", "UPSERT_TEST"] {
        command
            .env(format!("{prefix}_FOLDER"), folder)
            .env(format!("{prefix}_KIND"), "iceberg")
            .env(format!("{prefix}_REST"), catalog.url());
    }
    command.env(variable, value).output().unwrap()
}

const POINTS: [(&str, &str, i32); 5] = [
    ("ENGINE_FAILPOINT", "before_write:2", 9),
    ("ENGINE_FAILPOINT", "after_files:2", 9),
    ("ENGINE_FAILPOINT", "after_commit:3", 9),
    ("ENGINE_FAILPOINT_ERROR", "in_commit:2", 0),
    ("ENGINE_FAILPOINT_ERROR", "after_commit:2", 0),
];

#[test]
fn appends_survive_a_kill_at_every_point_and_lost_answers() {
    full!();
    let catalog = need!(Catalog::start());
    for (variable, point, signal) in POINTS {
        let namespace = fresh("crash");
        let folder = catalog.warehouse().join(&namespace);
        let test = "lake::crash::child";
        let first = run(&catalog, test, &folder, variable, point);
        assert_eq!(first.status.signal().unwrap_or(0), signal, "{first:?}");
        let said = String::from_utf8_lossy(&first.stderr).into_owned();
        assert!(said.contains("failpoint "), "{said}");
        let second = run(&catalog, test, &folder, variable, "");
        assert!(second.status.success(), "{second:?}");
        let bench = Bench::in_rest(catalog.url(), &namespace, &folder);
        let ids = runtime().block_on(bench.ids());
        assert_eq!(ids, (0..END).collect::<Vec<_>>(), "{point}");
    }
}

#[test]
fn upserts_survive_a_kill_at_every_point_and_lost_answers() {
    full!();
    let catalog = need!(Catalog::start());
    for (variable, point, signal) in POINTS {
        let namespace = fresh("crash");
        let folder = catalog.warehouse().join(&namespace);
        let test = "lake::upsert::crash::child";
        let first = run(&catalog, test, &folder, variable, point);
        assert_eq!(first.status.signal().unwrap_or(0), signal, "{first:?}");
        let second = run(&catalog, test, &folder, variable, "");
        assert!(second.status.success(), "{second:?}");
        let bench = Upserts::in_rest(catalog.url(), &namespace, upsert::shape(), &folder);
        let rows = runtime().block_on(bench.rows());
        assert_eq!(rows, upsert::expected(upsert::END), "{point}");
    }
}
