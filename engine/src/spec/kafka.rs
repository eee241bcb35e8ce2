//! The `source:` block with `type: kafka`: messages of topics.

use std::collections::BTreeMap;

use regex::Regex;
use sql::{Error, Result};

use super::block::{Block, short};
use super::columns::{self, Declared};
use super::effective::Shown;
use super::field::Field;
use super::model::{
    Bootstrap, DecimalHandling, DeclaredColumn, Format, KafkaSpec, OffsetReset, Resends,
    SourceSpec, SourceTables, Topics,
};
use super::{names, paths};
use crate::source::is_glob;

const KNOWN: [&str; 18] = [
    "type",
    "name",
    "bootstrap_servers",
    "topics",
    "topics_regex",
    "tables",
    "group_id",
    "auto_offset_reset",
    "fail_on_data_loss",
    "format",
    "columns",
    "decimal_handling",
    "key",
    "before_image",
    "unavailable_placeholder",
    "resends",
    "resends_window",
    "properties",
];

const NOT_BUILT: [&str; 2] = ["schema_registry", "on_missing_feed"];

/// librdkafka properties that the engine sets, and what to use in their place.
const OWN_PROPERTIES: [(&str, &str); 7] = [
    ("bootstrap.servers", "use `bootstrap_servers`"),
    ("metadata.broker.list", "use `bootstrap_servers`"),
    ("group.id", "use `group_id`"),
    ("auto.offset.reset", "use `auto_offset_reset`"),
    (
        "enable.auto.commit",
        "remove it: the table is the checkpoint",
    ),
    (
        "enable.auto.offset.store",
        "remove it: the table is the checkpoint",
    ),
    ("enable.partition.eof", "remove it: the engine relies on it"),
];

/// Reads the block, whose `type` is read; `upsert` says whether the target is kept by key.
pub(super) fn read(block: &mut Block<'_>, pipeline: &str, upsert: bool) -> Result<SourceSpec> {
    block.only(&KNOWN, &NOT_BUILT)?;
    let name = block.required("name", "the source's table name in SQL")?;
    let name = names::table(&name)?;
    let bootstrap = bootstrap(block)?;
    let topics = topics(block)?;
    let tables = tables(block, &topics)?;
    let group_id = block.value("group_id", &format!("engine-{pipeline}"), Field::text)?;
    let auto_offset_reset = block.value("auto_offset_reset", "earliest", |field| {
        let words = [
            ("earliest", OffsetReset::Earliest),
            ("latest", OffsetReset::Latest),
        ];
        field.choice(&words, &[])
    })?;
    let fail_on_data_loss = block.value("fail_on_data_loss", "true", Field::boolean)?;
    let format = block.value("format", "debezium_json", |field| {
        let built = [("debezium_json", Format::DebeziumJson)];
        field.choice(&built, &["debezium_avro", "json"])
    })?;
    let (columns, key) = columns_and_key(block)?;
    let decimal_handling = block.value("decimal_handling", "auto", |field| {
        let words = [
            ("auto", DecimalHandling::Auto),
            ("precise", DecimalHandling::Precise),
            ("string", DecimalHandling::Text),
        ];
        field.choice(&words, &[])
    })?;
    let before_image_full = block.value("before_image", "key", |field| {
        field.choice(&[("key", false), ("full", true)], &[])
    })?;
    let unavailable_placeholder = block.value(
        "unavailable_placeholder",
        "__debezium_unavailable_value",
        Field::text,
    )?;
    let resends = resends(block, upsert)?;
    let spec = KafkaSpec {
        name,
        bootstrap,
        topics,
        tables,
        group_id,
        auto_offset_reset,
        fail_on_data_loss,
        format,
        columns,
        decimal_handling,
        key,
        before_image_full,
        unavailable_placeholder,
        resends,
        properties: properties(block)?,
        at: block.at(),
    };
    Ok(SourceSpec::Kafka(spec))
}

/// `resends:` and `resends_window:`.
fn resends(block: &mut Block<'_>, upsert: bool) -> Result<Resends> {
    let default = if upsert { "drop" } else { "keep" };
    let drop = block.value("resends", default, |field| {
        field.choice(&[("keep", false), ("drop", true)], &[])
    })?;
    if drop {
        let window = block.value("resends_window", "100000", Field::count)?;
        return Ok(Resends::Drop { window });
    }
    match block.get("resends_window") {
        None => Ok(Resends::Keep),
        Some(field) => Err(field
            .error("`resends_window` says how many events are remembered, but none are")
            .expected("`resends_window` only with `resends: drop`")
            .remedy("remove it, or set `resends: drop`")),
    }
}

