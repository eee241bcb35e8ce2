//! Iceberg REST catalogs: a server keeps the tables' metadata and makes the commits.
//!
//! The requests are our own, not those of `iceberg-catalog-rest` (whose types of bodies are used): a commit must tell
//! "certainly not" from "nobody knows", which that client's errors do not; and it has no way to commit what no transaction of
//! the library made.
//!
//! | answer to a commit | meaning |
//! |---|---|
//! | 200 with a table that has the snapshot | made |
//! | 409 | another writer was faster |
//! | 400, 412, 422 | the same, if the table has moved; else the catalog refuses it |
//! | 408, 5xx, 200 with anything else, a broken connection | nobody knows: the caller looks at the table |
//! | anything else, no connection | not made |

mod answer;
mod client;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::spec::{MAIN_BRANCH, TableMetadata};
use iceberg::table::Table;
use iceberg::{NamespaceIdent, Runtime, TableCreation, TableIdent, TableRequirement, TableUpdate};
use iceberg_catalog_rest::{CommitTableRequest, CreateNamespaceRequest, CreateTableRequest};
use iceberg_storage_opendal::OpenDalStorageFactory;
use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sql::{Error, ErrorKind, Result};

use super::{COMMITTING, Failed, Loaded, table};
use crate::lake::iceberg::iceberg_error;
use crate::spec::model::{RestSpec, Secret};
use answer::Answer;
use client::{Ask, Client, LONG, SHORT};

/// Joins the levels of a namespace in an address.
const LEVELS: &str = "\u{1f}";

/// An Iceberg REST catalog.
#[derive(Debug, Clone)]
pub struct RestCatalog {
    client: Arc<Client>,
    /// For access to files, if the catalog does not say otherwise of a table.
    storage: HashMap<String, String>,
    /// For access to files, whatever the catalog says.
    storage_options: BTreeMap<String, String>,
    runtime: Runtime,
    /// By table: where its metadata was, and the tag of that answer.
    tags: Arc<Mutex<HashMap<TableIdent, (String, String)>>>,
}

/// `GET /v1/config`.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    defaults: HashMap<String, String>,
    #[serde(default)]
    overrides: HashMap<String, String>,
}

/// A table, of which only the place of its metadata is read at first.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Described<'a> {
    metadata_location: Option<String>,
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(default)]
    config: HashMap<String, String>,
}

impl RestCatalog {
    /// Asks the catalog for its configuration, which may say where it is and what it wants to be told.
    ///
    /// # Errors
    /// As [`super::OpenCatalog::open`].
    pub(super) async fn open(
        spec: &RestSpec,
        storage_options: &BTreeMap<String, String>,
        runtime: Runtime,
    ) -> Result<Self> {
        let own = settings(spec);
        let client = Client::new(&own)?;
        let mut url = client.configuration();
        if let Some(warehouse) = &spec.warehouse {
            url.push_str("?warehouse=");
            url.extend(url::form_urlencoded::byte_serialize(warehouse.as_bytes()));
        }
        let ask = Ask {
            within: SHORT,
            ..get(url)
        };
        let answer = client.send(ask).await.map_err(|lost| lost.error)?;
        if answer.status != StatusCode::OK {
            return Err(answer.into_error("open the Iceberg REST catalog", client.uri()));
        }
        let config: Config = read(&answer.body, "what answers is no Iceberg REST catalog")
            .map_err(|error| {
                error
                    .at(client.uri())
                    .expected("the address of an Iceberg REST catalog, without `/v1`")
            })?;
        let mut merged = config.defaults;
        merged.extend(own);
        merged.extend(config.overrides);
        let client = Client::new(&merged)?;
        // Nothing that reads files needs to know who we are to the catalog.
        let mut storage = merged;
        storage.retain(|name, _| {
            !["token", "credential"].contains(&name.as_str()) && !name.starts_with("header.")
        });
        Ok(Self {
            client: Arc::new(client),
            storage,
            storage_options: storage_options.clone(),
            runtime,
            tags: Arc::default(),
        })
    }

    /// The catalog's address.
    pub(super) fn place(&self) -> &str {
        self.client.uri()
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The table as it is now, unless it is `known`. A server that tags its answers says so in a line.
    pub(super) async fn load(&self, ident: &TableIdent, known: Option<&Table>) -> Result<Loaded> {
        const DOING: &str = "load the Iceberg table";
        let location = known.and_then(Table::metadata_location);
        let tag = location.and_then(|location| self.tag(ident, location));
        let ask = Ask {
            unless: tag.as_deref(),
            ..get(self.address(ident))
        };
        let answer = self.client.send(ask).await.map_err(|lost| lost.error)?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if tag.is_some() => return Ok(Loaded::Same),
            StatusCode::NOT_FOUND => return Ok(Loaded::Absent),
            _ => return Err(answer.into_error(DOING, &ident.to_string())),
        }
        let described = self.described(ident, &answer)?;
        if location.is_some() && described.metadata_location.as_deref() == location {
            self.remember(ident, &described, &answer);
            return Ok(Loaded::Same);
        }
        let files = self.files(&described.config);
        let loaded = self.table(ident, &described, files)?;
        self.remember(ident, &described, &answer);
        Ok(Loaded::Table(Box::new(loaded)))
    }

