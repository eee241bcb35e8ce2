//! The `sink:` block.

use sql::{Error, Result};

use super::block::{Block, one_of, short};
use super::effective::Shown;
use super::field::Field;
use super::iceberg::{delta_table, iceberg_table};
use super::model::{
    BackfillPolicy, Mode, PartitionField, PartitionTransform, SinkSpec, SinkTarget, TruncatePolicy,
    UnavailablePolicy, WriteMode,
};
use super::nearest::nearest;
use super::properties::table_properties;

/// Keys of `mode: upsert` alone.
const UPSERT: [&str; 4] = ["truncate", "unavailable", "backfill", "write_mode"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Delta,
    Iceberg,
}

/// Reads the block.
pub(super) fn read(root: &mut Block<'_>) -> Result<SinkSpec> {
    let mut block = root.block("sink")?;
    let words = [("iceberg", Kind::Iceberg), ("delta", Kind::Delta)];
    let kind = block.required("type", "`iceberg` or `delta`")?;
    let kind = kind.choice(&words, &[])?;
    let own: &[&str] = match kind {
        Kind::Delta => &["path", "table_properties"],
        Kind::Iceberg => &["catalog", "table"],
    };
    let shared = ["type", "mode", "partition_by", "storage_options"];
    block.only(&[&shared, own, &UPSERT].concat(), &[])?;
    let mode = mode(&mut block, kind)?;
    let target = match kind {
        Kind::Delta => {
            let mut table = delta_table(&mut block)?;
            table.properties = table_properties(&mut block)?;
            SinkTarget::Delta(table)
        }
        Kind::Iceberg => SinkTarget::Iceberg(iceberg_table(&mut block)?),
    };
    let partition_by = match block.get("partition_by") {
        Some(field) => {
            block.show("partition_by", Shown::of(&field.node), true);
            partition_by(&field, kind)?
        }
        None => {
            block.show("partition_by", Shown::texts(&[]), false);
            Vec::new()
        }
    };
    let spec = SinkSpec {
        target,
        mode,
        partition_by,
        at: block.at(),
    };
    root.close("sink", block);
    Ok(spec)
}

/// Whether the file says `mode: upsert`, read before the block is.
pub(super) fn is_upsert(root: &mut Block<'_>) -> bool {
    let mode = root.block("sink").ok().and_then(|block| block.get("mode"));
    mode.is_some_and(|mode| {
        mode.scalar()
            .is_some_and(|word| word.text.trim() == "upsert")
    })
}

fn mode(block: &mut Block<'_>, kind: Kind) -> Result<Mode> {
    let upsert = block
        .required("mode", "`append` or `upsert`")?
        .choice(&[("append", false), ("upsert", true)], &[])?;
    if !upsert {
        return match UPSERT.iter().find_map(|key| block.get(key)) {
            None => Ok(Mode::Append),
            Some(field) => Err(field
                .error(format!(
                    "`{}` is about a target that is kept by key",
                    field.key()
                ))
                .expected("it only with `mode: upsert`")
                .remedy("remove it, or set `mode: upsert`")),
        };
    }
    let truncate = block.value("truncate", "apply", |field| {
        let words = [
            ("apply", TruncatePolicy::Apply),
            ("ignore", TruncatePolicy::Ignore),
            ("fail", TruncatePolicy::Fail),
        ];
        field.choice(&words, &[])
    })?;
    let unavailable = block.value("unavailable", "error", |field| {
        let words = [
            ("error", UnavailablePolicy::Error),
            ("null", UnavailablePolicy::Null),
            ("quarantine", UnavailablePolicy::Quarantine),
        ];
        field.choice(&words, &[])
    })?;
    let backfill = block.value("backfill", "constants", |field| {
        let words = [
            ("constants", BackfillPolicy::Constants),
            ("always", BackfillPolicy::Always),
            ("never", BackfillPolicy::Never),
        ];
        field.choice(&words, &[])
    })?;
    Ok(Mode::Upsert {
        truncate,
        unavailable,
        backfill,
        write_mode: write_mode(block, kind)?,
    })
}

fn write_mode(block: &mut Block<'_>, kind: Kind) -> Result<WriteMode> {
    if kind == Kind::Delta {
        return match block.get("write_mode") {
            None => Ok(WriteMode::CopyOnWrite),
            Some(field) => Err(field
                .error("into a Delta table files are always copied: it has no `write_mode`")
                .expected("`write_mode` only with `type: iceberg`")
                .remedy("remove it")),
        };
    }
    block.value("write_mode", "merge_on_read", |field| {
        let words = [
            ("merge_on_read", WriteMode::MergeOnRead),
            ("copy_on_write", WriteMode::CopyOnWrite),
        ];
        field.choice(&words, &[])
    })
}

