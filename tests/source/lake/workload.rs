//! Random changes through real tables of both formats: pipelines behind one another stay equal, through compactions, kills and restarts
//! in the middle of a snapshot.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tests::engine::Running;
use tests::need;
use tests::note;
use tests::python::Readers;
use tests::wait;
use tests::workload::Random;

use super::replicate::{Kind, Lake};

const RUN: Duration = Duration::from_secs(180);
const SOURCE: &str = "  topics: [shop.public.items]\n  resends: keep\n  columns: \"id BIGINT PRIMARY KEY, name TEXT, n INT\"\n";
/// Keys that there are: few, so that they go and come back.
const KEYS: usize = 60;

/// A captured topic that grows by random changes.
struct Topic {
    file: PathBuf,
    random: Random,
    /// The rows by key.
    living: Vec<i64>,
    offset: i64,
}

impl Topic {
    fn new(lake: &Lake, seed: u64) -> Self {
        Self {
            file: lake.path().join("items.jsonl"),
            random: Random::new(seed),
            living: Vec::new(),
            offset: 0,
        }
    }

    fn put(&mut self, op: &str, id: i64) {
        let row = json!({"id": id, "name": format!("at {}", self.offset), "n": self.offset % 7});
        let (before, after) = if op == "d" {
            (json!({"id": id}), Value::Null)
        } else {
            (Value::Null, row)
        };
        let envelope = json!({
            "before": before, "after": after, "op": op, "ts_ms": 1_700_000_000_000_i64,
            "source": {"connector": "postgresql", "ts_ms": 1_700_000_000_000_i64},
        });
        let line = json!({
            "topic": "shop.public.items", "partition": 0, "offset": self.offset, "ts": 1_700_000_000_000_i64,
            "key": json!({"id": id}).to_string(), "payload": envelope.to_string(), "headers": [],
        });
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.file)
            .expect("a temporary folder is writable");
        writeln!(file, "{line}").expect("a temporary folder is writable");
        self.offset += 1;
    }

    /// Inserts, updates, deletes, and rows that take another key.
    fn grow(&mut self, changes: usize) {
        for _ in 0..changes {
            let dice = self.random.below(10);
            if self.living.len() < 5 || (dice < 3 && self.living.len() + 1 < KEYS) {
                let free: Vec<i64> = (0..KEYS as i64)
                    .filter(|id| !self.living.contains(id))
                    .collect();
                let id = *self.random.one(&free);
                self.living.push(id);
                self.put("c", id);
                continue;
            }
            let index = self.random.below(self.living.len());
            match dice {
                0..=6 => self.put("u", self.living[index]),
                7 | 8 => {
                    let id = self.living.swap_remove(index);
                    self.put("d", id);
                }
                _ => {
                    let from = self.living.swap_remove(index);
                    self.put("d", from);
                    let to = (from + 1..from + KEYS as i64)
                        .map(|id| id % KEYS as i64)
                        .find(|id| !self.living.contains(id))
                        .expect("a free key");
                    self.living.push(to);
                    self.put("c", to);
                }
            }
        }
    }
}

/// `one` is written from the topic, `two` from `one` in the other format, `three` from `two` in the first again.
struct Chain {
    lake: Lake,
    topic: Topic,
    kinds: [Kind; 3],
}

const NAMES: [&str; 3] = ["one", "two", "three"];

impl Chain {
    fn new(first: Kind, second: Kind, seed: u64) -> Self {
        let lake = Lake::new();
        let topic = Topic::new(&lake, seed);
        lake.of_messages("one", first, &topic.file, SOURCE, "");
        let key = "  key: [id]\n";
        lake.of_table("two", second, ("one", first), key, "");
        lake.of_table(
            "three",
            first,
            ("two", second),
            &format!("{key}  start: earliest\n"),
            "",
        );
        Self {
            lake,
            topic,
            kinds: [first, second, first],
        }
    }

    fn run(&self, name: &str, batch: usize) {
        self.lake.run(name, batch).expect_code(0);
    }

    fn assert_equal(&self, readers: &Readers, shown: &str) {
        let rows = |index: usize| {
            self.lake
                .rows(readers, NAMES[index], self.kinds[index], "id")
        };
        let expected = rows(0);
        let mut keys: Vec<String> = self.topic.living.iter().map(ToString::to_string).collect();
        keys.sort();
        assert_eq!(
            expected.keys().cloned().collect::<Vec<_>>(),
            keys,
            "{shown}"
        );
        assert_eq!(rows(1), expected, "{shown}");
        assert_eq!(rows(2), expected, "{shown}");
    }
}

fn stays_equal(first: Kind, second: Kind, seed: u64) {
    let readers = need!(Readers::ready());
    let mut chain = Chain::new(first, second, seed);
    for round in 0..6_usize {
        chain.topic.grow(60);
        // Many small commits.
        chain.run("one", [7, 13, 31][round % 3]);
        if round == 2 || round == 4 {
            for name in ["one", "two"] {
                let file = format!("{name}.yaml");
                let maintain = ["maintain", &file, "--set", "maintenance.min_files=2"];
                chain.lake.engine(&maintain).run(RUN).expect_code(0);
            }
        }
        chain.run("two", [1000, 5, 20][round % 3]);
        chain.run("three", [3, 1000, 11][round % 3]);
        if round % 2 == 1 {
            chain.assert_equal(&readers, &format!("seed {seed}, round {round}"));
        }
    }
}

