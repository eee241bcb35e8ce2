//! `catalog:` with `type: rest`.

use std::collections::BTreeMap;

use sql::{Error, Result};
use url::Url;

use super::block::{Block, short};
use super::effective::Shown;
use super::field::Field;
use super::model::{RestSpec, Secret};
use super::nearest::nearest;

/// Properties that the engine honours, by the names that other clients of such catalogs use.
const PROPERTIES: [&str; 4] = ["oauth2-server-uri", "scope", "audience", "resource"];
/// Properties of other clients that are keys here.
const OWN: [&str; 5] = ["uri", "warehouse", "prefix", "token", "credential"];
/// Headers to send with each request.
const HEADER: &str = "header.";

/// Reads `uri`, `warehouse`, `prefix`, `token`, `credential` and `properties`.
pub(super) fn read(catalog: &mut Block<'_>) -> Result<RestSpec> {
    let uri = catalog.required("uri", "the catalog's address: `https://HOST/PATH`")?;
    let uri = address(&uri)?;
    let secret = |field: &Field<'_>| field.text().map(Secret::new);
    Ok(RestSpec {
        uri,
        warehouse: catalog.optional("warehouse", "the catalog's own", Field::text)?,
        prefix: catalog.optional("prefix", "what the catalog says", Field::text)?,
        token: catalog.optional("token", "none", secret)?,
        credential: catalog.optional("credential", "none", secret)?,
        properties: properties(catalog)?,
    })
}

fn address(field: &Field<'_>) -> Result<String> {
    const EXPECTED: &str = "`http://HOST:PORT/PATH` or `https://HOST/PATH`";
    let text = field.text()?;
    let wrong = |message: String| -> Error { field.error(message).expected(EXPECTED) };
    let url = Url::parse(text.trim())
        .ok()
        .filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    let Some(url) = url else {
        // It may hold a password: only its beginning is said.
        let scheme = text.split(':').next().unwrap_or_default();
        return Err(wrong(format!(
            "`{}…` is no address of a REST catalog",
            short(scheme)
        ))
        .remedy("write the address that other clients of the catalog use"));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            wrong("the catalog's address holds a user or a password".to_owned())
                .remedy("take it out, and give `credential` or `token`"),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(
            wrong("the catalog's address has more than host and path".to_owned())
                .remedy("remove what follows `?` or `#`"),
        );
    }
    let text = url.as_str().trim_end_matches('/');
    if text.ends_with("/v1") {
        return Err(wrong("the catalog's address ends with `/v1`".to_owned())
            .remedy("remove `/v1`: it is added to the address"));
    }
    Ok(text.to_owned())
}

fn properties(catalog: &mut Block<'_>) -> Result<BTreeMap<String, Secret>> {
    const KEY: &str = "properties";
    if catalog.get(KEY).is_none() {
        catalog.show(KEY, Shown::Map(Vec::new()), false);
        return Ok(BTreeMap::new());
    }
    let field = catalog.required(KEY, "properties of the catalog's clients")?;
    let said = field.options()?;
    for entry in field.entries("properties of the catalog's clients")? {
        check(&field, &entry.key, &entry.origin)?;
    }
    let secret = |(name, value): (String, String)| (name, Secret::new(value));
    Ok(said.into_iter().map(secret).collect())
}

fn check(field: &Field<'_>, name: &str, origin: &super::tree::Origin) -> Result<()> {
    let header = name.strip_prefix(HEADER);
    if PROPERTIES.contains(&name) || header.is_some_and(|header| !header.is_empty()) {
        return Ok(());
    }
    let path = format!("{}.{name}", field.path);
    let error = |message: String| field.context.error(origin, &path, message);
    if OWN.contains(&name) {
        return Err(error(format!("`{name}` is a key of the catalog itself"))
            .remedy(format!("write it as `{name}:` beside `type: rest`")));
    }
    let names: Vec<String> = PROPERTIES.iter().map(|name| format!("`{name}`")).collect();
    let error = error(format!(
        "`{}` is no property of a REST catalog that the engine knows",
        short(name)
    ))
    .expected(format!("{} or `header.NAME`", names.join(", ")));
    Err(match nearest(name, PROPERTIES) {
        Some(near) => error.remedy(format!("did you mean `{near}`?")),
        None => error.remedy("remove it; options for files are `storage_options` of the sink"),
    })
}
