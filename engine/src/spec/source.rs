//! The `source:` block: what all its types share.

use sql::Result;

use super::block::Block;
use super::model::SourceSpec;
use super::{kafka, lake, sink};

#[derive(Clone, Copy)]
enum Kind {
    Kafka,
    Lake(lake::Kind),
}

/// Reads the block.
pub(super) fn read(root: &mut Block<'_>, pipeline: &str) -> Result<SourceSpec> {
    let upsert = sink::is_upsert(root);
    let mut block = root.block("source")?;
    let words = [
        ("kafka", Kind::Kafka),
        ("delta", Kind::Lake(lake::Kind::Delta)),
        ("iceberg", Kind::Lake(lake::Kind::Iceberg)),
    ];
    let kind = block.required("type", "`kafka`, `delta` or `iceberg`")?;
    let spec = match kind.choice(&words, &[])? {
        Kind::Kafka => kafka::read(&mut block, pipeline, upsert)?,
        Kind::Lake(kind) => lake::read(&mut block, kind, upsert)?,
    };
    root.close("source", block);
    Ok(spec)
}
