//! The `source:` block with `type: delta` or `type: iceberg`: the changes of a table.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `name` | none | the table's name in the SQL |
//! | `path`, `storage_options` | none, `{}` | Delta: the table's folder, and options of its store |
//! | `catalog`, `table`, `storage_options` | none, none, `{}` | Iceberg: as in the sink |
//! | `key` | the table's own | columns that identify a row; `mode: upsert` needs them |
//! | `start` | `snapshot` | while the target has no position: `snapshot` (all rows of the newest version, then what comes), `earliest`, `latest`, `{ version: 12 }`, `{ timestamp: … }`, Iceberg also `{ snapshot_id: … }`; the version itself is read |
//! | `end` | never | the last version that is read: `latest` (as of the start), or one of the blocks |
//! | `change_types` | all | `mode: append` only: which of `insert`, `update_preimage`, `update_postimage`, `delete` become rows |
//! | `max_versions` | no limit | versions in a batch at most |
//! | `poll_interval` | `1s` | how often a caught-up feed looks for new versions |
//! | `on_missing_feed` | `error` | Delta versions without a change feed: `error`, or `diff` to compare their files |

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use sql::{Error, Result};

use super::block::{Block, short};
use super::field::Field;
use super::iceberg::{delta_table, iceberg_table};
use super::model::{
    CatalogKind, LakeEnd, LakePoint, LakeSpec, LakeStart, SinkSpec, SinkTarget, SourceSpec,
};
use super::tree::{Style, Value};
use super::{names, nearest};
use crate::lake::versioned::{MissingFeed, VersionedSpec};

/// The types of change rows, in Delta's words.
const CHANGE_TYPES: [&str; 4] = ["insert", "update_preimage", "update_postimage", "delete"];

/// Keys of both formats.
const SHARED: [&str; 10] = [
    "type",
    "name",
    "storage_options",
    "key",
    "start",
    "end",
    "change_types",
    "max_versions",
    "poll_interval",
    "catalog",
];

/// Keys of `type: kafka` that somebody might look for here, and what holds in their place.
const OF_TOPICS: [(&str, &str); 5] = [
    (
        "resends",
        "a table's log has each change once, so there is nothing to drop",
    ),
    (
        "resends_window",
        "a table's log has each change once, so there is nothing to remember",
    ),
    ("before_image", "a table's changes have both images whole"),
    ("columns", "a table says its columns itself"),
    (
        "fail_on_data_loss",
        "changes that are gone always stop the pipeline",
    ),
];

/// The format of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Delta,
    Iceberg,
}

/// Reads the block, whose `type` is read; `upsert` says whether the target is kept by key.
pub(super) fn read(block: &mut Block<'_>, kind: Kind, upsert: bool) -> Result<SourceSpec> {
    for (key, why) in OF_TOPICS {
        if let Some(field) = block.get(key) {
            return Err(field
                .error(format!("`{key}` is about topics: {why}"))
                .expected("it only with `type: kafka`")
                .remedy("remove it"));
        }
    }
    let known = known(kind);
    block.only(&known, &[])?;
    let name = block.required("name", "the source's table name in SQL")?;
    let name = names::table(&name)?;
    let table = match kind {
        Kind::Delta => VersionedSpec::Delta(delta_table(block)?),
        Kind::Iceberg => VersionedSpec::Iceberg(iceberg_table(block)?),
    };
    let key = block.optional("key", "the table's own key", |field| {
        field.texts("a list of column names", |_, _| Ok(()))
    })?;
    let start = block.value("start", "snapshot", |field| start(field, kind))?;
    let end = block.optional("end", "never", |field| end(field, kind))?;
    let change_types = change_types(block, upsert)?;
    let max_versions = block.optional("max_versions", "no limit", Field::count)?;
    let poll_interval = block.value("poll_interval", "1s", Field::duration)?;
    let missing_feed = match kind {
        Kind::Iceberg => MissingFeed::Error,
        Kind::Delta => block.value("on_missing_feed", "error", |field| {
            let words = [("error", MissingFeed::Error), ("diff", MissingFeed::Diff)];
            field.choice(&words, &[])
        })?,
    };
    Ok(SourceSpec::Lake(LakeSpec {
        name,
        table,
        key: key.unwrap_or_default(),
        start,
        end,
        change_types,
        max_versions,
        poll_interval,
        missing_feed,
        at: block.at(),
    }))
}

fn known(kind: Kind) -> Vec<&'static str> {
    let own: &[&str] = match kind {
        Kind::Delta => &["path", "on_missing_feed"],
        Kind::Iceberg => &["table"],
    };
    let shared = SHARED
        .iter()
        .filter(|key| kind == Kind::Iceberg || **key != "catalog");
    shared.chain(own).copied().collect()
}

fn start(field: &Field<'_>, kind: Kind) -> Result<LakeStart> {
    if let Value::Map(_) = &field.node.value {
        return point(field, kind).map(LakeStart::At);
    }
    let words = [
        ("snapshot", LakeStart::Snapshot),
        ("earliest", LakeStart::Earliest),
        ("latest", LakeStart::Latest),
    ];
    field.choice(&words, &[])
}

fn end(field: &Field<'_>, kind: Kind) -> Result<LakeEnd> {
    if let Value::Map(_) = &field.node.value {
        return point(field, kind).map(LakeEnd::At);
    }
    field.choice(&[("latest", LakeEnd::Latest)], &[])
}

