//! The `tables:` block: static tables that the SQL may join.

use std::path::PathBuf;

use sql::Result;

use super::block::Block;
use super::field::Field;
use super::iceberg::{delta_table, iceberg_table};
use super::model::{TableKind, TableSpec};
use super::{names, paths, statements};

#[derive(Clone, Copy)]
enum Kind {
    Csv,
    Parquet,
    Delta,
    Iceberg,
}

/// Reads the list. `source` is the name that is taken already.
pub(super) fn read(root: &mut Block<'_>, source: &str) -> Result<Vec<TableSpec>> {
    let items = statements::items(root, "tables", "a list of tables")?;
    let mut tables: Vec<TableSpec> = Vec::with_capacity(items.len());
    let mut shown = Vec::with_capacity(items.len());
    for item in &items {
        let mut block = item.block()?;
        let table = table(&mut block)?;
        let owner = match () {
            () if table.name == source => Some("the source"),
            () if tables.iter().any(|known| known.name == table.name) => Some("another table"),
            () => None,
        };
        if let (Some(owner), Some(field)) = (owner, block.get("name")) {
            return Err(field
                .error(format!("`{}` is the name of {owner}", table.name))
                .expected("distinct names in the SQL")
                .remedy("rename one of them"));
        }
        tables.push(table);
        shown.push(block.finish());
    }
    statements::show(root, "tables", shown, !items.is_empty());
    Ok(tables)
}

fn table(block: &mut Block<'_>) -> Result<TableSpec> {
    let words = [
        ("delta", Kind::Delta),
        ("iceberg", Kind::Iceberg),
        ("parquet", Kind::Parquet),
        ("csv", Kind::Csv),
    ];
    let kind = block.required("type", "`delta`, `iceberg`, `parquet` or `csv`")?;
    let kind = kind.choice(&words, &[])?;
    let own: &[&str] = match kind {
        Kind::Csv | Kind::Parquet => &["path"],
        Kind::Delta => &["path", "storage_options"],
        Kind::Iceberg => &["catalog", "table", "storage_options"],
    };
    block.only(&[&["name", "type", "refresh"], own].concat(), &[])?;
    let name = block.required("name", "the table's name in SQL")?;
    Ok(TableSpec {
        name: names::table(&name)?,
        kind: match kind {
            Kind::Csv => TableKind::Csv(file(block)?),
            Kind::Parquet => TableKind::Parquet(file(block)?),
            Kind::Delta => TableKind::Delta(delta_table(block)?),
            Kind::Iceberg => TableKind::Iceberg(iceberg_table(block)?),
        },
        refresh: block.optional("refresh", "read once, at start", Field::duration)?,
        at: block.at(),
    })
}

/// A file's path, relative to the pipeline's file: such a table is shipped beside it.
fn file(block: &mut Block<'_>) -> Result<String> {
    let field = block.required("path", "the file's path")?;
    let folder: &PathBuf = &field.context.folder;
    let path = paths::local(&field, folder, &field.text()?)?;
    block.resolved("path", &path);
    Ok(path)
}
