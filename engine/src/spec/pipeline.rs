//! The `pipeline:` block.

use sql::Result;

use super::block::Block;
use super::field::Field;
use super::iceberg::delta_table;
use super::model::{
    BatchSpec, DeltaTableSpec, OnErrorPolicy, OnErrorSpec, PipelineBlock, SchemaChange, Trigger,
};
use super::names;
use super::tree::Value;

/// Reads the block.
pub(super) fn read(root: &mut Block<'_>) -> Result<PipelineBlock> {
    let mut block = root.block("pipeline")?;
    block.only(
        &["name", "trigger", "batch", "schema_change", "on_error"],
        &[],
    )?;
    let name = block.required("name", "the pipeline's name: `[a-z0-9_-]+`")?;
    let spec = PipelineBlock {
        name: names::pipeline(&name)?,
        trigger: trigger(&mut block)?,
        batch: batch(&mut block)?,
        schema_change: block.value("schema_change", "evolve", |field| {
            let words = [
                ("evolve", SchemaChange::Evolve),
                ("ignore", SchemaChange::Ignore),
                ("fail", SchemaChange::Fail),
            ];
            field.choice(&words, &[])
        })?,
        on_error: on_error(&mut block)?,
    };
    root.close("pipeline", block);
    Ok(spec)
}

fn trigger(block: &mut Block<'_>) -> Result<Trigger> {
    const EXPECTED: &str = "`available_now`, or a block: `{ interval: 1s, adaptive: true }`";
    if let Some(field) = block.get("trigger") {
        match &field.node.value {
            Value::Scalar(scalar) if scalar.text == "available_now" => {
                block.required("trigger", EXPECTED)?;
                return Ok(Trigger::AvailableNow);
            }
            Value::Map(_) => {}
            Value::Scalar(_) | Value::List(_) => {
                return Err(field
                    .wrong_type(EXPECTED)
                    .remedy("write one of the two forms"));
            }
        }
    }
    let mut trigger = block.block("trigger")?;
    trigger.only(&["interval", "adaptive"], &[])?;
    let spec = Trigger::Interval {
        interval: trigger.value("interval", "1s", Field::duration)?,
        adaptive: trigger.value("adaptive", "true", Field::boolean)?,
    };
    block.close("trigger", trigger);
    Ok(spec)
}

fn batch(block: &mut Block<'_>) -> Result<BatchSpec> {
    let mut batch = block.block("batch")?;
    batch.only(&["max_records", "max_bytes"], &[])?;
    let spec = BatchSpec {
        max_records: batch.value("max_records", "50000", Field::count)?,
        max_bytes: batch.value("max_bytes", "64MiB", Field::size)?,
    };
    block.close("batch", batch);
    Ok(spec)
}

fn on_error(block: &mut Block<'_>) -> Result<OnErrorSpec> {
    let mut on_error = block.block("on_error")?;
    on_error.only(&["policy", "max_rate", "table"], &[])?;
    let spec = OnErrorSpec {
        policy: on_error.value("policy", "quarantine", |field| {
            let words = [
                ("quarantine", OnErrorPolicy::Quarantine),
                ("fail", OnErrorPolicy::Fail),
                ("skip", OnErrorPolicy::Skip),
            ];
            field.choice(&words, &[])
        })?,
        max_rate: on_error.optional("max_rate", "off", Field::share)?,
        table: quarantine(&mut on_error)?,
    };
    block.close("on_error", on_error);
    Ok(spec)
}

fn quarantine(on_error: &mut Block<'_>) -> Result<Option<DeltaTableSpec>> {
    if on_error.get("table").is_none() {
        return on_error.optional("table", "a Delta table beside the target", |_| {
            Err(sql::Error::internal("an absent table was read"))
        });
    }
    let mut table = on_error.block("table")?;
    let kind = table.required("type", "`delta`")?;
    kind.choice(&[("delta", ())], &["iceberg", "kafka"])?;
    table.only(&["type", "path", "storage_options"], &[])?;
    let spec = delta_table(&mut table)?;
    on_error.close("table", table);
    Ok(Some(spec))
}
