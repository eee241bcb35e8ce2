//! Storage that refuses writes: read-only, full, or limited.

use std::process::{Command, Stdio};

use tests::need;
use tests::skip::{Missing, Need};

use super::super::case::{Case, DELTA_TABLE, ICEBERG_TABLE, SHIPPED_ROWS, assert_says};

/// Mounts a `tmpfs` with the options `$1` on `$2`, copies the folder `$3` into it if there is one, and replaces itself
/// by the rest. The mount is seen by that process only, and is gone with it.
const MOUNTED: &str = r#"
mount -t tmpfs -o "$1" tmpfs "$2" || exit 99
shift 2
exec "$@""#;

/// Permission bits do not bind root, a read-only mount binds everybody.
fn mounts() -> Result<(), Missing> {
    let folder = tempfile::tempdir().unwrap();
    let tried = Command::new("unshare")
        .args(["-m", "sh", "-c", MOUNTED, "sh", "ro,size=64k"])
        .arg(folder.path())
        .arg("true")
        .stderr(Stdio::null())
        .status();
    match tried {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Missing::new(
            Need::Mounts,
            "`unshare -m` with a mount of its own is not allowed here: run the tests as root, or in a container with CAP_SYS_ADMIN",
        )),
    }
}

fn mounted(case: Case, options: &str) -> Case {
    let case = case.folder("warehouse");
    let warehouse = case.path("warehouse").display().to_string();
    case.under(&[
        "unshare", "-m", "sh", "-c", MOUNTED, "sh", options, &warehouse,
    ])
}

/// What `ulimit -f` allows a file to be, in blocks of 512 bytes.
fn limited(case: Case, blocks: u32) -> Case {
    let script = format!("ulimit -f {blocks}; exec \"$@\"");
    case.under(&["sh", "-c", &script, "sh"])
}

#[test]
fn a_read_only_warehouse_is_told_with_its_place() {
    need!(mounts());
    mounted(Case::delta(), "ro,size=1m").runs(
        3,
        &[
            "error: cannot create the table's folder: the file system is read-only",
            "/warehouse/delta/customers\n",
            "\n  next: Mount it writable, or write to another place.",
        ],
    );
    mounted(Case::iceberg(), "ro,size=1m").runs(
        3,
        &[
            "error: cannot open the catalog: the file cannot be opened or written",
            "/warehouse/catalog.db\n",
            "\n  next: Give the user that runs the engine the right to write there",
        ],
    );
}

#[test]
fn a_table_that_became_read_only_keeps_what_it_has() {
    need!(mounts());
    for (case, table) in [
        (Case::delta(), DELTA_TABLE),
        (Case::iceberg(), ICEBERG_TABLE),
    ] {
        let lines = case.lines();
        let case = case.messages(&lines[..10]);
        case.runs(0, &[]);
        let case = case.messages(&lines[..20]);
        let before = case.files();
        let warehouse = case.path("warehouse").display().to_string();
        let remounted = r#"mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 99; shift; exec "$@""#;
        let case = case.under(&["unshare", "-m", "sh", "-c", remounted, "sh", &warehouse]);
        case.runs(
            3,
            &[
                "error: cannot ",
                warehouse.trim_start_matches('/'),
                "\n  next: ",
            ],
        );
        assert_eq!(case.files(), before);
        let case = case.under(&[]);
        case.runs(0, &[]);
        assert_eq!(case.rows(table), 20);
        assert!(case.files().len() > before.len());
    }
}

#[test]
fn a_full_disk_is_told_with_its_place() {
    need!(mounts());
    for (case, place) in [
        (Case::delta(), "/warehouse/delta/customers\n"),
        (Case::iceberg(), "/warehouse/catalog.db\n"),
    ] {
        mounted(case, "rw,size=28k").runs(
            3,
            &[
                "error: ",
                "the disk is full",
                place,
                "\n  next: Free space on it, then start the pipeline again",
            ],
        );
    }
}

#[test]
fn after_a_file_was_refused_a_rerun_completes_with_every_row_once() {
    for (case, table) in [
        (Case::delta(), DELTA_TABLE),
        (Case::iceberg(), ICEBERG_TABLE),
    ] {
        let case = limited(case, 40);
        let outcome = case.run();
        assert_says(
            &outcome,
            3,
            &[
                "error: cannot write a data file: a file would be larger than allowed",
                "\n  next: Raise the limit on file sizes (ulimit -f)",
            ],
        );
        let case = case.under(&[]);
        assert_eq!(case.rows(table), 0, "a table is half written");
        case.runs(0, &[]);
        assert_eq!(case.rows(table), SHIPPED_ROWS);
        case.runs(0, &["nothing to do"]);
        assert_eq!(case.rows(table), SHIPPED_ROWS);
    }
}

#[test]
fn space_that_comes_back_lets_the_same_disk_complete() {
    need!(mounts());
    // One file system for both runs: the ballast fills it, the first run fails, the ballast goes, the second completes.
    const SCRIPT: &str = r#"
mount -t tmpfs -o size=2m tmpfs "$1" || exit 99
cat /dev/zero > "$1/ballast" 2>/dev/null
dd if=/dev/null of="$1/ballast" bs=1 seek=2000000 2>/dev/null
folder=$1; shift
"$@" --set pipeline.batch.max_records=300
code=$?
rm "$folder/ballast"
[ $code = 3 ] || exit 98
"$@" --set pipeline.batch.max_records=300 || exit 97
cp -r "$folder"/. "$folder.kept"
"#;
    for (case, table) in [
        (Case::delta(), DELTA_TABLE),
        (Case::iceberg(), ICEBERG_TABLE),
    ] {
        let case = case.folder("warehouse").folder("warehouse.kept");
        let warehouse = case.path("warehouse").display().to_string();
        let case = case.under(&["unshare", "-m", "sh", "-c", SCRIPT, "sh", &warehouse]);
        let outcome = case.run();
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("the disk is full"),
            "{}",
            outcome.stderr
        );
        let case = case.under(&[]);
        fs_swap(&case);
        assert_eq!(case.rows(table), SHIPPED_ROWS);
    }
}

/// The tables that were copied out of the mount, back to the place that their metadata names.
fn fs_swap(case: &Case) {
    std::fs::remove_dir(case.path("warehouse")).unwrap();
    std::fs::rename(case.path("warehouse.kept"), case.path("warehouse")).unwrap();
}