/// One of `{ version: 12 }`, `{ snapshot_id: 7 }`, `{ timestamp: … }`.
fn point(field: &Field<'_>, kind: Kind) -> Result<LakePoint> {
    let block = field.block()?;
    let known: &[&str] = match kind {
        Kind::Delta => &["version", "timestamp"],
        Kind::Iceberg => &["version", "snapshot_id", "timestamp"],
    };
    block.only(known, &[])?;
    let said: Vec<(&str, Field<'_>)> = known
        .iter()
        .filter_map(|key| block.get(key).map(|value| (*key, value)))
        .collect();
    match said.as_slice() {
        [("version", value)] => whole(value).map(LakePoint::Version),
        [("snapshot_id", value)] => whole(value).map(LakePoint::Snapshot),
        [(_, value)] => time(value).map(LakePoint::Time),
        _ => Err(field
            .error(format!(
                "`{}` names no place in the table's history",
                field.key()
            ))
            .expected("exactly one of `version`, `timestamp` and, for Iceberg, `snapshot_id`")
            .remedy(format!("write `{}: {{ version: 12 }}`", field.key()))),
    }
}

fn whole(field: &Field<'_>) -> Result<i64> {
    let number = field
        .scalar()
        .filter(|scalar| scalar.style == Style::Plain)
        .and_then(|scalar| scalar.text.parse().ok())
        .filter(|number: &i64| *number >= 0);
    number.ok_or_else(|| {
        field
            .wrong_type("a whole number, 0 or more")
            .remedy("write digits only, without quotes")
    })
}

/// Microseconds since the epoch of an ISO-8601 text; without a zone it is in UTC.
fn time(field: &Field<'_>) -> Result<i64> {
    let text = field.text()?;
    let trimmed = text.trim();
    let zoned = DateTime::parse_from_rfc3339(trimmed)
        .or_else(|_| DateTime::parse_from_str(trimmed, "%Y-%m-%d %H:%M:%S%.f%#z"));
    if let Ok(time) = zoned {
        return Ok(time.timestamp_micros());
    }
    let naive = NaiveDateTime::parse_from_str(trimmed, "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(trimmed, "%Y-%m-%d %H:%M:%S%.f"))
        .ok();
    let day = || NaiveDate::parse_from_str(trimmed, "%Y-%m-%d").ok();
    let naive = naive.or_else(|| day().and_then(|day| day.and_hms_opt(0, 0, 0)));
    naive
        .map(|time| time.and_utc().timestamp_micros())
        .ok_or_else(|| {
            field
                .error(format!("`{}` is no time", short(&text)))
                .expected("`2026-01-31T12:00:00Z`, or `2026-01-31`; without a zone it is UTC")
                .remedy("write it in one of these forms")
        })
}

/// `change_types:`: a filter for logs of changes.
fn change_types(block: &mut Block<'_>, upsert: bool) -> Result<Option<Vec<String>>> {
    if let Some(field) = block.get("change_types").filter(|_| upsert) {
        return Err(field
            .error("a target that is kept by key needs every change: without some it would no longer be equal to its source")
            .expected("`change_types` only with `mode: append`")
            .remedy("remove it; to leave rows out, use WHERE in the transform"));
    }
    block.optional("change_types", "all of them", |field| {
        let types = field.texts("a list of change types", |item, word| {
            if CHANGE_TYPES.contains(&word) {
                return Ok(());
            }
            let error = item
                .error(format!("`{}` is no type of change", short(word)))
                .expected("`insert`, `update_preimage`, `update_postimage`, `delete`");
            Err(match nearest(word, CHANGE_TYPES) {
                Some(near) => error.remedy(format!("did you mean `{near}`?")),
                None => error.remedy("choose among them"),
            })
        })?;
        if types.is_empty() {
            return Err(field
                .error("`change_types` is empty")
                .expected("at least one type of change")
                .remedy("name one, or remove the key for all of them"));
        }
        Ok(types)
    })
}

/// Refuses a pipeline that would read what it writes, for ever.
pub(super) fn refuse_circle(source: &SourceSpec, sink: &SinkSpec) -> Result<()> {
    if !reads(source, sink) {
        return Ok(());
    }
    Err(Error::config("the pipeline writes the table that it reads")
        .at(sink.at.clone())
        .expected("a target that is not the source")
        .remedy("write to another table"))
}

/// Whether `source` is the table that `sink` writes, as far as the files say it.
pub fn reads(source: &SourceSpec, sink: &SinkSpec) -> bool {
    let SourceSpec::Lake(lake) = source else {
        return false;
    };
    match (&lake.table, &sink.target) {
        (VersionedSpec::Delta(from), SinkTarget::Delta(to)) => place(&from.path) == place(&to.path),
        (VersionedSpec::Iceberg(from), SinkTarget::Iceberg(to)) => {
            let catalog = match (&from.catalog.kind, &to.catalog.kind) {
                (CatalogKind::Rest(from), CatalogKind::Rest(to)) => {
                    from.uri == to.uri && from.warehouse == to.warehouse
                }
                (CatalogKind::Sql { uri: from, .. }, CatalogKind::Sql { uri: to, .. }) => {
                    from == to
                }
                _ => false,
            };
            let named = from.catalog.name == to.catalog.name;
            catalog && named && from.namespace == to.namespace && from.table == to.table
        }
        _ => false,
    }
}

fn place(path: &str) -> &str {
    path.strip_prefix("file://")
        .unwrap_or(path)
        .trim_end_matches('/')
}