fn bootstrap(block: &mut Block<'_>) -> Result<Bootstrap> {
    const EXPECTED: &str = "brokers (`host:port,host:port`), or `file:PATH` with captured messages";
    let field = block.required("bootstrap_servers", EXPECTED)?;
    let text = field.text()?;
    if text.starts_with("file:") {
        let path = paths::local(&field, &field.context.folder, &text)?;
        block.resolved("bootstrap_servers", &format!("file:{path}"));
        return Ok(Bootstrap::File(path.into()));
    }
    let wrong = |what: &str| -> Error {
        let error = field
            .error(format!("`{}` is not a broker's address", short(what)))
            .expected(EXPECTED);
        if what.contains('/') && !what.contains("://") {
            error.remedy(format!("write `file:{}` to replay a file", short(what)))
        } else {
            error.remedy("separate addresses by commas, each a host and a port")
        }
    };
    for broker in text.split(',').map(str::trim) {
        let address = broker
            .rsplit_once("://")
            .map_or(broker, |(_, address)| address);
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) => (host, port),
            // librdkafka's default.
            None => (address, "9092"),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_[]:".contains(c);
        if host.is_empty() || !host.chars().all(fits) || port.parse::<u16>().is_err() {
            return Err(wrong(broker));
        }
    }
    Ok(Bootstrap::Brokers(text))
}

fn topics(block: &mut Block<'_>) -> Result<Topics> {
    const EXPECTED: &str = "either `topics: [name, …]`, in which `*` stands for any characters, or `topics_regex: pattern`";
    if let Some(pattern) = block.get("topics_regex") {
        if block.get("topics").is_some() {
            return Err(pattern
                .error("both `topics` and `topics_regex` are said")
                .expected(EXPECTED)
                .remedy("remove one of them"));
        }
        let field = block.required("topics_regex", EXPECTED)?;
        let regex = field.text()?;
        Regex::new(&regex).map_err(|error| {
            field
                .error("`topics_regex` is not a regular expression")
                .expected("a pattern that whole topic names match")
                .remedy("correct the pattern")
                .source(error)
        })?;
        return Ok(Topics::Regex(regex));
    }
    let field = block.required("topics", EXPECTED)?;
    let topics = field.texts("a list of topic names", names::topic)?;
    if topics.is_empty() {
        return Err(field
            .error("`topics` is empty")
            .expected("at least one topic")
            .remedy("name a topic, or use `topics_regex`"));
    }
    Ok(Topics::Names(topics))
}

/// `tables:`; a source whose topics are a pattern takes, unless told otherwise, only the table that it is called after.
fn tables(block: &mut Block<'_>, topics: &Topics) -> Result<SourceTables> {
    let wide = match topics {
        Topics::Names(names) => names.iter().any(|name| is_glob(name)),
        Topics::Regex(_) => true,
    };
    let unsaid = if wide {
        "one table, of the source's name"
    } else {
        "whatever is in the topics"
    };
    let said = block.optional("tables", unsaid, |field| {
        let tables = field.texts("a list of tables", names::source_table)?;
        if tables.is_empty() {
            return Err(field
                .error("`tables` is empty")
                .expected("at least one table")
                .remedy("name a table, or remove the key"));
        }
        Ok(tables)
    })?;
    Ok(match said {
        Some(tables) => SourceTables::Only(tables),
        None if wide => SourceTables::OneOfTheName,
        None => SourceTables::Any,
    })
}

/// `columns:` and `key:`, which its `PRIMARY KEY` fills if it is not said.
fn columns_and_key(block: &mut Block<'_>) -> Result<(Option<Vec<DeclaredColumn>>, Vec<String>)> {
    let declared = block.optional("columns", "typed by the messages' schemas", columns::parse)?;
    let said = block.optional("key", "the Kafka key's columns", |field| {
        field.texts("a list of column names", |item, name| {
            known_column(item, name, declared.as_ref())
        })
    })?;
    let key = match (said, &declared) {
        (Some(key), _) if !key.is_empty() => key,
        (_, Some(declared)) if !declared.primary_key.is_empty() => {
            block.show("key", Shown::texts(&declared.primary_key), false);
            declared.primary_key.clone()
        }
        _ => Vec::new(),
    };
    Ok((declared.map(|declared| declared.columns), key))
}

fn known_column(item: &Field<'_>, name: &str, declared: Option<&Declared>) -> Result<()> {
    let Some(declared) = declared else {
        return Ok(());
    };
    let names = || declared.columns.iter().map(|c| c.field.name().as_str());
    if names().any(|known| known == name) {
        return Ok(());
    }
    let error = item
        .error(format!("`{}` is not one of `columns`", short(name)))
        .expected("a column that `columns` declares");
    Err(match super::nearest(name, names()) {
        Some(near) => error.remedy(format!("did you mean `{near}`?")),
        None => error.remedy("declare it in `columns`, or correct its name"),
    })
}

fn properties(block: &mut Block<'_>) -> Result<BTreeMap<String, String>> {
    let Some(field) = block.get("properties") else {
        block.show("properties", Shown::Map(Vec::new()), false);
        return Ok(BTreeMap::new());
    };
    block.required("properties", "librdkafka properties")?;
    let properties = field.options()?;
    let own = |key: &str| OWN_PROPERTIES.iter().find(|(own, _)| *own == key);
    for entry in field.entries("librdkafka properties")? {
        if let Some((name, remedy)) = own(&entry.key) {
            return Err(field
                .context
                .error(
                    &entry.origin,
                    &format!("{}.{name}", field.path),
                    format!("the engine sets `{name}` itself"),
                )
                .expected("librdkafka properties that have no key of their own")
                .remedy(*remedy));
        }
    }
    Ok(properties)
}
