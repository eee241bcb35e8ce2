//! A stream of events onto a big table, through the real binary: how many a second, and how fresh the table is.
//!
//! The events are Debezium's JSON in a file that is replayed as a broker would send it. First a backlog as fast as it goes; then
//! events at half that rate, as they come, whose freshness the engine says itself: the commit's time minus the source's of the
//! batch's oldest event.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::engine::{Engine, Running};
use tests::wait;

use crate::data::{amount, mixed, region, word};
use crate::report::median;
use crate::table::{Format, Place};
use crate::{Options, child, text};

/// Events of the backlog.
const BACKLOG: i64 = 500_000;
/// The producer writes this often.
const TICK: Duration = Duration::from_millis(100);
/// How long the engine has for the backlog, and to commit what is left at the end.
const LIMIT: Duration = Duration::from_secs(600);

pub(crate) fn run(options: &Options, folder: &Path) {
    println!(
        "### A stream of events onto {} rows, uniform keys\n",
        options.rows
    );
    println!(
        "| | backlog of {BACKLOG} events | sustained | freshness p50 | p99 | batches | most memory |"
    );
    println!("|---|---|---|---|---|---|---|");
    for format in [Format::Iceberg, Format::Delta] {
        let folder = folder.join(format!("stream-{}", format.name()));
        child(&[
            "fill",
            format.name(),
            text(&folder),
            &options.rows.to_string(),
        ]);
        let stream = Stream::new(Place::new(format, &folder), options.rows);
        println!("{}", stream.measure(options.seconds));
        fs::remove_dir_all(&folder).expect("the folder goes");
    }
    println!();
}

struct Stream {
    place: Place,
    rows: i64,
    events: PathBuf,
    pipeline: PathBuf,
}

/// What the engine logged of its batches.
fn batches(engine: &Running) -> Vec<Value> {
    let said = engine.said();
    let events = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["records"].is_i64()).collect()
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("before the year 292 million")
}

impl Stream {
    fn new(place: Place, rows: i64) -> Self {
        let events = place.folder.join("events.jsonl");
        let pipeline = place.folder.join("pipeline.yaml");
        let yaml = format!(
            "pipeline: {{ name: stream, trigger: {{ interval: 1s }} }}\n\
             source:\n  type: kafka\n  name: customers\n  bootstrap_servers: file:{}\n  topics: [bench.customers]\n\
             \x20 format: debezium_json\n  columns: |\n    id BIGINT NOT NULL PRIMARY KEY, region TEXT, n BIGINT, name TEXT, amount DOUBLE, note TEXT\n\
             sink:\n  {}  mode: upsert\nobservability: {{ log: {{ format: json }} }}\n",
            events.display(),
            place.yaml()
        );
        fs::write(&pipeline, yaml).expect("a pipeline");
        Self {
            place,
            rows,
            events,
            pipeline,
        }
    }

    /// Appends the events with these offsets, made now.
    fn produce(&self, offsets: std::ops::Range<i64>) {
        let file = File::options().create(true).append(true).open(&self.events);
        let mut file = BufWriter::new(file.expect("a file"));
        let now = now_millis();
        for offset in offsets {
            serde_json::to_writer(&mut file, &self.event(offset, now)).expect("a line");
            file.write_all(b"\n").expect("a line");
        }
        file.flush().expect("lines");
    }

    /// One in ten inserts a key, one in ten deletes one, the others update.
    fn event(&self, offset: i64, now: i64) -> Value {
        let kind = offset % 10;
        let id = if kind == 0 {
            self.rows + offset
        } else {
            mixed(offset) % self.rows
        };
        let row = json!({
            "id": id, "region": region(id), "n": offset, "name": word(id, offset), "amount": amount(id), "note": word(id, offset).repeat(2)
        });
        let source = json!({
            "version": "3.4.0.Final", "connector": "postgresql", "name": "bench", "ts_ms": now, "snapshot": "false", "db": "bench",
            "schema": "public", "table": "customers", "txId": offset, "lsn": offset * 8
        });
        let (op, before, after) = match kind {
            0 => ("c", Value::Null, row),
            1 => ("d", json!({ "id": id }), Value::Null),
            _ => ("u", Value::Null, row),
        };
        let payload =
            json!({ "before": before, "after": after, "source": source, "op": op, "ts_ms": now });
        json!({
            "topic": "bench.customers", "partition": 0, "offset": offset, "ts": now,
            "key": json!({ "id": id }).to_string(), "payload": payload.to_string()
        })
    }

    fn measure(&self, seconds: u64) -> String {
        self.produce(0..BACKLOG);
        let start = Instant::now();
        let once = Engine::new(["run", "--once", text(&self.pipeline)]);
        once.run(LIMIT).expect_code(0);
        let took = start.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let rate = BACKLOG as f64 / took;

        let engine = Engine::new(["run", text(&self.pipeline)]).start();
        #[expect(clippy::cast_possible_truncation, reason = "a rate")]
        let each = (rate / 2.0 * TICK.as_secs_f64()) as i64;
        let (mut offset, begun) = (BACKLOG, Instant::now());
        let mut tick = begun;
        while begun.elapsed().as_secs() < seconds {
            self.produce(offset..offset + each);
            offset += each;
            tick += TICK;
            thread::park_timeout(tick.saturating_duration_since(Instant::now()));
        }
        let sustained = rate / 2.0;
        let wanted = offset - BACKLOG;
        let read = || -> i64 {
            let batches = batches(&engine);
            batches.iter().filter_map(|b| b["records"].as_i64()).sum()
        };
        let done = wait::until(LIMIT, || (read() >= wanted).then_some(()));
        assert!(done.is_some(), "{} of {wanted} events were read", read());
        let memory = engine.peak_memory().unwrap_or(0) / 1024 / 1024;
        let batches = batches(&engine);
        engine.terminate();
        engine.finish(LIMIT).expect_code(0);
        let mut fresh: Vec<f64> = batches
            .iter()
            .filter_map(|b| b["freshness_ms"].as_f64())
            .collect();
        fresh.sort_by(f64::total_cmp);
        let p99 = fresh.get(fresh.len() * 99 / 100).or(fresh.last()).copied();
        format!(
            "| {} | {rate:.0} events/s | {sustained:.0} events/s | {:.2} s | {:.2} s | {} | {memory} MiB |",
            self.place.format.name(),
            median(fresh.clone()) / 1e3,
            p99.unwrap_or(f64::NAN) / 1e3,
            fresh.len()
        )
    }
}
