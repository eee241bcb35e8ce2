//! Where tables are: Delta paths, Iceberg catalogs and table names.

use std::collections::BTreeMap;

use sql::{Error, Result};

use super::block::{Block, short};
use super::effective::Shown;
use super::field::Field;
use super::model::{CatalogKind, CatalogSpec, DeltaTableSpec, IcebergTableSpec};
use super::{paths, rest};

#[derive(Clone, Copy)]
enum Kind {
    Sql,
    Rest,
}

/// Reads `path` and `storage_options`.
pub(super) fn delta_table(block: &mut Block<'_>) -> Result<DeltaTableSpec> {
    let field = block.required("path", "the table's folder")?;
    let path = paths::local(&field, &field.context.working, &field.text()?)?;
    block.resolved("path", &path);
    Ok(DeltaTableSpec {
        path,
        storage_options: storage_options(block)?,
        properties: BTreeMap::new(),
    })
}

/// Reads `catalog`, `table` and `storage_options`.
pub(super) fn iceberg_table(block: &mut Block<'_>) -> Result<IcebergTableSpec> {
    let mut catalog = block.block("catalog")?;
    let kind = catalog.required("type", "`sql` or `rest`")?;
    let words = [("sql", Kind::Sql), ("rest", Kind::Rest)];
    let kind = kind.choice(&words, &["glue", "hive", "hadoop"])?;
    let own: &[&str] = match kind {
        Kind::Sql => &[],
        Kind::Rest => &["prefix", "token", "credential", "properties"],
    };
    let known = ["type", "name", "uri", "warehouse"];
    catalog.only(&[&known, own].concat(), &["storage_options"])?;
    let name = catalog.value("name", "iceberg", catalog_name)?;
    let kind = match kind {
        Kind::Sql => {
            let uri = sqlite_uri(&mut catalog)?;
            let folder = catalog.required("warehouse", "the folder that tables are made in")?;
            let folder = paths::local(&folder, &folder.context.working, &folder.text()?)?;
            catalog.resolved("warehouse", &folder);
            let warehouse = format!("file://{folder}");
            CatalogKind::Sql { uri, warehouse }
        }
        Kind::Rest => CatalogKind::Rest(rest::read(&mut catalog)?),
    };
    block.close("catalog", catalog);
    let table = block.required("table", "`namespace.table`")?;
    let (namespace, table) = table_name(&table)?;
    Ok(IcebergTableSpec {
        catalog: CatalogSpec {
            name,
            kind,
            storage_options: storage_options(block)?,
        },
        namespace,
        table,
    })
}

fn storage_options(block: &mut Block<'_>) -> Result<BTreeMap<String, String>> {
    if block.get("storage_options").is_none() {
        block.show("storage_options", Shown::Map(Vec::new()), false);
        return Ok(BTreeMap::new());
    }
    block
        .required("storage_options", "object store options")?
        .options()
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || "_-".contains(c);
    !name.is_empty() && name.chars().all(fits)
}

fn catalog_name(field: &Field<'_>) -> Result<String> {
    let name = field.text()?;
    if !is_name(&name) {
        return Err(field
            .error(format!("`{}` cannot name a catalog", short(&name)))
            .expected("letters, digits, `_` and `-`")
            .remedy("choose such a name; other engines must load the catalog by it"));
    }
    Ok(name)
}

fn table_name(field: &Field<'_>) -> Result<(Vec<String>, String)> {
    let text = field.text()?;
    let mut levels: Vec<String> = text.split('.').map(str::to_owned).collect();
    let table = levels.pop().unwrap_or_default();
    if levels.is_empty() || !is_name(&table) || !levels.iter().all(|level| is_name(level)) {
        return Err(field
            .error(format!("`{}` does not name an Iceberg table", short(&text)))
            .expected("`namespace.table`: letters, digits, `_` and `-`, joined by dots")
            .remedy("put the table's namespace before its name: `analytics.customers`"));
    }
    Ok((levels, table))
}

/// `sqlite://PATH?…` with the path made absolute and encoded, and `mode=rwc` unless the file says another mode.
fn sqlite_uri(catalog: &mut Block<'_>) -> Result<String> {
    let field = catalog.required("uri", "the catalog's database: `sqlite://PATH`")?;
    let text = field.text()?;
    let wrong = |message: String| -> Error {
        field.error(message).expected("`sqlite://PATH`").remedy(
            "keep the catalog in an SQLite file, such as `sqlite://${WAREHOUSE}/catalog.db`",
        )
    };
    let Some(rest) = text.strip_prefix("sqlite:") else {
        let scheme = text.split(':').next().unwrap_or_default();
        return Err(wrong(format!(
            "a SQL catalog on `{}` is not built yet",
            short(scheme)
        )));
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, query),
        None => (rest, ""),
    };
    let mut parameters: Vec<&str> = query.split('&').filter(|p| !p.is_empty()).collect();
    if path == ":memory:" || parameters.contains(&"mode=memory") {
        return Err(wrong(
            "a catalog in memory is gone when the process ends".to_owned(),
        ));
    }
    let path = paths::local(&field, &field.context.working, path)?;
    if !parameters.iter().any(|p| p.starts_with("mode=")) {
        parameters.push("mode=rwc");
    }
    let parameters = parameters.join("&");
    // The file has plain paths, the URL encoded ones.
    catalog.resolved("uri", &format!("sqlite://{path}?{parameters}"));
    Ok(format!("sqlite://{}?{parameters}", encode(&path)))
}

/// The characters that an SQLite URL's path cannot hold as they are.
fn encode(path: &str) -> String {
    path.replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23")
}
