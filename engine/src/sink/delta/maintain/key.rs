//! By which columns the rows of a table are kept, where nobody says: what its last upserts said of themselves.
//!
//! Only the order of rows in compacted files depends on it: ranges of keys stay narrow.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use sql::Result;

use crate::lake::keys::check_key;
use crate::sink::delta::DeltaSink;
use crate::sink::delta::progress::read_commit;

/// How many of the newest commits are asked.
const COMMITS: u64 = 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    commit_info: Option<Info>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    operation_parameters: Option<HashMap<String, Value>>,
}

impl DeltaSink {
    /// The key of the newest upsert, if it is a key of the table.
    pub(super) async fn recalled_key(&self) -> Result<Vec<String>> {
        let oldest = self.version.saturating_sub(COMMITS);
        for version in (oldest..=self.version).rev() {
            let Some(commit) = read_commit(&self.store, version, &self.path).await? else {
                break;
            };
            let lines = commit.split(|byte| *byte == b'\n');
            let mut told = lines.filter_map(|line| {
                memchr::memmem::find(line, b"\"mergePredicate\"")?;
                let line: Line = serde_json::from_slice(line).ok()?;
                let parameters = line.commit_info?.operation_parameters?;
                columns(parameters.get("mergePredicate")?.as_str()?)
            });
            if let Some(key) = told.next_back() {
                let fits = check_key(&key, &self.schema).is_ok();
                return Ok(if fits { key } else { Vec::new() });
            }
        }
        Ok(Vec::new())
    }
}

/// The columns of ``target.`a` = source.`a` AND …``, as the engine writes it.
fn columns(predicate: &str) -> Option<Vec<String>> {
    let column = |term: &str| {
        let (target, source) = term.split_once(" = ")?;
        let name = |side: &str, of: &str| {
            let quoted = side.strip_prefix(of)?.strip_prefix(".`")?;
            quoted.strip_suffix('`').map(ToOwned::to_owned)
        };
        let name_of_target = name(target, "target")?;
        (name(source, "source")? == name_of_target).then_some(name_of_target)
    };
    predicate.split(" AND ").map(column).collect()
}
