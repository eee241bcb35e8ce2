//! The engine's own upserts.

use std::time::Instant;

use serde_json::{Value, json};
use sql::change::{NetChange, Partition, Position, Span};

use engine::sink::UpsertSink;

use crate::data::{Keys, batch, keys, rows};
use crate::table::{Place, files, written};

/// Files that a table is filled with.
const FILES: i64 = 10;
const TOPIC: &str = "fill";

/// The span of the next offset.
pub(crate) async fn next(sink: &mut dyn UpsertSink) -> Span {
    let partition = Partition::new(TOPIC, 0);
    let stored = sink.progress().await.expect("positions");
    let at = stored.get(&partition);
    let mut after = Position::new();
    if let Some(at) = at {
        after.set(partition.clone(), at);
    }
    let mut to = after.clone();
    to.set(partition, at.unwrap_or(0) + 1);
    Span::try_new(&after, &to).expect("a span")
}

/// The change of a round.
pub(crate) fn change(round: i64, of: Keys, size: i64) -> NetChange {
    let batch = batch(round, of, size);
    NetChange::try_new(false, rows(&batch.written, round), keys(&batch.deleted)).expect("a change")
}

pub(crate) async fn fill(place: &Place, size: i64) -> Value {
    let mut sink = place.sink().await;
    let part = size / FILES;
    let mut bytes = 0;
    for file in 0..FILES {
        let ids: Vec<i64> = (file * part..(file + 1) * part).collect();
        let span = next(sink.as_mut()).await;
        let receipt = sink.write(&[rows(&ids, 0)], &span).await.expect("a commit");
        bytes += receipt.bytes;
    }
    json!({ "bytes": bytes })
}

pub(crate) async fn rounds(place: &Place, of: Keys, size: i64, rounds: i64) -> Value {
    let mut sink = place.sink().await;
    let mut done = Vec::new();
    for round in 1..=rounds {
        let change = change(round, of, size);
        let span = next(sink.as_mut()).await;
        let before = files(&place.folder);
        let start = Instant::now();
        sink.upsert(&change, &span).await.expect("a commit");
        let seconds = start.elapsed().as_secs_f64();
        let bytes = written(&before, &files(&place.folder));
        done.push(json!({ "seconds": seconds, "bytes": bytes }));
    }
    json!({ "rounds": done })
}
