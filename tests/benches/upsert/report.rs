//! What is printed: tables in Markdown.

use serde_json::Value;

use crate::Options;
use crate::data::{BATCH, Keys};

/// What the figures were measured on.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |line| {
        line.trim_start_matches([' ', '\t', ':'])
    });
    let build = if cfg!(debug_assertions) {
        "NOT optimised: these figures say nothing"
    } else {
        "optimised build"
    };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores ({model}), {build}, load at the start {load}\n")
}

fn numbers(measured: &Value, name: &str) -> Vec<f64> {
    let rounds = measured["rounds"].as_array().into_iter().flatten();
    rounds.filter_map(|round| round[name].as_f64()).collect()
}

pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / 1024.0 / 1024.0)
}

/// Batches into a big table; the first line is what the others are compared with.
pub(crate) fn batches(options: &Options, keys: Keys, measured: &[(&str, Value)]) {
    println!(
        "### {BATCH} rows ({} keys) into {} rows, median of {}\n",
        keys.name(),
        options.rows,
        options.rounds
    );
    println!("| | time | of the first line's | each round | written a batch | most memory |");
    println!("|---|---|---|---|---|---|");
    let mut first = None;
    for (name, measured) in measured {
        let seconds = numbers(measured, "seconds");
        let each: Vec<String> = seconds.iter().map(|s| format!("{s:.2}")).collect();
        let median_of = median(seconds);
        let whole = *first.get_or_insert(median_of);
        println!(
            "| {name} | {median_of:.2} s | 1/{:.1} | {} | {} | {} MiB |",
            whole / median_of,
            each.join(", "),
            mib(median(numbers(measured, "bytes"))),
            measured["memory_mib"]
        );
    }
    println!();
}
