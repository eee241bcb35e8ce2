//! What every table of versions promises. A table of any format and any history is put to it by [`holds`].

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::prelude::col;
use futures::TryStreamExt;
use sql::change::CHANGE_TYPE;
use sql::session::{Role, session};
use sql::versioned::{Rows, Version, VersionedTable, Wanted, files_schema, snapshots_schema};
use sql::{Error, ErrorKind};

use crate::lake::upsert::harness::shown;

/// How often each row is there.
pub type State = BTreeMap<String, i64>;

/// What histories differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Images {
    /// Both images of an update stand next to each other.
    Together,
    /// An update may move a row to another partition; its images may be told apart.
    Apart,
}

pub fn all(table: &dyn VersionedTable) -> Wanted {
    let schema = table.schema();
    Wanted {
        columns: schema.fields().iter().map(|f| f.name().clone()).collect(),
        change_types: None,
    }
}

pub async fn collect(rows: sql::Result<Rows>) -> Vec<RecordBatch> {
    let rows = rows.unwrap_or_else(|error| panic!("{}", error.report()));
    let batches = rows.try_collect::<Vec<_>>().await;
    batches.unwrap_or_else(|error| panic!("{}", error.report()))
}

/// The error of reading.
pub async fn refusal(rows: sql::Result<Rows>) -> Error {
    match rows {
        Err(error) => error,
        Ok(rows) => rows.try_collect::<Vec<_>>().await.unwrap_err(),
    }
}

/// The changes of a version as text: the row, and what happened to it.
pub async fn told(table: &dyn VersionedTable, number: i64) -> Vec<(String, String)> {
    let batches = collect(table.changes(number, &all(table)).await).await;
    let mut told = Vec::new();
    for batch in &batches {
        assert_eq!(batch.schema().fields().last().unwrap().name(), CHANGE_TYPE);
        let rest = batch.num_columns() - 1;
        let kinds = batch.column(rest).as_string::<i32>();
        let rows = batch.project(&(0..rest).collect::<Vec<_>>()).unwrap();
        let rows = shown(&[rows]);
        told.extend(
            rows.into_iter()
                .zip(kinds.iter().map(|k| k.unwrap().to_owned())),
        );
    }
    told
}

pub async fn state(table: &dyn VersionedTable, number: i64) -> State {
    counted(shown(
        &collect(table.rows(number, &all(table).columns).await).await,
    ))
}

fn counted(rows: Vec<String>) -> State {
    let mut state = State::new();
    for row in rows {
        *state.entry(row).or_default() += 1;
    }
    state
}

/// Applies a version's changes: what goes must be there.
pub fn fold(state: &mut State, changes: &[(String, String)]) {
    for (row, kind) in changes {
        if ["delete", "update_preimage"].contains(&kind.as_str()) {
            let there = state.get_mut(row).filter(|count| **count > 0);
            *there.unwrap_or_else(|| panic!("{kind} of a row that is not there: {row}")) -= 1;
        }
    }
    for (row, kind) in changes {
        if ["insert", "update_postimage"].contains(&kind.as_str()) {
            *state.entry(row.clone()).or_default() += 1;
        }
    }
    state.retain(|_, count| *count > 0);
}

/// The whole contract, over all versions that are there.
pub async fn holds(table: &dyn VersionedTable, images: Images) {
    let range = table.refresh().await.unwrap();
    let versions = table.versions(range.first, i64::MAX).await.unwrap();
    let [first, rest @ ..] = versions.as_slice() else {
        panic!("no versions");
    };
    assert_eq!(first.number, range.first);
    assert_eq!(versions.last().unwrap().number, range.last);
    changes_are_the_same_each_time(table, &versions).await;
    let mut before = state(table, first.number).await;
    for version in rest {
        let changes = told(table, version.number).await;
        assert!(version.changes_rows || changes.is_empty(), "{version:?}");
        fold(&mut before, &changes);
        let after = state(table, version.number).await;
        assert!(
            before == after,
            "{version:?}: {changes:?}\n{before:?}\n{after:?}"
        );
        if images == Images::Together {
            images_stand_together(&changes);
        }
    }
    for version in &versions {
        sql_reads_the_same(table, version.number).await;
        files_add_up(table, version.number).await;
    }
    for version in &versions {
        projections_hold(table, version.number).await;
        types_are_filtered(table, version.number).await;
    }
    times_find_versions(table, &versions).await;
    outside_is_data_loss(table, &versions).await;
    let snapshots = table.snapshots().await.unwrap();
    assert_eq!(snapshots.schema(), snapshots_schema());
    let numbers = snapshots.column(0).as_primitive::<Int64Type>();
    assert_eq!(numbers.values().last(), Some(&range.last));
}

async fn changes_are_the_same_each_time(table: &dyn VersionedTable, versions: &[Version]) {
    for version in versions {
        let once = told(table, version.number).await;
        assert_eq!(once, told(table, version.number).await, "{version:?}");
        let wanted = all(table).columns;
        let rows = shown(&collect(table.rows(version.number, &wanted).await).await);
        let again = shown(&collect(table.rows(version.number, &wanted).await).await);
        assert_eq!(rows, again, "{version:?}");
    }
}

fn images_stand_together(changes: &[(String, String)]) {
    let mut before = false;
    for (row, kind) in changes {
        assert_eq!(
            before,
            kind == "update_postimage",
            "{kind} of {row} in {changes:?}"
        );
        before = kind == "update_preimage";
    }
    assert!(!before, "{changes:?}");
}