    /// Makes a table.
    pub(super) async fn create(
        &self,
        namespace: &NamespaceIdent,
        creation: TableCreation,
    ) -> Result<()> {
        let place = format!("{}.{}", namespace.as_ref().join("."), creation.name);
        let request = CreateTableRequest {
            name: creation.name,
            location: creation.location,
            schema: creation.schema,
            // Java's servers want a number, which the library leaves out; they give their own.
            partition_spec: creation.partition_spec.map(|spec| spec.with_spec_id(0)),
            write_order: creation.sort_order,
            stage_create: Some(false),
            properties: creation.properties,
        };
        let levels = namespace.as_ref().join(LEVELS);
        let url = self.client.url(&["namespaces", &levels, "tables"]);
        let asked = self.client.send(post(url, &request)?).await;
        let answer = asked.map_err(|lost| lost.error)?;
        match answer.status {
            StatusCode::OK => Ok(()),
            _ => Err(answer.into_error("create the Iceberg table", &place)),
        }
    }

    /// Makes a namespace and those above it, if they are not there.
    pub(super) async fn create_namespaces(&self, namespace: &NamespaceIdent) -> Result<()> {
        let levels = namespace.as_ref();
        if self.has_namespace(levels).await? {
            return Ok(());
        }
        for depth in 1..=levels.len() {
            let level = levels.iter().take(depth).cloned().collect();
            let level = NamespaceIdent::from_vec(level)
                .map_err(|error| iceberg_error("name a namespace", self.place(), error))?;
            let place = level.as_ref().join(".");
            let request = CreateNamespaceRequest {
                namespace: level,
                properties: HashMap::new(),
            };
            let url = self.client.url(&["namespaces"]);
            let asked = self.client.send(post(url, &request)?).await;
            let answer = asked.map_err(|lost| lost.error)?;
            // There already is as good; and who may not make the outer one may still make the inner one.
            let made = [StatusCode::OK, StatusCode::CONFLICT].contains(&answer.status);
            if made || depth < levels.len() {
                continue;
            }
            // Of two that make it at once some servers tell one that they failed.
            if !self.has_namespace(levels).await? {
                return Err(answer.into_error("create a namespace", &place));
            }
        }
        Ok(())
    }

    async fn has_namespace(&self, levels: &[String]) -> Result<bool> {
        let url = self.client.url(&["namespaces", &levels.join(LEVELS)]);
        let asked = self.client.send(get(url)).await;
        Ok(asked.map_err(|lost| lost.error)?.status == StatusCode::OK)
    }

    /// Asks the server to make `updates`, if `base` still is the table's snapshot.
    pub(super) async fn commit(
        &self,
        base: &Table,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
    ) -> Result<Table, Failed> {
        let ident = base.identifier();
        let snapshots: Vec<i64> = updates.iter().filter_map(added_snapshot).collect();
        let request = CommitTableRequest {
            identifier: Some(ident.clone()),
            requirements: guarded(base, requirements),
            updates,
        };
        let ask = post(self.address(ident), &request).map_err(Failed::refused)?;
        let answer = match self.client.send(ask).await {
            Ok(answer) => answer,
            Err(lost) if lost.sent => return Err(Failed::unclear(lost.error)),
            Err(lost) => return Err(Failed::refused(lost.error)),
        };
        match answer.status.as_u16() {
            200 => {
                let made = self.committed(base, &answer, &snapshots);
                made.map_err(Failed::unclear)
            }
            409 => Err(Failed::conflict(ident)),
            // So older servers say that the table has moved on.
            400 | 412 | 422 if self.has_moved(base).await => Err(Failed::conflict(ident)),
            408 | 201..=299 | 500..=599 => Err(Failed::unclear(answer.into_error(COMMITTING, ""))),
            _ => Err(Failed::refused(answer.into_error(COMMITTING, ""))),
        }
    }

