//! A PostgreSQL table with changes that anybody may invent, and a connector that dies and sends events again.

use serde_json::{Value, json};
use tests::capture::Record;

/// One change as the connector sends it: its event, and a tombstone after a delete.
#[derive(Debug, Clone)]
pub struct Change {
    pub op: &'static str,
    pub key: Option<i64>,
    pub value: String,
    pub transaction: u64,
    pub commit_before: u64,
    pub lsn: u64,
}

/// A topic with one partition.
#[derive(Debug, Clone, Default)]
pub struct Topic {
    pub records: Vec<Record>,
    /// Offsets of records that came for the first time, or that never are sent again.
    pub first: Vec<i64>,
    run: u64,
    /// Whether events say which run of the connector sent them.
    pub tells_run: bool,
    /// Whether the connector calls what it streams a snapshot's: it was killed before it had noted the snapshot's end.
    pub stale_snapshot: bool,
}

impl Topic {
    pub fn new(tells_run: bool) -> Self {
        Self {
            tells_run,
            ..Self::default()
        }
    }

    /// The connector was started again.
    pub fn restart(&mut self) {
        self.run += 1;
    }

    /// The connector sends a change.
    pub fn send(&mut self, change: &Change, again: bool) {
        let source = json!({
            "version": "3.4.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": change.transaction * 1000,
            "snapshot": if self.stale_snapshot { "true" } else { "false" }, "db": "shop", "schema": "public", "table": "items",
            "sequence": json!([change.commit_before.to_string(), change.lsn.to_string()]).to_string(),
            "txId": change.transaction, "lsn": change.lsn, "xmin": null,
        });
        let image = json!({ "id": change.key, "name": change.value });
        let (before, after) = match change.op {
            "d" => (image, Value::Null),
            "c" => (Value::Null, image),
            _ => (image.clone(), image),
        };
        self.push(
            change.key,
            Some(json!({ "before": before, "after": after, "source": source, "op": change.op })),
            again,
        );
        if change.op == "d" && change.key.is_some() {
            self.push(change.key, None, again);
        }
    }

    /// A row of an incremental snapshot.
    pub fn send_snapshot_row(&mut self, key: i64) {
        let source = json!({
            "version": "3.4.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": 5, "snapshot": "incremental",
            "db": "shop", "schema": "public", "table": "items", "sequence": "[\"1\",null]", "txId": null, "lsn": null,
        });
        let value = json!({ "before": null, "after": { "id": key, "name": "s" }, "source": source, "op": "r" });
        self.push(Some(key), Some(value), false);
    }

    fn push(&mut self, key: Option<i64>, value: Option<Value>, again: bool) {
        let offset = i64::try_from(self.records.len()).unwrap();
        let payload = value.map(|mut value| {
            // The connector's own clock: what differs when an event is sent again.
            value["ts_ms"] = json!(1_700_000_000_000_i64 + offset);
            value.to_string()
        });
        let header = (
            "__debezium.context.runId".to_owned(),
            format!("run-{}", self.run),
        );
        self.records.push(Record {
            partition: 0,
            offset,
            timestamp: 1_700_000_000_000,
            headers: if self.tells_run { vec![header] } else { vec![] },
            key: key.map(|key| json!({ "id": key }).to_string()),
            payload,
        });
        if !again {
            self.first.push(offset);
        }
    }

    /// The offsets that become rows where events sent again are dropped.
    pub fn expected_rows(&self) -> Vec<i64> {
        let is_event = |offset: &i64| {
            let at = usize::try_from(*offset).unwrap();
            self.records[at].payload.is_some()
        };
        self.first.iter().copied().filter(is_event).collect()
    }

    /// How many records were sent again.
    pub fn again(&self) -> u64 {
        (self.records.len() - self.first.len()) as u64
    }
}

/// So many single-row transactions: insert, update, delete of one key after the other.
pub fn changes(count: u64) -> Vec<Change> {
    (0..count)
        .map(|n| Change {
            op: ["c", "u", "d"][usize::try_from(n % 3).unwrap()],
            key: Some(i64::try_from(n / 3).unwrap()),
            value: format!("v{n}"),
            transaction: 700 + n,
            commit_before: 10_000 + 100 * n,
            lsn: 10_050 + 100 * n,
        })
        .collect()
}
