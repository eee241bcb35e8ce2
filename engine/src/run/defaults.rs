//! Columns that come with a default.
//!
//! The source gave the default to the rows that it had, without an event. A target that is kept by key does the same, if
//! `sink.backfill` lets it: what connectors send for the default of a function (0, an empty text, the epoch) is the value of no row,
//! and cannot be told from a constant.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, SchemaRef};
use sql::Result;

use super::retry::{Retry, attempt};
use crate::lake::iceberg;
use crate::sink::UpsertSink;
use crate::sink::backfill::Backfill;
use crate::spec::model::{BackfillPolicy, Mode, SinkSpec, SinkTarget};
use crate::transform::Transform;

/// A column that is about to come, and the default that it comes with.
struct Came {
    column: String,
    /// As SQL has it.
    literal: String,
    data_type: DataType,
}

/// Adds the columns that `transform` returns and `sink` lacks, and gives the rows that are there their `defaults`, by source column.
/// Goes on with what an earlier run noted and did not do.
///
/// # Errors
/// As [`crate::sink::Sink::evolve`] and [`UpsertSink::backfill`], after `retry` gave up.
pub(super) async fn add_columns<'r>(
    spec: &SinkSpec,
    sink: &mut dyn UpsertSink,
    defaults: &BTreeMap<String, String>,
    transform: &Transform,
    retry: impl Fn(&'static str) -> Retry<'r>,
) -> Result<()> {
    let policy = match spec.mode {
        Mode::Upsert { backfill, .. } => backfill,
        Mode::Append => BackfillPolicy::Never,
    };
    let mut values = Backfill::default();
    let mut left = Vec::new();
    for came in came(&sink.schema(), defaults, transform)? {
        let text = text_of(&came.literal);
        let is_value = Backfill::value(&text, &came.data_type).is_some();
        let wanted = match policy {
            BackfillPolicy::Always => true,
            BackfillPolicy::Constants => !may_be_a_function(&text, &came.data_type),
            BackfillPolicy::Never => false,
        };
        if is_value && wanted {
            values.insert(&came.column, &text);
        } else {
            left.push(came);
        }
    }
    if !values.is_empty() {
        attempt!(retry("noting defaults"), sink.note_backfill(&values));
    }
    attempt!(
        retry("adding columns"),
        sink.evolve(transform.output_schema())
    );
    let table = match &spec.target {
        SinkTarget::Delta(table) => format!("delta.`{}`", table.path),
        SinkTarget::Iceberg(table) => iceberg::shown(table),
    };
    if !values.is_empty() {
        let columns: Vec<&str> = values.columns().collect();
        tracing::info!(
            table,
            columns = columns.join(", "),
            "columns came with a default: rows that are there get it, which writes their files anew"
        );
    }
    let rows = attempt!(retry("filling new columns"), sink.backfill());
    if rows > 0 {
        tracing::info!(
            table,
            rows,
            "rows have the defaults of the columns that came"
        );
    }
    for Came {
        column, literal, ..
    } in left
    {
        tracing::warn!(
            table,
            column,
            default = literal,
            cure = format!("UPDATE {table} SET {column} = {literal} WHERE {column} IS NULL"),
            "a column came with a default, which the source's older rows may have and the table's have not; `sink.backfill: always` \
             gives it to them when a column comes"
        );
    }
    Ok(())
}

/// The columns that `transform` returns and `there` has not, which are a source's column with a default.
fn came(
    there: &SchemaRef,
    defaults: &BTreeMap<String, String>,
    transform: &Transform,
) -> Result<Vec<Came>> {
    let outputs = transform.output_schema().fields().iter();
    let new: Vec<bool> = outputs
        .clone()
        .map(|field| there.column_with_name(field.name()).is_none())
        .collect();
    if defaults.is_empty() || !new.contains(&true) {
        return Ok(Vec::new());
    }
    let lineage = transform.lineage()?;
    let mut came = Vec::new();
    for ((field, origin), new) in outputs.zip(&lineage.output).zip(new) {
        let default = origin.plain.as_ref().and_then(|plain| defaults.get(plain));
        if let Some(literal) = default.filter(|_| new) {
            came.push(Came {
                column: field.name().clone(),
                literal: literal.clone(),
                data_type: field.data_type().clone(),
            });
        }
    }
    Ok(came)
}

/// The value that a literal of SQL stands for, as text.
fn text_of(literal: &str) -> String {
    let inner = literal
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''));
    match inner {
        Some(inner) => inner.replace("''", "'"),
        None => literal.to_owned(),
    }
}

/// Whether connectors send this for a default that is a function, too.
fn may_be_a_function(text: &str, data_type: &DataType) -> bool {
    if data_type.is_numeric() {
        return text.parse::<f64>().is_ok_and(|number| number == 0.0);
    }
    match data_type {
        DataType::Boolean => text == "false",
        DataType::Date32 | DataType::Timestamp(..) => {
            let rest = text.strip_prefix("1970-01-01");
            rest.is_some_and(|rest| rest.chars().all(|c| !matches!(c, '1'..='9')))
        }
        DataType::Time32(_) | DataType::Time64(_) => text.chars().all(|c| !matches!(c, '1'..='9')),
        _ => text.is_empty(),
    }
}