    /// The table that a commit made.
    fn committed(&self, base: &Table, answer: &Answer, snapshots: &[i64]) -> Result<Table> {
        let ident = base.identifier();
        let described = self.described(ident, answer)?;
        // The answer says nothing new of how files are reached.
        let made = self.table(ident, &described, base.file_io().clone())?;
        let has = |id: &i64| made.metadata().snapshot_by_id(*id).is_some();
        if !snapshots.iter().all(has) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the catalog's answer to a commit does not have its snapshot",
            )
            .at(ident.to_string()));
        }
        self.remember(ident, &described, answer);
        Ok(made)
    }

    async fn has_moved(&self, base: &Table) -> bool {
        let loaded = self.load(base.identifier(), Some(base)).await;
        matches!(loaded, Ok(Loaded::Table(_)))
    }

    fn address(&self, ident: &TableIdent) -> String {
        let levels = ident.namespace().as_ref().join(LEVELS);
        self.client
            .url(&["namespaces", &levels, "tables", ident.name()])
    }

    fn described<'a>(&self, ident: &TableIdent, answer: &'a Answer) -> Result<Described<'a>> {
        read(
            &answer.body,
            "what the catalog says of a table cannot be read",
        )
        .map_err(|error| error.at(format!("{ident} in {}", self.place())))
    }

    fn table(&self, ident: &TableIdent, described: &Described<'_>, files: FileIO) -> Result<Table> {
        let place = || format!("{ident} in {}", self.place());
        let Some(location) = &described.metadata_location else {
            return Err(
                Error::config("the catalog does not say where the table's metadata is")
                    .at(place())
                    .expected("a table that has been committed"),
            );
        };
        let metadata: TableMetadata =
            serde_json::from_str(described.metadata.get()).map_err(|error| {
                Error::config("the table's metadata cannot be read")
                    .at(place())
                    .source(error)
            })?;
        check_storage(&metadata, &place())?;
        table(files, &self.runtime, ident, location.clone(), metadata)
            .map_err(|error| iceberg_error("open the table", &place(), error))
    }

    /// How a table's files are reached, `config` being what the catalog says of the table.
    fn files(&self, config: &HashMap<String, String>) -> FileIO {
        FileIOBuilder::new(Arc::new(OpenDalStorageFactory::Fs))
            .with_props(&self.storage)
            .with_props(config)
            .with_props(&self.storage_options)
            .build()
    }

    fn tag(&self, ident: &TableIdent, location: &str) -> Option<String> {
        let tags = self.tags.lock();
        let (at, tag) = tags.get(ident)?;
        (at == location).then(|| tag.clone())
    }

    fn remember(&self, ident: &TableIdent, described: &Described<'_>, answer: &Answer) {
        let location = described.metadata_location.clone();
        if let (Some(location), Some(tag)) = (location, answer.etag.clone()) {
            self.tags.lock().insert(ident.clone(), (location, tag));
        }
    }
}

/// What the pipeline says, by the names that catalogs and other clients use.
fn settings(spec: &RestSpec) -> HashMap<String, String> {
    let mut settings: HashMap<String, String> = spec
        .properties
        .iter()
        .map(|(name, value)| (name.clone(), value.expose().to_owned()))
        .collect();
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    let said = [
        ("uri", Some(spec.uri.clone())),
        ("warehouse", spec.warehouse.clone()),
        ("prefix", spec.prefix.clone()),
        ("token", secret(&spec.token)),
        ("credential", secret(&spec.credential)),
    ];
    settings.extend(
        said.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?))),
    );
    settings
}

fn get(url: String) -> Ask<'static> {
    Ask {
        method: Method::GET,
        url,
        body: None,
        unless: None,
        within: LONG,
    }
}

fn post(url: String, body: &impl Serialize) -> Result<Ask<'static>> {
    let body = serde_json::to_vec(body)
        .map_err(|error| Error::internal("a request cannot be written").source(error))?;
    Ok(Ask {
        method: Method::POST,
        body: Some(Bytes::from(body)),
        ..get(url)
    })
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8], wrong: &str) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| Error::config(wrong).source(error))
}

/// `requirements`, and what each commit of ours needs: that it is the same table, at the same snapshot.
fn guarded(base: &Table, requirements: &[TableRequirement]) -> Vec<TableRequirement> {
    let metadata = base.metadata();
    let own = [
        TableRequirement::UuidMatch {
            uuid: metadata.uuid(),
        },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN_BRANCH.to_owned(),
            snapshot_id: metadata.current_snapshot_id(),
        },
    ];
    let mut all = own.to_vec();
    let more = requirements.iter().filter(|also| !own.contains(also));
    all.extend(more.cloned());
    all
}

fn added_snapshot(update: &TableUpdate) -> Option<i64> {
    match update {
        TableUpdate::AddSnapshot { snapshot } => Some(snapshot.snapshot_id()),
        _ => None,
    }
}

/// Refuses a table whose files are where the engine cannot read and write.
fn check_storage(metadata: &TableMetadata, place: &str) -> Result<()> {
    let folders = ["write.data.path", "write.metadata.path"];
    let folders = folders
        .iter()
        .filter_map(|name| metadata.properties().get(*name));
    let places = std::iter::once(metadata.location()).chain(folders.map(String::as_str));
    for location in places {
        let scheme = location
            .split_once(':')
            .map_or("file", |(scheme, _)| scheme);
        if scheme != "file" {
            return Err(Error::config(format!(
                "the Iceberg table is at `{location}`, and no storage for `{scheme}:` is built in"
            ))
            .at(place)
            .expected("a table in a folder of this machine, such as `file:///warehouse/…`")
            .remedy("Use a catalog whose warehouse is a folder that this machine has, too."));
        }
    }
    Ok(())
}
