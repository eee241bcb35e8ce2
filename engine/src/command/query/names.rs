//! What a table's name stands for: found among the known tables, opened, registered in the session of one query.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, TableProvider,
};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use datafusion::sql::TableReference;
use sql::{Error, Result};

use crate::command::feed_table::feed_table;
use crate::command::functions::target::Names;
use crate::command::tables::{KnownKind, KnownTable};
use crate::lake;

/// Registers the table that `reference` names. Returns the schema of a source: its wildcards mean less than all of it.
pub(super) async fn register(
    ctx: &SessionContext,
    reference: &TableReference,
    names: &Names<'_>,
) -> Result<Option<SchemaRef>> {
    if let Some(external) = names.external(reference) {
        add(ctx, reference, external.provider().await?)?;
        return Ok(None);
    }
    let table = match names.known.named(reference).as_slice() {
        [one] => *one,
        [] => return Err(unknown(reference, names)),
        many => return Err(several(reference, many)),
    };
    let provider = open(ctx, table).await?;
    let schema = matches!(table.kind, KnownKind::Source).then(|| provider.schema());
    add(ctx, reference, provider)?;
    Ok(schema)
}

/// Registers `provider` under `reference`, whose catalog and schema are made if need be.
pub(crate) fn add(
    ctx: &SessionContext,
    reference: &TableReference,
    provider: Arc<dyn TableProvider>,
) -> Result<()> {
    let resolved = reference.clone().resolve("datafusion", "public");
    let catalog = match ctx.catalog(&resolved.catalog) {
        Some(catalog) => catalog,
        None => {
            let catalog: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
            ctx.register_catalog(resolved.catalog.to_string(), catalog.clone());
            catalog
        }
    };
    if catalog.schema(&resolved.schema).is_none() {
        catalog
            .register_schema(&resolved.schema, Arc::new(MemorySchemaProvider::new()))
            .map_err(cannot_register)?;
    }
    ctx.register_table(reference.clone(), provider)
        .map_err(cannot_register)?;
    Ok(())
}

/// The error of a name that is not full and fits more than one table.
pub(crate) fn several(reference: &TableReference, found: &[&KnownTable]) -> Error {
    let names: Vec<_> = found.iter().map(|table| table.shown()).collect();
    Error::config(format!("`{reference}` may mean several tables"))
        .expected(format!("one of {}", names.join(", ")))
        .remedy("write the full name")
}

async fn open(ctx: &SessionContext, table: &KnownTable) -> Result<Arc<dyn TableProvider>> {
    let opened = match &table.kind {
        KnownKind::Delta(delta) | KnownKind::Quarantine(delta) => {
            lake::delta::delta_provider(delta).await
        }
        KnownKind::Iceberg(iceberg) => lake::iceberg::iceberg_provider(iceberg).await,
        KnownKind::Source => return feed_table(ctx, &table.pipeline).await,
    };
    opened.map_err(|error| match error.message().starts_with("there is no ") {
        true => not_there_yet(table, error),
        false => error,
    })
}

/// The pipeline that would have made the table is known, so the way out is too.
pub(crate) fn not_there_yet(table: &KnownTable, error: Error) -> Error {
    let name = table.shown();
    let place = error.place().unwrap_or(&name).to_owned();
    if matches!(table.kind, KnownKind::Quarantine(_)) {
        return Error::config(format!(
            "`{name}` is not there: no message was set aside yet"
        ))
        .at(place)
        .remedy("nothing is wrong: the table is made with the first message that is set aside");
    }
    let first = format!(
        "run the pipeline first, as in `engine run --once {}`, with the same WAREHOUSE and working folder",
        table.pipeline.file.display()
    );
    // The catalog is there: perhaps the table is in it under another name.
    let catalog =
        matches!(table.kind, KnownKind::Iceberg(_)) && std::path::Path::new(&place).exists();
    Error::config(format!("`{name}` is not there yet: {}", error.message()))
        .at(place)
        .remedy(match catalog {
            true => {
                format!("{first}; if it ran, check the catalog's name, which is part of its keys")
            }
            false => first,
        })
}

/// The error of a name that no table has.
pub(crate) fn unknown(reference: &TableReference, known: &Names<'_>) -> Error {
    let externals = known.externals.iter().map(|table| table.shown());
    let names: Vec<String> = externals
        .chain(known.known.iter().map(KnownTable::shown))
        .collect();
    let wanted = reference.to_string();
    let error = Error::config(format!("no table is named `{wanted}`"));
    if names.is_empty() {
        return error
            .expected("a table that a pipeline writes or reads; no pipeline file is known here")
            .remedy("name pipeline files or their folder: engine sql FILE|DIR… -c 'SELECT …'");
    }
    let error = error.expected(format!("one of {}", names.join(", ")));
    let nearest = crate::spec::nearest(&wanted, names.iter().map(String::as_str));
    // A wrong bare name is compared with the bare names.
    let nearest = nearest.map(str::to_owned).or_else(|| {
        let tables = known.known;
        let bare = crate::spec::nearest(reference.table(), tables.iter().map(|t| t.name.table()))?;
        let known = tables.iter().find(|table| table.name.table() == bare)?;
        Some(known.shown())
    });
    match nearest {
        Some(nearest) => error.remedy(format!("did you mean `{nearest}`?")),
        None => error.remedy("list the tables with engine sql -c 'SHOW TABLES'"),
    }
}

fn cannot_register(error: DataFusionError) -> Error {
    Error::internal("a table cannot be registered").source(error)
}
