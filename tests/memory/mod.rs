//! How much memory a run needs: bounded by the batch, not by the topic or the table.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::engine::Engine;
use tests::{note, repository, wait};

const LIMIT: Duration = Duration::from_secs(600);
const BATCH: usize = 100_000;

/// What one run took.
struct Run {
    /// Peak resident memory, bytes.
    peak: u64,
    /// Raw bytes of the largest batch.
    batch_bytes: u64,
    /// Records of each batch.
    batches: Vec<u64>,
}

/// The shipped messages again and again, `records` of them, with offsets that go on.
fn capture(file: &Path, records: usize) {
    let shipped = repository::root().join("pipelines/data/customers.jsonl");
    let text = fs::read_to_string(shipped).unwrap();
    let lines: Vec<(&str, &str)> = text
        .lines()
        .map(|line| {
            let (head, tail) = line.split_once("\"offset\": ").unwrap();
            (head, &tail[tail.find(',').unwrap()..])
        })
        .collect();
    let mut out = BufWriter::new(File::create(file).unwrap());
    for offset in 0..records {
        let (head, tail) = lines[offset % lines.len()];
        writeln!(out, "{head}\"offset\": {offset}{tail}").unwrap();
    }
}

fn run(pipeline: &str, folder: &Path, data: &Path) -> Run {
    let mut running = Engine::new(["run", "--once", pipeline])
        .args([
            "--set",
            &format!("source.bootstrap_servers=file:{}", data.display()),
        ])
        .args(["--set", &format!("pipeline.batch.max_records={BATCH}")])
        .args(["--set", "pipeline.batch.max_bytes=1GiB"])
        .env("WAREHOUSE", folder.join("warehouse"))
        .start();
    let mut peak = 0;
    let ended = wait::until(LIMIT, || {
        peak = high_water(running.id()).unwrap_or(peak);
        running.ended().then_some(())
    });
    assert!(ended.is_some(), "it still runs: {}", running.said());
    let outcome = running.finish(LIMIT);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let committed: Vec<Value> = outcome
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["message"] == "batch committed")
        .collect();
    let numbers = |name: &str| -> Vec<u64> {
        committed
            .iter()
            .map(|event| event[name].as_u64().unwrap())
            .collect()
    };
    Run {
        peak,
        batch_bytes: numbers("bytes").into_iter().max().unwrap(),
        batches: numbers("records"),
    }
}

/// The most memory that was resident at once so far, as the kernel counts it.
fn high_water(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Peak minus idle stays under three times the raw bytes of a batch. Idle is a run over one message: the process with
/// everything open. Prints the figures.
#[test]
fn a_run_needs_less_than_three_batches() {
    let folder = TempDir::with_prefix("engine-memory-").unwrap();
    let (one, many) = (
        folder.path().join("one.jsonl"),
        folder.path().join("many.jsonl"),
    );
    capture(&one, 1);
    capture(&many, 2 * BATCH + BATCH / 2);
    for pipeline in ["pipelines/customers.yaml", "pipelines/customers_delta.yaml"] {
        let idle = run(pipeline, &folder.path().join("idle"), &one);
        let busy = run(pipeline, &folder.path().join("busy"), &many);
        assert_eq!(busy.batches, [100_000, 100_000, 50_000]);
        let above = busy.peak.saturating_sub(idle.peak);
        let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
        note::figure(&format!(
            "{pipeline}: idle {:.0} MiB, peak {:.0} MiB, {:.0} MiB above idle = {:.2} × the batch's {:.0} MiB",
            mebibytes(idle.peak),
            mebibytes(busy.peak),
            mebibytes(above),
            above as f64 / busy.batch_bytes as f64,
            mebibytes(busy.batch_bytes)
        ));
        assert!(above < 3 * busy.batch_bytes, "{above} bytes above idle");
    }
}
