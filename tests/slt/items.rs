//! Two tables whose every version is known: one small topic, replayed into Delta and into Iceberg, three messages a commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::engine::Engine;

/// The folder with the pipelines, their messages and their tables; written once for all tests.
pub(super) struct Items {
    folder: PathBuf,
    _kept: TempDir,
}

/// What happens to the rows: three messages are one commit. Each row is id, name, city.
fn messages() -> Vec<Value> {
    let row =
        |id: i64, name: &str, city: Option<&str>| json!({"id": id, "name": name, "city": city});
    let change = |op: &str, before: Value, after: Value| {
        let source = json!({"ts_ms": 1_795_342_053_000_i64, "table": "items", "schema": "shop"});
        json!({"before": before, "after": after, "source": source, "op": op, "ts_ms": 1_795_342_053_001_i64})
    };
    let null = || Value::Null;
    vec![
        // The first: three rows come.
        change("c", null(), row(1, "bolt", Some("Lima"))),
        change("c", null(), row(2, "nut", Some("Oslo"))),
        change("c", null(), row(3, "gear", None)),
        // The second: an update, a delete, a row comes.
        change(
            "u",
            row(1, "bolt", Some("Lima")),
            row(1, "bolt M8", Some("Lima")),
        ),
        change("d", row(2, "nut", Some("Oslo")), null()),
        change("c", null(), row(4, "cog", Some("Oslo"))),
        // The third: back to what it was; gone again; another update.
        change(
            "u",
            row(1, "bolt M8", Some("Lima")),
            row(1, "bolt", Some("Lima")),
        ),
        change("d", row(4, "cog", Some("Oslo")), null()),
        change("u", row(3, "gear", None), row(3, "gear", Some("Rome"))),
    ]
}

const PIPELINE: &str = "\
pipeline: { name: NAME, batch: { max_records: 3 } }
source:
  type: kafka
  name: items
  bootstrap_servers: file:items.jsonl
  topics: [shop.items]
  format: debezium_json
  before_image: full
  columns: |
    id BIGINT NOT NULL PRIMARY KEY, name TEXT, city TEXT
sink:
";

const DELTA: &str = "  type: delta
  path: FOLDER/delta/items
  mode: upsert
";

const ICEBERG: &str = "  type: iceberg
  catalog: { type: sql, name: lake, uri: \"sqlite://FOLDER/catalog.db\", warehouse: FOLDER/iceberg }
  table: shop.items
  mode: upsert
";

impl Items {
    /// The tables of this process.
    pub(super) fn shared() -> &'static Self {
        static ITEMS: OnceLock<Items> = OnceLock::new();
        ITEMS.get_or_init(Self::write)
    }

    fn write() -> Self {
        let kept = TempDir::with_prefix("engine-slt-").unwrap();
        let folder = kept.path().canonicalize().unwrap();
        let lines: String = (0..)
            .zip(messages())
            .map(|(offset, payload): (i64, Value)| {
                let id = ["after", "before"].iter().find_map(|side| payload[side]["id"].as_i64());
                let line = json!({
                    "topic": "shop.items", "partition": 0, "offset": offset, "ts": 1_795_342_053_002_i64,
                    "key": json!({"id": id}).to_string(), "payload": payload.to_string(),
                });
                format!("{line}\n")
            })
            .collect();
        fs::write(folder.join("items.jsonl"), lines).unwrap();
        for (name, sink) in [("items_delta", DELTA), ("items_iceberg", ICEBERG)] {
            let text = format!("{}{sink}", PIPELINE.replace("NAME", name));
            let text = text.replace("FOLDER", folder.to_str().unwrap());
            let file = folder.join(format!("{name}.yaml"));
            fs::write(&file, text).unwrap();
            let run = Engine::new(["run", "--once", file.to_str().unwrap()]);
            let outcome = run.current_dir(&folder).run(Duration::from_secs(180));
            assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        }
        Self {
            folder,
            _kept: kept,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `text` with the folder in it.
    pub(super) fn filled(&self, text: &str) -> String {
        text.replace("{folder}", &super::text(&self.folder))
    }

    /// `text` with the folder taken out.
    pub(super) fn emptied(&self, text: &str) -> String {
        text.replace(&super::text(&self.folder), "{folder}")
    }
}
