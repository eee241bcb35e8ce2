//! The decoder that a source's format asks for.

use sql::Result;
use sql::feed::ChangeFeed;

use super::SourceOptions;
use super::open::{Discovered, discover_schema_with, open_with};
use crate::format::Decoder;
use crate::format::debezium::{DecoderOptions, JsonDecoder};
use crate::spec::model::{Format, KafkaSpec, SchemaChange, SourceSpec};

/// Connects the source and learns its columns.
///
/// # Errors
/// As [`open_with`].
pub async fn open(spec: &SourceSpec, options: SourceOptions) -> Result<Box<dyn ChangeFeed>> {
    open_with(spec, options, decoder).await
}

/// The source's columns, row and metadata, as far as they can be known: declared ones without any I/O, those of captured
/// messages by reading the file, those of a topic only if `connect`.
///
/// # Errors
/// As [`discover_schema_with`].
pub async fn discover_schema(spec: &SourceSpec, connect: bool) -> Result<Option<Discovered>> {
    discover_schema_with(spec, connect, decoder).await
}

fn decoder(spec: &KafkaSpec, options: &SourceOptions) -> Result<Box<dyn Decoder>> {
    match spec.format {
        Format::DebeziumJson => Ok(Box::new(JsonDecoder::try_new(DecoderOptions {
            name: spec.name.clone(),
            tables: spec.tables.clone(),
            columns: spec.columns.clone(),
            decimals: spec.decimal_handling,
            key: spec.key.clone(),
            before_image_full: spec.before_image_full,
            unavailable_placeholder: spec.unavailable_placeholder.clone(),
            ignore_schema_change: options.schema_change == SchemaChange::Ignore,
            keep_raw: options.keep_raw,
            keyed: options.keyed,
        })?)),
    }
}
