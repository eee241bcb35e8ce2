//! Our table's rows folded to a last state, as somebody would do who has only the table: by offset, an unavailable value
//! is the one that the row had, and that of a key change is the one of the row deleted just before.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Place;
use super::replay::{Last, Replay, Subject};
use super::truth::key_of;

/// The last state of a table with a key. Events that were sent again are left out, as the replayer knows them.
pub(super) fn fold(
    subject: &Subject,
    rows: &BTreeMap<Place, &Value>,
    replay: &Replay,
) -> Vec<Last> {
    let mut state: BTreeMap<String, Last> = BTreeMap::new();
    let mut deleted: Option<Last> = None;
    for (place, row) in rows {
        if replay.at(*place).is_none_or(|line| line.again.is_some()) {
            continue;
        }
        let key = key_of(subject, row);
        match row["_op"].as_str() {
            Some("t") => state.clear(),
            Some("d") => deleted = state.remove(&key),
            op => {
                let moved = (op == Some("c")).then(|| deleted.take()).flatten();
                let before = moved.as_ref().or(state.get(&key));
                let last = after(*place, row, before);
                state.insert(key, last);
            }
        }
    }
    state.into_values().collect()
}

fn after(place: Place, row: &Value, before: Option<&Last>) -> Last {
    let mut last = Last {
        row: (*row).clone(),
        unknown: Vec::new(),
        place,
    };
    let unavailable = row["_unavailable_columns"].as_array();
    for name in unavailable.into_iter().flatten().filter_map(Value::as_str) {
        match before.filter(|before| !before.unknown.iter().any(|unknown| unknown == name)) {
            Some(before) => last.row[name] = before.row[name].clone(),
            None => last.unknown.push(name.to_owned()),
        }
    }
    let metadata = [
        "_op",
        "_topic",
        "_partition",
        "_offset",
        "_unavailable_columns",
    ];
    if let Some(columns) = last.row.as_object_mut() {
        columns.retain(|name, _| !metadata.contains(&name.as_str()));
    }
    last
}
