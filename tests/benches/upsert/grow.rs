//! Whether commits get slower as a table ages, with maintenance at its defaults but for the clock: a pass after so many commits as a
//! pipeline would make between two passes if it committed every quarter of a minute.

use std::path::Path;
use std::time::Instant;

use engine::maintain::{Policy, Report};
use serde_json::{Value, json};

use crate::data::Keys;
use crate::report::{median, mib};
use crate::table::{Format, Place, files};
use crate::upsert::{change, next};
use crate::{Options, child, text};

/// Commits that the first and the last median are of.
const ENDS: usize = 20;
/// Commits between two passes of maintenance: five minutes of four commits a minute.
const EVERY: i64 = 20;

pub(crate) async fn commits(place: &Place, of: Keys, size: i64, commits: i64) -> Value {
    let mut sink = place.sink().await;
    let policy = Policy::default();
    let (mut seconds, mut passes, mut report) = (Vec::new(), 0, Report::default());
    for round in 1..=commits {
        let change = change(round, of, size);
        let span = next(sink.as_mut()).await;
        let start = Instant::now();
        sink.upsert(&change, &span).await.expect("a commit");
        seconds.push(start.elapsed().as_secs_f64());
        if round % EVERY == 0 {
            let start = Instant::now();
            let mut pass = sink.maintain(&policy).await.expect("a pass");
            pass.took = start.elapsed();
            passes += 1;
            report.add(pass);
        }
    }
    json!({
        "seconds": seconds, "files": files(&place.folder).len(), "passes": passes, "maintenance": report.took.as_secs_f64(),
        "rewritten": report.bytes_compacted, "live": report.files_after, "notes": report.notes
    })
}

pub(crate) fn run(options: &Options, folder: &Path) {
    println!(
        "### {} commits into {} rows, one after the other\n",
        options.commits, options.rows
    );
    println!(
        "| | keys | first {ENDS} commits, median | last {ENDS} | grown by | all commits | maintenance | rewritten by it | data files at the end | most memory |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let (rows, commits) = (options.rows.to_string(), options.commits.to_string());
    for (format, keys) in [
        (Format::Iceberg, Keys::Uniform),
        (Format::Iceberg, Keys::Recent),
        (Format::Delta, Keys::Recent),
    ] {
        let folder = folder.join(format!("grow-{}-{}", format.name(), keys.name()));
        child(&["fill", format.name(), text(&folder), &rows]);
        let words = [
            "grow",
            format.name(),
            text(&folder),
            keys.name(),
            &rows,
            &commits,
        ];
        let said = child(&words);
        let seconds: Vec<f64> = said["seconds"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .collect();
        let ends = ENDS.min(seconds.len());
        let first = median(seconds[..ends].to_vec());
        let last = median(seconds[seconds.len() - ends..].to_vec());
        println!(
            "| {} | {} | {:.0} ms | {:.0} ms | {:+.0} % | {:.0} s | {:.1} s in {} passes | {} | {} | {} MiB |",
            format.name(),
            keys.name(),
            first * 1e3,
            last * 1e3,
            (last / first - 1.0) * 100.0,
            seconds.iter().sum::<f64>(),
            said["maintenance"].as_f64().unwrap_or(f64::NAN),
            said["passes"],
            mib(said["rewritten"].as_f64().unwrap_or(f64::NAN)),
            said["live"],
            said["memory_mib"]
        );
        std::fs::remove_dir_all(&folder).expect("the folder goes");
    }
    println!();
}
