//! What it costs to keep a big table equal to its source: `scripts/bench upsert [--rows N] [--rounds N] [--commits N]`.
//!
//! Each case runs in a process of its own, so that its memory is its own, and prints one line of JSON; this process fills the tables,
//! runs the cases one after the other, checks that all tables hold the same rows at the end, and prints tables in Markdown. Times
//! of two runs are not to be compared: the ratios within one are.

mod data;
mod grow;
mod merge;
mod report;
mod stream;
mod table;
mod upsert;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use serde_json::{Value, json};

use data::Keys;
use table::{Format, Place};

/// What a run is made of.
#[derive(Debug, Clone)]
struct Options {
    rows: i64,
    rounds: i64,
    commits: i64,
    seconds: u64,
    only: Option<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            rows: 10_000_000,
            rounds: 3,
            commits: 200,
            seconds: 60,
            only: None,
        };
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            // Cargo's own.
            if name == "--bench" {
                continue;
            }
            let value = rest
                .next()
                .ok_or_else(|| format!("{name} needs a value; see the head of this file"))?;
            let number = || {
                let number = value.parse::<i64>();
                number.map_err(|_| format!("{name} wants a number, not {value:?}"))
            };
            match name.as_str() {
                "--rows" => options.rows = number()?,
                "--rounds" => options.rounds = number()?,
                "--commits" => options.commits = number()?,
                "--seconds" => options.seconds = number()?.unsigned_abs(),
                "--only" => options.only = Some(value.clone()),
                other => {
                    return Err(format!(
                        "unknown option {other}: --rows, --rounds, --commits, --seconds, --only batch|stream|grow"
                    ));
                }
            }
        }
        Ok(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("case", rest)) = arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
        let said = runtime().block_on(case(rest));
        println!("{said}");
        return ExitCode::SUCCESS;
    }
    match Options::parse(&arguments) {
        Ok(options) => {
            run(&options);
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::from(2)
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads")
}

/// One case in this process: what it is, the folder, and its own words.
async fn case(words: &[String]) -> Value {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<i64>().expect("a number");
    let mut said = match words.as_slice() {
        ["fill", format, folder, rows] => {
            let place = Place::new(Format::parse(format), Path::new(folder));
            upsert::fill(&place, number(rows)).await
        }
        ["merge", folder, keys, rows, rounds] => {
            merge::rounds(
                Path::new(folder),
                Keys::parse(keys),
                number(rows),
                number(rounds),
            )
            .await
        }
        ["upsert", format, folder, keys, rows, rounds] => {
            let place = Place::new(Format::parse(format), Path::new(folder));
            upsert::rounds(&place, Keys::parse(keys), number(rows), number(rounds)).await
        }
        ["grow", format, folder, keys, rows, commits] => {
            let place = Place::new(Format::parse(format), Path::new(folder));
            grow::commits(&place, Keys::parse(keys), number(rows), number(commits)).await
        }
        ["rows", format, folder] => {
            let place = Place::new(Format::parse(format), Path::new(folder));
            json!({ "rows": place.sums().await })
        }
        other => panic!("unknown case {other:?}"),
    };
    said["memory_mib"] = json!(high_water_mark());
    said
}

/// The most memory that this process had, in MiB.
fn high_water_mark() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// Runs a case in a process of its own.
fn child(words: &[&str]) -> Value {
    eprintln!("  {}", words.join(" "));
    let this = std::env::current_exe().expect("this program");
    let output = Command::new(this)
        .arg("case")
        .args(words)
        .stderr(Stdio::inherit())
        .output()
        .expect("a process");
    assert!(output.status.success(), "{words:?}: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().last().expect("a line of JSON");
    serde_json::from_str(line).expect("JSON")
}

fn run(options: &Options) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    println!("{}", report::machine());
    if options.wants("batch") {
        batches(options, folder);
    }
    if options.wants("stream") {
        stream::run(options, folder);
    }
    if options.wants("grow") {
        grow::run(options, folder);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// One batch into a big table, by the library's MERGE and by each of ours.
fn batches(options: &Options, folder: &Path) {
    let (rows, rounds) = (options.rows.to_string(), options.rounds.to_string());
    for keys in [Keys::Uniform, Keys::Recent] {
        let folder = folder.join(keys.name());
        let filled = folder.join("filled");
        child(&["fill", "delta", text(&filled), &rows]);
        let mut measured = Vec::new();
        let mut sums = Vec::new();

        let merged = folder.join("merge");
        table::copy(&filled, &merged);
        let words = ["merge", text(&merged), keys.name(), &rows, &rounds];
        measured.push(("MERGE of delta-rs", child(&words)));
        sums.push(child(&["rows", "delta", text(&merged)]));
        std::fs::remove_dir_all(&merged).expect("the folder goes");

        let words = [
            "upsert",
            "delta",
            text(&filled),
            keys.name(),
            &rows,
            &rounds,
        ];
        measured.push(("Delta, copy on write", child(&words)));
        sums.push(child(&["rows", "delta", text(&filled)]));
        std::fs::remove_dir_all(&filled).expect("the folder goes");

        for (format, name) in [("iceberg", "Iceberg, merge on read")] {
            let place = folder.join(format);
            child(&["fill", format, text(&place), &rows]);
            let words = ["upsert", format, text(&place), keys.name(), &rows, &rounds];
            measured.push((name, child(&words)));
            sums.push(child(&["rows", format, text(&place)]));
            std::fs::remove_dir_all(&place).expect("the folder goes");
        }
        report::batches(options, keys, &measured);
        for other in &sums {
            assert_eq!(other["rows"], sums[0]["rows"], "the tables differ");
        }
        println!(
            "All tables hold the same rows at the end: {}\n",
            sums[0]["rows"]
        );
    }
}