#[test]
fn random_changes_go_from_delta_to_iceberg_and_back() {
    stays_equal(Kind::Delta, Kind::Iceberg, 11);
}

#[test]
fn random_changes_go_from_iceberg_to_delta_and_back() {
    stays_equal(Kind::Iceberg, Kind::Delta, 12);
}

/// Killed after each commit: in the middle of the snapshot, between versions, within a version that is split.
fn killed_after_each_commit(first: Kind, second: Kind) {
    let readers = need!(Readers::ready());
    let mut chain = Chain::new(first, second, 21);
    chain.topic.grow(200);
    chain.run("one", 1000);
    let kill = |chain: &Chain, most: usize| {
        let mut kills = 0;
        loop {
            let arguments = [
                "run",
                "--once",
                "two.yaml",
                "--set",
                "pipeline.batch.max_records=9",
            ];
            let engine = chain
                .lake
                .engine(&arguments)
                .env("ENGINE_FAILPOINT", "after_commit");
            let outcome = engine.run(RUN);
            if outcome.code() == Some(0) {
                return kills;
            }
            assert_eq!(outcome.signal(), Some(9), "{}", outcome.stderr);
            kills += 1;
            assert!(kills <= most, "it does not get on");
        }
    };
    // Rows of the snapshot, nine at a time; the commit that makes the table counts as well.
    let rows = chain.topic.living.len();
    let kills = kill(&chain, 40);
    assert!(kills >= rows / 9, "{kills} kills for {rows} rows");
    // A version of many changes, then small ones.
    chain.topic.grow(150);
    chain.run("one", 1000);
    chain.topic.grow(20);
    chain.run("one", 5);
    assert!(kill(&chain, 80) > 5);
    chain.run("three", 1000);
    chain.assert_equal(&readers, "killed after each commit");
}

#[test]
fn a_delta_source_killed_after_each_commit() {
    killed_after_each_commit(Kind::Delta, Kind::Iceberg);
}

#[test]
fn an_iceberg_source_killed_after_each_commit() {
    killed_after_each_commit(Kind::Iceberg, Kind::Delta);
}

/// Lets `engine` run for `life`, unless it ends.
fn live(mut engine: Running, life: Duration) -> Running {
    let _ = wait::until(life, || engine.ended().then_some(()));
    engine
}

fn killed_at_random_times(first: Kind, second: Kind, seed: u64) {
    let readers = need!(Readers::ready());
    let mut chain = Chain::new(first, second, seed);
    let mut random = Random::new(seed);
    chain.topic.grow(300);
    chain.run("one", 40);
    let mut killed = 0;
    for _ in 0..12 {
        let arguments = ["run", "two.yaml", "--set", "pipeline.batch.max_records=6"];
        let engine = chain.lake.engine(&arguments).start();
        chain.topic.grow(25);
        chain.run("one", 8);
        let life = u64::try_from(random.below(1500)).expect("small");
        let (landed, outcome) = live(engine, Duration::from_millis(life)).kill9();
        assert!(
            landed,
            "it ended by itself:\n{}{}",
            outcome.stdout, outcome.stderr
        );
        killed += 1;
    }
    chain.run("two", 1000);
    chain.run("three", 50);
    chain.assert_equal(&readers, &format!("seed {seed}"));
    note::figure(&format!(
        "a {first:?} source: {killed} kills at random times, the target is equal, seed {seed}"
    ));
}

#[test]
fn a_delta_source_killed_at_random_times() {
    killed_at_random_times(Kind::Delta, Kind::Iceberg, 31);
}

#[test]
fn an_iceberg_source_killed_at_random_times() {
    killed_at_random_times(Kind::Iceberg, Kind::Delta, 32);
}

/// Each change is a row: both images of updates, deletes with all their values, no change twice through restarts.
#[test]
fn a_log_of_changes_has_each_change_once() {
    let readers = need!(Readers::ready());
    let mut chain = Chain::new(Kind::Delta, Kind::Iceberg, 41);
    let sql = "transform: \"SELECT _op AS op, _change_type AS type, _commit_version AS version, id, name FROM t\"\n";
    let yaml = format!(
        "pipeline: {{ name: log }}\nsource:\n{}  name: t\n  start: earliest\n{sql}sink:\n  type: delta\n  path: log\n  mode: append\n",
        Kind::Delta.place("one")
    );
    fs::write(chain.lake.path().join("log.yaml"), yaml).expect("a temporary folder is writable");
    for batch in [4, 1000, 9] {
        chain.topic.grow(40);
        chain.run("one", 10);
        chain.run("log", batch);
    }
    let table = tests::python::Location::Delta(chain.lake.path().join("log"));
    let [reader, _] = table.readers();
    let mut living = std::collections::BTreeMap::new();
    let mut log = readers.read(reader, &table).rows;
    let removes = |row: &Value| matches!(row["type"].as_str(), Some("delete" | "update_preimage"));
    log.sort_by_key(|row| (row["version"].as_i64(), !removes(row)));
    for row in &log {
        let id = row["id"].to_string();
        if removes(row) {
            assert_eq!(living.remove(&id), Some(row["name"].clone()), "{row}");
        } else {
            assert_eq!(living.insert(id, row["name"].clone()), None, "{row}");
        }
    }
    let expected = chain.lake.rows(&readers, "one", Kind::Delta, "id");
    let expected = expected
        .into_iter()
        .map(|(id, row)| (id, row["name"].clone()));
    assert_eq!(living, expected.collect());
}
