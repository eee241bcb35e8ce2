//! A disk that fills and is freed under the engine.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use tests::disk::Small;
use tests::engine::{Engine, Outcome};
use tests::need;

const RUN: Duration = Duration::from_secs(120);

#[test]
fn a_disk_of_everybody_fills_and_is_freed() {
    fills_and_is_freed(&need!(Small::shared(3)));
}

#[test]
fn a_disk_of_a_namespace_fills_and_is_freed() {
    fills_and_is_freed(&need!(Small::private(3)));
}

#[test]
fn a_disk_is_gone_with_its_owner() {
    let disk = need!(Small::new(1));
    let mount = disk.folder().parent().map(PathBuf::from).expect("a mount");
    drop(disk);
    let mounts = fs::read_to_string("/proc/self/mounts").expect("Linux");
    assert!(!mounts.contains(&mount.display().to_string()), "{mounts}");
    assert!(!mount.exists());
}

fn fills_and_is_freed(disk: &Small) {
    let taken = disk.fill();
    assert!((2 << 20..=3 << 20).contains(&taken), "{taken}");
    let refused = fs::write(disk.reached().join("file"), [1; 100_000]);
    assert_eq!(
        refused.expect_err("a full disk").kind(),
        ErrorKind::StorageFull
    );
    let outcome = run_shipped(disk);
    assert_ne!(outcome.code(), Some(0));
    outcome.expect_words(&["the disk is full"]);

    disk.free();
    run_shipped(disk).expect_code(0);
    assert!(disk.reached().join("delta/customers/_delta_log").is_dir());
}

fn run_shipped(disk: &Small) -> Outcome {
    Engine::under(
        &disk.wrapper(),
        ["run", "--once", "pipelines/customers_delta.yaml"],
    )
    .env("WAREHOUSE", disk.folder())
    .run(RUN)
}
