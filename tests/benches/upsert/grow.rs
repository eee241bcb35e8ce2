//! Whether commits get slower as a table ages.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::data::Keys;
use crate::report::{median, mib};
use crate::table::{Format, Place, files};
use crate::upsert::{change, next};
use crate::{Options, child, text};

/// Commits that the first and the last median are of.
const ENDS: usize = 20;

pub(crate) async fn commits(place: &Place, of: Keys, size: i64, commits: i64) -> Value {
    let mut sink = place.sink().await;
    let mut seconds = Vec::new();
    for round in 1..=commits {
        let change = change(round, of, size);
        let span = next(sink.as_mut()).await;
        let start = Instant::now();
        sink.upsert(&change, &span).await.expect("a commit");
        seconds.push(start.elapsed().as_secs_f64());
    }
    json!({ "seconds": seconds, "files": files(&place.folder).len() })
}

pub(crate) fn run(options: &Options, folder: &Path) {
    println!(
        "### {} commits into {} rows, one after the other\n",
        options.commits, options.rows
    );
    println!(
        "| | keys | first {ENDS} commits | last {ENDS} | grown by | files at the end | size |"
    );
    println!("|---|---|---|---|---|---|---|");
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
        #[expect(clippy::cast_precision_loss, reason = "sizes of files")]
        let size = files(&folder).values().sum::<u64>() as f64;
        println!(
            "| {} | {} | {:.0} ms | {:.0} ms | {:+.0} % | {} | {} |",
            format.name(),
            keys.name(),
            first * 1e3,
            last * 1e3,
            (last / first - 1.0) * 100.0,
            said["files"],
            mib(size)
        );
        std::fs::remove_dir_all(&folder).expect("the folder goes");
    }
    println!();
}