fn partition_by(field: &Field<'_>, kind: Kind) -> Result<Vec<PartitionField>> {
    let mut fields: Vec<PartitionField> = Vec::new();
    let items = field
        .items("a list of columns or transforms of them")
        .map_err(|error| error.remedy("write `partition_by: [column, \"day(column)\"]`"))?;
    for item in items {
        let partition = partition_field(&item)?;
        if kind == Kind::Delta && partition.transform != PartitionTransform::Identity {
            return Err(item
                .error("a Delta table is partitioned by columns, not by transforms of them")
                .expected("a column's name")
                .remedy(format!(
                    "compute the value in the SQL (`date_trunc('day', {0}) AS {0}_part`) and partition by that column",
                    partition.column
                )));
        }
        let same = |known: &&PartitionField| {
            known.column == partition.column && known.transform == partition.transform
        };
        if fields.iter().any(|known| same(&known)) {
            return Err(item
                .error("the same partition field is said twice")
                .expected("distinct partition fields")
                .remedy("remove one of them"));
        }
        fields.push(partition);
    }
    Ok(fields)
}

fn partition_field(item: &Field<'_>) -> Result<PartitionField> {
    let text = item.text()?;
    let field = |column: String, transform| PartitionField {
        column,
        transform,
        at: item.at(),
    };
    let Some((name, arguments)) = text.trim().split_once('(') else {
        return Ok(field(column(item, &text)?, PartitionTransform::Identity));
    };
    let Some(arguments) = arguments.strip_suffix(')') else {
        return Err(wrong_partition(item, "has no closing parenthesis"));
    };
    let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
    let name = name.trim().to_lowercase();
    let simple = [
        ("year", PartitionTransform::Year),
        ("month", PartitionTransform::Month),
        ("day", PartitionTransform::Day),
        ("hour", PartitionTransform::Hour),
    ];
    if let Some((_, transform)) = simple.iter().find(|(known, _)| *known == name) {
        return match arguments.as_slice() {
            [argument] => Ok(field(column(item, argument)?, *transform)),
            _ => Err(wrong_partition(item, "takes one column")),
        };
    }
    let transform = match name.as_str() {
        "bucket" => PartitionTransform::Bucket,
        "truncate" => PartitionTransform::Truncate,
        _ => return Err(unknown_transform(item, &name)),
    };
    let (width, argument) = match arguments.as_slice() {
        [a, b] => match (a.parse::<u32>(), b.parse::<u32>()) {
            (Ok(width), Err(_)) => (width, b),
            (Err(_), Ok(width)) => (width, a),
            _ => return Err(wrong_partition(item, "takes one number and one column")),
        },
        _ => return Err(wrong_partition(item, "takes one number and one column")),
    };
    // Iceberg keeps the number as a signed 32-bit integer.
    if width == 0 || i32::try_from(width).is_err() {
        return Err(wrong_partition(item, "has a number out of range"));
    }
    Ok(field(column(item, argument)?, transform(width)))
}

fn column(item: &Field<'_>, text: &str) -> Result<String> {
    let text = text.trim();
    if let Some(quoted) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'))
        && !quoted.is_empty()
        && !quoted.contains('"')
    {
        return Ok(quoted.to_owned());
    }
    let starts_right = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if !starts_right || !text.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(wrong_partition(item, "names no column"));
    }
    Ok(text.to_owned())
}

fn unknown_transform(item: &Field<'_>, name: &str) -> Error {
    const NAMES: [&str; 6] = ["year", "month", "day", "hour", "bucket", "truncate"];
    let error = item
        .error(format!("`{}` is not a partition transform", short(name)))
        .expected(one_of(&NAMES));
    match nearest(name, NAMES) {
        Some(near) => error.remedy(format!("did you mean `{near}`?")),
        None => error.remedy("compute the value in the SQL, and partition by its column"),
    }
}

fn wrong_partition(item: &Field<'_>, what: &str) -> Error {
    let text = item.scalar().map(|s| short(&s.text)).unwrap_or_default();
    item.error(format!("`{text}` {what}"))
        .expected("`column`, `day(column)`, `bucket(16, column)` or `truncate(4, column)`")
        .remedy("write it in one of these forms")
}
