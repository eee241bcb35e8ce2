//! `CREATE EXTERNAL TABLE` and `DROP TABLE`: tables that are there for as long as the session is.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::sql::TableReference;
use datafusion::sql::parser::{CreateExternalTable, Statement};
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{ObjectName, Value};
use sql::plan::Script;
use sql::session::{Role, session};
use sql::{Error, Result};

use crate::command::functions::target::metadata_file;
use crate::lake::versioned::VersionedSpec;
use crate::lake::{delta, iceberg};
use crate::spec;
use crate::spec::model::DeltaTableSpec;

/// A table that a statement of the session made known.
#[derive(Debug)]
pub struct External {
    /// Its name.
    pub name: TableReference,
    /// What it is.
    pub kind: ExternalKind,
    /// Where it is, as the statement says.
    pub location: String,
    word: String,
}

/// What an external table is.
#[derive(Debug)]
pub enum ExternalKind {
    /// A Delta or Iceberg table: opened anew by each statement.
    Versioned(Box<VersionedSpec>),
    /// Files that DataFusion reads.
    Files(Arc<dyn TableProvider>),
}

impl External {
    /// Its name as SQL must write it.
    pub fn shown(&self) -> String {
        self.name.to_quoted_string()
    }

    /// The kind in a word, as `SHOW TABLES` prints it.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// The table for reading, at its newest version.
    ///
    /// # Errors
    /// As [`delta::delta_provider`] and [`iceberg::iceberg_provider`].
    pub async fn provider(&self) -> Result<Arc<dyn TableProvider>> {
        match &self.kind {
            ExternalKind::Versioned(spec) => match spec.as_ref() {
                VersionedSpec::Delta(spec) => delta::delta_provider(spec).await,
                VersionedSpec::Iceberg(spec) => iceberg::iceberg_provider(spec).await,
            },
            ExternalKind::Files(files) => Ok(Arc::clone(files)),
        }
    }

    /// The table that `create` describes, opened once to see that it is there.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for what the statement cannot say, and a table that is not there; of the storage.
    pub(super) async fn create(create: CreateExternalTable, script: &Script) -> Result<Self> {
        let name = reference(&create.name)?;
        let kind = create.file_type.to_uppercase();
        let word = kind.to_lowercase();
        let location = create.location.clone();
        if create.unbounded {
            return Err(Error::config("an external table ends")
                .expected("CREATE EXTERNAL TABLE without UNBOUNDED")
                .remedy(
                    "follow a table with table_changes('table'), a topic by its source's name",
                ));
        }
        let kind = match kind.as_str() {
            "DELTA" | "DELTATABLE" => {
                plain(&create)?;
                ExternalKind::Versioned(Box::new(VersionedSpec::Delta(DeltaTableSpec {
                    path: location.clone(),
                    storage_options: options(&create)?.into_iter().collect(),
                    properties: BTreeMap::new(),
                })))
            }
            "ICEBERG" => {
                plain(&create)?;
                ExternalKind::Versioned(Box::new(of_iceberg(&location, options(&create)?)?))
            }
            _ => ExternalKind::Files(files(create, script).await?),
        };
        let table = Self {
            name,
            kind,
            location,
            word,
        };
        table.provider().await?;
        Ok(table)
    }
}

/// The name of a table in a statement that is not a query.
pub(super) fn reference(name: &ObjectName) -> Result<TableReference> {
    object_name_to_table_reference(name.clone(), true).map_err(|error| {
        Error::config(format!("`{name}` does not name a table"))
            .expected("table, schema.table or catalog.schema.table")
            .source(error)
    })
}

/// A table of a lake has its own columns and partitions.
fn plain(create: &CreateExternalTable) -> Result<()> {
    let said = if !create.columns.is_empty() {
        "columns"
    } else if !create.table_partition_cols.is_empty() {
        "PARTITIONED BY"
    } else if !create.order_exprs.is_empty() {
        "WITH ORDER"
    } else if !create.constraints.is_empty() {
        "constraints"
    } else {
        return Ok(());
    };
    let kind = create.file_type.to_uppercase();
    Err(Error::config(format!(
        "{said} cannot be said of a table STORED AS {kind}: it knows its own"
    ))
    .expected(format!(
        "CREATE EXTERNAL TABLE name STORED AS {kind} LOCATION '…' [OPTIONS (…)]"
    )))
}

fn options(create: &CreateExternalTable) -> Result<Vec<(String, String)>> {
    let text = |(key, value): &(String, Value)| {
        let text = match value {
            Value::Number(number, _) => Some(number.clone()),
            Value::Boolean(yes) => Some(yes.to_string()),
            other => other.clone().into_string(),
        };
        match text {
            Some(text) => Ok((key.clone(), text)),
            None => Err(Error::config(format!("the option `{key}` is no text"))
                .expected(format!("'{key}' 'value'"))),
        }
    };
    create.options.iter().map(text).collect()
}

/// A metadata file, or a table of a catalog that the options name.
fn of_iceberg(location: &str, mut options: Vec<(String, String)>) -> Result<VersionedSpec> {
    let of_catalog = options.iter().any(|(key, _)| key.starts_with("catalog."));
    if of_catalog {
        if !options.iter().any(|(key, _)| key == "table") {
            options.push(("table".to_owned(), location.to_owned()));
        }
        return spec::iceberg_table(&options).map(VersionedSpec::Iceberg);
    }
    if !location.ends_with(".json") {
        return Err(Error::config("nothing says which metadata the Iceberg table has")
            .at(location)
            .expected("LOCATION '…/metadata/….metadata.json', or LOCATION 'namespace.table' with OPTIONS ('catalog.type' 'sql', 'catalog.uri' 'sqlite://…', 'catalog.warehouse' '…')")
            .remedy("a metadata file is one moment of the table; with its catalog the table is followed"));
    }
    if let Some((key, _)) = options.first() {
        return Err(Error::config(format!("`{key}` is no option of a metadata file"))
            .at(format!("OPTIONS {key}"))
            .expected("no OPTIONS, or those of a catalog: catalog.type, catalog.name, catalog.uri, catalog.warehouse, table"));
    }
    Ok(VersionedSpec::Iceberg(metadata_file(location)))
}

/// Files as DataFusion reads them, by its own statement.
async fn files(create: CreateExternalTable, script: &Script) -> Result<Arc<dyn TableProvider>> {
    const KINDS: [&str; 6] = ["PARQUET", "CSV", "JSON", "NDJSON", "AVRO", "ARROW"];
    let kind = create.file_type.to_uppercase();
    let ctx = session(Role::Query);
    if !KINDS.contains(&kind.as_str()) || !ctx.state().table_factories().contains_key(&kind) {
        let kinds = KINDS
            .iter()
            .filter(|kind| ctx.state().table_factories().contains_key(**kind));
        let kinds: Vec<&str> = kinds.copied().collect();
        return Err(Error::config(format!("no table is STORED AS {kind}"))
            .expected(format!("DELTA, ICEBERG, {}", kinds.join(", "))));
    }
    let mut create = create;
    let name = "external";
    create.name = ObjectName::from(vec![name.into()]);
    create.if_not_exists = false;
    create.or_replace = false;
    let statement = Statement::CreateExternalTable(create);
    let plan = script.result(ctx.state().statement_to_plan(statement).await)?;
    script.result(ctx.execute_logical_plan(plan).await)?;
    script.result(ctx.table_provider(name).await)
}