/// The table as SQL sees it, in the columns that it had then.
async fn sql_reads_the_same(table: &dyn VersionedTable, number: i64) {
    let provider = table.at(number).await.unwrap();
    let newest = table.schema();
    let names: Vec<String> = (provider.schema().fields().iter())
        .filter(|then| {
            let now = newest.column_with_name(then.name());
            now.is_some_and(|(_, now)| parts(now.data_type()) == parts(then.data_type()))
        })
        .map(|field| field.name().clone())
        .collect();
    let rows = counted(shown(&collect(table.rows(number, &names).await).await));
    let context = session(Role::Query);
    let frame = context.read_table(provider).unwrap();
    let chosen: Vec<_> = names
        .iter()
        .map(|name| col(format!("\"{name}\"")))
        .collect();
    let frame = frame.select(chosen).unwrap();
    let seen = counted(shown(&frame.collect().await.unwrap()));
    assert!(rows == seen, "version {number}: {rows:?}\n{seen:?}");
}

/// The names that a value shows.
fn parts(of: &DataType) -> Vec<&String> {
    match of {
        DataType::Struct(fields) => fields.iter().map(|field| field.name()).collect(),
        _ => Vec::new(),
    }
}

async fn files_add_up(table: &dyn VersionedTable, number: i64) {
    let files = table.files(Some(number)).await.unwrap();
    assert_eq!(files.schema(), files_schema());
    let contents = files.column(1).as_string::<i32>();
    let numbers = |at: usize| files.column(at).as_primitive::<Int64Type>();
    let mut live = 0;
    for file in 0..files.num_rows() {
        if contents.value(file) != "data" {
            continue;
        }
        if numbers(3).is_null(file) || numbers(6).is_null(file) {
            return;
        }
        live += numbers(3).value(file) - numbers(6).value(file);
    }
    let rows: usize = count(&collect(table.rows(number, &[]).await).await);
    assert_eq!(live, i64::try_from(rows).unwrap(), "version {number}");
}

fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// Columns in another order, one alone, and none.
async fn projections_hold(table: &dyn VersionedTable, number: i64) {
    let mut wanted = all(table);
    let full = collect(table.changes(number, &wanted).await).await;
    let full_rows = collect(table.rows(number, &wanted.columns).await).await;
    let columns = wanted.columns.len();
    wanted.columns.reverse();
    let places: Vec<usize> = (0..columns).rev().chain([columns]).collect();
    let project = |batches: &[RecordBatch], places: &[usize]| -> Vec<String> {
        let batches = batches.iter().map(|batch| batch.project(places).unwrap());
        shown(&batches.collect::<Vec<_>>())
    };
    let turned = collect(table.changes(number, &wanted).await).await;
    assert_eq!(shown(&turned), project(&full, &places));
    let turned = collect(table.rows(number, &wanted.columns).await).await;
    assert_eq!(shown(&turned), project(&full_rows, &places[..columns]));
    wanted.columns.clear();
    let bare = collect(table.changes(number, &wanted).await).await;
    assert_eq!(shown(&bare), project(&full, &[columns]));
    let bare = collect(table.rows(number, &[]).await).await;
    assert_eq!(count(&bare), count(&full_rows));
}

/// Rows of other types may come as well; none of the wanted ones is left out.
async fn types_are_filtered(table: &dyn VersionedTable, number: i64) {
    let changes = told(table, number).await;
    for kind in ["insert", "update_preimage", "update_postimage", "delete"] {
        let wanted = Wanted {
            change_types: Some(vec![kind.to_owned()]),
            ..all(table)
        };
        let chosen = collect(table.changes(number, &wanted).await).await;
        let suffix = format!("|{kind}");
        let mut chosen = shown(&chosen);
        chosen.retain(|row| row.ends_with(&suffix));
        let expected = changes.iter().filter(|(_, other)| other == kind);
        let expected: Vec<_> = expected
            .map(|(row, kind)| format!("{row}|{kind}"))
            .collect();
        assert_eq!(counted(chosen), counted(expected), "version {number}");
    }
}

async fn times_find_versions(table: &dyn VersionedTable, versions: &[Version]) {
    for version in versions {
        let micros = version.committed_micros;
        let newest = versions
            .iter()
            .rfind(|other| other.committed_micros <= micros);
        let found = table.version_at(micros).await.unwrap();
        assert_eq!(found, newest.map(|newest| newest.number));
    }
    let before = versions[0].committed_micros - 1;
    assert_eq!(table.version_at(before).await.unwrap(), None);
}

async fn outside_is_data_loss(table: &dyn VersionedTable, versions: &[Version]) {
    let wanted = all(table);
    let (first, last) = (versions[0].number, versions.last().unwrap().number);
    for number in [first - 1, last + 1] {
        let error = refusal(table.changes(number, &wanted).await).await;
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{}", error.report());
        let shown = error.report();
        assert!(shown.contains(&last.to_string()), "{shown}");
        let error = refusal(table.rows(number, &[]).await).await;
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{}", error.report());
        assert_eq!(
            table.at(number).await.unwrap_err().kind(),
            ErrorKind::DataLoss
        );
    }
    let error = table.versions(first - 1, last).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert!(table.versions(last + 1, last + 5).await.unwrap().is_empty());
}

/// Reads every version as it comes, until `done` says that no more will come; then the fold is the table.
pub async fn follows(table: Arc<dyn VersionedTable>, last: i64) {
    let range = table.refresh().await.unwrap();
    let mut next = range.last + 1;
    let mut seen = state(table.as_ref(), range.last).await;
    while next <= last {
        let range = table.refresh().await.unwrap();
        while next <= range.last {
            fold(&mut seen, &told(table.as_ref(), next).await);
            next += 1;
        }
        tokio::task::yield_now().await;
    }
    assert!(seen == state(table.as_ref(), last).await);
}
